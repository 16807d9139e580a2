#pragma once
/// \file
/// DDIM on the variance preserving path.

#include <pushforward/paths/variance_preserving.hpp>
#include <pushforward/samplers/path_sampler.hpp>

#include <cmath>
#include <string>

namespace pushforward {

/// Which noise a DDIM step adds.
enum class ddim_noise {
  eta,          ///< n^2 = eta^2 (1 - abar') / (1 - abar) (1 - abar / abar') (Song, Meng and Ermon 2021)
  one_step_beta ///< n^2 = beta_t (1 - abar') / (1 - abar), beta_t of the single step at t and not of the
                ///< stride: the reference's, close to deterministic
};

struct ddim_options {
  std::size_t steps = 20;
  double eta = 0.0; ///< in [0, 1]: 0 deterministic, 1 as DDPM; unused with one_step_beta
  ddim_noise noise = ddim_noise::eta;
  double start = 1.0; ///< see `time_grid_options`
};

/// \throws bad_option as `time_grid`, and for eta outside [0, 1]
inline path_sampler ddim(const variance_preserving& p, const ddim_options& options = {}) {
  if (!(options.eta >= 0.0 && options.eta <= 1.0))
    throw bad_option("eta is " + std::to_string(options.eta) + ", but must lie in [0, 1]");
  auto times = time_grid(p, {options.steps, options.start});
  const auto grid = times;
  return path_sampler(p, std::move(times), [&](std::size_t i) {
    const double now = p.alpha_bar(grid[i]), next = p.alpha_bar(grid[i + 1]);
    const double share = options.noise == ddim_noise::one_step_beta
                             ? p.beta(grid[i])
                             : options.eta * options.eta * (1.0 - now / next);
    return std::sqrt(share * (1.0 - next) / (1.0 - now));
  });
}

} // namespace pushforward
