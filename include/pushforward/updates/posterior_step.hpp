#pragma once
/// \file
/// The posterior step: moves the clean estimate towards the mean of the posterior, by forward passes.

#include <pushforward/concepts.hpp>
#include <pushforward/constraints/least_squares.hpp>
#include <pushforward/update.hpp>

#include <cmath>
#include <cstddef>
#include <limits>
#include <optional>
#include <string>
#include <utility>

namespace pushforward {

namespace detail {

/// What a constraint without a least-squares problem says.
template <tensor T> using half_square_only = look<T>;

template <tensor T, class Constraint>
auto least_squares_look(const char* name, std::size_t krylov, const Constraint& c, const T& x0,
                        pass_counts& counts) {
  const auto need_one = [&](const char* why) {
    if (krylov > 1)
      throw bad_option(std::string(name) + ": krylov is " + std::to_string(krylov) + ", but " + why +
                       ": take 1 (docs/concepts/constraint.md)");
  };
  if constexpr (least_squares_constraint<Constraint, T>) {
    if constexpr (!decltype(c.least_squares(x0, counts))::exact_adjoint)
      need_one("this constraint's error is no A^T r");
    return c.least_squares(x0, counts);
  } else {
    need_one("this constraint has no least_squares(x0, counts)");
    if (!error_has_length<Constraint>())
      throw bad_option(std::string(name) +
                       ": the length of this constraint's error says nothing, and it has no "
                       "least_squares(x0, counts) to take it from "
                       "(docs/concepts/constraint.md)");
    return half_square_only<T>{evaluate(c, x0, counts)};
  }
}

/// Curvatures below this share of |w| |J w| count as not positive: what is left of them is the skew part of
/// J, or the error of the differences.
inline constexpr double least_cosine = 0.01;

/// c where it is a curvature to divide by, 0 where it is not.
template <tensor T>
per_sample_t<T> usable(const per_sample_t<T>& curvature, const per_sample_t<T>& w_squared,
                       const per_sample_t<T>& d_squared) {
  using traits = tensor_traits<T>;
  const auto least = traits::square_root(traits::multiply(w_squared, d_squared));
  const auto excess = traits::clamp(traits::combine(1.0, curvature, -least_cosine, least), 0.0,
                                    std::numeric_limits<double>::infinity());
  return traits::multiply(traits::ratio(excess, excess), curvature);
}

/// x0 + J A^T u and x + a J A^T u, where u is what `krylov` steps of conjugate gradients on
/// (A J A^T + lambda Sigma + delta I) u = r make of 0, and delta is `damping` times the Rayleigh quotient of
/// r. `product(at, w)` is J w. x moves with x0 where its noise (x - a x0) / s is to stay.
template <class Model, class Look, class Product, class T = typename Model::tensor_type>
moved<T> posterior_move(const Model& m, estimate<T> at, const Look& seen, std::size_t krylov, double damping,
                        bool keeps_noise, Product product, const per_sample_t<T>* active) {
  using traits = tensor_traits<T>;
  constexpr bool has_problem = least_squares_problem<Look, T>;
  const auto amount_of = [&](auto amount) {
    return active == nullptr ? amount : traits::multiply(std::move(amount), *active);
  };
  const T& e = seen.value.error;
  T d = product(at, e);
  T move = traits::zeros(d);
  if constexpr (!has_problem) {
    const auto& loss = seen.value.loss;
    const auto curvature = usable<T>(traits::combine(1.0 + damping, traits::dot(e, d), 0.0, loss),
                                     traits::dot(e, e), traits::dot(d, d));
    move = traits::scale(amount_of(traits::ratio(traits::combine(2.0, loss, 0.0, loss), curvature)),
                         std::move(d));
  } else if constexpr (!Look::exact_adjoint) {
    // e has no scale and is no gradient: the length that leaves the least of r. Of a noisy r the part that is
    // more than noise is taken, 2 loss of |r|^2.
    using space = residual_space<T>;
    const auto q = seen.apply(d, m.counts());
    const auto& loss = seen.value.loss;
    auto length = traits::ratio(space::dot(seen.residual, q), space::dot(q, q));
    if (seen.noisy())
      length = traits::multiply(std::move(length),
                                traits::square_root(traits::ratio(traits::combine(2.0, loss, 0.0, loss),
                                                                  space::dot(seen.residual, seen.residual))));
    move = traits::scale(
        amount_of(traits::clamp(std::move(length), 0.0, std::numeric_limits<double>::infinity())),
        std::move(d));
  } else {
    using space = residual_space<T>;
    const bool noisy = seen.noisy();
    const double lambda = noisy ? at.c.a / (at.c.s * at.c.s) : 0.0;
    const auto with_noise = [&](auto curvature, const auto& p) {
      return noisy ? traits::combine(1.0, std::move(curvature), lambda, space::dot(p, seen.covary(p)))
                   : curvature;
    };
    auto rho = space::dot(seen.residual, seen.residual);
    const auto first = traits::dot(e, d);
    const auto delta = traits::combine(damping, traits::ratio(first, rho), 0.0, rho);
    auto curvature = usable<T>(with_noise(traits::combine(1.0 + damping, first, 0.0, first), seen.residual),
                               traits::dot(e, e), traits::dot(d, d));
    auto alpha = amount_of(traits::ratio(rho, curvature));
    move = traits::scale(alpha, d);
    const auto first_move = krylov > 1 ? std::optional<T>{move} : std::nullopt;
    const auto start = rho;
    auto r = seen.residual;
    auto p = r;
    for (std::size_t j = 1; j < krylov; ++j) {
      auto q = space::combine(1.0, seen.apply(d, m.counts()), delta, p);
      if (noisy) q = space::combine(1.0, std::move(q), lambda, seen.covary(p));
      r = space::combine(1.0, std::move(r), traits::combine(-1.0, alpha, 0.0, alpha), q);
      auto next = space::dot(r, r);
      p = space::combine(traits::ratio(next, rho), std::move(p), 1.0, r);
      // where the iteration has ended, alpha is 0 and stays so
      const auto going = traits::ratio(alpha, alpha);
      const T w = seen.adjoint(p, m.counts());
      d = product(at, w);
      curvature = traits::combine(1.0, traits::dot(w, d), 1.0, traits::multiply(delta, space::dot(p, p)));
      curvature = usable<T>(with_noise(std::move(curvature), p), traits::dot(w, w), traits::dot(d, d));
      alpha = traits::multiply(traits::ratio(next, curvature), going);
      rho = std::move(next);
      move = traits::combine(1.0, std::move(move), alpha, d);
    }
    if (krylov > 1) {
      // of a J that is not symmetric, conjugate gradients may make more of r than there was: then the first
      // step
      const auto left = space::combine(1.0, seen.residual, -1.0, seen.apply(move, m.counts()));
      const auto gain = traits::clamp(traits::combine(1.0, start, -1.0, space::dot(left, left)), 0.0,
                                      std::numeric_limits<double>::infinity());
      const auto take = traits::ratio(gain, gain);
      move = traits::combine(take, std::move(move),
                             traits::combine(1.0, traits::fill(at.x0, 1.0), -1.0, take), *first_move);
    }
  }
  at.vjp = nullptr;
  at.x0 = traits::combine(1.0, std::move(at.x0), 1.0, move);
  if (keeps_noise) at.x = traits::combine(1.0, std::move(at.x), at.c.a, move);
  return {std::move(at), std::move(move)};
}

inline void check_posterior_step(const char* name, std::size_t krylov, double tolerance,
                                 std::optional<double> damping) {
  if (krylov == 0)
    throw bad_option(std::string(name) +
                     ": krylov is 0, but at least one step of conjugate gradients is needed");
  if (damping && !(std::isfinite(*damping) && *damping >= 0.0))
    throw bad_option(std::string(name) + ": damping is " + std::to_string(*damping) +
                     ", but must be 0 or positive");
  if (!std::isfinite(tolerance))
    throw bad_option(std::string(name) + ": tolerance is " + std::to_string(tolerance) +
                     ", but must be finite; negative for none");
}

} // namespace detail

/// The mean of the Gaussian that approximates p(x0 | x_t, y). By Tweedie's second identity the covariance of
/// p(x0 | x_t) is (s^2 / a) J, so that for y = A x0 + n, n ~ N(0, Sigma),
///
///     x0' = x0 + J A^T (A J A^T + lambda Sigma)^-1 r,    r = y - A x0,    lambda = a / s^2
///
/// solved by m steps of conjugate gradients, with J w by forward differences, as J is symmetric where the
/// identity holds. With m = 1 and no noise, x0' = x0 + |r|^2 / <e, J e> J e, e = A^T r.
///
/// The clean estimate is moved alone: its noise (x - a x0) / s stays what the denoiser said, and nothing is
/// evaluated again. So a time step costs 1 + m passes. There is no rate and no step size. (With `keeps_noise`
/// false the noise is that of x0': then many deterministic steps end in the very posterior of a Gaussian
/// prior. On trained networks, in few steps, it does worse.)
///
/// Per sample: a curvature that is not positive ends its iteration, and a residual of 0 leaves it as it is.
/// J of a trained network is neither quite symmetric nor positive: without damping m > 1 grows late on the
/// path. Where m steps would leave more of r than there was, the first of them is taken. A constraint that is
/// no `least_squares_constraint` must have loss = 1/2 |r|^2 and error = A^T r, and takes m = 1. Models
/// `update_rule`.
struct posterior_step {
  std::size_t krylov = 1; ///< m, steps of conjugate gradients: products with J a time step
  /// delta of (A J A^T + lambda Sigma + delta I), relative to <r, A J A^T r> / |r|^2; by default 0 for m = 1
  /// and 0.3 above
  std::optional<double> damping{};
  double probe = 0.0;      ///< of the forward differences; 0: from the compute type
  double tolerance = -1.0; ///< a sample whose loss is at or below this is left as it is; negative: none is
  bool keeps_noise = true; ///< false: x_t stays, so that the noise becomes that of the moved estimate
  static constexpr std::size_t iterations = 1;

  /// \throws bad_option
  void check() const {
    detail::check_posterior_step("posterior_step", krylov, tolerance, damping);
    if (!(std::isfinite(probe) && probe >= 0.0))
      throw bad_option("posterior_step: probe is " + std::to_string(probe) +
                       ", but must be positive, or 0 for automatic");
  }

  template <forward_model Model>
  const posterior_step& at_step(const Model&, const estimate<typename Model::tensor_type>&) const {
    return *this;
  }

  template <tensor T, class Constraint>
  auto look_at(const Constraint& c, const T& x0, pass_counts& counts) const {
    return detail::least_squares_look("posterior_step", krylov, c, x0, counts);
  }

  template <forward_model Model, class Look, class T = typename Model::tensor_type>
  moved<T> move(const Model& m, estimate<T> at, const Look& seen, std::size_t,
                const per_sample_t<T>* active) const {
    return detail::posterior_move(
        m, std::move(at), seen, krylov, damping.value_or(krylov > 1 ? 0.3 : 0.0), keeps_noise,
        [&](const estimate<T>& here, const T& w) { return m.jvp(here, w, probe); }, active);
  }
};

/// The posterior step with J^T w by backward passes in place of J w (the mean of TMPD, Boys et al. 2023, and
/// of PiGDM, Song et al. 2023, for another covariance): m passes and m backward passes a time step. For
/// comparison.
struct posterior_step_by_vjp {
  static constexpr bool needs_vjp = true;
  std::size_t krylov = 1;
  std::optional<double> damping{}; ///< see `posterior_step`
  double tolerance = -1.0;
  bool keeps_noise = true;
  static constexpr std::size_t iterations = 1;

  /// \throws bad_option
  void check() const { detail::check_posterior_step("posterior_step_by_vjp", krylov, tolerance, damping); }

  template <differentiable_model Model>
  const posterior_step_by_vjp& at_step(const Model&, const estimate<typename Model::tensor_type>&) const {
    return *this;
  }

  template <tensor T, class Constraint>
  auto look_at(const Constraint& c, const T& x0, pass_counts& counts) const {
    return detail::least_squares_look("posterior_step_by_vjp", krylov, c, x0, counts);
  }

  template <differentiable_model Model, class Look, class T = typename Model::tensor_type>
  moved<T> move(const Model& m, estimate<T> at, const Look& seen, std::size_t,
                const per_sample_t<T>* active) const {
    return detail::posterior_move(
        m, std::move(at), seen, krylov, damping.value_or(krylov > 1 ? 0.3 : 0.0), keeps_noise,
        [&, first = true](const estimate<T>& here, const T& w) mutable {
          // a linearization may serve once
          if (std::exchange(first, false)) return m.vjp(here, w);
          return m.vjp(estimate<T>{here.x, here.x0, here.t, here.c, {}}, w);
        },
        active);
  }
};

} // namespace pushforward
