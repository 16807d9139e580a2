#pragma once
/// \file
/// LanPaint 2.1: inpainting by Langevin moves at each time.

#include "common.hpp"

#include <cmath>
#include <cstddef>
#include <utility>

namespace baselines {

struct lanpaint_options {
  double lambda = 5.0;    ///< pull of the known part
  std::size_t inner = 5;  ///< K, of which round(K (1 - abar)) are taken at a time
  double step_size = 0.2; ///< dt = step_size (1 - abar)
};

/// LanPaint 2.1 (Zheng et al. 2025), from its formulas, for masks. In x / sqrt(a^2 + s^2), where abar = a^2 /
/// (a^2 + s^2): at each time the known part is re-noised, x = sqrt(abar) y + sqrt(1 - abar) xi, then
/// round(K (1 - abar)) moves of an Ornstein-Uhlenbeck process, with one pass each,
///
///     A = 1 / (1 - abar),  x0' = x0                                  unknown
///     A = (1 + lambda) / (1 - abar),  x0' = (1 + lambda) y - lambda x0   known
///     C = (sqrt(abar) x0' - x) / (1 - abar) + A x
///     x <- e^(-A dt) x + k C + sqrt(2 k2) xi,  k = (1 - e^(-A dt)) / A,  k2 = (1 - e^(-2 A dt)) / (2 A)
///
/// and the sampler's step from a last pass. Draws 1, 2, ... of the seed: one to re-noise, one a move, one a
/// step that asks for it. Nothing is pasted into the result.
template <tensor T, class Denoiser, class Path, class Sampler>
sample_result<T> lanpaint(T x, const model<Denoiser, Path>& m, const Sampler& s, const T& target,
                          const T& mask, const lanpaint_options& o = {}, const sample_options& options = {}) {
  using traits = tensor_traits<T>;
  require_not_negative("lanpaint: lambda", o.lambda);
  require_not_negative("lanpaint: step_size", o.step_size);
  const known_part<T> known(target, mask);
  sample_result<T> result{std::move(x), ending::completed, {}, 0, {}};
  const estimator<T, Denoiser, Path> e(m, result.passes);
  noise_draws draw(options);
  for (std::size_t i = 0; i < s.steps(); ++i) {
    const double t = s.time(i);
    const auto c = m.path.at(t);
    const double size = std::hypot(c.a, c.s), root = c.a / size, left = c.s * c.s / (size * size);
    const T xi = draw(result.x);
    x = known.put_noised(std::move(result.x), c, xi);

    // of either part: x + k (sqrt(abar) x0' - x) / (1 - abar) + sqrt(2 k2) xi, as e^(-A dt) + k A = 1; x here
    // is `size` times that of the formula
    const double dt = o.step_size * left;
    const auto moved_to = [&](const T& from, const T& x0, double pull, const T& z) {
      const double A = pull / left;
      const double k = -std::expm1(-A * dt) / A, noise = std::sqrt(-std::expm1(-2.0 * A * dt) / A);
      const T y = traits::combine(1.0 - k / left, from, k / left * root * size, x0);
      return traits::combine(1.0, y, noise * size, z);
    };
    const auto moves = std::llround(static_cast<double>(o.inner) * left);
    for (long long k = 0; k < moves; ++k) {
      const auto at = e.evaluate(std::move(x), t);
      check_finite(at, options, i, static_cast<std::size_t>(k));
      const T z = draw(at.x);
      const T reflected = traits::combine(1.0 + o.lambda, known.target(), -o.lambda, at.x0);
      x = known.put(moved_to(at.x, at.x0, 1.0, z), moved_to(at.x, reflected, 1.0 + o.lambda, z));
    }
    auto at = e.evaluate(std::move(x), t);
    check_finite(at, options, i, static_cast<std::size_t>(moves));
    result.x = s.step(i, std::move(at), draw);
    ++result.steps;
  }
  return result;
}

} // namespace baselines
