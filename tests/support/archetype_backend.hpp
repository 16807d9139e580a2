#pragma once
/// \file
/// The archetype of the tensor concept: a batch in host memory that can do what the concept asks, and nothing
/// else. It cannot be made from nothing, has no operators and no public parts; nor have its per-sample
/// scalars.

#include <support/matrix.hpp>
#include <support/random.hpp>

#include <pushforward/tensor.hpp>

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

namespace testing_support {

class archetype_tensor {
  friend struct pushforward::tensor_traits<archetype_tensor>;
  archetype_tensor(pushforward::shape s, std::vector<double> v) : shape_{s}, values_{std::move(v)} {}

  pushforward::shape shape_;
  std::vector<double> values_;
};

class archetype_scalars {
  friend struct pushforward::tensor_traits<archetype_tensor>;
  explicit archetype_scalars(std::vector<double> v) : values_{std::move(v)} {}

  std::vector<double> values_;
};

} // namespace testing_support

namespace pushforward {

template <> struct tensor_traits<testing_support::archetype_tensor> {
  using T = testing_support::archetype_tensor;
  using per_sample = testing_support::archetype_scalars;

  static shape shape_of(const T& x) { return x.shape_; }
  static T zeros(const T& x) { return {x.shape_, std::vector<double>(x.values_.size(), 0.0)}; }

  static T combine(double a, T x, double b, const T& y) { return combined(a, std::move(x), b, y); }
  static T combine(const per_sample& a, T x, double b, const T& y) { return combined(a, std::move(x), b, y); }
  static T combine(double a, T x, const per_sample& b, const T& y) { return combined(a, std::move(x), b, y); }
  static T combine(const per_sample& a, T x, const per_sample& b, const T& y) {
    return combined(a, std::move(x), b, y);
  }
  static T scale(double a, T x) { return scaled(a, std::move(x)); }
  static T scale(const per_sample& a, T x) { return scaled(a, std::move(x)); }
  static T multiply(T x, const T& y) {
    same_shape(x, y);
    for (std::size_t i = 0; i < x.values_.size(); ++i) x.values_[i] *= y.values_[i];
    return x;
  }
  static per_sample max_abs(const T& x) {
    std::vector<double> m(x.shape_.samples(), 0.0);
    for (std::size_t i = 0; i < x.values_.size(); ++i) {
      double& largest = m[i / x.shape_.sample_elements()];
      const double size = std::abs(x.values_[i]);
      if (!(size <= largest)) largest = size; // a NaN stays
    }
    return per_sample{m};
  }
  static per_sample dot(const T& x, const T& y) {
    same_shape(x, y);
    std::vector<double> sum(x.shape_.samples(), 0.0);
    for (std::size_t i = 0; i < x.values_.size(); ++i)
      sum[i / x.shape_.sample_elements()] += x.values_[i] * y.values_[i];
    return per_sample{sum};
  }
  static bool all_finite(const T& x) {
    return std::all_of(x.values_.begin(), x.values_.end(), [](double v) { return std::isfinite(v); });
  }
  static T normal(const T& x, const noise_key& key) {
    T z = x;
    const std::size_t n = x.shape_.sample_elements();
    for (std::size_t i = 0; i < z.values_.size(); ++i)
      z.values_[i] = testing_support::normal_number(
          testing_support::scrambled(
              testing_support::scrambled(testing_support::scrambled(key.seed) ^ (key.first_sample + i / n)) ^
              key.draw) +
          i % n);
    return z;
  }
  static T concatenate(const T& x, const T& y) {
    shape s = x.shape_, other = y.shape_;
    s[0] = other[0] = s[0] + other[0];
    detail::require_same_shape("the second batch", other, s);
    std::vector<double> both = x.values_;
    both.insert(both.end(), y.values_.begin(), y.values_.end());
    return {s, std::move(both)};
  }
  static std::pair<T, T> halves(const T& x) {
    shape s = x.shape_;
    if (s.samples() % 2 != 0) throw shape_mismatch("an odd batch cannot be halved");
    s[0] /= 2;
    const auto middle = x.values_.begin() + static_cast<std::ptrdiff_t>(x.values_.size() / 2);
    return {T{s, {x.values_.begin(), middle}}, T{s, {middle, x.values_.end()}}};
  }
  static std::vector<double> elements(const T& x) { return x.values_; }
  static T from_elements(const T&, const shape& s, std::span<const double> values) { return made(s, values); }

  static per_sample fill(const T& x, double c) {
    return per_sample{std::vector<double>(x.shape_.samples(), c)};
  }
  static per_sample from_values(const T& x, std::span<const double> values) {
    if (values.size() != x.shape_.samples()) throw shape_mismatch("not one value per sample");
    return per_sample{{values.begin(), values.end()}};
  }
  static std::vector<double> values(const per_sample& p) { return p.values_; }
  static per_sample combine(double a, const per_sample& p, double b, const per_sample& q) {
    return each(p, q, [&](double x, double y) { return a * x + b * y; });
  }
  static per_sample multiply(const per_sample& p, const per_sample& q) {
    return each(p, q, [](double x, double y) { return x * y; });
  }
  static per_sample ratio(double c, const per_sample& q) {
    return each(q, q, [&](double x, double) { return x == 0.0 ? 0.0 : c / x; });
  }
  static per_sample ratio(const per_sample& p, const per_sample& q) {
    return each(p, q, [](double x, double y) { return y == 0.0 ? 0.0 : x / y; });
  }
  static per_sample square_root(const per_sample& p) {
    return each(p, p, [](double x, double) { return std::sqrt(x); });
  }
  static per_sample clamp(const per_sample& p, double low, double high) {
    return each(p, p, [&](double x, double) { return std::clamp(x, low, high); });
  }

  using axis_map = axis_matrix;
  static axis_map make_axis_map(const T&, const axis_matrix& m) { return m; }
  static T along_axis(const axis_map& m, const T& x, std::size_t axis) {
    shape s = x.shape_;
    if (axis >= s.size() || s[s.size() - 1 - axis] != m.columns())
      throw shape_mismatch("the matrix does not fit the axis");
    std::size_t inner = 1;
    for (std::size_t k = 0; k < axis; ++k) inner *= s[s.size() - 1 - k];
    s[s.size() - 1 - axis] = m.rows();
    std::vector<double> y(s.elements(), 0.0);
    for (std::size_t at = 0; at < y.size(); ++at) {
      const std::size_t in = at % inner, row = at / inner % m.rows(), out = at / inner / m.rows();
      for (std::size_t j = 0; j < m.columns(); ++j)
        y[at] += m(row, j) * x.values_[(out * m.columns() + j) * inner + in];
    }
    return {s, std::move(y)};
  }

  /// For tests only: not part of the concept.
  static T made(const shape& s, std::span<const double> values) {
    if (values.size() != s.elements()) throw shape_mismatch("wrong number of elements");
    return {s, {values.begin(), values.end()}};
  }

private:
  static double of(double a, std::size_t) { return a; }
  static double of(const per_sample& a, std::size_t j) { return a.values_[j]; }
  static void same_shape(const T& x, const T& y) {
    detail::require_same_shape("the second tensor", y.shape_, x.shape_);
  }
  template <class A, class B> static T combined(const A& a, T x, const B& b, const T& y) {
    same_shape(x, y);
    const std::size_t n = x.shape_.sample_elements();
    for (std::size_t i = 0; i < x.values_.size(); ++i)
      x.values_[i] = of(a, i / n) * x.values_[i] + of(b, i / n) * y.values_[i];
    return x;
  }
  template <class A> static T scaled(const A& a, T x) {
    const std::size_t n = x.shape_.sample_elements();
    for (std::size_t i = 0; i < x.values_.size(); ++i) x.values_[i] *= of(a, i / n);
    return x;
  }
  template <class F> static per_sample each(const per_sample& p, const per_sample& q, F f) {
    std::vector<double> r(p.values_.size());
    for (std::size_t i = 0; i < r.size(); ++i) r[i] = f(p.values_[i], q.values_[i]);
    return per_sample{std::move(r)};
  }
};

template <> struct dense_algebra<testing_support::archetype_tensor> {
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

struct archetype {
  using tensor = archetype_tensor;
  static constexpr const char* name = "archetype";
  static constexpr double tolerance = 1e-12;
  static constexpr double probe_tolerance = 1e-11;
  static constexpr bool exact = true;

  static tensor make(const pushforward::shape& s, const std::vector<double>& values) {
    return pushforward::tensor_traits<tensor>::made(s, values);
  }
};

using backends = std::tuple<archetype>;

} // namespace testing_support
