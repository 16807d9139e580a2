#pragma once
/// \file
/// The arrays of pushforward::cuda, on the host's executor or on a device, as backends of the tests that run
/// on every backend.

#include <support/cuda_device.hpp>
#include <support/matrix.hpp>

#include <pushforward/cuda/tensor.hpp>

#include <complex>
#include <cstddef>
#include <span>
#include <tuple>
#include <vector>

namespace pushforward {

/// The adapter has none: the tests bring theirs, as a user may.
template <cuda::real Real> struct dense_algebra<cuda::array<Real>> {
  static std::vector<double> least_squares(std::size_t rows, std::size_t columns, std::span<const double> a,
                                           std::span<const double> b, double cutoff) {
    return testing_support::truncated_least_squares({rows, columns, {a.begin(), a.end()}}, b, cutoff);
  }
  static std::vector<std::complex<double>> eigenvalues(std::size_t n, std::span<const double> a) {
    return testing_support::eigenvalues({n, n, {a.begin(), a.end()}});
  }
};

} // namespace pushforward

namespace testing_support {

template <class Real>
pushforward::cuda::array<Real> make_cuda(const pushforward::cuda::executor& on, const pushforward::shape& s,
                                         const std::vector<double>& values) {
  using tensor = pushforward::cuda::array<Real>;
  return pushforward::tensor_traits<tensor>::from_elements(tensor(on, {1}), s, values);
}

struct cuda_float {
  using tensor = pushforward::cuda::array<float>;
  static constexpr const char* name = "cuda float";
  static constexpr double tolerance = 2e-5;
  static constexpr double probe_tolerance = 5e-4;
  static constexpr bool exact = true;

  static tensor make(const pushforward::shape& s, const std::vector<double>& values) {
    return make_cuda<float>(test_executor(), s, values);
  }
};

struct cuda_double {
  using tensor = pushforward::cuda::array<double>;
  static constexpr const char* name = "cuda double";
  static constexpr double tolerance = 1e-12;
  static constexpr double probe_tolerance = 1e-11;
  static constexpr bool exact = true;

  static tensor make(const pushforward::shape& s, const std::vector<double>& values) {
    return make_cuda<double>(test_executor(), s, values);
  }
};

using backends = std::tuple<cuda_float, cuda_double>;

} // namespace testing_support
