#pragma once
/// \file
/// The Jacobian of the clean estimate: dense, and as operators for Arnoldi.

#include <pushforward/concepts.hpp>
#include <pushforward/estimate.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace pushforward {

/// A square matrix on the host, row-major.
struct dense_matrix {
  std::size_t size = 0;
  std::vector<double> values;

  double operator()(std::size_t row, std::size_t column) const { return values[row * size + column]; }
  double& operator()(std::size_t row, std::size_t column) { return values[row * size + column]; }

  /// M v
  std::vector<double> times(std::span<const double> v) const {
    std::vector<double> y(size, 0.0);
    for (std::size_t i = 0; i < size; ++i)
      for (std::size_t j = 0; j < size; ++j) y[i] += (*this)(i, j) * v[j];
    return y;
  }

  /// M^T w
  std::vector<double> transposed_times(std::span<const double> w) const {
    std::vector<double> y(size, 0.0);
    for (std::size_t i = 0; i < size; ++i)
      for (std::size_t j = 0; j < size; ++j) y[j] += (*this)(i, j) * w[i];
    return y;
  }
};

struct dense_jacobian_options {
  double probe = 0.0;      ///< of the forward differences; 0: from the compute type
  std::size_t batch = 128; ///< columns that are computed in one batch
};

/// J of one sample of an estimate, column by column: column j is the jvp of the j-th unit vector. One pass a
/// column. Waits for the device.
/// \throws bad_option for a batch of 0, a bad probe or a sample that is not there
template <class Model>
dense_matrix dense_jacobian(const Model& m, const estimate<typename Model::tensor_type>& at,
                            std::size_t sample = 0, const dense_jacobian_options& options = {}) {
  using T = typename Model::tensor_type;
  using traits = tensor_traits<T>;
  const shape s = traits::shape_of(at.x);
  if (options.batch == 0) throw bad_option("dense_jacobian: batch is 0");
  if (!(std::isfinite(options.probe) && options.probe >= 0.0))
    throw bad_option("dense_jacobian: probe is " + std::to_string(options.probe) +
                     ", but must be positive, or 0 for automatic");
  if (sample >= s.samples())
    throw bad_option("dense_jacobian: sample " + std::to_string(sample) + " of a batch of " +
                     std::to_string(s.samples()));
  const std::size_t n = s.sample_elements();
  const auto all_x = traits::elements(at.x), all_x0 = traits::elements(at.x0);
  const auto x = std::span(all_x).subspan(sample * n, n), x0 = std::span(all_x0).subspan(sample * n, n);

  dense_matrix jacobian{n, std::vector<double>(n * n)};
  for (std::size_t first = 0; first < n; first += options.batch) {
    const std::size_t columns = std::min(options.batch, n - first);
    shape batch_shape = s;
    batch_shape[0] = columns;
    std::vector<double> points, clean, units(columns * n, 0.0);
    for (std::size_t c = 0; c < columns; ++c) {
      points.insert(points.end(), x.begin(), x.end());
      clean.insert(clean.end(), x0.begin(), x0.end());
      units[c * n + first + c] = 1.0;
    }
    const estimate<T> here{traits::from_elements(at.x, batch_shape, points),
                           traits::from_elements(at.x, batch_shape, clean),
                           at.t,
                           at.c,
                           {}};
    const auto images =
        traits::elements(m.jvp(here, traits::from_elements(at.x, batch_shape, units), options.probe));
    for (std::size_t c = 0; c < columns; ++c)
      for (std::size_t i = 0; i < n; ++i) jacobian(i, first + c) = images[c * n + i];
  }
  return jacobian;
}

/// v -> J v by forward differences.
template <forward_model Model>
auto jacobian_product(const Model& m, const estimate<typename Model::tensor_type>& at, double probe = 0.0) {
  using T = typename Model::tensor_type;
  return [&m, &at, probe](const T& v) { return m.jvp(at, v, probe); };
}

/// w -> J^T w by backward passes.
template <differentiable_model Model>
auto transposed_product(const Model& m, const estimate<typename Model::tensor_type>& at) {
  using T = typename Model::tensor_type;
  return [&m, &at](const T& w) { return m.vjp(at, w); };
}

/// v -> (J + J^T) v / 2.
template <differentiable_model Model>
auto symmetric_product(const Model& m, const estimate<typename Model::tensor_type>& at, double probe = 0.0) {
  using T = typename Model::tensor_type;
  return [&m, &at, probe](const T& v) {
    return tensor_traits<T>::combine(0.5, m.jvp(at, v, probe), 0.5, m.vjp(at, v));
  };
}

/// v -> (J - J^T) v / 2.
template <differentiable_model Model>
auto skew_product(const Model& m, const estimate<typename Model::tensor_type>& at, double probe = 0.0) {
  using T = typename Model::tensor_type;
  return [&m, &at, probe](const T& v) {
    return tensor_traits<T>::combine(0.5, m.jvp(at, v, probe), -0.5, m.vjp(at, v));
  };
}

} // namespace pushforward
