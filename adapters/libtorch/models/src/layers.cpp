#include <pushforward/libtorch/models/layers.hpp>

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <mutex>
#include <optional>
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

bool there(const char* name) { return c10::Dispatcher::singleton().findSchema({name, ""}).has_value(); }

/// What libtorch says of this CPU, if it has that question.
std::optional<bool> says(const char* name) {
  const auto op = c10::Dispatcher::singleton().findSchema({name, ""});
  if (!op) return {};
  c10::Stack stack;
  op->callBoxed(&stack);
  return stack.at(0).toBool();
}

/// Whether this CPU has instructions for products of a half type, if libtorch can tell.
std::optional<bool> has_instructions(c10::ScalarType type) {
  static const auto bfloat16 = says("mkldnn::_is_mkldnn_bf16_supported");
  static const auto float16 = says("mkldnn::_is_mkldnn_fp16_supported");
  return type == at::kBFloat16 ? bfloat16 : type == at::kHalf ? float16 : std::nullopt;
}

/// Whether oneDNN takes products with x by weights in a layout of its own.
bool packable(const at::Tensor& x) {
  static const bool offered = at::hasMKLDNN() && there("mkldnn::_convolution_pointwise") &&
                              there("mkldnn::_reorder_convolution_weight") &&
                              there("mkldnn::_linear_pointwise") && there("mkldnn::_reorder_linear_weight");
  return offered && x.is_cpu() && x.numel() > 0 &&
         (x.scalar_type() == at::kFloat || has_instructions(x.scalar_type()).value_or(false));
}

/// Whether products of x's type are slow here: on a CPU without instructions for a half type, libtorch takes
/// them in plain loops. Then they are taken in float32, which has all values of the half types.
bool widens(const at::Tensor& x) {
  return x.is_cpu() && x.numel() > 0 && !has_instructions(x.scalar_type()).value_or(true);
}

/// The last arguments of oneDNN's products, to which nothing is joined.
auto no_scalars() { return c10::List<std::optional<at::Scalar>>(); }

c10::IValue optional(const at::Tensor& x) { return x.defined() ? c10::IValue(x) : c10::IValue(); }

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

struct kept_weight::state {
  std::mutex mutex;
  at::Tensor weight;
};

kept_weight::kept_weight(const at::Tensor& plain)
    : state_{std::make_shared<state>()}, format_{plain.suggest_memory_format()} {
  state_->weight = plain;
}

std::int64_t kept_weight::size(std::int64_t axis) const {
  const std::lock_guard lock(state_->mutex);
  return state_->weight.size(axis);
}

c10::ScalarType kept_weight::type() const {
  const std::lock_guard lock(state_->mutex);
  return state_->weight.scalar_type();
}

at::Tensor kept_weight::plain() const {
  const std::lock_guard lock(state_->mutex);
  auto& weight = state_->weight;
  if (weight.is_mkldnn()) weight = weight.to_dense().contiguous(format_);
  return weight;
}

at::Tensor kept_weight::packed(const std::function<at::Tensor(const at::Tensor&)>& pack) const {
  const std::lock_guard lock(state_->mutex);
  auto& weight = state_->weight;
  if (!weight.is_mkldnn()) weight = pack(weight);
  return weight;
}

linear::linear(const weights& w, std::int64_t in, std::int64_t out, bool with_bias)
    : weight_{w.take("weight", {out, in})} {
  if (with_bias) bias_ = w.take("bias", {out});
}

at::Tensor linear::operator()(const at::Tensor& x) const {
  const bool to_be_widened = x.scalar_type() == at::kFloat && at::isReducedFloatingType(weight_.type());
  if (packable(x) && !differentiated(x) && !to_be_widened) {
    const at::Tensor weight = weight_.packed([&](const at::Tensor& plain) {
      return call("mkldnn::_reorder_linear_weight", plain, x.numel() / plain.size(1));
    });
    return call("mkldnn::_linear_pointwise", x, weight, optional(bias_), "none", no_scalars(), "");
  }
  const at::Tensor weight = weight_.plain();
  if (!widens(x) && !to_be_widened) return at::linear(x, weight, bias_);
  if (differentiated(x)) return at::linear(wide(x), wide(weight), wide(bias_)).to(x.scalar_type());
  auto extents = x.sizes().vec();
  const at::Tensor y = product(wide(x).reshape({-1, extents.back()}), weight, bias_);
  extents.back() = out();
  return y.to(x.scalar_type()).view(extents);
}

conv2d::conv2d(const weights& w, std::int64_t in, std::int64_t out, const options& o)
    : weight_{w.take("weight", {out, in, o.kernel, o.kernel}, at::MemoryFormat::ChannelsLast)},
      stride_{o.stride}, padding_{o.padding} {
  if (o.bias) bias_ = w.take("bias", {out});
}

at::Tensor conv2d::operator()(const at::Tensor& x) const {
  if (packable(x) && !differentiated(x)) {
    const at::Tensor weight = weight_.packed([&](const at::Tensor& plain) {
      return call("mkldnn::_reorder_convolution_weight", plain, both(padding_), both(stride_), both(1), 1,
                  x.sizes().vec());
    });
    return call("mkldnn::_convolution_pointwise", x, weight, optional(bias_), both(padding_), both(stride_),
                both(1), 1, "none", no_scalars(), "");
  }
  const at::Tensor weight = weight_.plain();
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

rms_norm::rms_norm(const weights& w, std::int64_t width, double epsilon)
    : weight_{w.take("weight", {width})}, epsilon_{epsilon} {}

at::Tensor rms_norm::operator()(const at::Tensor& x) const {
  const at::Tensor y = at::isReducedFloatingType(x.scalar_type()) ? x.to(at::kFloat) : x;
  return weight_ * (y * at::rsqrt(y.square().mean(-1, true) + epsilon_)).to(weight_.scalar_type());
}

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, std::int64_t heads,
                     bool causal, const std::optional<at::Tensor>& bias, std::optional<double> scale) {
  const auto split = [&](const at::Tensor& x) {
    return x.view({x.size(0), x.size(1), heads, -1}).transpose(1, 2);
  };
  const at::Tensor mixed =
      forward_mode(q) || forward_mode(k) || forward_mode(v)
          ? std::get<0>(at::_scaled_dot_product_attention_math(split(q), split(k), split(v), bias, 0.0,
                                                               causal, {}, scale))
          : at::scaled_dot_product_attention(split(q), split(k), split(v), bias, 0.0, causal, scale);
  return mixed.transpose(1, 2).reshape({q.size(0), q.size(1), -1});
}

} // namespace pushforward::libtorch::models
