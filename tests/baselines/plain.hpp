#pragma once
/// \file
/// A task for the baselines, and what their published loops are written with here: plain numbers, the exact
/// denoiser, a path's coefficients, and the noise of the same key.

#include <support/backend.hpp>
#include <support/gaussian_mixture.hpp>

#include <pushforward/concepts.hpp>
#include <pushforward/constraints/linear.hpp>
#include <pushforward/constraints/masked.hpp>
#include <pushforward/estimate.hpp>
#include <pushforward/samplers/path_sampler.hpp>

#include <cstdint>
#include <vector>

namespace testing_support {

/// A x for each sample, and A^T r.
template <class T> struct dense_operator {
  matrix A;

  T apply(const T& x) const { return product(A, x); }
  T adjoint(const T& r) const { return product(transposed(A), r); }
  pushforward::shape output_shape(const pushforward::shape& s) const { return {s.samples(), A.rows}; }

private:
  static T product(const matrix& M, const T& x) {
    const auto s = pushforward::tensor_traits<T>::shape_of(x);
    const auto all = elements(x);
    vector result;
    for (std::size_t j = 0; j < s.samples(); ++j) {
      const vector y = M * std::span(all).subspan(j * M.columns, M.columns);
      result.insert(result.end(), y.begin(), y.end());
    }
    return pushforward::tensor_traits<T>::from_elements(x, {s.samples(), M.rows}, result);
  }
};

/// D(z) = D z, E(x) = E x.
template <class T> struct linear_autoencoder {
  matrix D, E;

  T decode(const T& z) const { return dense_operator<T>{D}.apply(z); }
  T encode(const T& image) const { return dense_operator<T>{E}.apply(image); }
  pushforward::linearization<T> linearize_decode(const T& z) const {
    return {decode(z), [this](const T& w) { return dense_operator<T>{D}.adjoint(w); }};
  }
};

/// Two samples of four elements, of which the first two are known, or two numbers A x0.
template <class Backend, class Path> struct baseline_task {
  using T = typename Backend::tensor;
  static constexpr std::size_t n = 4, samples = 2;
  static constexpr std::uint64_t seed = 4;

  Path path;
  pushforward::prediction_type prediction;
  gaussian_mixture prior = gaussian_mixture::random(n, 2, 21);
  complete_mixture<Backend, Path> net{prior, path, prediction};
  vector mask{1.0, 1.0, 0.0, 0.0};
  std::vector<vector> y{{0.8, -0.4, 9.0, 9.0}, {0.1, 0.5, 9.0, 9.0}};
  matrix A{2, n, random_numbers(2 * n, 5)};
  std::vector<vector> b{{0.7, -0.2}, {-0.5, 0.4}};

  pushforward::model<complete_mixture<Backend, Path>, Path> model() const { return {net, path}; }
  static T joined(const std::vector<vector>& rows) {
    vector all;
    for (const auto& row : rows) all.insert(all.end(), row.begin(), row.end());
    return Backend::make({rows.size(), rows[0].size()}, all);
  }
  T start() const { return pushforward::noise_at(path, joined(y), path.last(), 1); }
  T target() const { return joined(y); }
  T masks() const { return joined({mask, mask}); }
  pushforward::masked<T> known() const { return {target(), masks()}; }
  pushforward::linear<T, dense_operator<T>> measured() const { return {{A}, joined(b)}; }

  vector part(const T& x, std::size_t j) const { return elements(sample_of<Backend>(x, j)); }
  /// Of sample j.
  vector noise(std::size_t j, std::uint32_t draw) const {
    return part(pushforward::standard_normal(joined(y), {seed, 0, draw}), j);
  }
  vector clean(const vector& x, const pushforward::coefficients& c) const { return prior.clean(x, c.a, c.s); }
  vector jacobian_times(const vector& x, const pushforward::coefficients& c, const vector& w) const {
    return transposed(prior.jacobian(x, c.a, c.s)) * w;
  }

  /// How far `end` is from what loop(x, j) makes of each sample's start.
  template <class Loop> double distance(const T& end, const Loop& loop) const {
    double largest = 0.0;
    for (std::size_t j = 0; j < samples; ++j)
      largest = std::max(largest, largest_difference(part(end, j), loop(part(start(), j), j)));
    return largest;
  }
};

inline double norm(const vector& v) { return std::sqrt(dot(v, v)); }

/// (x - a x0) / s.
inline vector noise_in(const vector& x, const vector& x0, const pushforward::coefficients& c) {
  return combined(1.0 / c.s, x, -c.a / c.s, x0);
}

/// DDIM's step, whose eta is `eta`, on the variance preserving path.
inline vector ddim_step(const vector& x0, const vector& eps, const vector& xi,
                        const pushforward::coefficients& now, const pushforward::coefficients& next,
                        double eta) {
  const double abar = now.a * now.a, abar_next = next.a * next.a;
  const double sigma = eta * std::sqrt((1.0 - abar_next) / (1.0 - abar)) * std::sqrt(1.0 - abar / abar_next);
  return combined(next.a, x0, 1.0,
                  combined(std::sqrt(std::max(1.0 - abar_next - sigma * sigma, 0.0)), eps, sigma, xi));
}

} // namespace testing_support
