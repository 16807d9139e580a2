// The update policies on the trained MNIST networks: time, passes, memory and what is left of the error; and
// how time grows with the batch.

#include "networks.hpp"
#include "weights.hpp"

#include <support/heap.hpp>

#include <pushforward/libtorch/denoiser.hpp>
#include <pushforward/libtorch/tensor.hpp>
#include <pushforward/pushforward.hpp>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <exception>
#include <filesystem>

namespace {

using namespace pushforward;
using traits = tensor_traits<at::Tensor>;
namespace heap = testing_support::heap;

std::filesystem::path weights_file(const char* name) {
  return std::filesystem::path(PUSHFORWARD_MNIST_WEIGHTS) / name;
}

/// The networks, read at their first use.
struct pixel_model {
  mnist::unet unet{mnist::pixel_unet()};
  libtorch::network network = [this](const at::Tensor& x, const at::Tensor& time) { return unet(x, time); };
  libtorch::forward_denoiser forward{network};
  libtorch::differentiable_denoiser differentiable{network};
  variance_preserving path = variance_preserving::linear();

  pixel_model() { mnist::read_weights(weights_file("ddpm.safetensors"), unet.weights()); }
  static const pixel_model& get() {
    static const pixel_model m;
    return m;
  }
};

struct latent_model {
  mnist::unet unet{mnist::latent_unet()};
  mnist::vae vae;
  libtorch::network network = [this](const at::Tensor& x, const at::Tensor& time) { return unet(x, time); };
  libtorch::forward_denoiser forward{network};
  libtorch::differentiable_denoiser differentiable{network};
  libtorch::map decode = [this](const at::Tensor& z) { return vae.decode(z); };
  libtorch::map encode = [this](const at::Tensor& image) { return vae.encode(image); };
  libtorch::forward_decoder forward_decoder{decode, encode};
  libtorch::differentiable_decoder differentiable_decoder{decode, encode};
  variance_preserving path = variance_preserving::linear();

  latent_model() {
    mnist::read_weights(weights_file("latent_ddpm.safetensors"), unet.weights());
    mnist::read_weights(weights_file("vae.safetensors"), vae.weights());
  }
  static const latent_model& get() {
    static const latent_model m;
    return m;
  }
};

/// Digits that the pixel model draws by itself, whose left half is known.
struct task {
  at::Tensor target;
  at::Tensor mask;

  explicit task(std::int64_t samples) {
    const auto& m = pixel_model::get();
    const auto start = standard_normal(at::zeros({samples, 1, 32, 32}), {.seed = 1});
    target = sample(start, model{m.forward, m.path}, ddim(m.path, {.steps = 20}),
                    masked<at::Tensor>(start, start * 0), update{none{}}, {})
                 .x.clamp(-1.0, 1.0);
    mask = at::zeros_like(target);
    mask.narrow(3, 0, 16).fill_(1.0);
  }

  /// Root mean square of the known pixels' error.
  double error(const at::Tensor& image) const {
    return ((image - target) * mask).square().sum().div(mask.sum()).sqrt().item<double>();
  }
};

struct run_size {
  std::int64_t samples = 8;
  std::size_t steps = 20;
  std::size_t iterations = 5;
};

/// Times `run`, a function that returns a `sample_result` whose error `error_of` tells, and measures its
/// memory: the most bytes held at one time beyond those that were held before.
template <class Run, class Error>
void measure(benchmark::State& state, const run_size& size, std::size_t all_iterations, Run run,
             Error error_of) {
  run(); // libtorch keeps some memory from its first run
  std::size_t peak = 0;
  pass_counts passes;
  double error = 0.0;
  for (auto _ : state) {
    heap::forget_peak();
    const std::size_t before = heap::bytes_held();
    const auto result = run();
    peak = std::max(peak, heap::peak_bytes() - before);
    passes = result.passes;
    state.PauseTiming();
    error = error_of(result.x);
    state.ResumeTiming();
  }
  const double samples = static_cast<double>(size.samples);
  state.counters["forward"] = static_cast<double>(passes.forward) / samples;
  state.counters["backward"] = static_cast<double>(passes.backward) / samples;
  state.counters["forward_mode"] = static_cast<double>(passes.forward_mode) / samples;
  state.counters["decoder_forward"] = static_cast<double>(passes.decoder_forward) / samples;
  state.counters["decoder_backward"] = static_cast<double>(passes.decoder_backward) / samples;
  state.counters["encoder_forward"] = static_cast<double>(passes.encoder_forward) / samples;
  state.counters["peak_bytes"] = static_cast<double>(peak);
  state.counters["samples"] = samples;
  state.counters["inner_iterations"] = static_cast<double>(all_iterations);
  state.counters["rms_error"] = error;
}

template <class Denoiser, class Policy>
void pixel_policy(benchmark::State& state, Denoiser pixel_model::*denoiser, Policy policy, run_size size) {
  try {
    const auto& m = pixel_model::get();
    const task t(size.samples);
    const auto start = standard_normal(t.target, {.seed = 2});
    const masked<at::Tensor> constraint(t.target, t.mask);
    const auto sampler = ddim(m.path, {.steps = size.steps});
    const std::size_t inner = std::same_as<Policy, none> ? 0 : size.steps * size.iterations;
    measure(
        state, size, inner,
        [&] {
          return sample(start, model{m.*denoiser, m.path}, sampler, constraint,
                        update{policy, infinity_norm{}, size.iterations}, {});
        },
        [&](const at::Tensor& x) { return t.error(x); });
  } catch (const std::exception& e) {
    state.SkipWithError(e.what());
  }
}

/// The pixel constraint on latents: `constraint_of` pulls it back.
template <class Denoiser, class Policy, class Pullback>
void latent_policy(benchmark::State& state, Denoiser latent_model::*denoiser, Policy policy,
                   Pullback constraint_of, run_size size) {
  try {
    const auto& m = latent_model::get();
    const task t(size.samples);
    const auto start = standard_normal(at::zeros({size.samples, 4, 8, 8}), {.seed = 2});
    const auto constraint = constraint_of(m, masked<at::Tensor>(t.target, t.mask));
    const auto sampler = ddim(m.path, {.steps = size.steps});
    measure(
        state, size, size.steps * size.iterations,
        [&] {
          return sample(start, model{m.*denoiser, m.path}, sampler, constraint,
                        update{policy, infinity_norm{}, size.iterations}, {});
        },
        [&](const at::Tensor& z) { return t.error(m.forward_decoder.decode(z)); });
  } catch (const std::exception& e) {
    state.SkipWithError(e.what());
  }
}

const auto by_decoder_vjp = [](const latent_model& m, masked<at::Tensor> c) {
  return decoded(std::move(c), m.differentiable_decoder, decoder_vjp{});
};
const auto by_encoder_difference = [](const latent_model& m, masked<at::Tensor> c) {
  return vae_newton{}.constraint(std::move(c), m.forward_decoder);
};

/// Exact Newton takes 1032 passes an inner iteration: one sample and few of them are enough to time it.
constexpr run_size exact_size{1, 2, 1};

void batch_mnist(benchmark::State& state) {
  try {
    const auto& m = pixel_model::get();
    const run_size size{state.range(0), 2, 2};
    const auto start = standard_normal(at::zeros({size.samples, 1, 32, 32}), {.seed = 2});
    const auto mask = at::zeros_like(start);
    mask.narrow(3, 0, 16).fill_(1.0);
    const masked<at::Tensor> constraint(start.clamp(-1.0, 1.0), mask);
    const auto sampler = ddim(m.path, {.steps = size.steps});
    std::size_t passes = 0;
    for (auto _ : state)
      passes += sample(start, model{m.forward, m.path}, sampler, constraint,
                       update{inexact_newton{}, infinity_norm{}, size.iterations}, {})
                    .passes.forward;
    state.counters["s_per_pass"] = benchmark::Counter(
        static_cast<double>(passes), benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
  } catch (const std::exception& e) {
    state.SkipWithError(e.what());
  }
}

void configured(benchmark::internal::Benchmark* b) {
  b->Unit(benchmark::kMillisecond)->UseRealTime()->MeasureProcessCPUTime()->Iterations(1);
}

BENCHMARK_CAPTURE(pixel_policy, none, &pixel_model::forward, none{}, run_size{})->Apply(configured);
BENCHMARK_CAPTURE(pixel_policy, inexact_newton, &pixel_model::forward, inexact_newton{}, run_size{})
    ->Apply(configured);
BENCHMARK_CAPTURE(pixel_policy, gradient_descent, &pixel_model::differentiable, gradient_descent{},
                  run_size{})
    ->Apply(configured);
BENCHMARK_CAPTURE(pixel_policy, forward_mode_newton, &pixel_model::differentiable, forward_mode_newton{},
                  run_size{})
    ->Apply(configured);
BENCHMARK_CAPTURE(pixel_policy, exact_newton, &pixel_model::forward, exact_newton{}, exact_size)
    ->Apply(configured);
BENCHMARK_CAPTURE(latent_policy, inexact_newton_decoder_vjp, &latent_model::forward, inexact_newton{},
                  by_decoder_vjp, run_size{})
    ->Apply(configured);
BENCHMARK_CAPTURE(latent_policy, vae_newton, &latent_model::forward, vae_newton{}, by_encoder_difference,
                  run_size{})
    ->Apply(configured);
BENCHMARK_CAPTURE(latent_policy, gradient_descent_decoder_vjp, &latent_model::differentiable,
                  gradient_descent{}, by_decoder_vjp, run_size{})
    ->Apply(configured);
BENCHMARK(batch_mnist)
    ->Name("batch/mnist")
    ->ArgName("samples")
    ->RangeMultiplier(2)
    ->Range(1, 64)
    ->Apply(configured);

} // namespace
