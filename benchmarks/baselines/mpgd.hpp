#pragma once
/// \file
/// MPGD: gradient descent of the clean estimate.

#include "common.hpp"

#include <cstddef>
#include <utility>

namespace baselines {

/// MPGD without an autoencoder (He et al. 2024): x0 += scale / a' A^T r / |r|, the gradient of the norm
/// |y - A x0|, with eps unchanged; DDIM with eta 0.5. 1 pass a step; scale 17.5, 7.5 and 4 for 20, 50 and 100
/// steps.
struct mpgd {
  next_coefficients grid; ///< of the path and the sampler
  double scale = 17.5;
  double tolerance = -1.0;
  static constexpr std::size_t iterations = 1;

  void check() const { require_not_negative("mpgd: scale", scale); }

  template <forward_model Model>
  const mpgd& at_step(const Model&, const estimate<typename Model::tensor_type>&) const {
    return *this;
  }
  template <tensor T, least_squares_constraint<T> Constraint>
  auto look_at(const Constraint& c, const T& x0, pass_counts& counts) const {
    return c.least_squares(x0, counts);
  }
  template <forward_model Model, class Look, class T = typename Model::tensor_type>
  moved<T> move(const Model&, estimate<T> at, const Look& seen, std::size_t,
                const per_sample_t<T>* active) const {
    const double rate = scale / grid.after(at.t).a, a = at.c.a;
    return shifted(std::move(at), tensor_traits<T>::scale(rate, descent_of_norm<T>(seen)), a, active);
  }
};

} // namespace baselines
