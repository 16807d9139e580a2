#pragma once
/// \file
/// `cuda::array` of float or double as a tensor of the core.

#include <pushforward/cuda/array.hpp>
#include <pushforward/cuda/kernels.hpp>
#include <pushforward/tensor.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace pushforward {

namespace cuda {

/// One real number per sample, on the executor of the batch they belong to.
struct per_sample {
  array<double> values; ///< shape [N]
};

/// float32 or float64.
template <class Real>
concept real = std::is_same_v<Real, float> || std::is_same_v<Real, double>;

} // namespace cuda

/// Each operation is one kernel on the stream of its arguments (`max_abs`, `dot` and `all_finite` of samples
/// of more than 16384 elements are two), `halves` none. Per-sample scalars are double and sums run in double,
/// in an order that depends on the number of a sample's elements alone. Only `elements`, `values` and
/// `all_finite` wait for the device. A buffer is written to only when its array was moved in and no other
/// shares it. Every member throws `shape_mismatch` where its arguments do not fit each other or are on
/// different executors, and `cuda_error` where CUDA fails.
template <cuda::real Real> struct tensor_traits<cuda::array<Real>> {
  using T = cuda::array<Real>;
  using per_sample = cuda::per_sample;

  static shape shape_of(const T& x) { return x.extents(); }

  static T zeros(const T& x) {
    T y(x.on(), x.extents());
    cuda::kernels::fill(y.on(), y.extents().elements(), 0.0, y.writable());
    return y;
  }

  template <class A, class B> static T combine(const A& a, T x, const B& b, const T& y) {
    require_same(x, y);
    const auto of_x = factor_of(a, x), of_y = factor_of(b, y);
    const Real* from = x.data();
    T z = place_for_result(x);
    cuda::kernels::combine(z.on(), batch_of(z), of_x, from, of_y, y.data(), z.writable());
    return z;
  }

  template <class A> static T scale(const A& a, T x) {
    const auto of_x = factor_of(a, x);
    const Real* from = x.data();
    T z = place_for_result(x);
    cuda::kernels::scale(z.on(), batch_of(z), of_x, from, z.writable());
    return z;
  }

  static T multiply(T x, const T& y) {
    require_same(x, y);
    const Real* from = x.data();
    T z = place_for_result(x);
    cuda::kernels::multiply(z.on(), batch_of(z), from, y.data(), z.writable());
    return z;
  }

  /// NaN for a sample that holds one.
  static per_sample max_abs(const T& x) {
    per_sample p = scalars_like(x);
    cuda::kernels::max_abs(x.on(), batch_of(x), x.data(), p.values.writable());
    return p;
  }

  static per_sample dot(const T& x, const T& y) {
    require_same(x, y);
    per_sample p = scalars_like(x);
    cuda::kernels::dot(x.on(), batch_of(x), x.data(), y.data(), p.values.writable());
    return p;
  }

  static bool all_finite(const T& x) {
    cuda::array<std::int32_t> found(x.on(), {1});
    cuda::kernels::any_not_finite(x.on(), x.extents().elements(), x.data(), found.writable());
    std::int32_t any = 0;
    x.on().copy_back(&any, found.data(), sizeof any);
    return any == 0;
  }

  /// \throws shape_mismatch for samples of more than 2^34 elements
  static T normal(const T& x, const noise_key& key) {
    T z(x.on(), x.extents());
    cuda::kernels::normal(z.on(), batch_of(z), key, z.writable());
    return z;
  }

  static T concatenate(const T& x, const T& y) {
    require_same_executor(x.on(), y.on());
    shape s = x.extents(), other = y.extents();
    s[0] = other[0] = s[0] + other[0];
    detail::require_same_shape("the second batch", other, s);
    T both(x.on(), s);
    cuda::kernels::concatenate(x.on(), x.extents().elements(), x.data(), y.extents().elements(), y.data(),
                               both.writable());
    return both;
  }

  static std::pair<T, T> halves(const T& x) {
    const std::size_t n = x.extents().samples();
    if (n % 2 != 0) throw shape_mismatch("a batch of " + std::to_string(n) + " samples cannot be halved");
    return {x.samples(0, n / 2), x.samples(n / 2, n / 2)};
  }

  static std::vector<double> elements(const T& x) {
    const auto values = x.to_host();
    return {values.begin(), values.end()};
  }

  static T from_elements(const T& x, const shape& s, std::span<const double> values) {
    if (values.size() != s.elements())
      throw shape_mismatch(std::to_string(values.size()) + " values for a tensor of shape " + to_string(s));
    std::vector<Real> rounded;
    rounded.reserve(values.size());
    for (double v : values) rounded.push_back(static_cast<Real>(v));
    return T(x.on(), s, rounded);
  }

  static per_sample fill(const T& x, double c) {
    per_sample p = scalars_like(x);
    cuda::kernels::fill(x.on(), x.extents().samples(), c, p.values.writable());
    return p;
  }

  static per_sample from_values(const T& x, std::span<const double> values) {
    if (values.size() != x.extents().samples())
      throw shape_mismatch("per-sample values: " + std::to_string(values.size()) + " for " +
                           std::to_string(x.extents().samples()) + " samples");
    return {cuda::array<double>(x.on(), {values.size()}, values)};
  }

  static std::vector<double> values(const per_sample& p) { return p.values.to_host(); }

  static per_sample combine(double a, per_sample p, double b, const per_sample& q) {
    require_as_many(p, q);
    const double* from = p.values.data();
    per_sample r{place_for_result(p.values)};
    cuda::kernels::combine<double>(r.values.on(), {1, count(r)}, {a}, from, {b}, q.values.data(),
                                   r.values.writable());
    return r;
  }

  static per_sample multiply(per_sample p, const per_sample& q) {
    require_as_many(p, q);
    const double* from = p.values.data();
    per_sample r{place_for_result(p.values)};
    cuda::kernels::multiply(r.values.on(), {1, count(r)}, from, q.values.data(), r.values.writable());
    return r;
  }

  static per_sample ratio(double c, per_sample q) {
    const double* from = q.values.data();
    per_sample r{place_for_result(q.values)};
    cuda::kernels::ratio(r.values.on(), count(r), c, from, r.values.writable());
    return r;
  }

  static per_sample ratio(per_sample p, const per_sample& q) {
    require_as_many(p, q);
    const double* from = p.values.data();
    per_sample r{place_for_result(p.values)};
    cuda::kernels::ratio(r.values.on(), count(r), from, q.values.data(), r.values.writable());
    return r;
  }

  static per_sample square_root(per_sample p) {
    const double* from = p.values.data();
    per_sample r{place_for_result(p.values)};
    cuda::kernels::square_root(r.values.on(), count(r), from, r.values.writable());
    return r;
  }

  /// NaN stays.
  static per_sample clamp(per_sample p, double low, double high) {
    const double* from = p.values.data();
    per_sample r{place_for_result(p.values)};
    cuda::kernels::clamp(r.values.on(), count(r), from, low, high, r.values.writable());
    return r;
  }

  /// The rows of a matrix on the executor; see `kernels::bands`.
  struct axis_map {
    std::size_t rows;
    std::size_t columns;
    cuda::array<std::size_t> first;
    cuda::array<std::size_t> begin;
    cuda::array<double> weights;
  };

  static axis_map make_axis_map(const T& x, const axis_matrix& m) {
    std::vector<std::size_t> first, begin{0};
    std::vector<double> weights;
    for (std::size_t i = 0; i < m.rows(); ++i) {
      const auto row = m.row(i);
      first.push_back(row.first);
      weights.insert(weights.end(), row.values.begin(), row.values.end());
      begin.push_back(weights.size());
    }
    const auto placed = [&]<class V>(const std::vector<V>& values) {
      return cuda::array<V>(x.on(), {values.size()}, values);
    };
    return {m.rows(), m.columns(), placed(first), placed(begin), placed(weights)};
  }

  /// The axis is counted from the end: 0 is the last. It is not that of the samples.
  static T along_axis(const axis_map& map, const T& x, std::size_t axis) {
    require_same_executor(x.on(), map.first.on());
    shape s = x.extents();
    if (axis + 1 >= s.size() || s[s.size() - 1 - axis] != map.columns)
      throw shape_mismatch("a matrix with " + std::to_string(map.columns) + " columns cannot act on axis " +
                           std::to_string(axis) + " from the end of " + to_string(s));
    std::size_t outer = 1, inner = 1;
    for (std::size_t k = 0; k < s.size() - 1 - axis; ++k) outer *= s[k];
    for (std::size_t k = s.size() - axis; k < s.size(); ++k) inner *= s[k];
    s[s.size() - 1 - axis] = map.rows;
    T y(x.on(), s);
    const cuda::kernels::bands bands{map.rows, map.columns, map.first.data(), map.begin.data(),
                                     map.weights.data()};
    cuda::kernels::along_axis(x.on(), bands, outer, inner, x.data(), y.writable());
    return y;
  }

private:
  static cuda::kernels::batch batch_of(const T& x) {
    return {x.extents().samples(), x.extents().sample_elements()};
  }

  /// x itself where its buffer may be written to.
  template <class V> static cuda::array<V> place_for_result(cuda::array<V>& x) {
    if (x.is_alone()) return std::move(x);
    return cuda::array<V>(x.on(), x.extents());
  }

  static per_sample scalars_like(const T& x) {
    return {cuda::array<double>(x.on(), {x.extents().samples()})};
  }
  static std::size_t count(const per_sample& p) { return p.values.extents().samples(); }

  static cuda::kernels::factor factor_of(double a, const T&) { return {a}; }
  static cuda::kernels::factor factor_of(const per_sample& a, const T& x) {
    require_same_executor(x.on(), a.values.on());
    if (count(a) != x.extents().samples())
      throw shape_mismatch(std::to_string(count(a)) + " per-sample values for a batch of " +
                           std::to_string(x.extents().samples()) + " samples");
    return {1.0, a.values.data()};
  }

  static void require_same_executor(const cuda::executor& x, const cuda::executor& y) {
    if (!(x == y))
      throw shape_mismatch("the arrays are on " + name_of(x) + " and " + name_of(y) +
                           ": make both on one executor");
  }
  static std::string name_of(const cuda::executor& on) {
    return on.is_host() ? "the host" : "a stream of device " + std::to_string(on.device());
  }
  static void require_same(const T& x, const T& y) {
    require_same_executor(x.on(), y.on());
    detail::require_same_shape("the second tensor", y.extents(), x.extents());
  }
  static void require_as_many(const per_sample& p, const per_sample& q) {
    require_same_executor(p.values.on(), q.values.on());
    if (count(p) != count(q))
      throw shape_mismatch(std::to_string(count(p)) + " per-sample values and " + std::to_string(count(q)));
  }
};

} // namespace pushforward
