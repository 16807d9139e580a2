#pragma once
/// \file
/// x0(x) = M x + b at every time, for any square M: what no trained network is, but J need not be symmetric.

#include <support/backend.hpp>

#include <pushforward/concepts.hpp>

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

namespace testing_support {

/// y = M x + b for each sample of x.
template <pushforward::tensor T> T affine(const matrix& M, const T& x, const vector& b) {
  const auto shape = pushforward::tensor_traits<T>::shape_of(x);
  const std::size_t n = shape.sample_elements();
  const auto points = elements(x);
  std::vector<double> result;
  for (std::size_t j = 0; j < shape.samples(); ++j) {
    const vector y = combined(1.0, M * std::span(points).subspan(j * n, n), 1.0, b);
    result.insert(result.end(), y.begin(), y.end());
  }
  return pushforward::tensor_traits<T>::from_elements(x, shape, result);
}

/// A sample prediction, which can run forward, backward and in forward mode.
template <class Backend> class linear_denoiser {
public:
  using T = typename Backend::tensor;
  static constexpr auto prediction = pushforward::prediction_type::sample;

  explicit linear_denoiser(matrix M) : M_{std::move(M)}, b_(M_.rows, 0.0) {}
  linear_denoiser(matrix M, vector b) : M_{std::move(M)}, b_{std::move(b)} {}

  T predict(const T& x, double) const { return affine(M_, x, b_); }
  T jvp(const T&, double, const T& v) const { return affine(M_, v, vector(b_.size(), 0.0)); }
  pushforward::linearization<T> linearize(const T& x, double) const {
    return {affine(M_, x, b_),
            [turned = transposed(M_)](const T& w) { return affine(turned, w, vector(turned.rows, 0.0)); }};
  }

private:
  matrix M_;
  vector b_;
};

} // namespace testing_support
