#pragma once
/// \file
/// Inexact Newton: the direction is J e, by one forward pass.

#include <pushforward/concepts.hpp>

#include <cmath>
#include <string>

namespace pushforward {

/// d = J e by the forward difference (x0(x + h e) - x0(x)) / h, h = probe / max|e| (Graikos, Jojic and
/// Samaras 2025). One pass; no backward pass.
struct inexact_newton {
  double probe = 0.0; ///< 0: from the type the network computes in (0.005 in float32)

  void check() const {
    if (!(std::isfinite(probe) && probe >= 0.0))
      throw bad_option("inexact_newton: probe is " + std::to_string(probe) +
                       ", but must be positive, or 0 for automatic");
  }

  template <forward_model Model>
  auto direction(const Model& m, const estimate<typename Model::tensor_type>& at,
                 const typename Model::tensor_type& error) const {
    return m.jvp(at, error, probe);
  }
};

/// d = J e exactly, by forward-mode differentiation, for denoisers that have it.
struct forward_mode_newton {
  template <forward_mode_model Model>
  auto direction(const Model& m, const estimate<typename Model::tensor_type>& at,
                 const typename Model::tensor_type& error) const {
    return m.exact_jvp(at, error);
  }
};

} // namespace pushforward
