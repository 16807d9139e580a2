#pragma once
/// \file
/// One step for every path, and the time grid it walks along.

#include <pushforward/concepts.hpp>

#include <cmath>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace pushforward {

/// Where a grid starts and in how many steps it reaches the clean end.
struct time_grid_options {
  std::size_t steps = 20;
  double start = 1.0; ///< fraction of the way to noise where the grid starts, in (0, 1]
};

/// steps + 1 times, equally spaced in the path's own fraction: time_at(start (1 - i / steps)).
/// \throws bad_option for no steps, a start outside (0, 1], or more steps than the path has distinct times
template <path Path> std::vector<double> time_grid(const Path& p, const time_grid_options& options) {
  if (options.steps == 0) throw bad_option("steps is 0: a sampler needs at least one step");
  if (!(options.start > 0.0 && options.start <= 1.0))
    throw bad_option("start is " + detail::text_of(options.start) + ", but must lie in (0, 1]");
  std::vector<double> times;
  times.reserve(options.steps + 1);
  for (std::size_t i = 0; i <= options.steps; ++i) {
    const double left = static_cast<double>(options.steps - i) / static_cast<double>(options.steps);
    times.push_back(p.time_at(options.start * left));
    if (i > 0 && !(times[i] < times[i - 1]))
      throw bad_option(
          "steps is " + std::to_string(options.steps) + " and start " + detail::text_of(options.start) +
          ", but the path does not have so many distinct times: use fewer steps or a larger start");
  }
  return times;
}

/// x' = of_x0 x0 + of_x x + of_noise z.
struct step_weights {
  double of_x0 = 1.0;
  double of_x = 0.0;
  double of_noise = 0.0;
};

/// The step from (a, s) to (b, b_s) that replaces noise of size n by new noise:
/// x' = b x0 + sqrt(b_s^2 - n^2) eps + n z, with eps = (x - a x0) / s.
/// n = 0 is DDIM's deterministic step on the variance preserving path and Euler's on the rectified path.
/// \throws bad_option for n outside [0, b_s]
inline step_weights weights_of_step(const coefficients& now, const coefficients& next, double n = 0.0) {
  if (!(n >= 0.0 && n <= next.s * (1.0 + 1e-12)))
    throw bad_option("the step adds noise of size " + std::to_string(n) + ", but the next time holds only " +
                     std::to_string(next.s));
  const auto eps = epsilon_of(now);
  const double kept = std::sqrt(std::max(next.s * next.s - n * n, 0.0));
  return {next.a + kept * eps.of_x0, kept * eps.of_x, n};
}

/// A time grid with the weights of its steps. Made by `ddim` and `rectified_flow_euler`, or from any times
/// and noise sizes.
class path_sampler {
public:
  /// \param noise_size noise_size(i) is the n of the step from times[i] to times[i + 1]
  template <path Path, class NoiseSize>
  path_sampler(const Path& p, std::vector<double> times, NoiseSize noise_size) : times_{std::move(times)} {
    if (times_.size() < 2) throw bad_option("a time grid needs at least two times");
    weights_.reserve(steps());
    for (std::size_t i = 0; i < steps(); ++i) {
      if (!(times_[i + 1] < times_[i])) throw bad_option("the times of a grid must decrease");
      weights_.push_back(weights_of_step(p.at(times_[i]), p.at(times_[i + 1]), noise_size(i)));
    }
  }

  std::size_t steps() const noexcept { return times_.size() - 1; }
  /// i from 0 to steps().
  double time(std::size_t i) const { return times_.at(i); }
  const step_weights& weights(std::size_t i) const { return weights_.at(i); }

  template <tensor T, class Noise> T step(std::size_t i, estimate<T> at, Noise&& noise) const {
    const auto& w = weights_.at(i);
    T next = tensor_traits<T>::combine(w.of_x0, std::move(at.x0), w.of_x, at.x);
    if (w.of_noise == 0.0) return next;
    const T z = noise(next);
    return tensor_traits<T>::combine(1.0, std::move(next), w.of_noise, z);
  }

private:
  std::vector<double> times_;
  std::vector<step_weights> weights_;
};

} // namespace pushforward
