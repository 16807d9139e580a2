#pragma once
/// \file
/// The update rule that takes its direction from a policy and its length from a step size.

#include <pushforward/concepts.hpp>
#include <pushforward/step_sizes.hpp>
#include <pushforward/updates/none.hpp>

#include <cstddef>
#include <utility>

namespace pushforward {

namespace detail {

template <class Options> void check_options(const Options& o) {
  if constexpr (requires { o.check(); }) o.check();
}

template <class Rule> auto started(const Rule& rule) {
  if constexpr (requires { rule.start(); })
    return rule.start();
  else
    return rule;
}

/// A policy and a step size at one time step.
template <class Policy, class Scale> struct directed_step {
  Policy& policy;
  Scale scale; // a rule, or a reference to one
  std::size_t iterations;

  template <tensor T, class Constraint>
  look<T> look_at(const Constraint& c, const T& x0, pass_counts& counts) const {
    return {evaluate(c, x0, counts)};
  }

  template <class Model, class T = typename Model::tensor_type>
  moved<T> move(const Model& m, estimate<T> at, const look<T>& seen, std::size_t k,
                const per_sample_t<T>* active) const {
    using traits = tensor_traits<T>;
    T d = policy.direction(m, at, seen.value.error);
    auto amount = scale.scale(d, k, iterations);
    if (active != nullptr) amount = traits::multiply(std::move(amount), *active);
    at.vjp = nullptr;
    T x = traits::combine(1.0, std::move(at.x), amount, d);
    if constexpr (needs_vjp<Policy>())
      return {m.linearize(std::move(x), at.t), std::move(d)};
    else
      return {m.evaluate(std::move(x), at.t), std::move(d)};
  }
};

/// A policy and a step size in one run.
template <class Policy, class StepSize> struct directed_run {
  static constexpr bool needs_vjp = detail::needs_vjp<Policy>();
  Policy policy;
  const StepSize& step;
  std::size_t iterations;

  template <class Model, class T = typename Model::tensor_type>
  auto at_step(const Model& m, const estimate<T>& at) {
    return directed_step<Policy, decltype(step.at_step(m, at))>{policy, step.at_step(m, at), iterations};
  }
};

} // namespace detail

/// Steers by the direction of a policy: x += step size * d, and a new estimate there; 1 pass, and those of
/// the direction. Models `update_rule`.
template <class Policy, class StepSize = infinity_norm> struct update {
  Policy policy{};
  StepSize step{};
  std::size_t iterations = 5; ///< K, inner iterations a time step
  /// A sample whose loss is at or below this is left as it is for the rest of the time step; an inner loop
  /// ends when all are. Negative: always K iterations. Each look at the loss waits for the device, and takes
  /// one small vector from the heap: that of the trait's `values`.
  double tolerance = -1.0;

  /// \throws bad_option
  void check() const {
    detail::check_options(policy);
    detail::check_options(step);
  }
  auto start() const {
    return detail::directed_run<decltype(detail::started(policy)), StepSize>{detail::started(policy), step,
                                                                             iterations};
  }
};

template <class Policy> update(Policy) -> update<Policy>;
template <class Policy, class StepSize> update(Policy, StepSize) -> update<Policy, StepSize>;
template <class Policy, class StepSize> update(Policy, StepSize, std::size_t) -> update<Policy, StepSize>;
template <class Policy, class StepSize>
update(Policy, StepSize, std::size_t, double) -> update<Policy, StepSize>;

namespace detail {

/// Whether an update rule is plain sampling.
template <class Rule> inline constexpr bool leaves_alone = false;
template <class StepSize> inline constexpr bool leaves_alone<update<none, StepSize>> = true;

} // namespace detail

} // namespace pushforward
