#pragma once
/// \file
/// Replacement: what was measured is put into the clean estimate.

#include <pushforward/concepts.hpp>
#include <pushforward/update.hpp>

#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <utility>

namespace pushforward {

/// A constraint that can be met at once: `replacement(x0)` is A^+ (y - A x0), of x0's shape.
/// Modelled by `masked`, and by `linear` of operators with orthogonal rows (averaging); called by
/// `replacement` and `with_replacement`.
template <class C, class T>
concept replaceable_constraint = constraint<C, T> && requires(const C& c, const T& x0) {
  { c.replacement(x0) } -> std::same_as<T>;
};

namespace detail {

inline void check_replacement(double below) {
  if (!(below >= 0.0))
    throw bad_option("replacement: below is " + std::to_string(below) + ", but must be 0 or positive");
}

/// x0 + A^+ r, and x with it, so that its noise stays.
template <class Constraint, class T>
moved<T> replace(moved<T> m, const Constraint& c, const per_sample_t<T>* active) {
  using traits = tensor_traits<T>;
  T missing = c.replacement(m.at.x0);
  if (active != nullptr) missing = traits::scale(*active, std::move(missing));
  m.at.vjp = nullptr;
  m.at.x0 = traits::combine(1.0, std::move(m.at.x0), 1.0, missing);
  m.at.x = traits::combine(1.0, std::move(m.at.x), m.at.c.a, missing);
  return m;
}

/// What a rule saw, and the constraint it saw it of.
template <class Look, class Constraint> struct look_with_constraint : Look { const Constraint& of; };

} // namespace detail

/// x0 += A^+ (y - A x0) at noise levels s / a up to `below`, without a further pass: DDNM (Wang, Yu and Zhang
/// 2023), when the sampler draws part of the noise anew. The clean estimate is moved alone, its noise
/// (x - a x0) / s stays. Models `update_rule`; for a `replaceable_constraint`. With a noise level, only what
/// of the residual is more than noise is replaced.
struct replacement {
  double below = std::numeric_limits<double>::infinity();
  double tolerance = -1.0; ///< a sample whose loss is at or below this is left as it is; negative: none is
  static constexpr std::size_t iterations = 1;

  /// \throws bad_option
  void check() const { detail::check_replacement(below); }

  template <forward_model Model>
  const replacement& at_step(const Model&, const estimate<typename Model::tensor_type>&) const {
    return *this;
  }

  template <tensor T, replaceable_constraint<T> Constraint>
  auto look_at(const Constraint& c, const T& x0, pass_counts& counts) const {
    return detail::look_with_constraint<look<T>, Constraint>{{evaluate(c, x0, counts)}, c};
  }

  template <forward_model Model, class Look, class T = typename Model::tensor_type>
  moved<T> move(const Model&, estimate<T> at, const Look& seen, std::size_t,
                const per_sample_t<T>* active) const {
    T direction = seen.value.error;
    moved<T> as_it_is{std::move(at), std::move(direction)};
    const auto& c = as_it_is.at.c;
    return c.s <= below * c.a ? detail::replace(std::move(as_it_is), seen.of, active) : as_it_is;
  }
};

/// Another update rule, with replacement after each of its moves at noise levels s / a up to `below`.
template <class Rule> struct with_replacement : Rule {
  double below = 0.3;

  /// \throws bad_option
  void check() const {
    detail::check_options(static_cast<const Rule&>(*this));
    detail::check_replacement(below);
  }

  template <class Step> struct replacing_step {
    Step step; // or a reference to one
    double below;

    template <tensor T, replaceable_constraint<T> Constraint>
    auto look_at(const Constraint& c, const T& x0, pass_counts& counts) const {
      auto seen = step.look_at(c, x0, counts);
      return detail::look_with_constraint<decltype(seen), Constraint>{std::move(seen), c};
    }

    template <class Model, class Look, class T = typename Model::tensor_type>
    moved<T> move(const Model& m, estimate<T> at, const Look& seen, std::size_t k,
                  const per_sample_t<T>* active) const {
      auto next = step.move(m, std::move(at), seen, k, active);
      const auto& c = next.at.c;
      return c.s <= below * c.a ? detail::replace(std::move(next), seen.of, active) : next;
    }
  };

  template <class Run> struct replacing_run {
    static constexpr bool needs_vjp = detail::needs_vjp<Run>();
    Run run;
    double below;

    template <class Model, class T = typename Model::tensor_type>
    auto at_step(const Model& m, const estimate<T>& at) {
      return replacing_step<decltype(run.at_step(m, at))>{run.at_step(m, at), below};
    }
  };

  auto start() const {
    const Rule& rule = *this;
    return replacing_run<decltype(detail::started(rule))>{detail::started(rule), below};
  }
};

} // namespace pushforward
