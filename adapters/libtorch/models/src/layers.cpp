#include <pushforward/libtorch/models/layers.hpp>

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/GradMode.h>

#include <mutex>
#include <tuple>
#include <utility>
#include <vector>

namespace pushforward::libtorch::models {

namespace {

/// Whether forward-mode differentiation goes through x.
bool forward_mode(const at::Tensor& x) { return x._fw_grad(0).defined(); }

std::vector<std::int64_t> both(std::int64_t n) { return {n, n}; }

/// An operator that libtorch has no C++ function for.
template <class... Arguments> at::Tensor call(const char* name, Arguments&&... arguments) {
  c10::Stack stack{c10::IValue(std::forward<Arguments>(arguments))...};
  c10::Dispatcher::singleton().findSchemaOrThrow(name, "").callBoxed(&stack);
  return stack.at(0).toTensor();
}

/// Whether oneDNN computes convolutions of x.
bool packable(const at::Tensor& x) {
  static const bool there =
      at::hasMKLDNN() && c10::Dispatcher::singleton().findSchema({"mkldnn::_convolution_pointwise", ""}) &&
      c10::Dispatcher::singleton().findSchema({"mkldnn::_reorder_convolution_weight", ""});
  return there && x.is_cpu() && x.scalar_type() == at::kFloat && x.numel() > 0;
}

} // namespace

linear::linear(const weights& w, std::int64_t in, std::int64_t out, bool with_bias)
    : weight_{w.take("weight", {out, in})} {
  if (with_bias) bias_ = w.take("bias", {out});
}

at::Tensor linear::operator()(const at::Tensor& x) const { return at::linear(x, weight_, bias_); }

struct conv2d::kept {
  std::mutex mutex;
  at::Tensor weight;
};

conv2d::conv2d(const weights& w, std::int64_t in, std::int64_t out, const options& o)
    : kept_{std::make_shared<kept>()}, stride_{o.stride}, padding_{o.padding} {
  kept_->weight = w.take("weight", {out, in, o.kernel, o.kernel}).contiguous(at::MemoryFormat::ChannelsLast);
  if (o.bias) bias_ = w.take("bias", {out});
}

at::Tensor conv2d::weight_for(const at::Tensor& x, bool packed) const {
  const std::lock_guard lock(kept_->mutex);
  auto& weight = kept_->weight;
  if (packed && !weight.is_mkldnn())
    weight = call("mkldnn::_reorder_convolution_weight", weight, both(padding_), both(stride_), both(1), 1,
                  x.sizes().vec());
  else if (!packed && weight.is_mkldnn())
    weight = weight.to_dense().contiguous(at::MemoryFormat::ChannelsLast);
  return weight;
}

at::Tensor conv2d::operator()(const at::Tensor& x) const {
  const bool recorded = c10::GradMode::is_enabled() && x.requires_grad();
  const bool packed = packable(x) && !recorded && !forward_mode(x);
  const at::Tensor weight = weight_for(x, packed);
  if (packed)
    return call("mkldnn::_convolution_pointwise", x, weight,
                bias_.defined() ? c10::IValue(bias_) : c10::IValue(), both(padding_), both(stride_), both(1),
                1, "none", c10::List<std::optional<at::Scalar>>(), "");
  return at::conv2d(x, weight, bias_, both(stride_), both(padding_));
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
