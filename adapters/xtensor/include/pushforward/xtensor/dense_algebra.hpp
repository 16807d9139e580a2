#pragma once
/// \file
/// Dense linear algebra for exact Newton and Arnoldi on xtensor: LAPACK's gelsd and geev, through
/// xtensor-blas.

#include <pushforward/xtensor/tensor.hpp>

#include <xtensor-blas/xlinalg.hpp>

#include <complex>
#include <cstddef>
#include <span>
#include <vector>

namespace pushforward {

template <xarray_of_real T> struct dense_algebra<T> {
  static std::vector<double> least_squares(std::size_t rows, std::size_t columns, std::span<const double> a,
                                           std::span<const double> b, double cutoff) {
    if (b.size() != rows)
      throw shape_mismatch("least squares: " + std::to_string(b.size()) + " values for a matrix of " +
                           std::to_string(rows) + " rows");
    auto right = xt::xtensor<double, 1>::from_shape({rows});
    std::copy(b.begin(), b.end(), right.begin());
    const auto x = std::get<0>(xt::linalg::lstsq(matrix(rows, columns, a), right, cutoff));
    return {x.begin(), x.end()};
  }

  static std::vector<std::complex<double>> eigenvalues(std::size_t n, std::span<const double> a) {
    const auto values = xt::linalg::eigvals(matrix(n, n, a));
    return {values.begin(), values.end()};
  }

private:
  static xt::xtensor<double, 2> matrix(std::size_t rows, std::size_t columns, std::span<const double> a) {
    if (a.size() != rows * columns)
      throw shape_mismatch("a matrix of " + std::to_string(rows) + " x " + std::to_string(columns) + " got " +
                           std::to_string(a.size()) + " values");
    auto m = xt::xtensor<double, 2>::from_shape({rows, columns});
    std::copy(a.begin(), a.end(), m.begin());
    return m;
  }
};

} // namespace pushforward
