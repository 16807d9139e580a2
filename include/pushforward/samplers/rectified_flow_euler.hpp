#pragma once
/// \file
/// Euler's step on the rectified flow path.

#include <pushforward/paths/rectified_flow.hpp>
#include <pushforward/samplers/path_sampler.hpp>

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace pushforward {

/// Which times the steps walk along.
enum class flow_grid {
  even,         ///< equal fractions of the way, bent by the path's shift: `time_grid`
  shifted_twice ///< as published for Stable Diffusion 3: `twice_shifted_times`
};

struct rectified_flow_euler_options {
  std::size_t steps = 20;
  double renoise = 0.0; ///< share of the next time's noise that is drawn anew, in [0, 1]; 0 is Euler's step
  double start = 1.0;   ///< see `time_grid_options`
  flow_grid grid = flow_grid::even;
};

/// The grid of Stable Diffusion 3's own sampler and of `diffusers`' FlowMatchEulerDiscreteScheduler: with f
/// the path's `time_at`, f of equal steps from `start` to f(1 / trained), and then 0. The lower end is
/// shifted twice, which shorter grids than the trained one were not meant to do; published pictures are made
/// so.
/// \param trained number of times that the network was trained on
/// \throws bad_option for no steps, a start outside (f(1 / trained), 1], more than `trained` steps
inline std::vector<double> twice_shifted_times(const rectified_flow& p, std::size_t steps, double start = 1.0,
                                               std::size_t trained = 1000) {
  if (steps == 0) throw bad_option("steps is 0: a sampler needs at least one step");
  if (trained == 0 || steps > trained)
    throw bad_option("steps is " + std::to_string(steps) + ", but the network was trained on " +
                     std::to_string(trained) + " times");
  const double least = p.time_at(1.0 / static_cast<double>(trained));
  if (!(start > least && start <= 1.0))
    throw bad_option("start is " + detail::text_of(start) + ", but must lie above " + detail::text_of(least) +
                     ", where the grid ends, and be at most 1");
  std::vector<double> times;
  for (std::size_t i = 0; i < steps; ++i) {
    const double gone = steps == 1 ? 0.0 : static_cast<double>(i) / static_cast<double>(steps - 1);
    times.push_back(p.time_at(start + (least - start) * gone));
  }
  times.push_back(0.0);
  return times;
}

/// \throws bad_option as the grid, and for renoise outside [0, 1]
inline path_sampler rectified_flow_euler(const rectified_flow& p,
                                         const rectified_flow_euler_options& options = {}) {
  if (!(options.renoise >= 0.0 && options.renoise <= 1.0))
    throw bad_option("renoise is " + std::to_string(options.renoise) + ", but must lie in [0, 1]");
  auto times = options.grid == flow_grid::even ? time_grid(p, {options.steps, options.start})
                                               : twice_shifted_times(p, options.steps, options.start);
  const auto grid = times;
  return path_sampler(p, std::move(times),
                      [&](std::size_t i) { return options.renoise * p.at(grid[i + 1]).s; });
}

} // namespace pushforward
