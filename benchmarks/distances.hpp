#pragma once
/// \file
/// Distances between two sets of vectors [N, D] and [M, D], in float64; both sets have two vectors or more.

#include <ATen/ATen.h>

#include <utility>

namespace policies {

/// |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^1/2) of means and covariances (Dowson and Landau 1982).
inline double frechet_distance(const at::Tensor& a, const at::Tensor& b) {
  const auto moments = [](const at::Tensor& x) {
    const at::Tensor v = x.to(at::kDouble), m = v.mean(0), d = v - m;
    return std::pair{m, d.t().mm(d) / static_cast<double>(v.size(0) - 1)};
  };
  const auto [ma, ca] = moments(a);
  const auto [mb, cb] = moments(b);
  const at::Tensor roots = at::sqrt(at::real(at::linalg_eigvals(ca.mm(cb))).clamp_min(0.0));
  return ((ma - mb).square().sum() + ca.trace() + cb.trace() - 2.0 * roots.sum()).item<double>();
}

/// 2 E|a - b| - E|a - a'| - E|b - b'|, each over all pairs, of different vectors in the last two (Szekely and
/// Rizzo 2013).
inline double energy_distance(const at::Tensor& a, const at::Tensor& b) {
  const auto between = [](const at::Tensor& u, const at::Tensor& v) {
    return at::cdist(u.to(at::kDouble), v.to(at::kDouble)).sum().item<double>();
  };
  const auto n = static_cast<double>(a.size(0)), m = static_cast<double>(b.size(0));
  return 2.0 * between(a, b) / (n * m) - between(a, a) / (n * (n - 1.0)) - between(b, b) / (m * (m - 1.0));
}

} // namespace policies
