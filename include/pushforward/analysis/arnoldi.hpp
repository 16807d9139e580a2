#pragma once
/// \file
/// Arnoldi's iteration: eigenvalues of an operator that is known only by its products.

#include <pushforward/concepts.hpp>

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace pushforward {

/// What Arnoldi found for one sample.
struct arnoldi_result {
  std::size_t steps = 0; ///< n, the size of the Krylov space; fewer than asked for after a breakdown
  bool invariant =
      false; ///< broke down: the Krylov space is invariant, and its eigenvalues are the operator's
  std::vector<double> hessenberg; ///< n x n, row-major: Q^T A Q
  std::vector<std::complex<double>>
      eigenvalues; ///< of the Hessenberg block (Ritz values), largest magnitude first

  /// Largest magnitude of an eigenvalue; 0 for an empty space.
  double spectral_radius() const { return eigenvalues.empty() ? 0.0 : std::abs(eigenvalues.front()); }
};

/// n steps of Arnoldi's iteration with modified Gram-Schmidt, applied twice, for each sample of the batch by
/// itself (Arnoldi 1951). A sample stops where its new vector's norm falls below
/// `breakdown` times the largest norm it has seen: no vector is made of rounding noise.
///
/// \param apply v -> A v for a batch; samples must not see each other
/// \param start not 0 for a sample that is to have a spectrum; a sample whose start is 0 has none
/// \param n steps asked for; the reference takes 10 or 30
/// \throws bad_option for a breakdown that is negative or not finite
template <tensor T>
requires has_dense_algebra<T> std::vector<arnoldi_result>
arnoldi(const std::function<T(const T&)>& apply, const T& start, std::size_t n, double breakdown = 1e-6) {
  using traits = tensor_traits<T>;
  if (!(std::isfinite(breakdown) && breakdown >= 0.0))
    throw bad_option("arnoldi: breakdown is " + std::to_string(breakdown) + ", but must be 0 or positive");
  const std::size_t samples = traits::shape_of(start).samples();
  const auto norms = [](const T& v) { return traits::square_root(traits::dot(v, v)); };

  std::vector<std::vector<double>> h(samples, std::vector<double>((n + 1) * n, 0.0));
  std::vector<std::size_t> done(samples, 0);
  std::vector<bool> invariant(samples, false);
  std::vector<double> largest(samples, 0.0);
  std::vector<bool> active(samples);

  std::vector<T> basis;
  const auto start_norm = norms(start);
  const auto start_norms = traits::values(start_norm);
  for (std::size_t j = 0; j < samples; ++j) active[j] = start_norms[j] > 0.0;
  basis.push_back(traits::scale(traits::ratio(1.0, start_norm), start));

  for (std::size_t k = 0; k < n && std::find(active.begin(), active.end(), true) != active.end(); ++k) {
    T w = apply(basis[k]);
    const auto image_norms = traits::values(norms(w));
    for (int sweep = 0; sweep < 2; ++sweep)
      for (std::size_t i = 0; i <= k; ++i) {
        const auto overlap = traits::dot(basis[i], w);
        const auto values = traits::values(overlap);
        for (std::size_t j = 0; j < samples; ++j) h[j][i * n + k] += values[j];
        w = traits::combine(1.0, std::move(w), traits::combine(-1.0, overlap, 0.0, overlap), basis[i]);
      }
    const auto rest = traits::values(norms(w));
    std::vector<double> inverse(samples, 0.0);
    for (std::size_t j = 0; j < samples; ++j) {
      if (!active[j]) continue;
      done[j] = k + 1;
      largest[j] = std::max(largest[j], image_norms[j]);
      if (rest[j] <= breakdown * largest[j] || largest[j] == 0.0) {
        active[j] = false;
        invariant[j] = true;
        continue;
      }
      h[j][(k + 1) * n + k] = rest[j];
      inverse[j] = 1.0 / rest[j];
    }
    const auto factor = traits::from_values(w, inverse);
    basis.push_back(traits::scale(factor, std::move(w)));
  }

  std::vector<arnoldi_result> results(samples);
  for (std::size_t j = 0; j < samples; ++j) {
    auto& r = results[j];
    r.steps = done[j];
    r.invariant = invariant[j];
    r.hessenberg.resize(r.steps * r.steps);
    for (std::size_t row = 0; row < r.steps; ++row)
      for (std::size_t column = 0; column < r.steps; ++column)
        r.hessenberg[row * r.steps + column] = h[j][row * n + column];
    if (r.steps > 0) r.eigenvalues = dense_algebra<T>::eigenvalues(r.steps, r.hessenberg);
    std::sort(r.eigenvalues.begin(), r.eigenvalues.end(),
              [](const auto& x, const auto& y) { return std::abs(x) > std::abs(y); });
  }
  return results;
}

} // namespace pushforward
