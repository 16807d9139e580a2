#pragma once
/// \file
/// `at::Tensor` as a tensor of the core, on any device, in float32 or float64.

#include <pushforward/tensor.hpp>

#include <ATen/core/Tensor.h>

#include <complex>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace pushforward {

/// State is float32 or float64; compute types of the network are the denoiser wrapper's business. Per-sample
/// scalars are `at::Tensor`s of shape [N] on the same device, in float64 where the device has it. Only
/// `elements`, `values` and `all_finite` wait for the device. Nothing is recorded for autograd. A buffer is
/// written to only when its handle was moved in, nobody else holds it or a view of it, and libtorch allocated
/// it (not so with from_blob). Any strides and memory format will do.
template <> struct tensor_traits<at::Tensor> {
  /// One real number per sample, shape [N].
  struct per_sample {
    at::Tensor value;
  };

  /// \throws shape_mismatch for a tensor that is undefined, sparse, or of other type than float32 and float64
  static shape shape_of(const at::Tensor& x);
  static at::Tensor zeros(const at::Tensor& x);

  static at::Tensor combine(double a, at::Tensor x, double b, const at::Tensor& y);
  static at::Tensor combine(const per_sample& a, at::Tensor x, double b, const at::Tensor& y);
  static at::Tensor combine(double a, at::Tensor x, const per_sample& b, const at::Tensor& y);
  static at::Tensor combine(const per_sample& a, at::Tensor x, const per_sample& b, const at::Tensor& y);
  static at::Tensor scale(double a, at::Tensor x);
  static at::Tensor scale(const per_sample& a, at::Tensor x);
  static at::Tensor multiply(at::Tensor x, const at::Tensor& y);
  static per_sample max_abs(const at::Tensor& x);
  static per_sample dot(const at::Tensor& x, const at::Tensor& y);
  static bool all_finite(const at::Tensor& x);
  static at::Tensor normal(const at::Tensor& x, const noise_key& key);
  static at::Tensor concatenate(const at::Tensor& x, const at::Tensor& y);
  static std::pair<at::Tensor, at::Tensor> halves(const at::Tensor& x);
  static std::vector<double> elements(const at::Tensor& x);
  static at::Tensor from_elements(const at::Tensor& like, const shape& s, std::span<const double> values);

  static per_sample fill(const at::Tensor& x, double c);
  static per_sample from_values(const at::Tensor& x, std::span<const double> values);
  static std::vector<double> values(const per_sample& p);
  static per_sample combine(double a, const per_sample& p, double b, const per_sample& q);
  static per_sample multiply(const per_sample& p, const per_sample& q);
  static per_sample ratio(double c, const per_sample& q);
  static per_sample ratio(const per_sample& p, const per_sample& q);
  static per_sample square_root(const per_sample& p);
  static per_sample clamp(const per_sample& p, double low, double high);

  /// The matrix on the tensor's device, in its type. A small one, and one whose rows are full, is kept as a
  /// whole, for one matrix product; a large one by the entries of its rows, for as many sums as a row has.
  struct axis_map {
    std::int64_t rows;
    std::int64_t columns;
    at::Tensor matrix;  ///< [rows, columns]; else undefined
    at::Tensor places;  ///< [entries of the longest row, rows]: the columns of the entries
    at::Tensor weights; ///< and the entries; 0 after a row's last one
  };
  static axis_map make_axis_map(const at::Tensor& like, const axis_matrix& m);
  /// The axis is counted from the end: 0 is the last.
  static at::Tensor along_axis(const axis_map& map, const at::Tensor& x, std::size_t axis);
};

/// By libtorch's LAPACK, on the host, in float64.
/// \throws shape_mismatch for matrices of other sizes than said; error for values that are not finite, and
/// where LAPACK's iteration does not converge
template <> struct dense_algebra<at::Tensor> {
  static std::vector<double> least_squares(std::size_t rows, std::size_t columns, std::span<const double> a,
                                           std::span<const double> b, double cutoff);
  static std::vector<std::complex<double>> eigenvalues(std::size_t n, std::span<const double> a);
};

} // namespace pushforward
