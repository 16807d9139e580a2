#pragma once
/// \file
/// Gradient descent: the direction is J^T e, by one backward pass.

#include <pushforward/concepts.hpp>

namespace pushforward {

/// d = J^T e, the gradient of the loss in x_t with its sign turned (as DPS and PSLD do). Needs a denoiser
/// that can run backward, and the memory for it.
struct gradient_descent {
  static constexpr bool needs_vjp = true;

  template <differentiable_model Model>
  auto direction(const Model& m, const estimate<typename Model::tensor_type>& at,
                 const typename Model::tensor_type& error) const {
    return m.vjp(at, error);
  }
};

} // namespace pushforward
