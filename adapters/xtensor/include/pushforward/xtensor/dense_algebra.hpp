#pragma once
/// \file
/// Dense linear algebra for exact Newton and Arnoldi on xtensor: LAPACK's gelsd and geev, in double, through
/// xtensor-blas.

#include <pushforward/error.hpp>
#include <pushforward/xtensor/tensor.hpp>

#include <xtensor-blas/xlinalg.hpp>

#include <algorithm>
#include <complex>
#include <cstddef>
#include <span>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

namespace pushforward {

/// \throws shape_mismatch for matrices and vectors of other sizes than said; error for values that are not
/// finite, and where LAPACK's iteration does not converge
template <xarray_of_real T> struct dense_algebra<T> {
  static std::vector<double> least_squares(std::size_t rows, std::size_t columns, std::span<const double> a,
                                           std::span<const double> b, double cutoff) {
    auto left = made("the matrix of the least squares", {rows, columns}, a);
    auto right = made("the right side of the least squares", {rows}, b);
    if (rows == 0 || columns == 0) return std::vector<double>(columns, 0.0);
    return solved("least squares", [&] {
      const auto x = std::get<0>(xt::linalg::lstsq(left, right, cutoff));
      return std::vector<double>(x.begin(), x.end());
    });
  }

  static std::vector<std::complex<double>> eigenvalues(std::size_t n, std::span<const double> a) {
    auto matrix = made("the matrix of the eigenvalues", {n, n}, a);
    if (n == 0) return {};
    return solved("eigenvalues", [&] {
      const auto values = xt::linalg::eigvals(matrix);
      return std::vector<std::complex<double>>(values.begin(), values.end());
    });
  }

private:
  static xt::xarray<double> made(const char* what, const shape& s, std::span<const double> values) {
    if (values.size() != s.elements())
      throw shape_mismatch(std::string(what) + " has " + std::to_string(values.size()) +
                           " values, but is to be " + to_string(s));
    if (!xtensor::loops::all_finite(values.data(), values.size()))
      throw error(std::string(what) + " holds a value that is not finite: look at the denoiser's output");
    auto x = xt::xarray<double>::from_shape(s);
    std::copy(values.begin(), values.end(), x.begin());
    return x;
  }

  template <class F> static auto solved(const char* what, F f) {
    try {
      return f();
    } catch (const std::runtime_error& e) {
      throw error(std::string(what) + ": " + e.what());
    }
  }
};

} // namespace pushforward
