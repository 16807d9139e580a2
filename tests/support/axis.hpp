#pragma once
/// \file
/// A matrix along an axis, written out: what the adapters' `along_axis` is compared with.

#include <pushforward/constraints/separable.hpp>
#include <pushforward/tensor.hpp>

#include <cstddef>
#include <vector>

namespace testing_support {

/// y[..., i, ...] = sum_j M[i, j] x[..., j, ...], one element at a time. The axis is counted from the end.
inline std::vector<double> applied(const pushforward::axis_matrix& m, const pushforward::shape& s,
                                   const std::vector<double>& x, std::size_t axis) {
  std::size_t inner = 1;
  for (std::size_t k = 0; k < axis; ++k) inner *= s[s.size() - 1 - k];
  std::vector<double> y(x.size() / m.columns() * m.rows(), 0.0);
  for (std::size_t i = 0; i < y.size(); ++i)
    for (std::size_t j = 0; j < m.columns(); ++j)
      y[i] += m(i / inner % m.rows(), j) * x[(i / inner / m.rows() * m.columns() + j) * inner + i % inner];
  return y;
}

} // namespace testing_support
