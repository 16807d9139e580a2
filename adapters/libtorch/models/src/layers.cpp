#include <pushforward/libtorch/models/layers.hpp>

#include <ATen/ATen.h>

#include <tuple>

namespace pushforward::libtorch::models {

namespace {

/// Whether forward-mode differentiation goes through x.
bool forward_mode(const at::Tensor& x) { return x._fw_grad(0).defined(); }

} // namespace

linear::linear(const weights& w, std::int64_t in, std::int64_t out, bool with_bias)
    : weight_{w.take("weight", {out, in})} {
  if (with_bias) bias_ = w.take("bias", {out});
}

at::Tensor linear::operator()(const at::Tensor& x) const { return at::linear(x, weight_, bias_); }

conv2d::conv2d(const weights& w, std::int64_t in, std::int64_t out, const options& o)
    : weight_{w.take("weight", {out, in, o.kernel, o.kernel}).contiguous(at::MemoryFormat::ChannelsLast)},
      stride_{o.stride}, padding_{o.padding} {
  if (o.bias) bias_ = w.take("bias", {out});
}

at::Tensor conv2d::operator()(const at::Tensor& x) const {
  return at::conv2d(x, weight_, bias_, {stride_, stride_}, {padding_, padding_});
}

group_norm::group_norm(const weights& w, std::int64_t groups, std::int64_t channels, double epsilon)
    : weight_{w.take("weight", {channels})}, bias_{w.take("bias", {channels})}, groups_{groups},
      epsilon_{epsilon} {}

at::Tensor group_norm::operator()(const at::Tensor& x) const {
  // its forward derivative cannot take a channels-last tangent
  return at::group_norm(forward_mode(x) ? x.clone(at::MemoryFormat::Contiguous) : x, groups_, weight_, bias_,
                        epsilon_);
}

layer_norm::layer_norm(const weights& w, std::int64_t width, double epsilon)
    : weight_{w.take("weight", {width})}, bias_{w.take("bias", {width})}, epsilon_{epsilon} {}

at::Tensor layer_norm::operator()(const at::Tensor& x) const {
  return at::layer_norm(x, {weight_.size(0)}, weight_, bias_, epsilon_);
}

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, std::int64_t heads,
                     bool causal) {
  const auto split = [&](const at::Tensor& x) {
    return x.view({x.size(0), x.size(1), heads, -1}).transpose(1, 2);
  };
  const at::Tensor mixed =
      forward_mode(q) || forward_mode(k) || forward_mode(v)
          ? std::get<0>(at::_scaled_dot_product_attention_math(split(q), split(k), split(v), {}, 0.0, causal))
          : at::scaled_dot_product_attention(split(q), split(k), split(v), {}, 0.0, causal);
  return mixed.transpose(1, 2).reshape({q.size(0), q.size(1), -1});
}

} // namespace pushforward::libtorch::models
