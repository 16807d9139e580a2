#pragma once
/// \file
/// xtensor's row-major arrays of float or double as tensors of the core.

#include <pushforward/noise/philox_normal.hpp>
#include <pushforward/tensor.hpp>
#include <pushforward/xtensor/headers.hpp>

#include <algorithm>
#include <cmath>
#include <complex>
#include <concepts>
#include <cstddef>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace pushforward {

namespace xtensor {

/// A batch of float or double that takes its memory from `recycling_allocator`: once a loop runs, its own
/// algebra allocates nothing.
template <class Real> using tensor = xt::xarray<Real, xt::layout_type::row_major, recycling_allocator<Real>>;

} // namespace xtensor

namespace detail {

template <class T> struct is_xarray : std::false_type {};
template <class Storage, class Shape, class Tag>
struct is_xarray<xt::xarray_container<Storage, xt::layout_type::row_major, Shape, Tag>> : std::true_type {};

} // namespace detail

/// Row-major `xt::xarray` of float or double, with any allocator. Sums run in double.
template <class T>
concept xarray_of_real = detail::is_xarray<T>::value && std::floating_point<typename T::value_type>;

template <xarray_of_real T> struct tensor_traits<T> : host_per_sample_traits<T> {
  using scalars = host_per_sample_traits<T>;
  using per_sample = typename scalars::per_sample;
  using scalars::combine;
  using scalars::multiply;
  using real = typename T::value_type;

  static shape shape_of(const T& x) { return shape(x.shape().begin(), x.shape().end()); }

  static T zeros(const T& x) {
    return filled(x, shape_of(x), [](std::size_t) { return real(0); });
  }

  template <class A, class B> static T combine(const A& a, T x, const B& b, const T& y) {
    same_shape(x, y);
    each_sample(x, [&](std::size_t j, std::size_t first, std::size_t n) {
      const real p = at(a, j), q = at(b, j);
      real* to = x.data() + first;
      const real* from = y.data() + first;
      for (std::size_t i = 0; i < n; ++i) to[i] = p * to[i] + q * from[i];
    });
    return x;
  }

  template <class A> static T scale(const A& a, T x) {
    each_sample(x, [&](std::size_t j, std::size_t first, std::size_t n) {
      const real p = at(a, j);
      for (std::size_t i = first; i < first + n; ++i) x.data()[i] *= p;
    });
    return x;
  }

  static T multiply(T x, const T& y) {
    same_shape(x, y);
    for (std::size_t i = 0; i < x.size(); ++i) x.data()[i] *= y.data()[i];
    return x;
  }

  /// A sample with a NaN has NaN for its maximum.
  static per_sample max_abs(const T& x) {
    return reduce(x, [](const real* v, std::size_t n) {
      real largest = 0;
      bool nan = false;
      for (std::size_t i = 0; i < n; ++i) {
        const real size = std::abs(v[i]);
        largest = largest < size ? size : largest;
        nan |= size != size;
      }
      return nan ? std::nan("") : static_cast<double>(largest);
    });
  }

  static per_sample dot(const T& x, const T& y) {
    same_shape(x, y);
    const real* other = y.data();
    return reduce(x, [&, base = x.data()](const real* v, std::size_t n) {
      const real* w = other + (v - base);
      double sum = 0;
      for (std::size_t i = 0; i < n; ++i) sum += static_cast<double>(v[i]) * static_cast<double>(w[i]);
      return sum;
    });
  }

  static bool all_finite(const T& x) {
    return std::all_of(x.data(), x.data() + x.size(), [](real v) { return std::isfinite(v); });
  }

  static T normal(const T& x, const noise_key& key) {
    T z = x;
    noise::fill_normal(std::span<real>(z.data(), z.size()), shape_of(x).sample_elements(), key);
    return z;
  }

  static T concatenate(const T& x, const T& y) {
    shape s = shape_of(x);
    shape other = shape_of(y);
    s[0] = other[0] = s[0] + other[0];
    detail::require_same_shape("the second batch", other, s);
    return filled(x, s, [&](std::size_t i) { return i < x.size() ? x.data()[i] : y.data()[i - x.size()]; });
  }

  static std::pair<T, T> halves(const T& x) {
    shape s = shape_of(x);
    if (s.samples() % 2 != 0)
      throw shape_mismatch("a batch of " + std::to_string(s.samples()) + " samples cannot be halved");
    s[0] /= 2;
    const std::size_t half = x.size() / 2;
    return {filled(x, s, [&](std::size_t i) { return x.data()[i]; }),
            filled(x, s, [&](std::size_t i) { return x.data()[half + i]; })};
  }

  static std::vector<double> elements(const T& x) { return {x.data(), x.data() + x.size()}; }

  static T from_elements(const T& like, const shape& s, std::span<const double> values) {
    if (values.size() != s.elements())
      throw shape_mismatch(std::to_string(values.size()) + " values for a tensor of shape " + to_string(s));
    return filled(like, s, [&](std::size_t i) { return static_cast<real>(values[i]); });
  }

  /// The matrix by rows, each from its first to its last entry that is not 0.
  struct axis_map {
    struct row {
      std::size_t first;
      std::vector<real> weights;
    };
    std::vector<row> rows;
    std::size_t columns;
  };

  static axis_map make_axis_map(const T&, const axis_matrix& m) {
    axis_map map{{}, m.columns};
    for (std::size_t i = 0; i < m.rows; ++i) {
      std::size_t first = 0, last = m.columns;
      while (first < last && m(i, first) == 0.0) ++first;
      while (last > first && m(i, last - 1) == 0.0) --last;
      typename axis_map::row r{first, {}};
      for (std::size_t j = first; j < last; ++j) r.weights.push_back(static_cast<real>(m(i, j)));
      map.rows.push_back(std::move(r));
    }
    return map;
  }

  /// The axis is counted from the end: 0 is the last.
  static T along_axis(const axis_map& map, const T& x, std::size_t axis) {
    shape s = shape_of(x);
    if (axis >= s.size() || s[s.size() - 1 - axis] != map.columns)
      throw shape_mismatch("a matrix with " + std::to_string(map.columns) + " columns cannot act on axis " +
                           std::to_string(axis) + " from the end of " + to_string(s));
    std::size_t inner = 1;
    for (std::size_t k = 0; k < axis; ++k) inner *= s[s.size() - 1 - k];
    s[s.size() - 1 - axis] = map.rows.size();
    T y = filled(x, s, [](std::size_t) { return real(0); });
    const std::size_t outer = x.size() / (map.columns * inner);
    real* to = y.data();
    for (std::size_t o = 0; o < outer; ++o)
      for (const auto& r : map.rows) {
        for (std::size_t j = 0; j < r.weights.size(); ++j) {
          const real* from = x.data() + (o * map.columns + r.first + j) * inner;
          const real w = r.weights[j];
          for (std::size_t i = 0; i < inner; ++i) to[i] += w * from[i];
        }
        to += inner;
      }
    return y;
  }

private:
  static real at(double a, std::size_t) { return static_cast<real>(a); }
  static real at(const per_sample& a, std::size_t j) { return static_cast<real>(a[j]); }

  static void same_shape(const T& x, const T& y) {
    if (x.shape() != y.shape()) detail::require_same_shape("the second tensor", shape_of(y), shape_of(x));
  }

  template <class F> static void each_sample(const T& x, F f) {
    const shape s = shape_of(x);
    const std::size_t n = s.sample_elements();
    for (std::size_t j = 0; j < s.samples(); ++j) f(j, j * n, n);
  }

  template <class F> static per_sample reduce(const T& x, F f) {
    per_sample p(shape_of(x).samples());
    each_sample(x, [&](std::size_t j, std::size_t first, std::size_t n) { p[j] = f(x.data() + first, n); });
    return p;
  }

  template <class F> static T filled(const T&, const shape& s, F f) {
    typename T::shape_type extents(s.size());
    std::copy(s.begin(), s.end(), extents.begin());
    T y(extents);
    for (std::size_t i = 0; i < y.size(); ++i) y.data()[i] = f(i);
    return y;
  }
};

} // namespace pushforward
