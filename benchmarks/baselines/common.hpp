#pragma once
/// \file
/// What the baselines share. A baseline is another's published method, as an update rule or a sampler of
/// `sample`, or as a loop of its own where it is neither.

#include <pushforward/constraints/least_squares.hpp>
#include <pushforward/sample.hpp>
#include <pushforward/samplers/path_sampler.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace baselines {

using namespace pushforward;

inline void require_not_negative(const char* what, double value) {
  if (!(std::isfinite(value) && value >= 0.0))
    throw bad_option(std::string(what) + " is " + std::to_string(value) + ", but must be 0 or positive");
}

/// \throws bad_option where x_t is not (1 - t) x0 + t eps
inline void require_flow(const char* method, const coefficients& c) {
  if (!(std::abs(c.a + c.s - 1.0) < 1e-9))
    throw bad_option(std::string(method) + " is for flows: a + s is " + std::to_string(c.a + c.s) +
                     ", but must be 1");
}

/// (a', s') at the time that follows a time of a sampler's grid.
class next_coefficients {
public:
  /// \param s a sampler that also has time(steps()), as `path_sampler`
  template <path Path, class Sampler> next_coefficients(const Path& p, const Sampler& s) {
    for (std::size_t i = 0; i < s.steps(); ++i)
      steps_.push_back({s.time(i), p.at(s.time(i + 1)), i + 1 == s.steps()});
  }

  /// \throws bad_option for a t that is not of the grid
  const coefficients& after(double t) const { return find(t).next; }
  /// Whether the step at t is the last.
  bool is_last(double t) const { return find(t).last; }

private:
  struct step {
    double t;
    coefficients next;
    bool last;
  };
  const step& find(double t) const {
    for (const auto& s : steps_)
      if (s.t == t) return s;
    throw bad_option("time " + std::to_string(t) + " is not of the grid that the rule was made for");
  }
  std::vector<step> steps_;
};

/// Variance of q(x' | x, x0), DDPM's posterior, from (a, s) to (a', s'): s'^2 / s^2 (s^2 - (a / a')^2 s'^2).
inline double posterior_variance(const coefficients& now, const coefficients& next) {
  const double ratio = now.a * next.s / next.a;
  return next.s * next.s / (now.s * now.s) * (now.s * now.s - ratio * ratio);
}

/// x0 + d, and x + f d: with f = a the noise (x - a x0) / s stays what the denoiser said, with f = 0 it
/// becomes that of the moved estimate.
template <tensor T> moved<T> shifted(estimate<T> at, T d, double f, const per_sample_t<T>* active) {
  using traits = tensor_traits<T>;
  if (active != nullptr) d = traits::scale(*active, std::move(d));
  at.vjp = nullptr;
  at.x0 = traits::combine(1.0, std::move(at.x0), 1.0, d);
  if (f != 0.0) at.x = traits::combine(1.0, std::move(at.x), f, d);
  return {std::move(at), std::move(d)};
}

/// A^T (A A^T + rho)^-1 r by conjugate gradients, `steps` at most; exact after one where A A^T = c I, as of
/// masks and averaging. With rho = 0 it is A^+ r.
template <tensor T, least_squares_problem<T> Problem>
T regularized_inverse(const Problem& seen, double rho, std::size_t steps, pass_counts& counts) {
  using traits = tensor_traits<T>;
  using space = residual_space<T>;
  auto r = seen.residual;
  auto p = r;
  T w = seen.value.error; // A^T p
  T d = traits::zeros(w);
  auto square = space::dot(r, r);
  for (std::size_t k = 0; k < steps; ++k) {
    const auto curvature = traits::combine(1.0, traits::dot(w, w), rho, space::dot(p, p));
    const auto alpha = traits::ratio(square, curvature);
    d = traits::combine(1.0, std::move(d), alpha, w);
    if (k + 1 == steps) break;
    const auto q = space::combine(1.0, seen.apply(w, counts), rho, p);
    r = space::combine(1.0, std::move(r), traits::combine(-1.0, alpha, 0.0, alpha), q);
    auto next = space::dot(r, r);
    p = space::combine(traits::ratio(next, square), std::move(p), 1.0, r);
    w = seen.adjoint(p, counts);
    square = std::move(next);
  }
  return d;
}

/// A^T r / |r|: the gradient of the norm |y - A x0| in x0, with its sign turned. 0 where r is.
template <tensor T, least_squares_problem<T> Problem> T descent_of_norm(const Problem& seen) {
  using traits = tensor_traits<T>;
  using space = residual_space<T>;
  const auto norm = traits::square_root(space::dot(seen.residual, seen.residual));
  return traits::scale(traits::ratio(1.0, norm), seen.value.error);
}

/// y on a mask of zeros and ones.
template <tensor T> class known_part {
public:
  /// \param target y; its values where the mask is 0 are not looked at
  /// \throws shape_mismatch, bad_option
  known_part(const T& target, const T& mask) : target_{target}, known_{mask}, unknown_{mask} {
    using traits = tensor_traits<T>;
    const shape s = traits::shape_of(target);
    if (!(traits::shape_of(mask) == s))
      throw shape_mismatch("the mask has shape " + to_string(traits::shape_of(mask)) + ", but " +
                           to_string(s) + " is needed");
    auto y = traits::elements(target);
    auto m = traits::elements(mask);
    for (std::size_t i = 0; i < y.size(); ++i) {
      if (m[i] != 0.0 && m[i] != 1.0)
        throw bad_option("the mask has a value of " + std::to_string(m[i]) + ": here it must be 0 or 1");
      if (m[i] == 0.0) y[i] = 0.0;
      if (!std::isfinite(y[i])) throw bad_option("a known element of the target is not finite");
      m[i] = 1.0 - m[i];
    }
    target_ = traits::from_elements(target, s, y);
    unknown_ = traits::from_elements(mask, s, m);
  }

  const T& target() const noexcept { return target_; }

  /// y where the mask is 1, x elsewhere.
  T put(T x, T y) const {
    using traits = tensor_traits<T>;
    return traits::combine(1.0, traits::multiply(std::move(x), unknown_), 1.0,
                           traits::multiply(std::move(y), known_));
  }
  /// a y + s z where the mask is 1, x elsewhere.
  T put_noised(T x, const coefficients& c, const T& z) const {
    return put(std::move(x), tensor_traits<T>::combine(c.a, target_, c.s, z));
  }

private:
  T target_, known_, unknown_;
};

/// Standard normal noise of draws 1, 2, ... of a run: of the loops that are not `sample`'s.
class noise_draws {
public:
  explicit noise_draws(const sample_options& o) : key_{o.seed, o.first_sample, 0} {}

  template <tensor T> T operator()(const T& like) {
    ++key_.draw;
    return standard_normal(like, key_);
  }

private:
  noise_key key_;
};

/// \throws not_finite where `options` ask for the check of each pass
template <tensor T>
void check_finite(const estimate<T>& at, const sample_options& options, std::size_t step, std::size_t k) {
  if (options.check != finite_check::off && !tensor_traits<T>::all_finite(at.x0))
    throw not_finite("clean estimate", step, k);
}

} // namespace baselines
