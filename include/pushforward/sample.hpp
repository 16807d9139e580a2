#pragma once
/// \file
/// The loop: a sampler's steps, with inner iterations that steer each estimate onto the constraint.

#include <pushforward/concepts.hpp>
#include <pushforward/estimate.hpp>
#include <pushforward/static_checks.hpp>
#include <pushforward/update.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace pushforward {

/// How far NaN and infinity are looked for. Each look waits for the device.
enum class finite_check {
  every_pass, ///< in each estimate and each error
  every_step, ///< in the estimate at the end of each time step
  off
};

struct sample_options {
  std::uint64_t seed = 0;         ///< of the sampler's noise
  std::uint64_t first_sample = 0; ///< global index of the batch's first: a batch may be split in any way
  finite_check check = finite_check::every_pass;
};

enum class ending {
  completed,          ///< all steps were taken
  stopped_by_observer ///< x is the clean estimate that stood then
};

/// What one inner iteration of one time step saw.
struct iteration_record {
  std::size_t step;
  std::size_t iteration;
  double t;
  std::vector<double> loss; ///< per sample, before the iteration's update
};

template <class T> struct sample_result {
  T x; ///< the clean samples
  ending reason = ending::completed;
  pass_counts passes;
  std::size_t steps = 0; ///< time steps taken
  std::vector<iteration_record> trace;
};

/// Does nothing; the default observer.
struct no_observer {
  template <class T> void operator()(const progress<T>&) const {}
};

namespace detail {

template <class O, class T> verdict ask(O& o, const progress<T>& p) {
  if constexpr (std::is_void_v<decltype(o(p))>) {
    o(p);
    return verdict::go_on;
  } else {
    return o(p);
  }
}

template <tensor T>
void require_finite(const T& x, const char* what, std::size_t step, std::size_t iteration) {
  if (!tensor_traits<T>::all_finite(x)) throw not_finite(what, step, iteration);
}

/// One run. Holds what lives for its length; `all` walks the grid.
template <tensor T, class Estimator, class Sampler, class Constraint, class Update, class Observer>
class run {
public:
  static constexpr bool steers = !leaves_alone<Update>;
  using rule_type = decltype(started(std::declval<const Update&>()));
  static constexpr bool linearizes = needs_vjp<rule_type>();

  run(const Estimator& e, const Sampler& s, const Constraint& c, const Update& u, const sample_options& o,
      Observer& observer)
      : estimator_{e}, sampler_{s},
        constraint_{c}, update_{u}, options_{o}, observer_{observer}, rule_{started(u)} {}

  sample_result<T> all(T x) {
    const std::size_t steps = sampler_.steps();
    // all of them now, so that the loop only assigns: their memory stays with them
    if constexpr (steers)
      records_.assign(steps * update_.iterations, pending_record{0, 0, 0.0, tensor_traits<T>::fill(x, 0.0)});
    sample_result<T> result{std::move(x), ending::completed, {}, 0, {}};
    for (std::size_t i = 0; i < steps; ++i) {
      auto at = estimated(std::move(result.x), sampler_.time(i), i);
      bool go_on = tell({.when = moment::estimated, .step = i, .at = at, .passes = estimator_.counts()});
      if constexpr (steers)
        if (go_on) go_on = iterate(at, i);
      if (!go_on) {
        result.x = std::move(at.x0);
        result.reason = ending::stopped_by_observer;
        break;
      }
      if (options_.check == finite_check::every_step)
        require_finite(at.x0, "clean estimate", i, steers ? update_.iterations : 0);
      at.vjp = nullptr;
      result.x = sampler_.step(i, at, [&](const T& like) { return noise(like, i); });
      ++result.steps;
      if (!tell({.when = moment::stepped,
                 .step = i,
                 .at = at,
                 .next = &result.x,
                 .passes = estimator_.counts()}) &&
          i + 1 < steps) {
        result.x = std::move(at.x0);
        result.reason = ending::stopped_by_observer;
        break;
      }
    }
    result.passes = estimator_.counts();
    for (std::size_t n = 0; n < recorded_; ++n) {
      const auto& r = records_[n];
      result.trace.push_back({r.step, r.iteration, r.t, tensor_traits<T>::values(r.loss)});
    }
    return result;
  }

private:
  struct pending_record {
    std::size_t step;
    std::size_t iteration;
    double t;
    per_sample_t<T> loss;
  };

  /// The inner loop at step i; false if the observer stopped it.
  bool iterate(estimate<T>& at, std::size_t i) {
    using traits = tensor_traits<T>;
    if (update_.iterations == 0) return true;
    auto&& rule = rule_.at_step(estimator_, at);
    left_.assign(traits::shape_of(at.x0).samples(), 1.0);
    auto active = traits::fill(at.x0, 1.0);
    for (std::size_t k = 0; k < update_.iterations; ++k) {
      const auto seen = rule.look_at(constraint_, at.x0, estimator_.counts());
      detail::require_same_shape("the constraint's error", traits::shape_of(seen.value.error),
                                 traits::shape_of(at.x));
      if (options_.check == finite_check::every_pass)
        require_finite(seen.value.error, "error of the constraint", i, k);
      record(i, k, at.t, seen.value.loss);
      const bool tolerates = update_.tolerance >= 0.0;
      if (tolerates && !still_active(at.x0, seen.value.loss, active)) break;

      auto next = rule.move(estimator_, std::move(at), seen, k, tolerates ? &active : nullptr);
      at = std::move(next.at);
      if (options_.check == finite_check::every_pass) require_finite(at.x0, "clean estimate", i, k + 1);
      if (!tell({.when = moment::iterated,
                 .step = i,
                 .iteration = k,
                 .at = at,
                 .constraint = &seen.value,
                 .direction = &next.direction,
                 .passes = estimator_.counts()}))
        return false;
    }
    return true;
  }

  void record(std::size_t i, std::size_t k, double t, const per_sample_t<T>& loss) {
    auto& r = records_[recorded_++];
    r.step = i;
    r.iteration = k;
    r.t = t;
    r.loss = loss;
  }

  /// Takes out the samples that are within the tolerance; false when none is left.
  bool still_active(const T& like, const per_sample_t<T>& loss, per_sample_t<T>& active) {
    const auto values = tensor_traits<T>::values(loss);
    for (std::size_t j = 0; j < left_.size(); ++j)
      if (values[j] <= update_.tolerance) left_[j] = 0.0;
    active = tensor_traits<T>::from_values(like, left_);
    return std::find(left_.begin(), left_.end(), 1.0) != left_.end();
  }

  /// The first estimate of step i.
  estimate<T> estimated(T x, double t, std::size_t i) {
    auto at = [&] {
      if constexpr (linearizes)
        return estimator_.linearize(std::move(x), t);
      else
        return estimator_.evaluate(std::move(x), t);
    }();
    if (options_.check == finite_check::every_pass) require_finite(at.x0, "clean estimate", i, 0);
    return at;
  }

  T noise(const T& like, std::size_t i) const {
    return standard_normal(like, {options_.seed, options_.first_sample, static_cast<std::uint32_t>(i + 1)});
  }

  bool tell(progress<T> p) {
    p.steps = sampler_.steps();
    p.iterations = steers ? update_.iterations : 0;
    return ask(observer_, p) == verdict::go_on;
  }

  const Estimator& estimator_;
  const Sampler& sampler_;
  const Constraint& constraint_;
  const Update& update_;
  const sample_options& options_;
  Observer& observer_;
  rule_type rule_;
  std::vector<pending_record> records_;
  std::size_t recorded_ = 0;
  std::vector<double> left_; ///< with a tolerance: 1 for each sample that is not within it, else 0
};

} // namespace detail

/// Walks a sampler's grid from x to a clean sample, and at each time steers the estimate onto the constraint:
///
///     for each time t of the grid:
///         (x, x0) = evaluate(x, t)                                    1 pass
///         for k in 0..K-1:
///             look at the constraint at x0: loss, error
///             (x, x0) = what the update rule makes of them
///         x = sampler's step
///
/// The rule `update` moves x along a policy's direction and evaluates there, so that inexact Newton costs 1 +
/// 2K passes a time step (Graikos, Jojic and Samaras 2025); the rule `posterior_step` moves x0 alone, in 1 +
/// m passes. Everything is per sample: a batch of N gives the same as N single runs, and a sample whose error
/// is zero stays as it is.
///
/// \param x       start (N, ...): `standard_normal`, or `noised` for a grid that starts in the middle
/// \param m       the denoiser and its path
/// \param s       `ddim`, `rectified_flow_euler` or another sampler, on the same path
/// \param c       the constraint; not looked at under the policy `none`
/// \param u       the update rule: `update` of a policy, a step size, inner iterations and a tolerance, or
///                `posterior_step`
/// \param options seed, sample index, finite check
/// \param observe sees each step and inner iteration, and can stop the run
/// \throws bad_option, shape_mismatch on entry, before any pass
/// \throws not_finite with the step and iteration
/// \throws what the denoiser, the constraint and the observer throw
template <class T, class Denoiser, class Path, class Sampler, class Constraint, class Rule,
          class Observer = no_observer>
sample_result<T> sample(T x, const model<Denoiser, Path>& m, const Sampler& s, const Constraint& c,
                        const Rule& u, const sample_options& options = {}, Observer&& observe = {}) {
  if constexpr (detail::check_tensor<T>()) {
    if constexpr (detail::check_denoiser<Denoiser, T>() && detail::check_path<Path>()) {
      using model_type = estimator<T, Denoiser, Path>;
      constexpr bool usable = detail::check_sampler<Sampler, T>() &&
                              detail::check_constraint<Constraint, T>() &&
                              detail::check_rule<Rule, Constraint, model_type, Denoiser>() &&
                              detail::check_observer<std::remove_reference_t<Observer>, T>();
      if constexpr (usable) {
        const shape extents = tensor_traits<T>::shape_of(x);
        if (extents.elements() == 0)
          throw shape_mismatch("the start has shape " + to_string(extents) +
                               ": it needs at least one sample");
        if (!tensor_traits<T>::all_finite(x))
          throw bad_option("the start x holds a value that is not finite");
        if constexpr (!detail::leaves_alone<Rule>) {
          check_shape(c, extents);
          detail::check_options(u);
        }
        if (!std::isfinite(u.tolerance))
          throw bad_option("tolerance is " + std::to_string(u.tolerance) +
                           ", but must be finite; negative for none");
        if (s.steps() == 0) throw bad_option("the sampler has no steps");
        pass_counts counts;
        const model_type e(m, counts);
        detail::run<T, model_type, Sampler, Constraint, Rule, std::remove_reference_t<Observer>> loop(
            e, s, c, u, options, observe);
        return loop.all(std::move(x));
      }
    }
  }
}

} // namespace pushforward
