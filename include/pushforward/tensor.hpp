#pragma once
/// \file
/// The tensor concept, its one trait, and per-sample scalars for tensors that live in host memory.
///
/// A tensor has samples along its leading dimension: shape (N, ...). Everything the core does to tensors goes
/// through `tensor_traits`; an adapter specialises it once for its tensor type.

#include <pushforward/error.hpp>
#include <pushforward/memory.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <complex>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace pushforward {

/// Extents of a tensor, at most 8 of them, kept without allocation.
class shape {
public:
  static constexpr std::size_t max_dimensions = 8;

  shape() = default;
  shape(std::initializer_list<std::size_t> extents) : shape(extents.begin(), extents.end()) {}
  /// \throws shape_mismatch for more than 8 dimensions
  template <class Iterator> shape(Iterator first, Iterator last) {
    for (; first != last; ++first) push_back(static_cast<std::size_t>(*first));
  }

  void push_back(std::size_t extent) {
    if (count_ == max_dimensions)
      throw shape_mismatch("a tensor has more than 8 dimensions: reshape it to fewer");
    extents_[count_++] = extent;
  }

  std::size_t size() const noexcept { return count_; }
  std::size_t& operator[](std::size_t i) noexcept { return extents_[i]; }
  std::size_t operator[](std::size_t i) const noexcept { return extents_[i]; }
  const std::size_t* begin() const noexcept { return extents_.data(); }
  const std::size_t* end() const noexcept { return extents_.data() + count_; }

  /// Number of samples: the leading extent, 0 without one.
  std::size_t samples() const noexcept { return count_ == 0 ? 0 : extents_[0]; }
  /// Number of elements of one sample.
  std::size_t sample_elements() const noexcept {
    std::size_t n = 1;
    for (std::size_t i = 1; i < count_; ++i) n *= extents_[i];
    return n;
  }
  std::size_t elements() const noexcept { return count_ == 0 ? 0 : samples() * sample_elements(); }

  friend bool operator==(const shape& x, const shape& y) noexcept {
    return std::equal(x.begin(), x.end(), y.begin(), y.end());
  }

private:
  std::array<std::size_t, max_dimensions> extents_{};
  std::size_t count_ = 0;
};

/// "1 x 4 x 64 x 64", for messages.
inline std::string to_string(const shape& s) {
  std::string text;
  for (std::size_t extent : s) text += (text.empty() ? "" : " x ") + std::to_string(extent);
  return text.empty() ? "no dimensions" : text;
}

/// Names a draw of standard normal noise. Sample j of a tensor gets the numbers of (seed, first_sample + j,
/// draw), whatever the batch it is in and whatever backend makes them.
struct noise_key {
  std::uint64_t seed = 0;
  std::uint64_t first_sample = 0;
  std::uint32_t draw = 0;
};

/// What the core needs of a tensor type T. Specialise it; the members are (x, y: T; a, b: double or
/// per_sample; p, q: per_sample; "x by value" lets an rvalue's buffer be used for the result):
///
/// | member | meaning |
/// |---|---|
/// | `per_sample` | type of one real number per sample, living where the tensor lives |
/// | `shape_of(x)` | its `pushforward::shape` |
/// | `zeros(x)` | zeros like x |
/// | `combine(a, x, b, y)` | a x + b y, x by value |
/// | `scale(a, x)` | a x, x by value |
/// | `multiply(x, y)` | elementwise product, x by value |
/// | `max_abs(x)` | per sample, max of the absolute values |
/// | `dot(x, y)` | per sample, sum of products |
/// | `all_finite(x)` | neither NaN nor infinity anywhere (may wait for the device) |
/// | `normal(x, key)` | standard normal noise like x, from a counter-based generator |
/// | `concatenate(x, y)` | samples of x, then samples of y |
/// | `halves(x)` | pair of the first and the second half of the samples |
/// | `elements(x)` | all elements in row-major order as `std::vector<double>` (waits for the device) |
/// | `from_elements(x, shape, values)` | a tensor of x's type and place, with that shape and those elements |
/// | `fill(x, c)` | per_sample: c for every sample of x |
/// | `from_values(x, values)` | per_sample: values[j] for sample j of x |
/// | `values(p)` | `std::vector<double>` (waits for the device) |
/// | `combine(c, p, d, q)` | c p + d q, c and d numbers |
/// | `multiply(p, q)` | p q |
/// | `ratio(p, q)`, `ratio(c, q)` | p / q, and 0 where q is 0: this rule keeps a satisfied sample still |
/// | `square_root(p)`, `clamp(p, low, high)` | elementwise |
template <class T> struct tensor_traits;

template <class T> using per_sample_t = typename tensor_traits<T>::per_sample;

/// A batch of samples with the operations of `tensor_traits`.
/// Modelled by the adapters' tensors; called by everything in the core. Value semantics: an operation
/// never changes what another handle shows; see docs/concepts/tensor.md.
template <class T>
concept tensor = std::copyable<T> && requires(const T& x, T moved, const per_sample_t<T>& p, double c,
                                              const shape& s, std::span<const double> values) {
  { tensor_traits<T>::shape_of(x) } -> std::same_as<shape>;
  { tensor_traits<T>::zeros(x) } -> std::same_as<T>;
  { tensor_traits<T>::combine(c, std::move(moved), c, x) } -> std::same_as<T>;
  { tensor_traits<T>::combine(c, std::move(moved), p, x) } -> std::same_as<T>;
  { tensor_traits<T>::combine(p, std::move(moved), c, x) } -> std::same_as<T>;
  { tensor_traits<T>::combine(p, std::move(moved), p, x) } -> std::same_as<T>;
  { tensor_traits<T>::scale(c, std::move(moved)) } -> std::same_as<T>;
  { tensor_traits<T>::scale(p, std::move(moved)) } -> std::same_as<T>;
  { tensor_traits<T>::multiply(std::move(moved), x) } -> std::same_as<T>;
  { tensor_traits<T>::max_abs(x) } -> std::same_as<per_sample_t<T>>;
  { tensor_traits<T>::dot(x, x) } -> std::same_as<per_sample_t<T>>;
  { tensor_traits<T>::all_finite(x) } -> std::same_as<bool>;
  { tensor_traits<T>::normal(x, noise_key{}) } -> std::same_as<T>;
  { tensor_traits<T>::concatenate(x, x) } -> std::same_as<T>;
  { tensor_traits<T>::halves(x) } -> std::same_as<std::pair<T, T>>;
  { tensor_traits<T>::elements(x) } -> std::same_as<std::vector<double>>;
  { tensor_traits<T>::from_elements(x, s, values) } -> std::same_as<T>;
  { tensor_traits<T>::fill(x, c) } -> std::same_as<per_sample_t<T>>;
  { tensor_traits<T>::from_values(x, values) } -> std::same_as<per_sample_t<T>>;
  { tensor_traits<T>::values(p) } -> std::same_as<std::vector<double>>;
  { tensor_traits<T>::combine(c, p, c, p) } -> std::same_as<per_sample_t<T>>;
  { tensor_traits<T>::multiply(p, p) } -> std::same_as<per_sample_t<T>>;
  { tensor_traits<T>::ratio(c, p) } -> std::same_as<per_sample_t<T>>;
  { tensor_traits<T>::ratio(p, p) } -> std::same_as<per_sample_t<T>>;
  { tensor_traits<T>::square_root(p) } -> std::same_as<per_sample_t<T>>;
  { tensor_traits<T>::clamp(p, c, c) } -> std::same_as<per_sample_t<T>>;
};

/// A matrix that acts along one axis of a tensor. Of each row the entries from its first to its last that is
/// not 0 are kept, so that a resize, whose rows have a few neighbours each, takes memory in proportion to its
/// sides, and not to their product.
class axis_matrix {
public:
  /// The entries of one row: those of columns first, first + 1, ...; 0 everywhere else.
  struct band {
    std::size_t first;
    std::span<const double> values;
  };

  /// No rows yet.
  explicit axis_matrix(std::size_t columns) : columns_{columns} {}
  /// All values, row-major. \throws shape_mismatch where they are not rows x columns
  axis_matrix(std::size_t rows, std::size_t columns, const std::vector<double>& values) : columns_{columns} {
    if (values.size() != rows * columns)
      throw shape_mismatch("a matrix of " + std::to_string(rows) + " x " + std::to_string(columns) + " got " +
                           std::to_string(values.size()) + " values");
    for (std::size_t i = 0; i < rows; ++i) add_row(0, std::span(values).subspan(i * columns, columns));
  }

  /// One more row: `values` from column `first` on, 0 elsewhere. \throws shape_mismatch beyond the last
  /// column
  void add_row(std::size_t first, std::span<const double> values) {
    if (first > columns_ || values.size() > columns_ - first)
      throw shape_mismatch("a row with entries up to column " + std::to_string(first + values.size()) +
                           " of a matrix with " + std::to_string(columns_));
    std::size_t end = values.size(), begin = 0;
    while (end > 0 && values[end - 1] == 0.0) --end;
    while (begin < end && values[begin] == 0.0) ++begin;
    firsts_.push_back(first + begin);
    values_.insert(values_.end(), values.begin() + static_cast<std::ptrdiff_t>(begin),
                   values.begin() + static_cast<std::ptrdiff_t>(end));
    ends_.push_back(values_.size());
  }

  std::size_t rows() const noexcept { return firsts_.size(); }
  std::size_t columns() const noexcept { return columns_; }
  band row(std::size_t i) const {
    const std::size_t begin = i == 0 ? 0 : ends_[i - 1];
    return {firsts_[i], std::span(values_).subspan(begin, ends_[i] - begin)};
  }
  double operator()(std::size_t i, std::size_t j) const {
    const band r = row(i);
    return j >= r.first && j - r.first < r.values.size() ? r.values[j - r.first] : 0.0;
  }

  axis_matrix transposed() const {
    // the rows in which each column has its first and its last entry
    std::vector<std::size_t> first(columns_, rows()), end(columns_, 0);
    for (std::size_t i = 0; i < rows(); ++i) {
      const band r = row(i);
      for (std::size_t j = r.first; j < r.first + r.values.size(); ++j) {
        first[j] = std::min(first[j], i);
        end[j] = i + 1;
      }
    }
    axis_matrix t(rows());
    std::vector<double> entries;
    for (std::size_t j = 0; j < columns_; ++j) {
      entries.clear();
      for (std::size_t i = first[j]; i < end[j]; ++i) entries.push_back((*this)(i, j));
      t.add_row(entries.empty() ? 0 : first[j], entries);
    }
    return t;
  }

private:
  std::size_t columns_;
  std::vector<std::size_t> firsts_; ///< of each row, the column of its first entry
  std::vector<std::size_t> ends_;   ///< and one past its last entry in `values_`
  std::vector<double> values_;
};

/// A tensor on which a matrix can act along an axis: y[..., i, ...] = sum_j M[i, j] x[..., j, ...].
/// `axis_map` is the matrix where the tensor lives; the axis is counted from the end: 0 is the last.
/// Called by the separable linear operators (averaging, resizing, blur).
template <class T>
concept image_tensor = tensor<T> &&
    requires(const T& x, const axis_matrix& m, const typename tensor_traits<T>::axis_map& map,
             std::size_t axis) {
  { tensor_traits<T>::make_axis_map(x, m) } -> std::same_as<typename tensor_traits<T>::axis_map>;
  { tensor_traits<T>::along_axis(map, x, axis) } -> std::same_as<T>;
};

/// Dense linear algebra of a backend, for exact Newton and for Arnoldi. Matrices are row-major, on the host:
///
/// | member | meaning |
/// |---|---|
/// | `least_squares(rows, columns, A, b, cutoff)` | x of smallest norm that minimises the norm of A x - b |
/// | `eigenvalues(n, A)` | the n complex eigenvalues, in any order |
///
/// `least_squares` takes singular values below cutoff times the largest as 0.
template <class T> struct dense_algebra;

template <class T>
concept has_dense_algebra = requires(std::size_t n, std::span<const double> values, double cutoff) {
  { dense_algebra<T>::least_squares(n, n, values, values, cutoff) } -> std::same_as<std::vector<double>>;
  { dense_algebra<T>::eigenvalues(n, values) } -> std::same_as<std::vector<std::complex<double>>>;
};

/// Per-sample scalars in host memory.
using host_scalars = std::vector<double, recycling_allocator<double>>;

/// The per-sample half of `tensor_traits` for a tensor in host memory: derive the specialisation from it, and
/// bring `combine` and `multiply` in with using-declarations. Needs `tensor_traits<T>::shape_of` only.
template <class T> struct host_per_sample_traits {
  using per_sample = host_scalars;

  static per_sample fill(const T& x, double c) {
    return per_sample(tensor_traits<T>::shape_of(x).samples(), c);
  }
  static per_sample from_values(const T& x, std::span<const double> values) {
    if (values.size() != tensor_traits<T>::shape_of(x).samples())
      throw shape_mismatch("per-sample values: " + std::to_string(values.size()) + " for " +
                           std::to_string(tensor_traits<T>::shape_of(x).samples()) + " samples");
    return per_sample(values.begin(), values.end());
  }
  static std::vector<double> values(const per_sample& p) { return {p.begin(), p.end()}; }

  static per_sample combine(double a, per_sample p, double b, const per_sample& q) {
    for (std::size_t i = 0; i < p.size(); ++i) p[i] = a * p[i] + b * q[i];
    return p;
  }
  static per_sample multiply(per_sample p, const per_sample& q) {
    for (std::size_t i = 0; i < p.size(); ++i) p[i] *= q[i];
    return p;
  }
  static per_sample ratio(double c, per_sample q) {
    for (double& v : q) v = v == 0.0 ? 0.0 : c / v;
    return q;
  }
  static per_sample ratio(per_sample p, const per_sample& q) {
    for (std::size_t i = 0; i < p.size(); ++i) p[i] = q[i] == 0.0 ? 0.0 : p[i] / q[i];
    return p;
  }
  static per_sample square_root(per_sample p) {
    for (double& v : p) v = std::sqrt(v);
    return p;
  }
  static per_sample clamp(per_sample p, double low, double high) {
    for (double& v : p) v = std::clamp(v, low, high);
    return p;
  }
};

/// Standard normal noise like x; see `noise_key`.
template <tensor T> T standard_normal(const T& like, const noise_key& key) {
  return tensor_traits<T>::normal(like, key);
}

namespace detail {

/// \throws shape_mismatch, naming both shapes, where they differ
inline void require_same_shape(const char* what, const shape& is, const shape& wanted) {
  if (!(is == wanted))
    throw shape_mismatch(std::string(what) + " has shape " + to_string(is) + ", but " + to_string(wanted) +
                         " is needed");
}

} // namespace detail

} // namespace pushforward
