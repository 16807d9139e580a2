#pragma once
/// \file
/// PiGDM: pseudoinverse guidance, through the denoiser.

#include "common.hpp"

#include <cstddef>
#include <utility>

namespace baselines {

/// PiGDM (Song, Vahdat, Mardani and Kautz 2023): p(x0 | x) is taken for N(x0, r_t^2), r_t^2 = s^2 / (a^2 +
/// s^2), and
///
///     x0' = x0 + a J^T g,    g = r_t^2 A^T (r_t^2 A A^T + sigma_y^2)^-1 (y - A x0),   A^+ r without noise
///
/// with eps unchanged, as in the authors' code with its adaptive weight r_t^2. (Tweedie's formula has s^2 /
/// a^2 in place of that weight, and the noise of the moved estimate.) For DDIM; 1 pass and 1 backward pass a
/// step.
struct pigdm {
  static constexpr bool needs_vjp = true;
  double noise_level = 0.0; ///< sigma_y; that of the constraint is not looked at
  double weight = 1.0;      ///< of the guidance
  bool keeps_noise = true;  ///< false: the noise is that of the moved estimate
  std::size_t krylov = 10;  ///< steps of conjugate gradients for g; 1 does where A A^T = c I
  double tolerance = -1.0;
  static constexpr std::size_t iterations = 1;

  void check() const {
    require_not_negative("pigdm: noise_level", noise_level);
    require_not_negative("pigdm: weight", weight);
  }

  template <differentiable_model Model>
  const pigdm& at_step(const Model&, const estimate<typename Model::tensor_type>&) const {
    return *this;
  }
  template <tensor T, least_squares_constraint<T> Constraint>
  auto look_at(const Constraint& c, const T& x0, pass_counts& counts) const {
    return c.least_squares(x0, counts);
  }
  template <differentiable_model Model, class Look, class T = typename Model::tensor_type>
  moved<T> move(const Model& m, estimate<T> at, const Look& seen, std::size_t,
                const per_sample_t<T>* active) const {
    const double a = at.c.a, s = at.c.s, r_squared = s * s / (a * a + s * s);
    const T g = regularized_inverse<T>(seen, noise_level * noise_level / r_squared, krylov, m.counts());
    T d = tensor_traits<T>::scale(weight * a, m.vjp(at, g));
    return shifted(std::move(at), std::move(d), keeps_noise ? a : 0.0, active);
  }
};

} // namespace baselines
