#pragma once
/// \file
/// FlowChef: gradient descent of a flow's x, with the Jacobian taken for the identity.

#include "common.hpp"

#include <cstddef>
#include <utility>

namespace baselines {

/// FlowChef (Patel et al. 2024), for flows and `rectified_flow_euler`: x += d with the velocity unchanged, so
/// that x0 and eps each move by d too, d = scale / M 2 A^T (y - A x0), the gradient of the mean square of M
/// measurements; not before the last step. 1 pass a step; 100 to 200 steps. The published scale is that for
/// images of 64 x 64 in 3 channels, M = 12288 for masks: scale / M is the rate.
struct flowchef {
  next_coefficients grid; ///< of the path and the sampler
  double scale = 500.0;
  double tolerance = -1.0;
  static constexpr std::size_t iterations = 1;

  void check() const { require_not_negative("flowchef: scale", scale); }

  template <forward_model Model>
  const flowchef& at_step(const Model&, const estimate<typename Model::tensor_type>&) const {
    return *this;
  }
  template <tensor T, least_squares_constraint<T> Constraint>
  auto look_at(const Constraint& c, const T& x0, pass_counts& counts) const {
    return c.least_squares(x0, counts);
  }
  template <forward_model Model, class Look, class T = typename Model::tensor_type>
  moved<T> move(const Model&, estimate<T> at, const Look& seen, std::size_t,
                const per_sample_t<T>* active) const {
    using traits = tensor_traits<T>;
    const auto measurements = static_cast<double>(traits::shape_of(seen.residual).sample_elements());
    const double rate = grid.is_last(at.t) ? 0.0 : 2.0 * scale / measurements;
    return shifted(std::move(at), traits::scale(rate, seen.value.error), 1.0, active);
  }
};

} // namespace baselines
