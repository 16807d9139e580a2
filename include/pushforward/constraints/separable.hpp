#pragma once
/// \file
/// Separable linear operators on images: averaging, antialiased resizing, Gaussian blur. Images are (..., H,
/// W).

#include <pushforward/tensor.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace pushforward {

/// What lies beyond an image's edge.
enum class boundary {
  cropped,  ///< nothing: the weights of what is inside are scaled to sum 1 (`torch`'s antialiased resize,
            ///< Pillow)
  mirrored, ///< the image mirrored with its edge pixel repeated (MATLAB's imresize, the reference's cubic)
  reflected ///< the image mirrored about its edge pixel, which is not repeated (torchvision's gaussian_blur)
};

/// Kernels of a resize, as functions of the distance in pixels.
enum class resize_kernel {
  linear, ///< triangle of width 2
  cubic   ///< Keys's cubic with a = -0.5, width 4
};

namespace detail {

inline double kernel_value(resize_kernel kernel, double x) {
  x = std::abs(x);
  if (kernel == resize_kernel::linear) return x < 1.0 ? 1.0 - x : 0.0;
  if (x < 1.0) return (1.5 * x - 2.5) * x * x + 1.0;
  if (x < 2.0) return ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0;
  return 0.0;
}

/// Position beyond the edge of 0..n-1, folded back in. Negative for "nothing there".
inline std::ptrdiff_t folded(std::ptrdiff_t i, std::size_t n, boundary edge) {
  const auto size = static_cast<std::ptrdiff_t>(n);
  if (i >= 0 && i < size) return i;
  if (edge == boundary::cropped) return -1;
  const std::ptrdiff_t period =
      edge == boundary::mirrored ? 2 * size : std::max<std::ptrdiff_t>(2 * size - 2, 1);
  std::ptrdiff_t k = ((i % period) + period) % period;
  if (k >= size) k = edge == boundary::mirrored ? period - 1 - k : period - k;
  return k;
}

/// Adds rows of weights that are scaled to sum 1, each from weights at positions that may lie beyond 0..n-1.
class row_builder {
public:
  row_builder(std::size_t n, boundary edge) : edge_{edge}, matrix_(n) {}

  /// weight(j) of the positions first..last.
  template <class Weight> void add(std::ptrdiff_t first, std::ptrdiff_t last, const Weight& weight) {
    const std::size_t n = matrix_.columns();
    // where the positions are folded back to, which is beside the edge
    std::size_t from = n, end = 0;
    for (std::ptrdiff_t j = first; j <= last; ++j)
      if (const std::ptrdiff_t k = folded(j, n, edge_); k >= 0) {
        from = std::min(from, static_cast<std::size_t>(k));
        end = std::max(end, static_cast<std::size_t>(k) + 1);
      }
    weights_.assign(end > from ? end - from : 0, 0.0);
    double sum = 0.0;
    for (std::ptrdiff_t j = first; j <= last; ++j)
      if (const std::ptrdiff_t k = folded(j, n, edge_); k >= 0)
        weights_[static_cast<std::size_t>(k) - from] += weight(j);
    for (const double w : weights_) sum += w;
    for (double& w : weights_) w /= sum;
    matrix_.add_row(weights_.empty() ? 0 : from, weights_);
  }

  axis_matrix finished() && { return std::move(matrix_); }

private:
  boundary edge_;
  axis_matrix matrix_;
  std::vector<double> weights_;
};

} // namespace detail

/// Means of `factor` neighbours: n -> n / factor.
/// \throws bad_option where factor does not divide n
inline axis_matrix averaging_matrix(std::size_t n, std::size_t factor) {
  if (factor == 0 || n % factor != 0)
    throw bad_option("averaging by " + std::to_string(factor) + " does not divide a side of " +
                     std::to_string(n));
  axis_matrix m(n);
  const std::vector<double> weights(factor, 1.0 / static_cast<double>(factor));
  for (std::size_t j = 0; j < n; j += factor) m.add_row(j, weights);
  return m;
}

/// Some of the output pixels of a resize: `count` of them from `first` on.
struct resize_part {
  std::size_t first;
  std::size_t count;
};

/// Resize n -> size, antialiased where it shrinks: output i has its centre at (i + 1/2) n / size - 1/2, and
/// the kernel is widened by n / size where that is above 1. `cropped` is `torch`'s
/// `interpolate(antialias=True)`; `mirrored` is MATLAB's imresize. A row has 2 or 4 entries, or that many
/// times n / size.
/// \param part only these rows, as of a result that is cropped
/// \throws bad_option for an empty side, and a part that does not lie within the result
inline axis_matrix resize_matrix(std::size_t n, std::size_t size, resize_kernel kernel = resize_kernel::cubic,
                                 boundary edge = boundary::cropped,
                                 const std::optional<resize_part>& part = {}) {
  if (n == 0 || size == 0)
    throw bad_option("a resize from " + std::to_string(n) + " to " + std::to_string(size));
  const auto [begin, count] = part.value_or(resize_part{0, size});
  if (begin > size || count > size - begin)
    throw bad_option("a part of a resize: " + std::to_string(count) + " from " + std::to_string(begin) +
                     " on do not lie within " + std::to_string(size));
  const double ratio = static_cast<double>(n) / static_cast<double>(size);
  const double widen = std::max(ratio, 1.0);
  const double reach = (kernel == resize_kernel::linear ? 1.0 : 2.0) * widen;
  detail::row_builder rows(n, edge);
  for (std::size_t i = begin; i < begin + count; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * ratio - 0.5;
    rows.add(static_cast<std::ptrdiff_t>(std::ceil(centre - reach)),
             static_cast<std::ptrdiff_t>(std::floor(centre + reach)), [&](std::ptrdiff_t j) {
               return detail::kernel_value(kernel, (static_cast<double>(j) - centre) / widen);
             });
  }
  return std::move(rows).finished();
}

/// Blur by exp(-d^2 / (2 sigma^2)), cut at `radius` pixels and scaled to sum 1.
inline axis_matrix gaussian_blur_matrix(std::size_t n, double sigma, std::size_t radius,
                                        boundary edge = boundary::reflected) {
  if (!(std::isfinite(sigma) && sigma > 0.0))
    throw bad_option("gaussian blur: sigma is " + std::to_string(sigma) +
                     ", but must be positive and finite");
  if (n == 0 || radius >= n)
    throw bad_option("gaussian blur: a radius of " + std::to_string(radius) +
                     " needs a side longer than that, not " + std::to_string(n));
  const auto r = static_cast<std::ptrdiff_t>(radius);
  detail::row_builder rows(n, edge);
  for (std::size_t i = 0; i < n; ++i) {
    const auto centre = static_cast<std::ptrdiff_t>(i);
    rows.add(centre - r, centre + r, [&](std::ptrdiff_t j) {
      const double x = static_cast<double>(j - centre) / sigma;
      return std::exp(-0.5 * x * x);
    });
  }
  return std::move(rows).finished();
}

namespace detail {

/// c, where M M^T = c I up to rounding.
inline std::optional<double> gram_of(const axis_matrix& m) {
  if (m.rows() == 0) return {};
  const auto dot = [&](std::size_t i, std::size_t j) {
    const auto r = m.row(i);
    double sum = 0.0;
    for (std::size_t k = 0; k < r.values.size(); ++k) sum += r.values[k] * m(j, r.first + k);
    return sum;
  };
  const double c = dot(0, 0);
  for (std::size_t i = 0; i < m.rows(); ++i) {
    if (!(std::abs(dot(i, i) - c) <= 1e-12 * c)) return {};
    const auto r = m.row(i);
    for (std::size_t j = i + 1; j < m.rows() && m.row(j).first < r.first + r.values.size(); ++j)
      if (std::abs(dot(i, j)) > 1e-12 * c) return {};
  }
  return c;
}

} // namespace detail

/// A x = M_h X M_w^T on each image of a batch (..., H, W); the adjoint is M_h^T R M_w.
template <image_tensor T> class separable_operator {
public:
  /// \param like a tensor of the type and place the operator is to work on; its shape does not matter
  /// \param along_height M_h, \param along_width M_w
  separable_operator(const T& like, const axis_matrix& along_height, const axis_matrix& along_width)
      : in_{along_height.columns(), along_width.columns()}, out_{along_height.rows(), along_width.rows()},
        height_{tensor_traits<T>::make_axis_map(like, along_height)}, width_{tensor_traits<T>::make_axis_map(
                                                                          like, along_width)},
        height_transposed_{tensor_traits<T>::make_axis_map(like, along_height.transposed())},
        width_transposed_{tensor_traits<T>::make_axis_map(like, along_width.transposed())} {
    const auto h = detail::gram_of(along_height), w = detail::gram_of(along_width);
    if (h && w) gram_ = *h * *w;
  }

  T apply(const T& x) const {
    using traits = tensor_traits<T>;
    if (width_first()) return traits::along_axis(height_, traits::along_axis(width_, x, 0), 1);
    return traits::along_axis(width_, traits::along_axis(height_, x, 1), 0);
  }

  T adjoint(const T& r) const {
    using traits = tensor_traits<T>;
    if (width_first())
      return traits::along_axis(width_transposed_, traits::along_axis(height_transposed_, r, 1), 0);
    return traits::along_axis(height_transposed_, traits::along_axis(width_transposed_, r, 0), 1);
  }

  /// \throws shape_mismatch where the last two extents are not the operator's
  shape output_shape(const shape& s) const {
    if (s.size() < 3 || s[s.size() - 2] != in_.first || s[s.size() - 1] != in_.second)
      throw shape_mismatch("a linear operator for images of " + std::to_string(in_.first) + " x " +
                           std::to_string(in_.second) + " got " + to_string(s));
    shape result = s;
    result[s.size() - 2] = out_.first;
    result[s.size() - 1] = out_.second;
    return result;
  }

  /// c, where A A^T = c I: 1 / factor^2 for averaging.
  std::optional<double> gram() const noexcept { return gram_; }

private:
  /// The order whose image in between is the smaller one: that of a tall strip made a wide one would else
  /// have the longer sides of both.
  bool width_first() const noexcept { return in_.first * out_.second <= out_.first * in_.second; }

  using axis_map = typename tensor_traits<T>::axis_map;
  std::pair<std::size_t, std::size_t> in_;
  std::pair<std::size_t, std::size_t> out_;
  axis_map height_, width_, height_transposed_, width_transposed_;
  std::optional<double> gram_;
};

namespace detail {

template <class T> std::pair<std::size_t, std::size_t> image_sides(const T& x) {
  const shape s = tensor_traits<T>::shape_of(x);
  if (s.size() < 3) throw shape_mismatch("an image batch must be (..., H, W), not " + to_string(s));
  return {s[s.size() - 2], s[s.size() - 1]};
}

} // namespace detail

/// Means of factor x factor blocks, for images like x.
template <image_tensor T> separable_operator<T> averaging(const T& x, std::size_t factor) {
  const auto [height, width] = detail::image_sides(x);
  return {x, averaging_matrix(height, factor), averaging_matrix(width, factor)};
}

/// Antialiased resize to height x width, for images like x.
template <image_tensor T>
separable_operator<T> resizing(const T& x, std::size_t height, std::size_t width,
                               resize_kernel kernel = resize_kernel::cubic,
                               boundary edge = boundary::cropped) {
  const auto [h, w] = detail::image_sides(x);
  return {x, resize_matrix(h, height, kernel, edge), resize_matrix(w, width, kernel, edge)};
}

/// Gaussian blur, for images like x.
template <image_tensor T>
separable_operator<T> gaussian_blur(const T& x, double sigma, std::size_t radius,
                                    boundary edge = boundary::reflected) {
  const auto [height, width] = detail::image_sides(x);
  return {x, gaussian_blur_matrix(height, sigma, radius, edge),
          gaussian_blur_matrix(width, sigma, radius, edge)};
}

} // namespace pushforward
