#pragma once
/// \file
/// DING: inpainting by a draw from a product of Gaussians, with the noise of a draft.

#include "common.hpp"

#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

namespace baselines {

struct ding_options {
  double deviation = 0.01; ///< of the pseudo-observation, relative to a'
};

/// DING, for masks (of pixels or latents). From t to t', with eta = s' (1 - a'), c = sqrt(s'^2 - eta^2) / s:
///
///     mu = a' x0 + c (x - a x0),    z = mu + eta xi                 a draft
///     y' = a' y + s' eps(z, t'),    known to (0.01 a')              the draft's own noise
///     x' ~ N(mu, eta^2), times N(y', (0.01 a')^2) where y is known
///
/// The last two times of the grid are left out and x0 is returned, so that N + 1 times take 2 (N - 2) + 1
/// passes. Draws 1, 2, ... of the seed: two a step. It looks at the model twice a step, and so is a loop of
/// its own.
template <tensor T, class Denoiser, class Path>
sample_result<T> ding(T x, const model<Denoiser, Path>& m, const std::vector<double>& times, const T& target,
                      const T& mask, const ding_options& o = {}, const sample_options& options = {}) {
  using traits = tensor_traits<T>;
  using net = estimator<T, Denoiser, Path>;
  if (times.size() < 4) throw bad_option("ding: a grid of at least four times is needed");
  const known_part<T> known(target, mask);
  const std::size_t steps = times.size() - 3;
  sample_result<T> result{x, ending::completed, {}, 0, {}};
  const net e(m, result.passes);
  noise_draws draw(options);
  for (std::size_t i = 0; i < steps; ++i) {
    const auto at = e.evaluate(std::move(x), times[i]);
    check_finite(at, options, i, 0);
    const auto next = m.path.at(times[i + 1]);
    const double eta = next.s * (1.0 - next.a);
    const auto w = weights_of_step(at.c, next, eta);
    const T mu = traits::combine(w.of_x0, at.x0, w.of_x, at.x);
    const auto draft = e.evaluate(traits::combine(1.0, mu, eta, draw(mu)), times[i + 1]);
    check_finite(draft, options, i, 1);
    const T observed = traits::combine(next.a, known.target(), next.s, net::noise_of(draft));

    const double prior = eta * eta, tau = o.deviation * next.a, observation = tau * tau;
    const double total = prior + observation;
    const T xi = draw(mu);
    T on_known = traits::combine(observation / total, mu, prior / total, observed);
    on_known = traits::combine(1.0, std::move(on_known), std::sqrt(prior * observation / total), xi);
    x = known.put(traits::combine(1.0, mu, eta, xi), std::move(on_known));
    ++result.steps;
  }
  auto last = e.evaluate(std::move(x), times[steps]);
  check_finite(last, options, steps, 0);
  result.x = std::move(last.x0);
  return result;
}

} // namespace baselines
