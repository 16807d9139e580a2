#pragma once
/// \file
/// A constraint whose kind is chosen at run time, with its least-squares problem where it has one.

#include <pushforward/constraints/least_squares.hpp>
#include <pushforward/libtorch/tensor.hpp>

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <optional>
#include <utility>

namespace examples {

/// Any least-squares problem whose residual is one tensor.
template <bool exact> struct any_problem {
  static constexpr bool exact_adjoint = exact;
  at::Tensor residual;
  pushforward::constraint_value<at::Tensor> value;
  std::function<at::Tensor(const at::Tensor&, pushforward::pass_counts&)> forward, backward;
  std::function<at::Tensor(const at::Tensor&)> noise;
  bool is_noisy = false;

  at::Tensor apply(const at::Tensor& v, pushforward::pass_counts& counts) const { return forward(v, counts); }
  at::Tensor adjoint(const at::Tensor& r, pushforward::pass_counts& counts) const requires exact {
    return backward(r, counts);
  }
  at::Tensor covary(const at::Tensor& r) const { return noise(r); }
  bool noisy() const { return is_noisy; }
};

/// Any constraint.
class any_constraint {
public:
  using value_type = pushforward::constraint_value<at::Tensor>;

  any_constraint() = default; ///< none: not to be called

  template <class Constraint>
  requires(!std::same_as<Constraint, any_constraint>) any_constraint(Constraint c)
      : any_constraint(std::make_shared<const Constraint>(std::move(c))) {}

  value_type operator()(const at::Tensor& x0, pushforward::pass_counts& counts) const {
    return value_(x0, counts);
  }

  /// Calls f with a constraint that has the least-squares problem of this one, or with one that has none
  /// where this has none.
  template <class F> auto with_problem(F f) const {
    if (exact_) return f(with<true>{*this});
    if (inexact_) return f(with<false>{*this});
    if (!error_has_length_) return f(without_length{*this});
    return f(*this);
  }

private:
  struct without_length {
    static constexpr bool error_has_length = false;
    const any_constraint& of;

    value_type operator()(const at::Tensor& x0, pushforward::pass_counts& counts) const {
      return of(x0, counts);
    }
  };

  template <bool exact>
  using solver = std::function<any_problem<exact>(const at::Tensor&, pushforward::pass_counts&)>;

  template <bool exact> struct with {
    const any_constraint& of;

    value_type operator()(const at::Tensor& x0, pushforward::pass_counts& counts) const {
      return of(x0, counts);
    }
    any_problem<exact> least_squares(const at::Tensor& x0, pushforward::pass_counts& counts) const {
      if constexpr (exact)
        return of.exact_(x0, counts);
      else
        return of.inexact_(x0, counts);
    }
  };

  template <class Constraint>
  explicit any_constraint(std::shared_ptr<const Constraint> c)
      : value_{[c](const at::Tensor& x0, pushforward::pass_counts& counts) {
          return pushforward::evaluate(*c, x0, counts);
        }},
        error_has_length_{pushforward::detail::error_has_length<Constraint>()} {
    if constexpr (pushforward::least_squares_constraint<Constraint, at::Tensor>) {
      using problem = decltype(c->least_squares(std::declval<const at::Tensor&>(),
                                                std::declval<pushforward::pass_counts&>()));
      constexpr bool exact = problem::exact_adjoint;
      solver<exact> solve = [c](const at::Tensor& x0, pushforward::pass_counts& counts) {
        const auto p = std::make_shared<const problem>(c->least_squares(x0, counts));
        any_problem<exact> any{p->residual, p->value, {}, {}, {}, p->noisy()};
        any.forward = [p](const at::Tensor& v, pushforward::pass_counts& n) { return p->apply(v, n); };
        if constexpr (exact)
          any.backward = [p](const at::Tensor& r, pushforward::pass_counts& n) { return p->adjoint(r, n); };
        any.noise = [p](const at::Tensor& r) { return p->covary(r); };
        return any;
      };
      if constexpr (exact)
        exact_ = std::move(solve);
      else
        inexact_ = std::move(solve);
    }
  }

  std::function<value_type(const at::Tensor&, pushforward::pass_counts&)> value_;
  solver<true> exact_;
  solver<false> inexact_;
  bool error_has_length_ = true;
};

} // namespace examples
