#pragma once
/// \file
/// Standard normal noise from a counter: the same numbers for every adapter, batch split and thread.

#include <pushforward/tensor.hpp>

#include <Random123/philox.h>

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <span>

namespace pushforward::noise {

/// Elements 4 b .. 4 b + 3 of a draw: Philox4x32-10 (Salmon et al. 2011) with key = the seed's low and high
/// word, and counter = (b, draw, low and high word of the global sample index), then Box-Muller on each pair
/// (u, v) of its four words: sqrt(-2 ln((u + 1) / 2^32)) times the cosine, then the sine, of 2 pi v / 2^32,
/// in double.
inline std::array<double, 4> normal_block(std::uint64_t seed, std::uint64_t sample, std::uint32_t draw,
                                          std::uint32_t b) {
  r123::Philox4x32::key_type key{{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)}};
  r123::Philox4x32::ctr_type counter{
      {b, draw, static_cast<std::uint32_t>(sample), static_cast<std::uint32_t>(sample >> 32)}};
  const auto words = r123::Philox4x32{}(counter, key);
  std::array<double, 4> normals{};
  constexpr double unit = 1.0 / 4294967296.0;
  for (std::size_t i = 0; i < 4; i += 2) {
    const double radius = std::sqrt(-2.0 * std::log((static_cast<double>(words[i]) + 1.0) * unit));
    const double angle = 2.0 * std::numbers::pi * static_cast<double>(words[i + 1]) * unit;
    normals[i] = radius * std::cos(angle);
    normals[i + 1] = radius * std::sin(angle);
  }
  return normals;
}

/// Fills a batch in row-major order: sample j gets the numbers of (seed, first_sample + j, draw).
/// \param sample_elements elements of one sample, at most 2^34
/// \throws shape_mismatch where they do not divide the number of values, or are too many
template <class Real>
void fill_normal(std::span<Real> values, std::size_t sample_elements, const noise_key& key) {
  if (values.empty()) return;
  if (sample_elements == 0 || values.size() % sample_elements != 0 ||
      (sample_elements - 1) / 4 > 0xffffffffULL)
    throw shape_mismatch("noise for samples of " + std::to_string(sample_elements) + " elements, in " +
                         std::to_string(values.size()));
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
