#pragma once
/// \file
/// Euler's step on the variance exploding path, on Karras's time grid.

#include <pushforward/paths/variance_exploding.hpp>
#include <pushforward/samplers/path_sampler.hpp>

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace pushforward {

struct karras_options {
  std::size_t steps = 20;
  double renoise = 0.0; ///< share of the next time's noise that is drawn anew, in [0, 1]; 0 is Euler's step
  double start = 1.0;   ///< fraction of the way to noise where the grid starts, in (0, 1]
};

/// steps + 1 times: time_at of equal fractions from `start` to 0, which is the smallest sigma, and then 0
/// (Karras et al. 2022, equation 5).
/// \throws bad_option for no steps and a start outside (0, 1]
inline std::vector<double> karras_times(const variance_exploding& p, std::size_t steps, double start = 1.0) {
  if (steps == 0) throw bad_option("steps is 0: a sampler needs at least one step");
  if (!(start > 0.0 && start <= 1.0))
    throw bad_option("start is " + std::to_string(start) + ", but must lie in (0, 1]");
  std::vector<double> times;
  for (std::size_t i = 0; i < steps; ++i) {
    const double u = steps == 1 ? 1.0 : 1.0 - static_cast<double>(i) / static_cast<double>(steps - 1);
    times.push_back(u == 0.0 ? p.smallest() : p.time_at(start * u));
  }
  times.push_back(0.0);
  return times;
}

/// Euler's step on Karras's grid, or with part of the noise drawn anew.
/// \throws bad_option as `karras_times`, and for renoise outside [0, 1]
inline path_sampler karras_euler(const variance_exploding& p, const karras_options& options = {}) {
  if (!(options.renoise >= 0.0 && options.renoise <= 1.0))
    throw bad_option("renoise is " + std::to_string(options.renoise) + ", but must lie in [0, 1]");
  auto times = karras_times(p, options.steps, options.start);
  const auto grid = times;
  return path_sampler(p, std::move(times), [&](std::size_t i) { return options.renoise * grid[i + 1]; });
}

} // namespace pushforward
