#pragma once
/// \file
/// Standard normal noise from a counter: the same numbers for every adapter, batch split and thread.
///
/// Element i of global sample n of draw d under a seed is number i % 4 of
///
///     key     = (seed mod 2^32, seed div 2^32)
///     counter = (i div 4, d, n mod 2^32, n div 2^32)
///     w       = Philox4x32-10(counter, key)                     four words of 32 bits
///     r_k     = sqrt(-2 ln((w_2k + 1) / 2^32)),  k = 0, 1       uniform in (0, 1]: never an infinity
///     theta_k = 2 pi w_2k+1 / 2^32
///     numbers = r_0 cos theta_0, r_0 sin theta_0, r_1 cos theta_1, r_1 sin theta_1
///
/// in double, then rounded to the element's type. Philox: Salmon, Moraes, Dror and Shaw, "Parallel random
/// numbers: as easy as 1, 2, 3", SC 2011. The normals: Box and Muller 1958. Their largest size is 6.66.

#include <pushforward/noise/host_device.hpp>
#include <pushforward/tensor.hpp>

#if defined(__CUDACC__) && !defined(R123_CUDA_DEVICE)
#define R123_CUDA_DEVICE __host__ __device__ // Random123's own mark is that of the device alone
#endif
#include <Random123/philox.h>

#include <array>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <span>
#include <string>

namespace pushforward::noise {

/// Four words of 32 random bits.
using words = std::array<std::uint32_t, 4>;

/// Four standard normals of four uniform words, by Box-Muller on each pair of them.
PUSHFORWARD_HOST_DEVICE inline std::array<double, 4> box_muller(const words& w) {
  constexpr double unit = 1.0 / 4294967296.0;
  std::array<double, 4> normals{};
  for (std::size_t k = 0; k < 4; k += 2) {
    const double radius = std::sqrt(-2.0 * std::log((static_cast<double>(w[k]) + 1.0) * unit));
    const double angle = 2.0 * std::numbers::pi * (static_cast<double>(w[k + 1]) * unit);
    normals[k] = radius * std::cos(angle);
    normals[k + 1] = radius * std::sin(angle);
  }
  return normals;
}

/// The words of elements 4 block .. 4 block + 3 of one sample of one draw.
PUSHFORWARD_HOST_DEVICE inline words philox_words(std::uint64_t seed, std::uint64_t sample,
                                                  std::uint32_t draw, std::uint32_t block) {
  const auto low = [](std::uint64_t v) { return static_cast<std::uint32_t>(v & 0xffffffffU); };
  const auto high = [](std::uint64_t v) { return static_cast<std::uint32_t>(v >> 32U); };
  const r123::Philox4x32::key_type key{{low(seed), high(seed)}};
  const r123::Philox4x32::ctr_type counter{{block, draw, low(sample), high(sample)}};
  const auto w = r123::Philox4x32{}(counter, key);
  return {w[0], w[1], w[2], w[3]};
}

/// The normals of elements 4 block .. 4 block + 3 of one sample of one draw.
PUSHFORWARD_HOST_DEVICE inline std::array<double, 4> normal_block(std::uint64_t seed, std::uint64_t sample,
                                                                  std::uint32_t draw, std::uint32_t block) {
  return box_muller(philox_words(seed, sample, draw, block));
}

/// Fills a batch, in row-major order: sample j gets the numbers of (seed, first_sample + j, draw).
/// \param sample_elements elements of one sample, at most 2^34
/// \throws shape_mismatch where they do not divide the number of values, or are too many
template <std::floating_point Real>
void fill_normal(std::span<Real> values, std::size_t sample_elements, const noise_key& key) {
  if (values.empty()) return;
  if (sample_elements == 0 || values.size() % sample_elements != 0)
    throw shape_mismatch("noise for samples of " + std::to_string(sample_elements) +
                         " elements does not fit " + std::to_string(values.size()) + " values");
  if ((sample_elements - 1) / 4 > 0xffffffffU)
    throw shape_mismatch("noise for samples of " + std::to_string(sample_elements) +
                         " elements: at most 2^34 have numbers of their own");
  for (std::size_t j = 0; j * sample_elements < values.size(); ++j) {
    const auto sample = values.subspan(j * sample_elements, sample_elements);
    for (std::size_t i = 0; i < sample_elements; i += 4) {
      const auto block =
          normal_block(key.seed, key.first_sample + j, key.draw, static_cast<std::uint32_t>(i / 4));
      for (std::size_t k = 0; k < 4 && i + k < sample_elements; ++k)
        sample[i + k] = static_cast<Real>(block[k]);
    }
  }
}

} // namespace pushforward::noise
