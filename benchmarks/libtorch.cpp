// The loop on libtorch's tensors beside the same loop written with libtorch's own operations.

#include "overhead.hpp"

#include <pushforward/libtorch/tensor.hpp>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <benchmark/benchmark.h>

#include <vector>

namespace {

using namespace benchmarks;
using traits = pushforward::tensor_traits<at::Tensor>;

struct problem {
  at::Tensor start = pushforward::standard_normal(at::zeros({1, 4, 64, 64}), {.seed = 1});
  at::Tensor target = pushforward::standard_normal(start, {.seed = 2});
  at::Tensor mask = traits::from_elements(start, traits::shape_of(start), setting::mask(4 * 64 * 64));
};

/// The same run as one would write it with libtorch.
at::Tensor by_hand(const setting& s, const busy_work& work, const problem& p) {
  const c10::NoGradGuard no_grad;
  const auto clean = [&](const at::Tensor& x, double t) {
    work.run();
    const at::Tensor output = x * s.factor(t);
    const auto c = s.path.at(t);
    return (x - output * c.s) / c.a;
  };
  at::Tensor x = p.start;
  for (std::size_t i = 0; i < setting::steps; ++i) {
    const double t = s.sampler.time(i);
    at::Tensor x0 = clean(x, t);
    for (std::size_t k = 0; k < setting::iterations; ++k) {
      const at::Tensor error = p.mask * (p.target - x0);
      const at::Tensor h = setting::probe / error.abs().amax({1, 2, 3}, true);
      const at::Tensor direction = (clean(x + h * error, t) - x0) / h;
      const at::Tensor step = s.rate.at(k, setting::iterations) / direction.abs().amax({1, 2, 3}, true);
      x = x + step * direction;
      x0 = clean(x, t);
    }
    const auto& w = s.sampler.weights(i);
    x = w.of_x0 * x0 + w.of_x * x;
  }
  return x;
}

void overhead_libtorch(benchmark::State& state) {
  const setting s;
  const busy_work work(1e-6 * static_cast<double>(state.range(0))), nothing(0.0);
  const problem p;
  const pushforward::masked<at::Tensor> constraint(p.target, p.mask);
  const auto mine = traits::elements(by_library(s, nothing, p.start, constraint).x);
  if (!(largest_difference(mine, traits::elements(by_hand(s, nothing, p))) < same_result))
    return state.SkipWithError("the two loops differ");
  take_turns(
      state, [&] { benchmark::DoNotOptimize(by_library(s, work, p.start, constraint)); },
      [&] { benchmark::DoNotOptimize(by_hand(s, work, p)); });
  state.counters["heap_blocks_per_inner_iteration"] = heap_blocks_per_iteration(s, p.start, constraint);
}

BENCHMARK(overhead_libtorch)
    ->Name("overhead/libtorch")
    ->ArgName("pass_us")
    ->Arg(0)
    ->UseManualTime()
    ->Iterations(50);
BENCHMARK(overhead_libtorch)
    ->Name("overhead/libtorch")
    ->ArgName("pass_us")
    ->Arg(5000)
    ->UseManualTime()
    ->Iterations(8);

} // namespace
