#pragma once
/// \file
/// FLAIR: a mean that the flow's velocity and gradient steps on the measurement move in turn.

#include "common.hpp"

#include <pushforward/constraints/decoded.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace baselines {

struct flair_options {
  double rate = 0.1;      ///< of the gradient steps; published: 12 for super-resolution x12
  std::size_t inner = 15; ///< gradient steps a time, at most
  double enough = 1e-4;   ///< a sample takes none where |y - A D(mu)|^2 is less than this a measured value
  std::size_t krylov = 1; ///< for A^+, see `regularized_inverse`: a multiple of A^T where A A^T != c I

  void check() const {
    require_not_negative("flair: rate", rate);
    require_not_negative("flair: enough", enough);
  }
};

/// w(t): linear between the published values. The authors' code takes that of the nearest time in their
/// table.
inline double flair_weight(double t) {
  constexpr std::array<std::pair<double, double>, 11> table{{{0.0, 0.0},
                                                             {0.18, 0.132},
                                                             {0.27, 0.215},
                                                             {0.36, 0.301},
                                                             {0.45, 0.385},
                                                             {0.55, 0.462},
                                                             {0.64, 0.525},
                                                             {0.73, 0.566},
                                                             {0.82, 0.568},
                                                             {0.91, 0.480},
                                                             {1.0, 0.106}}};
  std::size_t i = 1;
  while (i + 1 < table.size() && table[i].first < t) ++i;
  const auto [from, low] = table[i - 1];
  const auto [to, high] = table[i];
  return low + (high - low) * (t - from) / (to - from);
}

/// Evenly from 1 to 0.18, both left out; published: 50 of them.
inline std::vector<double> flair_times(std::size_t steps) {
  std::vector<double> times;
  for (std::size_t i = 1; i <= steps; ++i)
    times.push_back(1.0 - (1.0 - 0.18) * static_cast<double>(i) / static_cast<double>(steps + 1));
  return times;
}

/// What FLAIR starts from: A^+ y, and how many values each sample's y has.
template <tensor T> struct flair_start {
  T mu;
  std::vector<double> measured;

  /// \param zeros like the images
  template <least_squares_constraint<T> Constraint>
  flair_start(const Constraint& c, const T& zeros, std::size_t krylov, pass_counts& counts) : mu{zeros} {
    using traits = tensor_traits<T>;
    const auto seen = c.least_squares(zeros, counts);
    mu = regularized_inverse<T>(seen, 0.0, krylov, counts);
    const T of_noise = seen.apply(standard_normal(zeros, {}), counts); // 0 where a mask is
    const auto values = traits::elements(of_noise);
    const auto each = static_cast<std::ptrdiff_t>(traits::shape_of(of_noise).sample_elements());
    for (auto first = values.begin(); first != values.end(); first += each)
      measured.push_back(static_cast<double>(each - std::count(first, first + each, 0.0)));
  }
};

/// FLAIR (Erbach et al. 2025, arXiv 2506.02680), for flows: x_t = (1 - t) x0 + t eps, velocity v = eps - x0.
/// mu starts at E(A^+ y); at each time t, with w = w(t) of `flair_weight`,
///
///     n' = (1 - t) n + sqrt(1 - (1 - t)^2) xi,    z = (1 - t) mu + t n'
///     n = z + (1 - t) v(z, t)                                        1 pass
///     mu = (1 - w) mu + w (n' - v)
///     up to 15 times mu -= rate grad_mu w |y - A D(mu)|^2
///
/// and mu is returned. The gradient is that of the sum of squares: 2 w J_D^T A^T (A D(mu) - y). A sample
/// takes no more steps at t once |y - A D(mu)|^2 < 1e-4 a measured value, those of a mask being the known
/// ones. Each look at the gradient is a decoder pass forward and one backward of the whole batch, until all
/// are met.
///
/// D and E are the identity where the constraint is on x itself. For decoded images hand over `by_pixels`:
/// the start takes an encoder pass then, and a decoder pass, for the shape of the images. A^+ y is by
/// conjugate gradients, of which one step is exact where A A^T = c I and else gives A^T y but for its length:
/// A^T y is the published start for blur. Noise is draws 1, 2, ... of the seed: one a time.
///
/// \param n     the start, standard normal noise (N, ...)
/// \param times those of `flair_times`; the path's shift is not looked at
/// \param c     a least-squares constraint on x, or `by_pixels`
/// \throws bad_option for no times, bad options, and off the rectified flow path
/// \throws not_finite
template <tensor T, class Denoiser, class Path, class Constraint>
sample_result<T> flair(T n, const model<Denoiser, Path>& m, const std::vector<double>& times,
                       const Constraint& c, const flair_options& o = {}, const sample_options& options = {}) {
  using traits = tensor_traits<T>;
  using net = estimator<T, Denoiser, Path>;
  constexpr bool latent = requires { c.autoencoder(); };
  o.check();
  if (times.empty()) throw bad_option("flair: a grid of at least one time is needed");
  for (const double t : times) {
    require_flow("flair", m.path.at(t));
    if (!(t > 0.0)) throw bad_option("flair: the grid has time 0, but there is no noise at it");
  }
  sample_result<T> result{n, ending::completed, {}, 0, {}};
  pass_counts& counts = result.passes;
  const net e(m, counts);
  const std::size_t samples = traits::shape_of(n).samples();
  noise_draws draw(options);

  auto [mu, measured] = [&] {
    if constexpr (latent) {
      flair_start<T> start(c.constraint(), traits::zeros(c.autoencoder().decode(n)), o.krylov, counts);
      start.mu = c.autoencoder().encode(start.mu);
      counts.decoder_forward += samples;
      counts.encoder_forward += samples;
      return start;
    } else {
      return flair_start<T>(c, traits::zeros(n), o.krylov, counts);
    }
  }();
  const auto look = [&](const T& x) {
    if constexpr (latent)
      return decoder_vjp{}.least_squares(c.autoencoder(), c.constraint(), x, counts);
    else
      return c.least_squares(x, counts);
  };

  for (const double t : times) {
    const double a = 1.0 - t, w = flair_weight(t);
    n = traits::combine(a, std::move(n), std::sqrt(1.0 - a * a), draw(mu));
    const auto at = e.evaluate(traits::combine(a, mu, t, n), t);
    check_finite(at, options, result.steps, 0);
    T eps = net::noise_of(at);
    const T v = traits::combine(1.0, eps, -1.0, at.x0);
    mu = traits::combine(1.0 - w, std::move(mu), w, traits::combine(1.0, std::move(n), -1.0, v));
    n = std::move(eps);

    for (std::size_t k = 0; k < o.inner; ++k) {
      const auto seen = look(mu);
      auto rates = traits::values(traits::dot(seen.residual, seen.residual));
      for (std::size_t j = 0; j < samples; ++j)
        rates[j] = rates[j] < o.enough * measured[j] ? 0.0 : 2.0 * w * o.rate;
      if (std::count(rates.begin(), rates.end(), 0.0) == static_cast<std::ptrdiff_t>(samples)) break;
      mu = traits::combine(1.0, std::move(mu), traits::from_values(mu, rates), seen.value.error);
    }
    if (options.check != finite_check::off && !traits::all_finite(mu))
      throw not_finite("clean estimate", result.steps, 1);
    ++result.steps;
  }
  result.x = std::move(mu);
  return result;
}

} // namespace baselines
