#pragma once
/// \file
/// A matrix along an axis, applied by the loops of the core.

#include <pushforward/loops.hpp>
#include <pushforward/tensor.hpp>

#include <algorithm>
#include <array>
#include <cstddef>

namespace pushforward::xtensor::loops {

using namespace pushforward::loops;

/// y[o, i, k] = sum_j M[i, j] x[o, j, k] for o < outer and k < inner.
template <class Real>
void along_axis(const axis_matrix& m, const Real* x, Real* __restrict y, std::size_t outer,
                std::size_t inner) {
  constexpr std::size_t block = 64; // sums that stay in the nearest cache
  for (std::size_t o = 0; o < outer; ++o, x += m.columns() * inner)
    for (std::size_t row = 0; row < m.rows(); ++row) {
      const auto [first, weights] = m.row(row);
      const Real* from = x + first * inner;
      if (inner == 1) {
        *y++ = static_cast<Real>(dot(weights.data(), from, weights.size()));
        continue;
      }
      for (std::size_t k = 0; k < inner; k += block) {
        const std::size_t n = std::min(block, inner - k);
        std::array<double, block> sums{};
        for (std::size_t j = 0; j < weights.size(); ++j)
          for (std::size_t i = 0; i < n; ++i)
            sums[i] += weights[j] * static_cast<double>(from[j * inner + k + i]);
        for (std::size_t i = 0; i < n; ++i) y[i] = static_cast<Real>(sums[i]);
        y += n;
      }
    }
}

} // namespace pushforward::xtensor::loops
