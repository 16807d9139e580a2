#pragma once
/// \file
/// DPS: gradient descent through the denoiser, after the step.

#include "common.hpp"

#include <cstddef>
#include <utility>

namespace baselines {

/// DPS (Chung et al. 2023): x' -= scale * gradient of |y - A x0(x)| in x, that is x' += scale J^T A^T r /
/// |r|, after DDPM's step, `ddim` with eta 1. 1 pass and 1 backward pass a step; 1000 steps; scale 0.3 for
/// super-resolution and blur, 0.5 for inpainting. Here x0 moves by 1 / a' of that and x with it, which comes
/// to the same.
struct dps {
  static constexpr bool needs_vjp = true;
  next_coefficients grid; ///< of the path and the sampler
  double scale = 0.3;
  double tolerance = -1.0;
  static constexpr std::size_t iterations = 1;

  void check() const { require_not_negative("dps: scale", scale); }

  template <differentiable_model Model>
  const dps& at_step(const Model&, const estimate<typename Model::tensor_type>&) const {
    return *this;
  }
  template <tensor T, least_squares_constraint<T> Constraint>
  auto look_at(const Constraint& c, const T& x0, pass_counts& counts) const {
    return c.least_squares(x0, counts);
  }
  template <differentiable_model Model, class Look, class T = typename Model::tensor_type>
  moved<T> move(const Model& m, estimate<T> at, const Look& seen, std::size_t,
                const per_sample_t<T>* active) const {
    const double rate = scale / grid.after(at.t).a, a = at.c.a;
    T d = tensor_traits<T>::scale(rate, m.vjp(at, descent_of_norm<T>(seen)));
    return shifted(std::move(at), std::move(d), a, active);
  }
};

} // namespace baselines
