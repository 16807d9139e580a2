#pragma once
/// \file
/// DiffPIR: a proximal step on the clean estimate.

#include "common.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

namespace baselines {

/// DiffPIR (Zhu et al. 2023): with rho = lambda sigma_y^2 a^2 / s^2, at least `floor`,
///
///     x0' = argmin |y - A x|^2 + rho |x - x0|^2 = x0 + A^T (A A^T + rho)^-1 r,    eps' = (x - a x0') / s
///
/// and the sampler's step with a share zeta of eps' drawn anew: `diffpir_sampler`. 1 pass a step.
struct diffpir {
  double noise_level = 0.0; ///< sigma_y; that of the constraint is not looked at
  double lambda = 1.0;
  double floor = 1e-6;     ///< of rho
  std::size_t krylov = 10; ///< steps of conjugate gradients; 1 does where A A^T = c I
  double tolerance = -1.0;
  static constexpr std::size_t iterations = 1;

  void check() const {
    require_not_negative("diffpir: noise_level", noise_level);
    require_not_negative("diffpir: lambda", lambda);
    require_not_negative("diffpir: floor", floor);
  }
  double rho(const coefficients& c) const {
    const double level = noise_level * c.a / c.s;
    return std::max(lambda * level * level, floor);
  }

  template <forward_model Model>
  const diffpir& at_step(const Model&, const estimate<typename Model::tensor_type>&) const {
    return *this;
  }
  template <tensor T, least_squares_constraint<T> Constraint>
  auto look_at(const Constraint& c, const T& x0, pass_counts& counts) const {
    return c.least_squares(x0, counts);
  }
  template <forward_model Model, class Look, class T = typename Model::tensor_type>
  moved<T> move(const Model& m, estimate<T> at, const Look& seen, std::size_t,
                const per_sample_t<T>* active) const {
    T d = regularized_inverse<T>(seen, rho(at.c), krylov, m.counts());
    return shifted(std::move(at), std::move(d), 0.0, active);
  }
};

/// x' = a' x0 + s' (sqrt(1 - zeta) eps + sqrt(zeta) xi).
template <path Path>
path_sampler diffpir_sampler(const Path& p, std::vector<double> times, double zeta = 0.3) {
  const auto grid = times;
  return path_sampler(p, std::move(times),
                      [&](std::size_t i) { return std::sqrt(zeta) * p.at(grid[i + 1]).s; });
}

} // namespace baselines
