#pragma once
/// \file
/// Constraints that are least-squares problems, and arithmetic of their residuals.

#include <pushforward/concepts.hpp>

#include <concepts>
#include <cstddef>
#include <tuple>
#include <type_traits>
#include <utility>

namespace pushforward {

/// A constraint's least-squares problem at one clean estimate x0: y = A x + n, n ~ N(0, Sigma). A is
/// linearized at x0 where it is not linear.
///  - `value`: what the constraint says of x0, but with the error A^T r of the whole residual
///  - `residual`: r = y - A x0, a tensor or, of a sum, a tuple of its terms' residuals
///  - `apply(v, counts)`: A v;  `adjoint(r, counts)`: A^T r
///  - `covary(r)`: Sigma r;  `noisy()`: whether Sigma is other than 0
///  - `exact_adjoint`: whether `value.error` is A^T r; where it only stands for it, there is no `adjoint`
template <class P, class T>
concept least_squares_problem = requires(const P& p, const T& v, pass_counts& counts) {
  { p.value } -> std::convertible_to<constraint_value<T>>;
  { p.apply(v, counts) } -> std::same_as<std::remove_cvref_t<decltype(p.residual)>>;
  { p.covary(p.residual) } -> std::same_as<std::remove_cvref_t<decltype(p.residual)>>;
  { p.noisy() } -> std::same_as<bool>;
  { P::exact_adjoint } -> std::convertible_to<bool>;
}
&&(!P::exact_adjoint || requires(const P& p, pass_counts& counts) {
  { p.adjoint(p.residual, counts) } -> std::same_as<T>;
});

/// A constraint of loss 1/2 |y - A x0|^2 that says so: it also has `least_squares(x0, counts)`, its problem
/// at x0. Modelled by `masked`, `linear`, `decoded` by either pullback, and `normalized` and `weighted_sum`
/// of such; called by `posterior_step`, which makes do with (loss, error) where a constraint has no more.
template <class C, class T>
concept least_squares_constraint = constraint<C, T> &&
    requires(const C& c, const T& x0, pass_counts& counts) {
  { c.least_squares(x0, counts) } -> least_squares_problem<T>;
};

namespace detail {

/// Whether the length of a constraint's error means something: not where it is scaled to a common size.
template <class Constraint> constexpr bool error_has_length() {
  if constexpr (requires { Constraint::error_has_length; })
    return Constraint::error_has_length;
  else
    return true;
}

} // namespace detail

/// Arithmetic of residuals: tensors of type T, and tuples of residuals.
template <tensor T> struct residual_space {
  using traits = tensor_traits<T>;
  using per_sample = per_sample_t<T>;

  /// <r, q> per sample.
  static per_sample dot(const T& r, const T& q) { return traits::dot(r, q); }
  template <class First, class... Rest>
  static per_sample dot(const std::tuple<First, Rest...>& r, const std::tuple<First, Rest...>& q) {
    return dots(r, q, std::index_sequence_for<Rest...>{});
  }

  /// a r + b q, a and b numbers or per sample.
  template <class A, class B> static T combine(const A& a, T r, const B& b, const T& q) {
    return traits::combine(a, std::move(r), b, q);
  }
  template <class A, class B, class... R>
  static std::tuple<R...> combine(const A& a, std::tuple<R...> r, const B& b, const std::tuple<R...>& q) {
    return combined(a, r, b, q, std::index_sequence_for<R...>{});
  }

  /// a r, a a number.
  static T scale(double a, T r) { return traits::scale(a, std::move(r)); }
  template <class... R> static std::tuple<R...> scale(double a, std::tuple<R...> r) {
    return std::apply([a](auto&... each) { return std::tuple<R...>{scale(a, std::move(each))...}; }, r);
  }

private:
  template <class R, std::size_t... i>
  static per_sample dots(const R& r, const R& q, std::index_sequence<i...>) {
    auto sum = dot(std::get<0>(r), std::get<0>(q));
    ((sum = traits::combine(1.0, std::move(sum), 1.0, dot(std::get<i + 1>(r), std::get<i + 1>(q)))), ...);
    return sum;
  }
  template <class A, class B, class R, std::size_t... i>
  static R combined(const A& a, R& r, const B& b, const R& q, std::index_sequence<i...>) {
    return R{combine(a, std::move(std::get<i>(r)), b, std::get<i>(q))...};
  }
};

} // namespace pushforward
