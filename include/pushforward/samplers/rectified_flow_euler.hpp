#pragma once
/// \file
/// Euler's step on the rectified flow path.

#include <pushforward/paths/rectified_flow.hpp>
#include <pushforward/samplers/path_sampler.hpp>

#include <string>

namespace pushforward {

struct rectified_flow_euler_options {
  std::size_t steps = 20;
  double renoise = 0.0; ///< share of the next time's noise that is drawn anew, in [0, 1]; 0 is Euler's step
  double start = 1.0;   ///< see `time_grid_options`
};

/// \throws bad_option as `time_grid`, and for renoise outside [0, 1]
inline path_sampler rectified_flow_euler(const rectified_flow& p,
                                         const rectified_flow_euler_options& options = {}) {
  if (!(options.renoise >= 0.0 && options.renoise <= 1.0))
    throw bad_option("renoise is " + std::to_string(options.renoise) + ", but must lie in [0, 1]");
  auto times = time_grid(p, {options.steps, options.start});
  const auto grid = times;
  return path_sampler(p, std::move(times),
                      [&](std::size_t i) { return options.renoise * p.at(grid[i + 1]).s; });
}

} // namespace pushforward
