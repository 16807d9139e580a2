#pragma once
/// \file
/// What `sample` costs beside the same loop written by hand: same passes, same numbers, side by side in one
/// run.

#include "clock.hpp"

#include <support/heap.hpp>

#include <pushforward/pushforward.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

namespace benchmarks {

/// Stands for a network's pass: keeps a core busy for a set processor time, going through 4 MiB of memory as
/// it does, so that nothing of the loop stays in the nearer caches.
class busy_work {
public:
  explicit busy_work(double seconds) : seconds_{seconds}, memory_(seconds > 0.0 ? 1U << 20U : 0U, 1.0F) {}

  void run() const {
    if (seconds_ <= 0.0) return;
    const double end = processor_seconds(CLOCK_THREAD_CPUTIME_ID) + seconds_;
    do {
      for (std::size_t i = 0; i < slice; ++i) {
        float& v = memory_[(at_ + i) % memory_.size()];
        v = 0.5F * v + 0.5F;
      }
      at_ = (at_ + slice) % memory_.size();
      benchmark::ClobberMemory();
    } while (processor_seconds(CLOCK_THREAD_CPUTIME_ID) < end);
  }

private:
  static constexpr std::size_t slice = 4096;
  double seconds_;
  mutable std::vector<float> memory_;
  mutable std::size_t at_ = 0;
};

/// The run that both loops take: half-masked latents of Stable Diffusion's size, DDIM, K inner iterations of
/// inexact Newton with the infinity-norm step. The "network" is the exact denoiser of a standard normal
/// prior, eps = s x / (a^2 + s^2), behind `busy_work`.
struct setting {
  static constexpr std::size_t steps = 4;
  static constexpr std::size_t iterations = 5;
  static constexpr double probe = 0.005;
  static constexpr std::size_t passes = steps * (1 + 2 * iterations);

  pushforward::variance_preserving path = pushforward::variance_preserving::linear();
  pushforward::path_sampler sampler = pushforward::ddim(path, {.steps = steps, .start = 0.5});
  pushforward::linear_decay rate{};

  double factor(double t) const {
    const auto c = path.at(t);
    return c.s / (c.a * c.a + c.s * c.s);
  }

  /// m in {0, 1}: the left half of each row of 64 is known.
  static std::vector<double> mask(std::size_t n) {
    std::vector<double> m(n);
    for (std::size_t i = 0; i < n; ++i) m[i] = i % 64 < 32 ? 1.0 : 0.0;
    return m;
  }
};

template <class T> struct busy_denoiser {
  const setting& s;
  const busy_work& work;
  pushforward::prediction_type prediction = pushforward::prediction_type::epsilon;

  T predict(const T& x, double t) const {
    work.run();
    return pushforward::tensor_traits<T>::scale(s.factor(t), x);
  }
};

/// One run of the library's loop.
template <class T, class Observer = pushforward::no_observer>
pushforward::sample_result<T> by_library(const setting& s, const busy_work& work, const T& start,
                                         const pushforward::masked<T>& constraint, Observer observer = {}) {
  using namespace pushforward;
  const busy_denoiser<T> denoiser{s, work};
  return sample(start, model{denoiser, s.path}, s.sampler, constraint,
                update{inexact_newton{s.probe}, infinity_norm{s.rate}, s.iterations}, {}, observer);
}

/// Blocks that the library's loop takes from the heap in inner iterations, from the second on, for each of
/// them.
template <class T>
double heap_blocks_per_iteration(const setting& s, const T& start, const pushforward::masked<T>& constraint) {
  using namespace pushforward;
  const busy_work nothing(0.0);
  std::size_t last = 0, blocks = 0, counted = 0;
  by_library(s, nothing, start, constraint, [&](const progress<T>& p) {
    const std::size_t now = testing_support::heap::blocks_taken();
    if (p.when == moment::iterated && p.step + p.iteration > 0) {
      blocks += now - last;
      ++counted;
    }
    last = testing_support::heap::blocks_taken();
  });
  return static_cast<double>(blocks) / static_cast<double>(counted);
}

/// Takes turns: the library's loop, then the one written by hand, then the other way round. Reports the
/// processor time of both. The argument is the time of a pass in microseconds.
template <class Library, class ByHand>
void take_turns(benchmark::State& state, Library library, ByHand by_hand) {
  double of_library = 0.0, of_hand = 0.0;
  bool library_first = true;
  const auto timed = [](auto& f) {
    const double start = processor_seconds();
    f();
    return processor_seconds() - start;
  };
  library();
  by_hand();
  for (auto _ : state) {
    double mine = 0.0;
    if (library_first) mine = timed(library);
    of_hand += timed(by_hand);
    if (!library_first) mine = timed(library);
    library_first = !library_first;
    of_library += mine;
    state.SetIterationTime(mine);
  }
  const double inner = static_cast<double>(state.iterations()) * setting::steps * setting::iterations;
  state.counters["ratio"] = of_library / of_hand;
  state.counters["us_per_inner_iteration"] = 1e6 * of_library / inner;
  state.counters["us_by_hand"] = 1e6 * of_hand / inner;
  state.counters["passes"] = static_cast<double>(setting::passes);
}

/// Largest difference of two results, for a check that both loops do the same.
inline double largest_difference(const std::vector<double>& x, const std::vector<double>& y) {
  double largest = x.size() == y.size() ? 0.0 : INFINITY;
  for (std::size_t i = 0; i < x.size() && i < y.size(); ++i)
    largest = std::max(largest, std::abs(x[i] - y[i]));
  return largest;
}

/// Both loops work in float, where a forward difference keeps three digits or so.
inline constexpr double same_result = 1e-2;

} // namespace benchmarks
