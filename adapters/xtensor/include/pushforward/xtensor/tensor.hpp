#pragma once
/// \file
/// xtensor's row-major arrays of float or double as tensors of the core.

#include <pushforward/noise/philox_normal.hpp>
#include <pushforward/tensor.hpp>
#include <pushforward/xtensor/headers.hpp>
#include <pushforward/xtensor/loops.hpp>

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace pushforward {

namespace xtensor {

/// A batch of float or double that takes its memory, and that of a shape of more than 4 dimensions, from
/// `recycling_allocator`: once a loop runs, its own algebra takes nothing from the heap.
template <class Real>
using tensor =
    xt::xarray<Real, xt::layout_type::row_major, recycling_allocator<Real>, recycling_allocator<std::size_t>>;

} // namespace xtensor

namespace detail {

template <class T> struct is_row_major_xarray : std::false_type {};
template <class Storage, class Shape, class Tag>
struct is_row_major_xarray<xt::xarray_container<Storage, xt::layout_type::row_major, Shape, Tag>>
    : std::true_type {};

} // namespace detail

/// Row-major `xt::xarray` of float or double, with any allocator.
template <class T>
concept xarray_of_real = detail::is_row_major_xarray<T>::value &&
    (std::same_as<typename T::value_type, float> || std::same_as<typename T::value_type, double>);

/// Per-sample scalars are double, in host memory. Sums run in double. Every member throws `shape_mismatch`
/// where its arguments do not fit each other.
template <xarray_of_real T> struct tensor_traits<T> : host_per_sample_traits<T> {
  using per_sample = typename host_per_sample_traits<T>::per_sample;
  using host_per_sample_traits<T>::combine;
  using host_per_sample_traits<T>::multiply;
  using real = typename T::value_type;

  static shape shape_of(const T& x) { return shape(x.shape().begin(), x.shape().end()); }

  static T zeros(const T& x) {
    T y = uninitialised(shape_of(x));
    std::fill_n(y.data(), y.size(), real(0));
    return y;
  }

  template <class A, class B> static T combine(const A& a, T x, const B& b, const T& y) {
    require_same_shape(y, x);
    const samples each(x, a, b);
    for (std::size_t j = 0; j < each.count; ++j)
      xtensor::loops::combine(at(a, j), each.of(x, j), at(b, j), each.of(y, j), each.elements);
    return x;
  }

  template <class A> static T scale(const A& a, T x) {
    const samples each(x, a);
    for (std::size_t j = 0; j < each.count; ++j)
      xtensor::loops::scale(at(a, j), each.of(x, j), each.elements);
    return x;
  }

  static T multiply(T x, const T& y) {
    require_same_shape(y, x);
    xtensor::loops::multiply(x.data(), y.data(), x.size());
    return x;
  }

  /// NaN for a sample that holds one.
  static per_sample max_abs(const T& x) {
    const samples each(x);
    per_sample p(each.count);
    for (std::size_t j = 0; j < each.count; ++j)
      p[j] = static_cast<double>(xtensor::loops::max_abs(each.of(x, j), each.elements));
    return p;
  }

  static per_sample dot(const T& x, const T& y) {
    require_same_shape(y, x);
    const samples each(x);
    per_sample p(each.count);
    for (std::size_t j = 0; j < each.count; ++j)
      p[j] = xtensor::loops::dot(each.of(x, j), each.of(y, j), each.elements);
    return p;
  }

  static bool all_finite(const T& x) { return xtensor::loops::all_finite(x.data(), x.size()); }

  static T normal(const T& x, const noise_key& key) {
    const shape s = shape_of(x);
    T z = uninitialised(s);
    noise::fill_normal(std::span<real>(z.data(), z.size()), s.sample_elements(), key);
    return z;
  }

  static T concatenate(const T& x, const T& y) {
    shape s = shape_of(x), other = shape_of(y);
    s[0] = other[0] = s[0] + other[0];
    detail::require_same_shape("the second batch", other, s);
    T both = uninitialised(s);
    std::copy_n(y.data(), y.size(), std::copy_n(x.data(), x.size(), both.data()));
    return both;
  }

  static std::pair<T, T> halves(const T& x) {
    shape s = shape_of(x);
    if (s.samples() % 2 != 0)
      throw shape_mismatch("a batch of " + std::to_string(s.samples()) + " samples cannot be halved");
    s[0] /= 2;
    T first = uninitialised(s), second = uninitialised(s);
    std::copy_n(x.data(), first.size(), first.data());
    std::copy_n(x.data() + first.size(), second.size(), second.data());
    return {std::move(first), std::move(second)};
  }

  static std::vector<double> elements(const T& x) { return {x.data(), x.data() + x.size()}; }

  static T from_elements(const T&, const shape& s, std::span<const double> values) {
    if (values.size() != s.elements())
      throw shape_mismatch(std::to_string(values.size()) + " values for a tensor of shape " + to_string(s));
    T y = uninitialised(s);
    std::transform(values.begin(), values.end(), y.data(), [](double v) { return static_cast<real>(v); });
    return y;
  }

  using axis_map = axis_matrix;
  static axis_map make_axis_map(const T&, const axis_matrix& m) { return m; }
  /// The axis is counted from the end: 0 is the last.
  static T along_axis(const axis_map& map, const T& x, std::size_t axis) {
    shape s = shape_of(x);
    if (axis >= s.size() || s[s.size() - 1 - axis] != map.columns())
      throw shape_mismatch("a matrix with " + std::to_string(map.columns()) + " columns cannot act on axis " +
                           std::to_string(axis) + " from the end of " + to_string(s));
    std::size_t outer = 1, inner = 1;
    for (std::size_t k = 0; k < s.size() - 1 - axis; ++k) outer *= s[k];
    for (std::size_t k = s.size() - axis; k < s.size(); ++k) inner *= s[k];
    s[s.size() - 1 - axis] = map.rows();
    T y = uninitialised(s);
    xtensor::loops::along_axis(map, x.data(), y.data(), outer, inner);
    return y;
  }

private:
  /// The samples of a batch, which must be as many as the scalars of every factor.
  struct samples {
    std::size_t count;
    std::size_t elements;

    template <class... Factors> explicit samples(const T& x, const Factors&... factors) {
      const shape s = shape_of(x);
      count = s.samples();
      elements = s.sample_elements();
      (require_as_many(factors), ...);
    }

    real* of(T& x, std::size_t j) const { return x.data() + j * elements; }
    const real* of(const T& x, std::size_t j) const { return x.data() + j * elements; }

    void require_as_many(double) const {}
    void require_as_many(const per_sample& p) const {
      if (p.size() != count)
        throw shape_mismatch(std::to_string(p.size()) + " per-sample values for a batch of " +
                             std::to_string(count) + " samples");
    }
  };

  static real at(double a, std::size_t) { return static_cast<real>(a); }
  static real at(const per_sample& a, std::size_t j) { return static_cast<real>(a[j]); }

  static void require_same_shape(const T& y, const T& x) {
    if (y.shape() != x.shape()) detail::require_same_shape("the second tensor", shape_of(y), shape_of(x));
  }

  static T uninitialised(const shape& s) {
    typename T::shape_type extents(s.size());
    std::copy(s.begin(), s.end(), extents.begin());
    return T(extents);
  }
};

} // namespace pushforward
