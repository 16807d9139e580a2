#pragma once
/// \file
/// One readable compile-time message for each missing member. `sample` asks these before anything else, so
/// that the first error of a wrong call names what is missing and where to read about it.

#include <pushforward/concepts.hpp>
#include <pushforward/estimate.hpp>
#include <pushforward/guidance.hpp>
#include <pushforward/updates/none.hpp>

#include <concepts>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

namespace pushforward::detail {

template <class T> constexpr bool check_tensor() {
  using traits = tensor_traits<T>;
  constexpr bool specialised = requires { sizeof(traits); };
  static_assert(specialised,
                "pushforward: no tensor_traits for this tensor type: include an adapter's header, or "
                "specialise it (docs/writing-an-adapter.md)");
  if constexpr (specialised) {
    constexpr bool has_scalars = requires { typename traits::per_sample; };
    static_assert(has_scalars,
                  "pushforward: tensor_traits has no type `per_sample` (docs/concepts/tensor.md)");
    if constexpr (has_scalars) {
      using P = typename traits::per_sample;
      using two_halves = std::pair<T, T>;
#define PUSHFORWARD_REQUIRE(expression, message)                                                             \
  static_assert(                                                                                             \
      requires(const T& x, T moved, const P& p, double c, const shape& s, std::span<const double> values) {  \
        expression;                                                                                          \
      },                                                                                                     \
      "pushforward: tensor_traits has no " message " (docs/concepts/tensor.md)")
      PUSHFORWARD_REQUIRE({ traits::shape_of(x) } -> std::same_as<shape>,
                          "`shape_of(x)` that returns a pushforward::shape");
      PUSHFORWARD_REQUIRE({ traits::zeros(x) } -> std::same_as<T>, "`zeros(x)`");
      PUSHFORWARD_REQUIRE({ traits::combine(c, std::move(moved), c, x) } -> std::same_as<T>,
                          "`combine(a, x, b, y)` with a and b numbers");
      PUSHFORWARD_REQUIRE({ traits::combine(p, std::move(moved), c, x) } -> std::same_as<T>,
                          "`combine(a, x, b, y)` with a per-sample");
      PUSHFORWARD_REQUIRE({ traits::combine(c, std::move(moved), p, x) } -> std::same_as<T>,
                          "`combine(a, x, b, y)` with b per-sample");
      PUSHFORWARD_REQUIRE({ traits::combine(p, std::move(moved), p, x) } -> std::same_as<T>,
                          "`combine(a, x, b, y)` with a and b per-sample");
      PUSHFORWARD_REQUIRE({ traits::scale(c, std::move(moved)) } -> std::same_as<T>,
                          "`scale(a, x)` with a number");
      PUSHFORWARD_REQUIRE({ traits::scale(p, std::move(moved)) } -> std::same_as<T>,
                          "`scale(a, x)` with a per-sample");
      PUSHFORWARD_REQUIRE({ traits::multiply(std::move(moved), x) } -> std::same_as<T>, "`multiply(x, y)`");
      PUSHFORWARD_REQUIRE({ traits::max_abs(x) } -> std::same_as<P>, "`max_abs(x)`");
      PUSHFORWARD_REQUIRE({ traits::dot(x, x) } -> std::same_as<P>, "`dot(x, y)`");
      PUSHFORWARD_REQUIRE({ traits::all_finite(x) } -> std::same_as<bool>, "`all_finite(x)`");
      PUSHFORWARD_REQUIRE({ traits::normal(x, noise_key{}) } -> std::same_as<T>, "`normal(x, key)`");
      PUSHFORWARD_REQUIRE({ traits::concatenate(x, x) } -> std::same_as<T>, "`concatenate(x, y)`");
      PUSHFORWARD_REQUIRE({ traits::halves(x) } -> std::same_as<two_halves>, "`halves(x)`");
      PUSHFORWARD_REQUIRE({ traits::elements(x) } -> std::same_as<std::vector<double>>, "`elements(x)`");
      PUSHFORWARD_REQUIRE({ traits::from_elements(x, s, values) } -> std::same_as<T>,
                          "`from_elements(x, shape, values)`");
      PUSHFORWARD_REQUIRE({ traits::fill(x, c) } -> std::same_as<P>, "`fill(x, c)`");
      PUSHFORWARD_REQUIRE({ traits::from_values(x, values) } -> std::same_as<P>, "`from_values(x, values)`");
      PUSHFORWARD_REQUIRE({ traits::values(p) } -> std::same_as<std::vector<double>>, "`values(p)`");
      PUSHFORWARD_REQUIRE({ traits::combine(c, p, c, p) } -> std::same_as<P>,
                          "`combine(c, p, d, q)` on per-sample scalars");
      PUSHFORWARD_REQUIRE({ traits::multiply(p, p) } -> std::same_as<P>,
                          "`multiply(p, q)` on per-sample scalars");
      PUSHFORWARD_REQUIRE({ traits::ratio(c, p) } -> std::same_as<P>,
                          "`ratio(c, q)` with a number over per-sample scalars");
      PUSHFORWARD_REQUIRE({ traits::ratio(p, p) } -> std::same_as<P>, "`ratio(p, q)` on per-sample scalars");
      PUSHFORWARD_REQUIRE({ traits::square_root(p) } -> std::same_as<P>, "`square_root(p)`");
      PUSHFORWARD_REQUIRE({ traits::clamp(p, c, c) } -> std::same_as<P>, "`clamp(p, low, high)`");
#undef PUSHFORWARD_REQUIRE
    }
  }
  return tensor<T>;
}

template <class D, class T> constexpr bool check_denoiser() {
  static_assert(
      requires(const D& d, const T& x, double t) {
        { d.predict(x, t) } -> std::same_as<T>;
      },
      "pushforward: the denoiser has no `predict(x, model_time) const` that returns a tensor of x's type "
      "(docs/concepts/denoiser.md)");
  static_assert(
      requires(const D& d) {
        { d.prediction } -> std::convertible_to<prediction_type>;
      },
      "pushforward: the denoiser has no member `prediction` of type prediction_type "
      "(docs/concepts/denoiser.md)");
  return denoiser<D, T>;
}

template <class P> constexpr bool check_path() {
  static_assert(
      requires(const P& p, double t) {
        { p.at(t) } -> std::same_as<coefficients>;
      },
      "pushforward: the path has no `at(t) const` that returns coefficients (docs/concepts/path.md)");
  static_assert(
      requires(const P& p, double t) {
        { p.model_time(t) } -> std::convertible_to<double>;
      },
      "pushforward: the path has no `model_time(t) const` (docs/concepts/path.md)");
  static_assert(
      requires(const P& p, double t) {
        { p.time_at(t) } -> std::convertible_to<double>;
      },
      "pushforward: the path has no `time_at(fraction) const` (docs/concepts/path.md)");
  return path<P>;
}

template <class S, class T> constexpr bool check_sampler() {
  static_assert(
      requires(const S& s) {
        { s.steps() } -> std::convertible_to<std::size_t>;
      },
      "pushforward: the sampler has no `steps() const` (docs/concepts/sampler.md)");
  static_assert(
      requires(const S& s, std::size_t i) {
        { s.time(i) } -> std::convertible_to<double>;
      },
      "pushforward: the sampler has no `time(i) const` (docs/concepts/sampler.md)");
  static_assert(
      requires(const S& s, std::size_t i, estimate<T> at, T (*noise)(const T&)) {
        { s.step(i, std::move(at), noise) } -> std::same_as<T>;
      },
      "pushforward: the sampler has no `step(i, estimate, noise) const` that returns a tensor "
      "(docs/concepts/sampler.md)");
  return sampler<S, T>;
}

template <class C, class T> constexpr bool check_constraint() {
  static_assert(
      constraint<C, T>,
      "pushforward: the constraint is not callable as `c(x0)` or `c(x0, counts)` with a constraint_value<T> "
      "for an answer; a decoded constraint also asks that the decoder has what its pullback needs: "
      "`linearize_decode` for decoder_vjp, `encode` for encoder_difference (docs/concepts/constraint.md, "
      "docs/concepts/decoder.md)");
  return constraint<C, T>;
}

template <class P, class M, class D> constexpr bool check_policy() {
  using T = typename M::tensor_type;
  if constexpr (std::same_as<P, none>) {
    return true;
  } else if constexpr (needs_vjp<P>() && !differentiable_denoiser<D, T>) {
    static_assert(
        differentiable_denoiser<D, T>,
        "pushforward: this update policy needs backward passes, and the denoiser can only run forward: give "
        "it a `linearize(x, model_time) const`, or use inexact_newton (docs/concepts/denoiser.md)");
    return false;
  } else {
    static_assert(
        update_policy<P, M>,
        "pushforward: the update policy has no `direction(model, estimate, error)` that returns a tensor for "
        "this model; a policy that names what it needs of the model may need exact jvps or dense_algebra "
        "(docs/concepts/update-policy.md)");
    return update_policy<P, M>;
  }
}

template <class S, class M> constexpr bool check_step_size() {
  static_assert(step_size<S, M>,
                "pushforward: the step size has no `at_step(model, estimate) const` whose result has "
                "`scale(direction, k, iterations) const`; spectral also asks for dense_algebra of the tensor "
                "(docs/concepts/step-size.md)");
  return step_size<S, M>;
}

template <class O, class T> constexpr bool check_observer() {
  static_assert(
      observer<O, T>,
      "pushforward: the observer is not callable with a `const progress<T>&`, or returns neither void nor a "
      "verdict (docs/concepts/observer.md)");
  return observer<O, T>;
}

} // namespace pushforward::detail
