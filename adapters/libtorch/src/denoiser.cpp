#include <pushforward/libtorch/denoiser.hpp>

#include <ATen/ops/_make_dual.h>
#include <ATen/ops/_unpack_dual.h>
#include <ATen/ops/full.h>
#include <c10/core/AutogradState.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>
#include <utility>

namespace pushforward::libtorch {

namespace {

void require_compute_type(c10::ScalarType type) {
  if (type != at::kDouble && type != at::kFloat && type != at::kBFloat16 && type != at::kHalf)
    throw bad_option(std::string("compute type ") + c10::toString(type) +
                     ": use float32, bfloat16, float16 or float64");
}

/// f at x in the compute type, and back in x's own.
template <class Options, class F>
at::Tensor computed(const Options& options, const char* what, const at::Tensor& x, F f) {
  const at::Tensor output = f(x.to(options.device.value_or(x.device()), options.compute));
  if (!output.defined()) throw error(std::string(what) + " returned no tensor");
  return output.to(x.device(), x.scalar_type());
}

/// f at x, recorded, with x's own history cut off.
linearization<at::Tensor> linearized(const map& f, const char* what, const at::Tensor& x) {
  const c10::AutoGradMode record(true);
  const at::Tensor input = x.detach().requires_grad_(true);
  auto output = std::make_shared<at::Tensor>(f(input));
  if (!output->requires_grad())
    throw error(
        std::string(what) +
        " recorded nothing for autograd: run it without NoGradGuard, detach and InferenceMode, or use "
        "it forward only");
  at::Tensor value = output->detach();
  return {std::move(value), [input, output](const at::Tensor& w) {
            if (!output->defined())
              throw error(
                  "the graph of this linearization was used already: linearize again for a second product");
            const at::Tensor last = std::exchange(*output, at::Tensor());
            return torch::autograd::grad({last}, {input}, {w.detach().to(last.scalar_type())})
                .front()
                .to(w.scalar_type());
          }};
}

/// Holds libtorch's level of forward-mode differentiation for its lifetime. There is one for all threads.
class forward_level {
public:
  forward_level() : alone_{mutex()}, level_{torch::autograd::ForwardADLevel::get_next_idx()} {}
  ~forward_level() { torch::autograd::ForwardADLevel::release_idx(level_); }
  forward_level(const forward_level&) = delete;
  forward_level& operator=(const forward_level&) = delete;
  std::int64_t number() const { return static_cast<std::int64_t>(level_); }

private:
  static std::mutex& mutex() {
    static std::mutex m;
    return m;
  }

  std::lock_guard<std::mutex> alone_;
  std::uint64_t level_;
};

} // namespace

forward_denoiser::forward_denoiser(network f, denoiser_options options)
    : prediction{options.prediction}, options_{options} {
  if (f) {
    if (options.captured) f = libtorch::captured(std::move(f), *options.captured);
    const auto time_type = options.compute == at::kDouble ? at::kDouble : at::kFloat;
    network_ = [f = std::move(f), time_type](const at::Tensor& x, double time) {
      return f(x, at::full({x.size(0)}, time, x.options().dtype(time_type)));
    };
  }
  check();
}

forward_denoiser::forward_denoiser(network_of_number f, denoiser_options options)
    : prediction{options.prediction}, network_{std::move(f)}, options_{options} {
  if (options.captured)
    throw bad_option(
        "the network takes its time as a number, which a captured pass would keep: give one that "
        "takes it as a tensor, or leave captured out");
  check();
}

void forward_denoiser::check() const {
  if (!network_) throw bad_option("the denoiser has no network");
  require_compute_type(options_.compute);
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
  return computed(options_, "the network", x,
                  [&](const at::Tensor& input) { return network_(input, model_time); });
}

at::Tensor forward_denoiser::predict(const at::Tensor& x, double model_time) const {
  const c10::NoGradGuard no_grad;
  return run(x, model_time);
}

linearization<at::Tensor> differentiable_denoiser::linearize(const at::Tensor& x, double model_time) const {
  return linearized([&](const at::Tensor& input) { return run(input, model_time); }, "the network", x);
}

at::Tensor differentiable_denoiser::jvp(const at::Tensor& x, double model_time, const at::Tensor& v) const {
  const c10::NoGradGuard no_grad;
  const c10::AutoFwGradMode forward(true);
  try {
    const forward_level level;
    const at::Tensor output = run(at::_make_dual(x.detach(), v.detach(), level.number()), model_time);
    const at::Tensor tangent = std::get<1>(at::_unpack_dual(output, level.number()));
    if (!tangent.defined())
      throw error("the network's output does not depend on its input through operations that have a "
                  "forward-mode derivative; use inexact_newton, which takes a forward difference");
    return tangent.clone();
  } catch (const c10::Error& e) {
    throw error(
        std::string("this network has an operation without a forward-mode derivative; use inexact_newton, "
                    "which takes a forward difference (") +
        e.what_without_backtrace() + ")");
  }
}

forward_decoder::forward_decoder(map decode, map encode, decoder_options options)
    : decode_{std::move(decode)}, encode_{std::move(encode)}, options_{options} {
  if (!decode_) throw bad_option("the decoder has no function");
  require_compute_type(options_.compute);
}

at::Tensor forward_decoder::run(const map& f, const char* what, const at::Tensor& x) const {
  return computed(options_, what, x, f);
}

at::Tensor forward_decoder::decode(const at::Tensor& z) const {
  const c10::NoGradGuard no_grad;
  return run(decode_, "the decoder", z);
}

at::Tensor forward_decoder::encode(const at::Tensor& image) const {
  if (!encode_) throw error("this decoder was made without an encoder: give it one, or use decoder_vjp");
  const c10::NoGradGuard no_grad;
  return run(encode_, "the encoder", image);
}

linearization<at::Tensor> differentiable_decoder::linearize_decode(const at::Tensor& z) const {
  return linearized([&](const at::Tensor& input) { return run(decode_, "the decoder", input); },
                    "the decoder", z);
}

} // namespace pushforward::libtorch
