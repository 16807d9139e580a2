#pragma once
/// \file
/// One readable compile-time message for each missing member. `sample` asks these before anything else, so
/// that the first error of a wrong call names what is missing and where to read about it.

#include <pushforward/concepts.hpp>
#include <pushforward/constraints/decoded.hpp>
#include <pushforward/constraints/weighted_sum.hpp>
#include <pushforward/estimate.hpp>
#include <pushforward/guidance.hpp>
#include <pushforward/step_sizes.hpp>
#include <pushforward/update.hpp>
#include <pushforward/updates/exact_newton.hpp>
#include <pushforward/updates/inexact_newton.hpp>
#include <pushforward/updates/none.hpp>
#include <pushforward/updates/replacement.hpp>

#include <concepts>
#include <cstddef>
#include <span>
#include <type_traits>
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

/// The denoiser that a guidance wraps; void where D is no guidance.
template <class D> struct guided { using type = void; };
template <class D> struct guided<classifier_free_guidance<D>> { using type = D; };
template <class D> using guided_t = typename guided<D>::type;
template <class D>
concept guidance = !std::is_void_v<guided_t<D>>;

template <class D, class T> constexpr bool check_denoiser() {
  if constexpr (guidance<D>) {
    static_assert(
        requires(const guided_t<D>& d, const T& xx, double t) {
          { d.predict_branches(xx, t) } -> std::same_as<T>;
        },
        "pushforward: the denoiser under classifier_free_guidance has no `predict_branches(xx, model_time) "
        "const` that returns a tensor of xx's type (docs/concepts/denoiser.md)");
    static_assert(
        requires(const guided_t<D>& d) {
          { d.prediction } -> std::convertible_to<prediction_type>;
        },
        "pushforward: the denoiser under classifier_free_guidance has no member `prediction` of type "
        "prediction_type (docs/concepts/denoiser.md)");
  } else {
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
  }
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

template <class C, class T> constexpr bool check_constraint();

/// What a constraint is made of.
template <class C> struct parts_of {
  template <class T> static constexpr bool check() { return true; }
};
template <class C> struct parts_of<normalized<C>> {
  template <class T> static constexpr bool check() { return check_constraint<C, T>(); }
};
template <class... Cs> struct parts_of<weighted_sum<Cs...>> {
  template <class T> static constexpr bool check() { return (check_constraint<Cs, T>() && ...); }
};
template <class C, class D, class P> struct parts_of<decoded<C, D, P>> {
  template <class T> static constexpr bool check() {
    constexpr bool decodes = requires(const D& d, const T& z) {
      { d.decode(z) } -> std::same_as<T>;
    };
    static_assert(decodes, "pushforward: the decoder has no `decode(z) const` that returns a tensor of z's "
                           "type (docs/concepts/decoder.md)");
    if constexpr (std::same_as<P, decoder_vjp>)
      static_assert(
          requires(const D& d, const T& z) {
            { d.linearize_decode(z) } -> std::same_as<linearization<T>>;
          },
          "pushforward: the pullback decoder_vjp needs backward passes, and the decoder has no "
          "`linearize_decode(z) const` that returns a linearization<T> (docs/concepts/decoder.md)");
    else if constexpr (std::same_as<P, encoder_difference>)
      static_assert(
          requires(const D& d, const T& image) {
            { d.encode(image) } -> std::same_as<T>;
          },
          "pushforward: the pullback encoder_difference needs an encoder, and the decoder has no "
          "`encode(image) const` that returns a tensor of the image's type (docs/concepts/decoder.md)");
    else if constexpr (decodes)
      static_assert(
          requires(const P& p, const D& d, const C& c, const T& z, pass_counts& counts) {
            { p(d, c, z, counts) } -> std::same_as<constraint_value<T>>;
          },
          "pushforward: the pullback is not callable as `p(decoder, constraint, z, counts)` with a "
          "constraint_value<T> for an answer (docs/concepts/decoder.md)");
    return check_constraint<C, T>() && constraint<decoded<C, D, P>, T>;
  }
};

template <class C, class T> constexpr bool check_constraint() {
  if constexpr (parts_of<C>::template check<T>()) {
    static_assert(constraint<C, T>,
                  "pushforward: the constraint is not callable as `c(x0)` or `c(x0, counts)` with a "
                  "constraint_value<T> for an answer (docs/concepts/constraint.md)");
    return constraint<C, T>;
  }
  return false;
}

template <class P, class M, class D> constexpr bool check_policy() {
  using T = typename M::tensor_type;
  if constexpr (std::same_as<P, none>) {
    return true;
  } else if constexpr (needs_vjp<P>() && !differentiable_denoiser<D, T>) {
    static_assert(
        guidance<D>,
        "pushforward: this update policy needs backward passes, and the denoiser can only run forward: give "
        "it a `linearize(x, model_time) const`, or use inexact_newton (docs/concepts/denoiser.md)");
    static_assert(
        !guidance<D>,
        "pushforward: this update policy needs backward passes, and the denoiser under "
        "classifier_free_guidance can only run forward: give it a `linearize_branches(xx, model_time) "
        "const`, or use inexact_newton (docs/concepts/denoiser.md)");
    return false;
  } else if constexpr (std::same_as<P, forward_mode_newton>) {
    static_assert(forward_mode_denoiser<D, T>,
                  "pushforward: forward_mode_newton needs exact Jacobian-vector products: give the denoiser "
                  "a `jvp(x, model_time, v) const` that returns a tensor of x's type, or use inexact_newton "
                  "(docs/concepts/denoiser.md)");
    return forward_mode_denoiser<D, T>;
  } else if constexpr (std::same_as<P, exact_newton>) {
    static_assert(has_dense_algebra<T>,
                  "pushforward: exact_newton needs dense_algebra of this tensor type: include an "
                  "adapter's header for it, or specialise it (docs/concepts/tensor.md)");
    return has_dense_algebra<T>;
  } else {
    static_assert(
        update_policy<P, M>,
        "pushforward: the update policy has no `direction(model, estimate, error)` that returns a tensor for "
        "this model (docs/concepts/update-policy.md)");
    return update_policy<P, M>;
  }
}

template <class S, class M> constexpr bool check_step_size() {
  using T = typename M::tensor_type;
  if constexpr (std::same_as<S, spectral>) {
    static_assert(has_dense_algebra<T>,
                  "pushforward: the step size spectral needs dense_algebra of this tensor type: include an "
                  "adapter's header for it, or specialise it (docs/concepts/tensor.md)");
    return has_dense_algebra<T>;
  } else {
    constexpr bool has_at_step = requires(const S& s, const M& m, const estimate<T>& at) {
      s.at_step(m, at);
    };
    static_assert(has_at_step,
                  "pushforward: the step size has no `at_step(model, estimate) const` for this model "
                  "(docs/concepts/step-size.md)");
    if constexpr (has_at_step)
      static_assert(step_size<S, M>,
                    "pushforward: what the step size's `at_step` returns has no `scale(direction, k, "
                    "iterations) const` that returns per-sample scalars (docs/concepts/step-size.md)");
    return step_size<S, M>;
  }
}

/// An update rule: of `update`, its policy and its step size.
template <class R> struct checked_rule {
  template <class C, class M, class D> static constexpr bool check() {
    using T = typename M::tensor_type;
    using run = decltype(started(std::declval<const R&>()));
    constexpr bool runs_backward = !needs_vjp<run>() || differentiable_denoiser<D, T>;
    static_assert(
        runs_backward,
        "pushforward: this update rule needs backward passes, and the denoiser can only run forward: "
        "give it a `linearize(x, model_time) const`, or use posterior_step "
        "(docs/concepts/denoiser.md)");
    constexpr bool bounded = requires(const R& r) {
      { r.iterations } -> std::convertible_to<std::size_t>;
      { r.tolerance } -> std::convertible_to<double>;
    };
    static_assert(bounded, "pushforward: the update rule has no members `iterations` and `tolerance` "
                           "(docs/concepts/update-rule.md)");
    if constexpr (runs_backward && bounded) {
      static_assert(update_rule<run, M, C>,
                    "pushforward: the update rule has no `at_step(model, estimate)` that returns an object "
                    "with `look_at(constraint, x0, counts)` and `move(model, estimate, look, k, active)` for "
                    "this model and constraint (docs/concepts/update-rule.md)");
      return update_rule<run, M, C>;
    }
    return false;
  }
};
template <class P, class S> struct checked_rule<update<P, S>> {
  template <class C, class M, class D> static constexpr bool check() {
    return check_policy<std::remove_cvref_t<decltype(started(std::declval<const P&>()))>, M, D>() &&
           check_step_size<S, M>();
  }
};
template <class C, class T> constexpr bool check_replaceable() {
  static_assert(
      replaceable_constraint<C, T>,
      "pushforward: replacement needs a constraint with `replacement(x0) const` that returns a tensor "
      "of x0's type: masked, or linear of an operator with `gram()` (docs/concepts/constraint.md)");
  return replaceable_constraint<C, T>;
}
template <> struct checked_rule<replacement> {
  template <class C, class M, class D> static constexpr bool check() {
    return check_replaceable<C, typename M::tensor_type>();
  }
};
template <class R> struct checked_rule<with_replacement<R>> {
  template <class C, class M, class D> static constexpr bool check() {
    return check_replaceable<C, typename M::tensor_type>() && checked_rule<R>::template check<C, M, D>();
  }
};
template <class R, class C, class M, class D> constexpr bool check_rule() {
  return checked_rule<R>::template check<C, M, D>();
}

template <class O, class T> constexpr bool check_observer() {
  static_assert(
      observer<O, T>,
      "pushforward: the observer is not callable with a `const progress<T>&`, or returns neither void nor a "
      "verdict (docs/concepts/observer.md)");
  return observer<O, T>;
}

} // namespace pushforward::detail
