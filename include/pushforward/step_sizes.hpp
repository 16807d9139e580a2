#pragma once
/// \file
/// Step sizes: what scales the direction, per sample.

#include <pushforward/analysis/arnoldi.hpp>
#include <pushforward/concepts.hpp>

#include <cmath>
#include <string>

namespace pushforward {

/// A number for each inner iteration, linear from first to last.
struct linear_decay {
  double first = 0.5;
  double last = 0.1;

  double at(std::size_t k, std::size_t iterations) const {
    if (iterations < 2) return first;
    return first + (last - first) * static_cast<double>(k) / static_cast<double>(iterations - 1);
  }
};

/// The same number in every inner iteration.
inline linear_decay constant_rate(double rate) { return {rate, rate}; }

/// lr[k] / max|d| per sample: the largest change of an element of x is lr[k]. Needs no spectrum. 0 for a
/// sample whose direction is 0. The reference's rule, with `rate` linear 0.5 -> 0.1 or constant.
struct infinity_norm {
  linear_decay rate{};

  void check() const {
    if (!(std::isfinite(rate.first) && std::isfinite(rate.last) && rate.first > 0.0 && rate.last > 0.0))
      throw bad_option("infinity_norm: rate is " + std::to_string(rate.first) + " -> " +
                       std::to_string(rate.last) + ", but both ends must be positive");
  }

  template <class Model>
  const infinity_norm& at_step(const Model&, const estimate<typename Model::tensor_type>&) const {
    return *this;
  }

  template <tensor T> per_sample_t<T> scale(const T& direction, std::size_t k, std::size_t iterations) const {
    return tensor_traits<T>::ratio(rate.at(k, iterations), tensor_traits<T>::max_abs(direction));
  }
};

/// lambda[k], whatever the direction.
struct constant_step {
  linear_decay lambda{1.0, 1.0};

  void check() const {
    if (!(std::isfinite(lambda.first) && std::isfinite(lambda.last) && lambda.first > 0.0 &&
          lambda.last > 0.0))
      throw bad_option("constant_step: lambda is " + std::to_string(lambda.first) + " -> " +
                       std::to_string(lambda.last) + ", but both ends must be positive");
  }

  template <class Model>
  const constant_step& at_step(const Model&, const estimate<typename Model::tensor_type>&) const {
    return *this;
  }

  template <tensor T> per_sample_t<T> scale(const T& direction, std::size_t k, std::size_t iterations) const {
    return tensor_traits<T>::fill(direction, lambda.at(k, iterations));
  }
};

/// c / mu^2 per sample, mu the largest magnitude of an eigenvalue of J at the start of the time step, from
/// Arnoldi. The error along an eigenvector with eigenvalue mu' is multiplied by 1 - c (mu' / mu)^2: it
/// shrinks for every one while 0 < c < 2. Costs `krylov` passes a time step, and waits for the device.
struct spectral {
  double c = 0.5;
  std::size_t krylov = 10; ///< Arnoldi steps
  double probe = 0.0;      ///< of the forward differences; 0: from the compute type

  void check() const {
    if (!(c > 0.0 && c < 2.0))
      throw bad_option("spectral: c is " + std::to_string(c) +
                       ", but must lie in (0, 2) for the error to shrink");
    if (krylov == 0) throw bad_option("spectral: krylov is 0, but at least one Arnoldi step is needed");
    if (!(std::isfinite(probe) && probe >= 0.0))
      throw bad_option("spectral: probe is " + std::to_string(probe) +
                       ", but must be positive, or 0 for automatic");
  }

  template <class Scalars> struct rule {
    Scalars lambda;

    template <tensor T> per_sample_t<T> scale(const T&, std::size_t, std::size_t) const { return lambda; }
  };

  template <forward_model Model>
  requires has_dense_algebra<typename Model::tensor_type>
  auto at_step(const Model& m, const estimate<typename Model::tensor_type>& at) const {
    using T = typename Model::tensor_type;
    const auto spectrum = arnoldi<T>([&](const T& v) { return m.jvp(at, v, probe); }, at.x0, krylov);
    std::vector<double> lambda;
    for (const auto& s : spectrum) {
      const double mu = s.spectral_radius();
      lambda.push_back(mu == 0.0 ? 0.0 : c / (mu * mu));
    }
    return rule<per_sample_t<T>>{tensor_traits<T>::from_values(at.x0, lambda)};
  }
};

} // namespace pushforward
