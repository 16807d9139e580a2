#pragma once
/// \file
/// Sums of constraints, and errors scaled to a common size.

#include <pushforward/concepts.hpp>

#include <cmath>
#include <string>
#include <tuple>
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
};

template <class Constraint> normalized(Constraint) -> normalized<Constraint>;

} // namespace pushforward
