#include <pushforward/libtorch/models/layers.hpp>

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <mutex>
#include <tuple>
#include <utility>
#include <vector>

namespace pushforward::libtorch::models {

namespace {

/// Whether forward-mode differentiation goes through x.
bool forward_mode(const at::Tensor& x) { return x._fw_grad(0).defined(); }

/// Whether a derivative is to be taken through what is done to x.
bool differentiated(const at::Tensor& x) {
  return (c10::GradMode::is_enabled() && x.requires_grad()) || forward_mode(x);
}

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

/// Whether products of x's type are slow here: on a CPU without instructions for a half type, libtorch takes
/// them in plain loops. Then they are taken in float32, which has all values of the half types.
bool widens(const at::Tensor& x) {
  const auto slow = [](const char* supported) {
    const auto op = c10::Dispatcher::singleton().findSchema({supported, ""});
    c10::Stack stack;
    if (op) op->callBoxed(&stack);
    return op && !stack.at(0).toBool();
  };
  static const bool bfloat16 = slow("mkldnn::_is_mkldnn_bf16_supported");
  static const bool float16 = slow("mkldnn::_is_mkldnn_fp16_supported");
  return x.is_cpu() && x.numel() > 0 &&
         ((x.scalar_type() == at::kBFloat16 && bfloat16) || (x.scalar_type() == at::kHalf && float16));
}

at::Tensor wide(const at::Tensor& x) { return x.defined() ? x.to(at::kFloat) : x; }

/// x W^T + b of float32 x [M, K] and a weight [N, K] of a half type, widened some rows at a time, so that
/// they stay in the cache.
at::Tensor product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const auto n = weight.size(0), rows = std::clamp<std::int64_t>((1 << 22) / weight.size(1), 1, n);
  at::Tensor y = at::empty({x.size(0), n}, x.options());
  const at::Tensor some = at::empty({rows, weight.size(1)}, x.options());
  for (std::int64_t i = 0; i < n; i += rows) {
    const auto count = std::min(rows, n - i);
    at::Tensor out = y.narrow(1, i, count);
    const at::Tensor w = some.narrow(0, 0, count).copy_(weight.narrow(0, i, count)).t();
    if (bias.defined())
      at::addmm_out(out, wide(bias.narrow(0, i, count)), x, w);
    else
      at::mm_out(out, x, w);
  }
  return y;
}

/// What each pixel of a convolution's result sees: [N, C, H, W] -> [N H' W', kernel kernel C].
at::Tensor seen(const at::Tensor& x, std::int64_t kernel, std::int64_t stride, std::int64_t padding,
                std::int64_t height, std::int64_t width) {
  const at::Tensor padded =
      at::constant_pad_nd(wide(x).permute({0, 2, 3, 1}), {0, 0, padding, padding, padding, padding}, 0)
          .contiguous();
  const auto row = padded.stride(1), pixel = padded.stride(2);
  return padded
      .as_strided({x.size(0), height, width, kernel, kernel * pixel},
                  {padded.stride(0), stride * row, stride * pixel, row, 1})
      .reshape({x.size(0) * height * width, -1});
}

} // namespace

linear::linear(const weights& w, std::int64_t in, std::int64_t out, bool with_bias)
    : weight_{w.take("weight", {out, in})} {
  if (with_bias) bias_ = w.take("bias", {out});
}

at::Tensor linear::operator()(const at::Tensor& x) const {
  if (!widens(x)) return at::linear(x, weight_, bias_);
  if (differentiated(x)) return at::linear(wide(x), wide(weight_), wide(bias_)).to(x.scalar_type());
  auto extents = x.sizes().vec();
  const at::Tensor y = product(wide(x).reshape({-1, extents.back()}), weight_, bias_);
  extents.back() = out();
  return y.to(x.scalar_type()).view(extents);
}

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
  const bool packed = packable(x) && !differentiated(x);
  const at::Tensor weight = weight_for(x, packed);
  if (packed)
    return call("mkldnn::_convolution_pointwise", x, weight,
                bias_.defined() ? c10::IValue(bias_) : c10::IValue(), both(padding_), both(stride_), both(1),
                1, "none", c10::List<std::optional<at::Scalar>>(), "");
  if (!widens(x)) return at::conv2d(x, weight, bias_, both(stride_), both(padding_));
  const auto kernel = weight.size(2), out = weight.size(0);
  const auto extent = [&](std::int64_t n) { return (n + 2 * padding_ - kernel) / stride_ + 1; };
  const auto height = extent(x.size(2)), width = extent(x.size(3));
  // weights that outweigh what the pixels see are better not copied as a whole
  if (!differentiated(x) && height > 0 && width > 0 && x.size(0) * height * width < out)
    return product(seen(x, kernel, stride_, padding_, height, width),
                   weight.permute({0, 2, 3, 1}).reshape({out, -1}), bias_)
        .to(x.scalar_type())
        .view({x.size(0), height, width, out})
        .permute({0, 3, 1, 2});
  return at::conv2d(wide(x), wide(weight), wide(bias_), both(stride_), both(padding_)).to(x.scalar_type());
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
