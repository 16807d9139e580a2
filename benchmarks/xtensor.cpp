// The loop on xtensor's arrays beside plain loops on buffers that are made once, and the loop's cost as
// batches grow.

#include "overhead.hpp"

#include <pushforward/xtensor/tensor.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace {

using namespace benchmarks;
using tensor = pushforward::xtensor::tensor<float>;
using traits = pushforward::tensor_traits<tensor>;

const pushforward::shape latents{1, 4, 64, 64};

tensor start_of(const pushforward::shape& s) {
  const tensor like = traits::from_elements(tensor{}, s, std::vector<double>(s.elements()));
  return pushforward::standard_normal(like, {.seed = 1});
}

pushforward::masked<tensor> constraint_of(const pushforward::shape& s) {
  const tensor target = pushforward::standard_normal(start_of(s), {.seed = 2});
  return {target, traits::from_elements(target, s, setting::mask(s.elements()))};
}

/// The same run in plain loops, for one sample.
class hand_written {
public:
  explicit hand_written(const setting& s, const busy_work& work)
      : s_{s}, work_{work}, n_{latents.elements()}, x0_(n_), error_(n_), point_(n_), output_(n_) {
    const auto start = start_of(latents);
    const auto target = pushforward::standard_normal(start, {.seed = 2});
    start_.assign(start.begin(), start.end());
    target_.assign(target.begin(), target.end());
    for (double m : setting::mask(n_)) mask_.push_back(static_cast<float>(m));
  }

  const std::vector<float>& run() {
    x_ = start_;
    for (std::size_t i = 0; i < setting::steps; ++i) {
      const double t = s_.sampler.time(i);
      clean(x_, x0_, t);
      for (std::size_t k = 0; k < setting::iterations; ++k) {
        float size = 0.0F;
        for (std::size_t j = 0; j < n_; ++j) {
          error_[j] = mask_[j] * (target_[j] - x0_[j]);
          size = std::max(size, std::abs(error_[j]));
        }
        const auto h = static_cast<float>(setting::probe) / size;
        for (std::size_t j = 0; j < n_; ++j) point_[j] = x_[j] + h * error_[j];
        clean(point_, error_, t);
        float largest = 0.0F;
        for (std::size_t j = 0; j < n_; ++j) {
          error_[j] = (error_[j] - x0_[j]) / h;
          largest = std::max(largest, std::abs(error_[j]));
        }
        const float step = static_cast<float>(s_.rate.at(k, setting::iterations)) / largest;
        for (std::size_t j = 0; j < n_; ++j) x_[j] += step * error_[j];
        clean(x_, x0_, t);
      }
      const auto& w = s_.sampler.weights(i);
      for (std::size_t j = 0; j < n_; ++j)
        x_[j] = static_cast<float>(w.of_x0) * x0_[j] + static_cast<float>(w.of_x) * x_[j];
    }
    return x_;
  }

private:
  /// x0 of x, by one pass.
  void clean(const std::vector<float>& x, std::vector<float>& x0, double t) {
    work_.run();
    const auto factor = static_cast<float>(s_.factor(t));
    for (std::size_t j = 0; j < n_; ++j) output_[j] = factor * x[j];
    const auto c = s_.path.at(t);
    const auto of_x = static_cast<float>(1.0 / c.a), of_output = static_cast<float>(-c.s / c.a);
    for (std::size_t j = 0; j < n_; ++j) x0[j] = of_x * x[j] + of_output * output_[j];
  }

  const setting& s_;
  const busy_work& work_;
  std::size_t n_;
  std::vector<float> start_, target_, mask_, x_, x0_, error_, point_, output_;
};

void overhead_xtensor(benchmark::State& state) {
  const setting s;
  const busy_work work(1e-6 * static_cast<double>(state.range(0)));
  const auto start = start_of(latents);
  const auto constraint = constraint_of(latents);
  hand_written by_hand(s, work);
  {
    const auto mine = traits::elements(by_library(s, busy_work(0.0), start, constraint).x);
    const auto& hand = by_hand.run();
    if (!(largest_difference(mine, {hand.begin(), hand.end()}) < same_result))
      return state.SkipWithError("the two loops differ");
  }
  take_turns(
      state, [&] { benchmark::DoNotOptimize(by_library(s, work, start, constraint)); },
      [&] { benchmark::DoNotOptimize(by_hand.run().data()); });
  state.counters["heap_blocks_per_inner_iteration"] = heap_blocks_per_iteration(s, start, constraint);
}

/// The loop's own algebra, without a network, for batches of latents. Processor time for each sample.
void batch_xtensor(benchmark::State& state) {
  const setting s;
  const busy_work nothing(0.0);
  auto shape = latents;
  shape[0] = static_cast<std::size_t>(state.range(0));
  const auto start = start_of(shape);
  const auto constraint = constraint_of(shape);
  benchmark::DoNotOptimize(by_library(s, nothing, start, constraint));
  double used = 0.0;
  for (auto _ : state) {
    const double before = processor_seconds();
    benchmark::DoNotOptimize(by_library(s, nothing, start, constraint));
    const double taken = processor_seconds() - before;
    used += taken;
    state.SetIterationTime(taken);
  }
  state.counters["us_per_sample_and_inner_iteration"] =
      1e6 * used /
      (static_cast<double>(state.iterations()) *
       static_cast<double>(shape[0] * setting::steps * setting::iterations));
}

/// What an update rule costs beside its passes: the loop's algebra, without a network, in processor time for
/// each pass, and as a share of a pass of 5 ms. For latents of 1 x 4 x 64 x 64.
void rule_xtensor(benchmark::State& state, const auto& rule) {
  const setting s;
  const busy_work nothing(0.0);
  const busy_denoiser<tensor> denoiser{s, nothing};
  const auto start = start_of(latents);
  const auto constraint = constraint_of(latents);
  const auto run = [&] {
    return pushforward::sample(start, pushforward::model{denoiser, s.path}, s.sampler, constraint, rule)
        .passes.forward;
  };
  std::size_t passes = run();
  double used = 0.0;
  for (auto _ : state) {
    const double before = processor_seconds();
    benchmark::DoNotOptimize(passes = run());
    const double taken = processor_seconds() - before;
    used += taken;
    state.SetIterationTime(taken);
  }
  const double each = used / (static_cast<double>(state.iterations()) * static_cast<double>(passes));
  state.counters["us_a_pass"] = 1e6 * each;
  state.counters["percent_of_5_ms"] = 100.0 * each / 5e-3;
}

using pushforward::posterior_step;
BENCHMARK_CAPTURE(rule_xtensor, inexact_newton, pushforward::update{pushforward::inexact_newton{}})
    ->Name("rule/xtensor/inexact_newton")
    ->UseManualTime()
    ->Iterations(50);
BENCHMARK_CAPTURE(rule_xtensor, posterior_step, posterior_step{})
    ->Name("rule/xtensor/posterior_step")
    ->UseManualTime()
    ->Iterations(50);
BENCHMARK_CAPTURE(rule_xtensor, posterior_step_3, posterior_step{.krylov = 3})
    ->Name("rule/xtensor/posterior_step, 3 products")
    ->UseManualTime()
    ->Iterations(50);
BENCHMARK_CAPTURE(rule_xtensor, replaced, pushforward::with_replacement<posterior_step>{{}, 1e9})
    ->Name("rule/xtensor/posterior_step, replaced")
    ->UseManualTime()
    ->Iterations(50);
BENCHMARK(overhead_xtensor)
    ->Name("overhead/xtensor")
    ->ArgName("pass_us")
    ->Arg(0)
    ->UseManualTime()
    ->Iterations(50);
BENCHMARK(overhead_xtensor)
    ->Name("overhead/xtensor")
    ->ArgName("pass_us")
    ->Arg(5000)
    ->UseManualTime()
    ->Iterations(8);
BENCHMARK(batch_xtensor)
    ->Name("batch/xtensor")
    ->ArgName("samples")
    ->RangeMultiplier(2)
    ->Range(1, 64)
    ->UseManualTime()
    ->Iterations(4);

} // namespace
