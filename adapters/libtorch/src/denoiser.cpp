#include <pushforward/libtorch/denoiser.hpp>

#include <ATen/ATen.h>
#include <c10/core/AutogradState.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <memory>
#include <string>

namespace pushforward::libtorch {

namespace {

/// f at x, recorded, with x's own history cut off.
linearization<at::Tensor> linearized(const map& f, const at::Tensor& x) {
  const c10::AutoGradMode record(true);
  const at::Tensor input = x.detach().requires_grad_(true);
  auto output = std::make_shared<at::Tensor>(f(input));
  if (!output->requires_grad())
    throw error(
        "the network's output does not depend on its input through operations that autograd records: run it "
        "without NoGradGuard, or use it as a forward-only model");
  at::Tensor value = output->detach();
  return {std::move(value), [input, output](const at::Tensor& w) {
            if (!output->defined())
              throw error(
                  "the graph of this linearization was used already: linearize again for a second product");
            const at::Tensor gradient =
                torch::autograd::grad({*output}, {input}, {w.to(output->scalar_type())})
                    .front()
                    .to(w.scalar_type());
            output->reset();
            return gradient;
          }};
}

/// Opens a level of forward-mode differentiation for its lifetime.
class forward_level {
public:
  forward_level() : level_{static_cast<std::uint64_t>(torch::autograd::ForwardADLevel::get_next_idx())} {}
  ~forward_level() { torch::autograd::ForwardADLevel::release_idx(level_); }
  forward_level(const forward_level&) = delete;
  forward_level& operator=(const forward_level&) = delete;
  std::int64_t number() const { return static_cast<std::int64_t>(level_); }

private:
  std::uint64_t level_;
};

} // namespace

forward_denoiser::forward_denoiser(network f, denoiser_options options)
    : prediction{options.prediction}, network_{std::move(f)}, options_{options} {
  if (!network_) throw bad_option("the denoiser has no network");
  switch (options_.compute) {
  case at::kDouble:
  case at::kFloat:
  case at::kBFloat16:
  case at::kHalf:
    break;
  default:
    throw bad_option(std::string("compute type ") + c10::toString(options_.compute) +
                     ": use float32, bfloat16, float16 or float64");
  }
}

double forward_denoiser::resolution() const {
  switch (options_.compute) {
  case at::kDouble:
    return std::numeric_limits<double>::epsilon();
  case at::kBFloat16:
    return 0x1p-7;
  case at::kHalf:
    return 0x1p-10;
  default:
    return static_cast<double>(std::numeric_limits<float>::epsilon());
  }
}

at::Tensor forward_denoiser::run(const at::Tensor& x, double model_time) const {
  const auto device = options_.device.value_or(x.device());
  const at::Tensor input = x.to(device, options_.compute);
  const at::Tensor time =
      at::full({x.size(0)}, model_time, at::TensorOptions().dtype(at::kFloat).device(device));
  return network_(input, time).to(x.device(), x.scalar_type());
}

at::Tensor forward_denoiser::predict(const at::Tensor& x, double model_time) const {
  const c10::NoGradGuard no_grad;
  return run(x, model_time);
}

linearization<at::Tensor> differentiable_denoiser::linearize(const at::Tensor& x, double model_time) const {
  return linearized([&](const at::Tensor& input) { return run(input, model_time); }, x);
}

at::Tensor differentiable_denoiser::jvp(const at::Tensor& x, double model_time, const at::Tensor& v) const {
  const c10::NoGradGuard no_grad;
  const c10::AutoFwGradMode forward(true);
  const forward_level level;
  try {
    const at::Tensor dual = at::_make_dual(x.detach(), v.detach(), level.number());
    const at::Tensor output = run(dual, model_time);
    const auto [value, tangent] = at::_unpack_dual(output, level.number());
    return tangent.defined() ? tangent.clone() : at::zeros_like(v);
  } catch (const c10::Error& e) {
    throw error(
        std::string("this network has an operation without a forward-mode derivative; use inexact_newton, "
                    "which takes a forward difference (") +
        e.what_without_backtrace() + ")");
  }
}

at::Tensor forward_decoder::decode(const at::Tensor& z) const {
  const c10::NoGradGuard no_grad;
  return decode_(z);
}

at::Tensor forward_decoder::encode(const at::Tensor& image) const {
  const c10::NoGradGuard no_grad;
  return encode_(image);
}

linearization<at::Tensor> differentiable_decoder::linearize_decode(const at::Tensor& z) const {
  return linearized(decode_, z);
}

} // namespace pushforward::libtorch
