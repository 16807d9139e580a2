#pragma once
/// \file
/// The operations of the trait on plain pointers into an executor's memory, for those who keep their batches
/// in types of their own. Nothing here waits; results may be written over the arguments of their shape.
/// Real is float or double. Each throws cuda_error where a launch fails.

#include <pushforward/cuda/executor.hpp>
#include <pushforward/tensor.hpp>

#include <cstddef>
#include <cstdint>

namespace pushforward::cuda::kernels {

/// A row-major batch.
struct batch {
  std::size_t samples;
  std::size_t elements; ///< of each sample
};

/// What the elements of a sample are multiplied by: a number, or one for each sample. It is rounded to their
/// type first.
struct factor {
  double number = 1.0;
  const double* per_sample = nullptr; ///< in the executor's memory; null for `number`
};

/// out = a x + b y.
template <class Real>
void combine(const executor& on, const batch& n, const factor& a, const Real* x, const factor& b,
             const Real* y, Real* out);
/// out = a x.
template <class Real>
void scale(const executor& on, const batch& n, const factor& a, const Real* x, Real* out);
/// out = x y, element by element.
template <class Real>
void multiply(const executor& on, const batch& n, const Real* x, const Real* y, Real* out);
/// out = c, for n elements.
template <class Real> void fill(const executor& on, std::size_t n, double c, Real* out);
/// out = x in another type, for n elements.
template <class From, class To> void convert(const executor& on, std::size_t n, const From* x, To* out);

/// out[j] = max |x| of sample j; NaN if it holds one.
template <class Real> void max_abs(const executor& on, const batch& n, const Real* x, double* out);
/// out[j] = sum of x y of sample j, in double.
template <class Real> void dot(const executor& on, const batch& n, const Real* x, const Real* y, double* out);
/// out[0] = whether one of n elements is NaN or infinite: 1 or 0.
template <class Real>
void any_not_finite(const executor& on, std::size_t n, const Real* x, std::int32_t* out);

/// Standard normal noise with the numbers of pushforward/noise/philox_normal.hpp: equal random words, and on
/// a device normals that may differ in the last bit of float32 by its log, cos and sin. \throws
/// shape_mismatch for samples of more than 2^34 elements
template <class Real> void normal(const executor& on, const batch& n, const noise_key& key, Real* out);

/// out = the n elements of x, then the m elements of y.
template <class Real>
void concatenate(const executor& on, std::size_t n, const Real* x, std::size_t m, const Real* y, Real* out);

/// The rows of an `axis_matrix`: row i has weights[begin[i]], ..., weights[begin[i + 1] - 1] in the columns
/// from first[i] on, and 0 elsewhere. All in the executor's memory.
struct bands {
  std::size_t rows;
  std::size_t columns;
  const std::size_t* first;
  const std::size_t* begin;
  const double* weights;
};
/// out[o, i, k] = sum over j of M(i, j) x[o, j, k], for o < outer and k < inner, in double. `out` is not x.
template <class Real>
void along_axis(const executor& on, const bands& m, std::size_t outer, std::size_t inner, const Real* x,
                Real* out);

/// out = p / q, number by number, and 0 where q is 0.
void ratio(const executor& on, std::size_t n, const double* p, const double* q, double* out);
/// out = c / q, and 0 where q is 0.
void ratio(const executor& on, std::size_t n, double c, const double* q, double* out);
void square_root(const executor& on, std::size_t n, const double* p, double* out);
/// NaN stays.
void clamp(const executor& on, std::size_t n, const double* p, double low, double high, double* out);

} // namespace pushforward::cuda::kernels
