#pragma once
/// \file
/// Exact Newton: the direction is J^-1 e, from the dense Jacobian. For comparison, on small models.

#include <pushforward/analysis/jacobian.hpp>
#include <pushforward/concepts.hpp>

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <vector>

namespace pushforward {

/// d = the least-squares solution of J d = e of smallest norm, with singular values below `cutoff` times the
/// largest taken as 0. Builds J of each sample column by column: as many passes as the sample has elements.
struct exact_newton {
  double cutoff = 0.5;     ///< relative, in [0, 1); the reference's is 0.5
  double probe = 0.0;      ///< of the forward differences; 0: from the compute type
  std::size_t batch = 128; ///< columns that are computed in one batch

  void check() const {
    if (!(cutoff >= 0.0 && cutoff < 1.0))
      throw bad_option("exact_newton: cutoff is " + std::to_string(cutoff) + ", but must lie in [0, 1)");
    if (!(std::isfinite(probe) && probe >= 0.0))
      throw bad_option("exact_newton: probe is " + std::to_string(probe) +
                       ", but must be positive, or 0 for automatic");
    if (batch == 0) throw bad_option("exact_newton: batch is 0");
  }

  template <forward_model Model>
  requires has_dense_algebra<typename Model::tensor_type>
  auto direction(const Model& m, const estimate<typename Model::tensor_type>& at,
                 const typename Model::tensor_type& error) const {
    using T = typename Model::tensor_type;
    using traits = tensor_traits<T>;
    const shape s = traits::shape_of(error);
    const std::size_t n = s.sample_elements();
    const auto e = traits::elements(error);
    std::vector<double> d(e.size(), 0.0);
    for (std::size_t j = 0; j < s.samples(); ++j) {
      const auto sample = std::span(e).subspan(j * n, n);
      if (std::all_of(sample.begin(), sample.end(), [](double v) { return v == 0.0; })) continue;
      const auto jacobian = dense_jacobian(m, at, j, {probe, batch});
      const auto solution = dense_algebra<T>::least_squares(n, n, jacobian.values, sample, cutoff);
      std::copy(solution.begin(), solution.end(), d.begin() + static_cast<std::ptrdiff_t>(j * n));
    }
    return traits::from_elements(error, s, d);
  }
};

} // namespace pushforward
