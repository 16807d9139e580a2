#pragma once
/// \file
/// The kernels' bodies: one struct each, that host and device share.

#include <pushforward/cuda/for_each.hpp>
#include <pushforward/cuda/kernels.hpp>
#include <pushforward/cuda/reduce.hpp>
#include <pushforward/noise/philox_normal.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

namespace pushforward::cuda::operations {

using kernels::bands;
using kernels::factor;

/// The factor of sample j.
template <class Real> PUSHFORWARD_HOST_DEVICE Real of(const factor& a, std::size_t j) {
  return static_cast<Real>(a.per_sample != nullptr ? a.per_sample[j] : a.number);
}

template <class Real> struct combine {
  std::size_t elements;
  factor a;
  const Real* x;
  factor b;
  const Real* y;
  Real* out;
  PUSHFORWARD_HOST_DEVICE void operator()(std::size_t j, std::size_t k) const {
    const std::size_t i = j * elements + k;
    out[i] = of<Real>(a, j) * x[i] + of<Real>(b, j) * y[i];
  }
};

template <class Real> struct scale {
  std::size_t elements;
  factor a;
  const Real* x;
  Real* out;
  PUSHFORWARD_HOST_DEVICE void operator()(std::size_t j, std::size_t k) const {
    const std::size_t i = j * elements + k;
    out[i] = of<Real>(a, j) * x[i];
  }
};

template <class Real> struct multiply {
  const Real* x;
  const Real* y;
  Real* out;
  PUSHFORWARD_HOST_DEVICE void operator()(std::size_t, std::size_t i) const { out[i] = x[i] * y[i]; }
};

template <class Real> struct fill {
  Real value;
  Real* out;
  PUSHFORWARD_HOST_DEVICE void operator()(std::size_t, std::size_t i) const { out[i] = value; }
};

template <class From, class To> struct convert {
  const From* x;
  To* out;
  PUSHFORWARD_HOST_DEVICE void operator()(std::size_t, std::size_t i) const {
    out[i] = static_cast<To>(x[i]);
  }
};

template <class Real> struct concatenate {
  std::size_t n;
  const Real* x;
  const Real* y;
  Real* out;
  PUSHFORWARD_HOST_DEVICE void operator()(std::size_t, std::size_t i) const {
    out[i] = i < n ? x[i] : y[i - n];
  }
};

/// Block b of four elements of sample j.
template <class Real> struct normal {
  std::size_t elements;
  noise_key key;
  Real* out;
  PUSHFORWARD_HOST_DEVICE void operator()(std::size_t j, std::size_t b) const {
    const auto block =
        noise::normal_block(key.seed, key.first_sample + j, key.draw, static_cast<std::uint32_t>(b));
    for (std::size_t k = 0; k < 4 && 4 * b + k < elements; ++k)
      out[j * elements + 4 * b + k] = static_cast<Real>(block[k]);
  }
};

/// Element (i, k) of block o.
template <class Real> struct along_axis {
  bands m;
  std::size_t inner;
  const Real* x;
  Real* out;
  PUSHFORWARD_HOST_DEVICE void operator()(std::size_t o, std::size_t at) const {
    const std::size_t i = at / inner, k = at % inner;
    const Real* from = x + (o * m.columns + m.first[i]) * inner + k;
    double sum = 0.0;
    for (std::size_t w = m.begin[i]; w < m.begin[i + 1]; ++w, from += inner)
      sum += m.weights[w] * static_cast<double>(*from);
    out[o * m.rows * inner + at] = static_cast<Real>(sum);
  }
};

struct ratio {
  const double* p; ///< null for c
  double c;
  const double* q;
  double* out;
  PUSHFORWARD_HOST_DEVICE void operator()(std::size_t, std::size_t j) const {
    out[j] = q[j] == 0.0 ? 0.0 : (p != nullptr ? p[j] : c) / q[j];
  }
};

struct square_root {
  const double* p;
  double* out;
  PUSHFORWARD_HOST_DEVICE void operator()(std::size_t, std::size_t j) const { out[j] = std::sqrt(p[j]); }
};

struct clamp {
  const double* p;
  double low;
  double high;
  double* out;
  PUSHFORWARD_HOST_DEVICE void operator()(std::size_t, std::size_t j) const {
    const double v = p[j];
    out[j] = v < low ? low : (high < v ? high : v);
  }
};

// Reductions.

/// Integers of the size of Real. Without their sign, floating-point numbers are ordered as their bits are,
/// infinity above every number and NaN above infinity.
template <class Real> using bits = std::conditional_t<sizeof(Real) == 4, std::int32_t, std::int64_t>;

template <class Real> PUSHFORWARD_HOST_DEVICE bits<Real> bits_without_sign(Real x) {
  bits<Real> b;
  std::memcpy(&b, &x, sizeof b);
  return b & std::numeric_limits<bits<Real>>::max();
}

template <class Real> struct max_abs {
  using value_type = bits<Real>;
  using result_type = double;
  std::size_t elements;
  const Real* x;
  PUSHFORWARD_HOST_DEVICE value_type identity() const { return 0; }
  PUSHFORWARD_HOST_DEVICE value_type of(std::size_t j, std::size_t k) const {
    return bits_without_sign(x[j * elements + k]);
  }
  PUSHFORWARD_HOST_DEVICE value_type join(value_type v, value_type w) const { return v < w ? w : v; }
  PUSHFORWARD_HOST_DEVICE result_type result(value_type v) const {
    Real largest;
    std::memcpy(&largest, &v, sizeof v);
    return static_cast<double>(largest);
  }
};

template <class Real> struct dot {
  using value_type = double;
  using result_type = double;
  std::size_t elements;
  const Real* x;
  const Real* y;
  PUSHFORWARD_HOST_DEVICE value_type identity() const { return 0.0; }
  PUSHFORWARD_HOST_DEVICE value_type of(std::size_t j, std::size_t k) const {
    return static_cast<double>(x[j * elements + k]) * static_cast<double>(y[j * elements + k]);
  }
  PUSHFORWARD_HOST_DEVICE value_type join(value_type v, value_type w) const { return v + w; }
  PUSHFORWARD_HOST_DEVICE result_type result(value_type v) const { return v; }
};

template <class Real> struct any_not_finite {
  using value_type = std::int32_t;
  using result_type = std::int32_t;
  const Real* x;
  PUSHFORWARD_HOST_DEVICE value_type identity() const { return 0; }
  PUSHFORWARD_HOST_DEVICE value_type of(std::size_t, std::size_t i) const {
    // v - v is NaN of a v that is
    return x[i] - x[i] == Real(0) ? 0 : 1;
  }
  PUSHFORWARD_HOST_DEVICE value_type join(value_type v, value_type w) const { return v | w; }
  PUSHFORWARD_HOST_DEVICE result_type result(value_type v) const { return v; }
};

} // namespace pushforward::cuda::operations
