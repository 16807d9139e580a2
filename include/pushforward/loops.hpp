#pragma once
/// \file
/// Loops over elements for adapters, on plain pointers, written so that compilers vectorise them without
/// leave to reorder floating point. Sums run in double, in an order that depends on the number of elements
/// alone.

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace pushforward::loops {

/// x = a x + b y. The two must not overlap.
template <class Real>
void combine(Real a, Real* __restrict x, Real b, const Real* __restrict y, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) x[i] = a * x[i] + b * y[i];
}

/// x = a x
template <class Real> void scale(Real a, Real* x, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) x[i] *= a;
}

/// x = x y, element by element. The two must not overlap.
template <class Real> void multiply(Real* __restrict x, const Real* __restrict y, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) x[i] *= y[i];
}

/// Integers of the size of Real. Without their sign, floating-point numbers are ordered as their bits are,
/// infinity above every number and NaN above infinity.
template <class Real> using bits = std::conditional_t<sizeof(Real) == 4, std::int32_t, std::int64_t>;

/// Largest absolute value; NaN if there is one, 0 of nothing.
template <class Real> Real max_abs(const Real* x, std::size_t n) {
  constexpr auto without_sign = std::numeric_limits<bits<Real>>::max();
  bits<Real> largest = 0;
  for (std::size_t i = 0; i < n; ++i)
    largest = std::max(largest, std::bit_cast<bits<Real>>(x[i]) & without_sign);
  return std::bit_cast<Real>(largest);
}

/// Neither NaN nor infinity.
template <class Real> bool all_finite(const Real* x, std::size_t n) {
  constexpr auto infinity = std::bit_cast<bits<Real>>(std::numeric_limits<Real>::infinity());
  bits<Real> found = 0;
  for (std::size_t i = 0; i < n; ++i)
    found |= (std::bit_cast<bits<Real>>(x[i]) & infinity) == infinity ? 1 : 0;
  return found == 0;
}

/// Sum of products.
template <class X, class Y> double dot(const X* x, const Y* y, std::size_t n) {
  constexpr std::size_t lanes = 8;
  std::array<double, lanes> sums{};
  const std::size_t whole = n - n % lanes;
  for (std::size_t i = 0; i < whole; i += lanes)
    for (std::size_t l = 0; l < lanes; ++l)
      sums[l] += static_cast<double>(x[i + l]) * static_cast<double>(y[i + l]);
  double sum = 0.0;
  for (std::size_t i = whole; i < n; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(y[i]);
  for (double s : sums) sum += s;
  return sum;
}

} // namespace pushforward::loops
