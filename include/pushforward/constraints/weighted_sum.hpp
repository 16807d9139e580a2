#pragma once
/// \file
/// Sums of constraints, and errors scaled to a common size.

#include <pushforward/concepts.hpp>
#include <pushforward/constraints/least_squares.hpp>

#include <array>
#include <cmath>
#include <cstddef>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

namespace pushforward {

/// One term of a weighted sum.
template <class Constraint> struct weighted {
  double weight;
  Constraint constraint;
};

template <class Constraint> weighted(double, Constraint) -> weighted<Constraint>;

/// loss = sum_i w_i loss_i, error = sum_i w_i error_i.
template <class... Constraints> class weighted_sum {
public:
  static_assert(sizeof...(Constraints) > 0, "a weighted sum needs at least one constraint");
  static constexpr bool error_has_length = (detail::error_has_length<Constraints>() && ...);

  /// \throws bad_option for a weight that is negative or not finite
  explicit weighted_sum(weighted<Constraints>... terms) : terms_{std::move(terms)...} {
    each([](const auto& term) {
      if (!(std::isfinite(term.weight) && term.weight >= 0.0))
        throw bad_option("weighted_sum: a weight is " + std::to_string(term.weight) +
                         ", but must be 0 or positive");
    });
  }

  void check(const shape& s) const {
    each([&](const auto& term) { check_shape(term.constraint, s); });
  }

  template <tensor T>
  requires(constraint<Constraints, T>&&...) constraint_value<T>
  operator()(const T& x0, pass_counts& counts) const {
    using traits = tensor_traits<T>;
    auto first = evaluate(std::get<0>(terms_).constraint, x0, counts);
    const double w = std::get<0>(terms_).weight;
    constraint_value<T> sum{traits::combine(w, first.loss, 0.0, first.loss),
                            traits::scale(w, std::move(first.error))};
    std::apply(
        [&](const auto&, const auto&... rest) {
          (add(sum, rest.weight, evaluate(rest.constraint, x0, counts)), ...);
        },
        terms_);
    return sum;
  }

  /// The terms' problems as one, each residual and A scaled by sqrt(w_i); see `least_squares_problem`.
  template <tensor T, class... Problems> struct problem {
    static constexpr bool exact_adjoint = (Problems::exact_adjoint && ...);
    std::array<double, sizeof...(Problems)> roots; ///< of the weights
    std::tuple<Problems...> terms;
    std::tuple<decltype(Problems::residual)...> residual;
    constraint_value<T> value;

    auto apply(const T& v, pass_counts& counts) const {
      return each(
          [&](auto i) { return residual_space<T>::scale(roots[i], std::get<i>(terms).apply(v, counts)); });
    }
    template <class R> T adjoint(const R& r, pass_counts& counts) const requires exact_adjoint {
      const auto term = [&](auto i) {
        return tensor_traits<T>::scale(roots[i], std::get<i>(terms).adjoint(std::get<i>(r), counts));
      };
      return [&]<std::size_t... i>(std::index_sequence<0, i...>) {
        T sum = term(std::integral_constant<std::size_t, 0>{});
        ((sum = tensor_traits<T>::combine(1.0, std::move(sum), 1.0,
                                          term(std::integral_constant<std::size_t, i>{}))),
         ...);
        return sum;
      }
      (std::index_sequence_for<Problems...>{});
    }
    template <class R> R covary(const R& r) const {
      return each([&](auto i) {
        return residual_space<T>::scale(roots[i] * roots[i], std::get<i>(terms).covary(std::get<i>(r)));
      });
    }
    bool noisy() const {
      return std::apply([](const auto&... t) { return (t.noisy() || ...); }, terms);
    }

  private:
    template <class F> static auto each(const F& f) {
      return [&]<std::size_t... i>(std::index_sequence<i...>) {
        return std::tuple{f(std::integral_constant<std::size_t, i>{})...};
      }
      (std::index_sequence_for<Problems...>{});
    }
  };

  template <tensor T>
  requires(least_squares_constraint<Constraints, T>&&...) auto least_squares(const T& x0,
                                                                             pass_counts& counts) const {
    return [&]<std::size_t... i>(std::index_sequence<i...>) {
      using traits = tensor_traits<T>;
      const std::array roots{std::sqrt(std::get<i>(terms_).weight)...};
      std::tuple problems{std::get<i>(terms_).constraint.least_squares(x0, counts)...};
      std::tuple residual{residual_space<T>::scale(roots[i], std::get<i>(problems).residual)...};
      constraint_value<T> sum{traits::fill(x0, 0.0), traits::zeros(x0)};
      (add(sum, std::get<i>(terms_).weight, std::get<i>(problems).value), ...);
      return problem<T, std::tuple_element_t<i, decltype(problems)>...>{roots, std::move(problems),
                                                                        std::move(residual), std::move(sum)};
    }
    (std::index_sequence_for<Constraints...>{});
  }

private:
  template <class T> static void add(constraint_value<T>& sum, double w, const constraint_value<T>& term) {
    using traits = tensor_traits<T>;
    sum.loss = traits::combine(1.0, std::move(sum.loss), w, term.loss);
    sum.error = traits::combine(1.0, std::move(sum.error), w, term.error);
  }

  template <class F> void each(F f) const {
    std::apply([&](const auto&... term) { (f(term), ...); }, terms_);
  }

  std::tuple<weighted<Constraints>...> terms_;
};

/// The constraint with its error divided by max|error| per sample, as the reference does before its inexact
/// Newton step for super-resolution. 0 stays 0. Gives the terms of a weighted sum a common size.
template <class Constraint> struct normalized {
  static constexpr bool error_has_length = false;
  Constraint constraint;

  void check(const shape& s) const { check_shape(constraint, s); }

  template <tensor T>
  requires pushforward::constraint<Constraint, T> constraint_value<T>
  operator()(const T& x0, pass_counts& counts) const {
    using traits = tensor_traits<T>;
    auto value = evaluate(constraint, x0, counts);
    const auto factor = traits::ratio(1.0, traits::max_abs(value.error));
    value.error = traits::scale(factor, std::move(value.error));
    return value;
  }

  /// That of the constraint: the size of the error does not matter to it.
  template <tensor T>
  requires least_squares_constraint<Constraint, T>
  auto least_squares(const T& x0, pass_counts& counts) const { return constraint.least_squares(x0, counts); }
};

template <class Constraint> normalized(Constraint) -> normalized<Constraint>;

} // namespace pushforward
