#pragma once
/// \file
/// FlowDPS: gradient steps on a flow's clean estimate, and noise of the flow and of a draw.

#include "common.hpp"

#include <pushforward/constraints/decoded.hpp>

#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

namespace baselines {

/// |B r| of r = y - A x, with B = A^+ or A^T, and its negative gradient A^T B^T B r / |B r|, which is A^+ r /
/// |A^+ r| for A^+, as A^+ A is a projection; 0 where the norm is. Refers to the constraint.
template <class Constraint> struct back_projected_norm {
  const Constraint& of;
  bool adjoint;
  std::size_t krylov;

  template <tensor T>
  requires least_squares_constraint<Constraint, T> constraint_value<T>
  operator()(const T& x, pass_counts& counts) const {
    using traits = tensor_traits<T>;
    const auto seen = of.least_squares(x, counts);
    T e = adjoint ? T(seen.value.error) : regularized_inverse<T>(seen, 0.0, krylov, counts);
    auto length = traits::square_root(traits::dot(e, e));
    if (adjoint) e = seen.adjoint(seen.apply(e, counts), counts);
    e = traits::scale(traits::ratio(1.0, length), std::move(e));
    return {std::move(length), std::move(e)};
  }
};

/// FlowDPS (Kim et al. 2025, arXiv 2503.08136), for flows and `flowdps_sampler`: with x = (1 - t) x0 + t eps,
///
///     z = x0, three times z -= rate grad_z |A^+ y - A^+ A D(z)|,    x0' = (1 - t) x0 + t z
///
/// with eps unchanged: the gradient of the norm, not of its square. D is the identity where the constraint is
/// on x itself; for decoded images hand over `by_pixels`. 1 pass a step, and 3 decoder passes forward and
/// backward. Published: 28 steps of a flow with shift 4, A^+ for super-resolution and A^T else; the rate is
/// that for latents of images of 768 x 768.
struct flowdps {
  double rate = 15.0;
  std::size_t iterations = 3;
  bool adjoint = false;    ///< A^T in place of A^+; the same for masks
  std::size_t krylov = 10; ///< for A^+, see `regularized_inverse`; 1 does where A A^T = c I
  static constexpr double tolerance = -1.0;

  void check() const { require_not_negative("flowdps: rate", rate); }
  template <class Constraint> back_projected_norm<Constraint> norm(const Constraint& c) const {
    return {c, adjoint, krylov};
  }

  template <tensor T> struct step {
    const flowdps& rule;
    T x0; ///< what the denoiser said

    template <class Constraint> look<T> look_at(const Constraint& c, const T& z, pass_counts& counts) const {
      if constexpr (requires { c.autoencoder(); })
        return {decoder_vjp{}(c.autoencoder(), rule.norm(c.constraint()), z, counts)};
      else
        return {rule.norm(c)(z, counts)};
    }
    template <forward_model Model>
    moved<T> move(const Model&, estimate<T> at, const look<T>& seen, std::size_t k,
                  const per_sample_t<T>* active) const {
      using traits = tensor_traits<T>;
      T d = traits::scale(rule.rate, T(seen.value.error));
      if (k + 1 == rule.iterations) { // z + d becomes a x0 + s (z + d)
        const T z = traits::combine(1.0, at.x0, 1.0, d);
        const T mixed = traits::combine(at.c.a, x0, at.c.s, z);
        d = traits::combine(1.0, mixed, -1.0, at.x0);
      }
      const double a = at.c.a;
      return shifted(std::move(at), std::move(d), a, active);
    }
  };
  /// \throws bad_option off the rectified flow path
  template <forward_model Model, class T = typename Model::tensor_type>
  step<T> at_step(const Model&, const estimate<T>& at) const {
    require_flow("flowdps", at.c);
    return {*this, at.x0};
  }
};

/// x' = (1 - t') x0' + t' (sqrt(t') eps + sqrt(1 - t') xi).
template <path Path> path_sampler flowdps_sampler(const Path& p, std::vector<double> times) {
  const auto grid = times;
  return path_sampler(p, std::move(times), [&](std::size_t i) {
    const double s = p.at(grid[i + 1]).s;
    return s * std::sqrt(1.0 - s);
  });
}

} // namespace baselines
