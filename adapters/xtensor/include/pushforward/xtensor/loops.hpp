#pragma once
/// \file
/// Sparse rows of a matrix, applied by the loops of the core.

#include <pushforward/loops.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <vector>

namespace pushforward::xtensor::loops {

using namespace pushforward::loops;

/// A matrix by rows, each from its first to its last entry that is not 0.
struct banded_matrix {
  struct row {
    std::size_t first;  ///< column of the first entry
    std::size_t count;  ///< entries
    std::size_t offset; ///< of the first entry in `weights`
  };
  std::size_t columns = 0;
  std::vector<row> rows;
  std::vector<double> weights;
};

/// y[o, i, k] = sum_j M[i, j] x[o, j, k] for o < outer and k < inner.
template <class Real>
void along_axis(const banded_matrix& m, const Real* x, Real* __restrict y, std::size_t outer,
                std::size_t inner) {
  constexpr std::size_t block = 64; // sums that stay in the nearest cache
  for (std::size_t o = 0; o < outer; ++o, x += m.columns * inner)
    for (const auto& r : m.rows) {
      const double* weights = m.weights.data() + r.offset;
      const Real* from = x + r.first * inner;
      if (inner == 1) {
        *y++ = static_cast<Real>(dot(weights, from, r.count));
        continue;
      }
      for (std::size_t k = 0; k < inner; k += block) {
        const std::size_t n = std::min(block, inner - k);
        std::array<double, block> sums{};
        for (std::size_t j = 0; j < r.count; ++j)
          for (std::size_t i = 0; i < n; ++i)
            sums[i] += weights[j] * static_cast<double>(from[j * inner + k + i]);
        for (std::size_t i = 0; i < n; ++i) y[i] = static_cast<Real>(sums[i]);
        y += n;
      }
    }
}

} // namespace pushforward::xtensor::loops
