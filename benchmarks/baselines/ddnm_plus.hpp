#pragma once
/// \file
/// DDNM+: replacement that makes room for measurement noise.

#include "common.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

namespace baselines {

/// DDPM's step with the noise of DDNM+, and the share lambda of the replacement at each of its times. With
/// the posterior q(x' | x, x0) = N(a_t x0 + b_t x, sigma_t^2) and measurement noise sigma_y,
///
///     lambda = min(1, sigma_t / (a_t sigma_y))
///     x' = a_t x0' + b_t x + sqrt(sigma_t^2 - (a_t lambda sigma_y)^2) xi
class ddnm_plus_sampler {
public:
  template <path Path>
  ddnm_plus_sampler(const Path& p, std::vector<double> times, double noise_level) : times_{std::move(times)} {
    require_not_negative("ddnm_plus: noise_level", noise_level);
    if (times_.size() < 2) throw bad_option("a time grid needs at least two times");
    for (std::size_t i = 0; i < steps(); ++i) {
      const auto now = p.at(times_[i]), next = p.at(times_[i + 1]);
      const double sigma = std::sqrt(posterior_variance(now, next));
      step_weights w = weights_of_step(now, next, sigma);
      const double of_y = w.of_x0 * noise_level; // noise that a whole replacement brings into x'
      const double lambda = of_y > sigma ? sigma / of_y : 1.0;
      w.of_noise = std::sqrt(std::max(sigma * sigma - lambda * lambda * of_y * of_y, 0.0));
      weights_.push_back(w);
      lambdas_.push_back(lambda);
    }
  }

  std::size_t steps() const noexcept { return times_.size() - 1; }
  double time(std::size_t i) const { return times_.at(i); }
  /// lambda at a time of the grid.
  double lambda(double t) const {
    for (std::size_t i = 0; i < steps(); ++i)
      if (times_[i] == t) return lambdas_[i];
    throw bad_option("ddnm_plus: the sampler of the run is not that of the rule");
  }

  template <tensor T, class Noise> T step(std::size_t i, estimate<T> at, Noise&& noise) const {
    const auto& w = weights_.at(i);
    T next = tensor_traits<T>::combine(w.of_x0, std::move(at.x0), w.of_x, at.x);
    if (w.of_noise == 0.0) return next;
    const T z = noise(next);
    return tensor_traits<T>::combine(1.0, std::move(next), w.of_noise, z);
  }

private:
  std::vector<double> times_, lambdas_;
  std::vector<step_weights> weights_;
};

/// DDNM+ in its simple form (Wang, Yu and Zhang 2023, section 3.3): x0' = x0 + lambda A^+ (y - A x0), and x
/// stays. To be run with the sampler that it holds; the noise level of the constraint is not looked at. The
/// form is exact for A A^T = I (masks): there, A^+ brings noise of sigma_y into x0. 1 pass a step; 100 steps.
/// Without noise it is DDNM on DDPM's step; as published with eta 0.85 that is `replacement`.
struct ddnm_plus {
  ddnm_plus_sampler sampler;
  std::size_t krylov = 10; ///< steps of conjugate gradients for A^+; 1 does where A A^T = c I
  double tolerance = -1.0;
  static constexpr std::size_t iterations = 1;

  template <forward_model Model>
  const ddnm_plus& at_step(const Model&, const estimate<typename Model::tensor_type>&) const {
    return *this;
  }
  template <tensor T, least_squares_constraint<T> Constraint>
  auto look_at(const Constraint& c, const T& x0, pass_counts& counts) const {
    return c.least_squares(x0, counts);
  }
  template <forward_model Model, class Look, class T = typename Model::tensor_type>
  moved<T> move(const Model& m, estimate<T> at, const Look& seen, std::size_t,
                const per_sample_t<T>* active) const {
    const double lambda = sampler.lambda(at.t);
    return shifted(std::move(at),
                   tensor_traits<T>::scale(lambda, regularized_inverse<T>(seen, 0.0, krylov, m.counts())),
                   0.0, active);
  }
};

} // namespace baselines
