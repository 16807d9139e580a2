#pragma once
/// \file
/// The clean estimate x0(x_t) of a denoiser on a path, with products of its Jacobian. Counts every pass.

#include <pushforward/concepts.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

namespace pushforward {

/// A denoiser and the path it was trained on. Refers to both, which must outlive it: temporaries are refused.
template <class Denoiser, class Path> struct model {
  const Denoiser& denoiser;
  const Path& path;

  model(const Denoiser& d, const Path& p) : denoiser{d}, path{p} {}
  model(const Denoiser&&, const Path&) = delete;
  model(const Denoiser&, const Path&&) = delete;
  model(const Denoiser&&, const Path&&) = delete;
};

/// The reference's probe at every time, of every network: at a time t where s / a is above 1, that of an
/// epsilon prediction by `automatic_probe` is s / a times as large.
inline constexpr double reference_probe = 0.005;

/// Probe of the forward difference when none is given: `reference_probe`, but not below the square root
/// of the resolution of the type the network computes in (about 0.031 for float16, 0.088 for bfloat16), where
/// the difference would drown in rounding; times `gain` where that is above 1.
///
/// `gain` is |d x0 / d o|, by which rounding of the network's output o reaches x0: s / a for a prediction of
/// epsilon, 157 at the noisy end of the MNIST path. There x0(x) bends as slowly as it amplifies, over a
/// distance of s^2 / a in x for data of size 1, so that the larger probe stays in the linear range.
inline double automatic_probe(double resolution, double gain = 1.0) {
  return std::max(reference_probe, std::sqrt(resolution)) * std::max(1.0, gain);
}

/// x_t -> x0(x_t) and J = d x0 / d x_t of one denoiser, on tensors of type T.
///
/// With the row (p, q) of the prediction, x0 = p x + q o(x), hence J v = p v + q J_o v and J^T w = p w + q
/// J_o^T w.
template <tensor T, class Denoiser, class Path>
requires denoiser<Denoiser, T> && path<Path>
class estimator {
public:
  using tensor_type = T;

  /// Refers to all three for as long as it lives.
  estimator(const model<Denoiser, Path>& m, pass_counts& counts) : model_{m}, counts_{&counts} {}

  /// (x, x0) at time t; one pass.
  /// \throws bad_option where the prediction does not determine x0 at t
  /// \throws shape_mismatch where the network's output is not of x's shape
  estimate<T> evaluate(T x, double t) const {
    const auto c = model_.path.at(t);
    T x0 = clean(x, predict(x, t), c);
    return {std::move(x), std::move(x0), t, c, {}};
  }

  /// The same, and ready for `vjp`; one pass.
  estimate<T> linearize(T x, double t) const requires differentiable_denoiser<Denoiser, T> {
    const auto c = model_.path.at(t);
    auto raw = model_.denoiser.linearize(x, model_.path.model_time(t));
    count(counts_->forward, x);
    detail::require_same_shape("the denoiser's output", tensor_traits<T>::shape_of(raw.value),
                               tensor_traits<T>::shape_of(x));
    T x0 = clean(x, std::move(raw.value), c);
    const auto row = row_of(model_.denoiser.prediction, c);
    auto pull = [row, vjp = std::move(raw.vjp)](const T& w) {
      return tensor_traits<T>::combine(row.of_output, vjp(w), row.of_x, w);
    };
    return {std::move(x), std::move(x0), t, c, std::move(pull)};
  }

  /// J v by the forward difference (x0(x + h v) - x0(x)) / h, h = probe / max|v| per sample; one pass.
  /// 0 for a sample whose v is 0. probe <= 0 takes `automatic_probe`.
  /// \throws bad_option for a probe that is not finite
  T jvp(const estimate<T>& at, const T& v, double probe) const {
    using traits = tensor_traits<T>;
    if (!std::isfinite(probe))
      throw bad_option("jvp: probe is " + std::to_string(probe) +
                       ", but must be positive, or 0 for automatic");
    const auto size = traits::max_abs(v);
    const double p = probe > 0.0 ? probe : probe_at(at.c);
    T point = traits::combine(traits::ratio(p, size), v, 1.0, at.x);
    T moved = clean(point, predict(point, at.t), at.c);
    const auto inverse_h = traits::combine(1.0 / p, size, 0.0, size);
    return traits::scale(inverse_h, traits::combine(1.0, std::move(moved), -1.0, at.x0));
  }

  /// J v by the denoiser's forward-mode differentiation.
  T exact_jvp(const estimate<T>& at, const T& v) const requires forward_mode_denoiser<Denoiser, T> {
    const auto row = row_of(model_.denoiser.prediction, at.c);
    count(counts_->forward_mode, v);
    return tensor_traits<T>::combine(row.of_output,
                                     model_.denoiser.jvp(at.x, model_.path.model_time(at.t), v), row.of_x, v);
  }

  /// J^T w; one backward pass, after one more forward pass where the estimate was not linearized.
  T vjp(const estimate<T>& at, const T& w) const requires differentiable_denoiser<Denoiser, T> {
    count(counts_->backward, w);
    if (at.vjp) return at.vjp(w);
    return linearize(at.x, at.t).vjp(w);
  }

  /// eps of the estimate, (x - a x0) / s.
  static T noise_of(const estimate<T>& at) {
    const auto row = epsilon_of(at.c);
    return tensor_traits<T>::combine(row.of_x0, at.x0, row.of_x, at.x);
  }

  const Denoiser& denoiser_used() const noexcept { return model_.denoiser; }
  const Path& path_used() const noexcept { return model_.path; }
  pass_counts& counts() const noexcept { return *counts_; }

private:
  double probe_at(const coefficients& c) const {
    // where x grows with s, so does the distance over which x0(x) is straight
    return automatic_probe(detail::resolution_of(model_.denoiser),
                           std::max(std::abs(row_of(model_.denoiser.prediction, c).of_output), c.s));
  }

  T predict(const T& x, double t) const {
    T o = model_.denoiser.predict(x, model_.path.model_time(t));
    count(counts_->forward, x);
    detail::require_same_shape("the denoiser's output", tensor_traits<T>::shape_of(o),
                               tensor_traits<T>::shape_of(x));
    return o;
  }

  T clean(const T& x, T o, const coefficients& c) const {
    const auto row = row_of(model_.denoiser.prediction, c);
    return tensor_traits<T>::combine(row.of_output, std::move(o), row.of_x, x);
  }

  static void count(std::size_t& counter, const T& x) {
    counter += tensor_traits<T>::shape_of(x).samples() * detail::passes_per_sample<Denoiser>();
  }

  model<Denoiser, Path> model_;
  pass_counts* counts_;
};

/// Noises a clean batch to time t: a x0 + s z, z of draw 0 of (seed, first_sample). Starts a run in the
/// middle of the grid, as image-to-image does.
template <tensor T, path Path>
T noised(const Path& p, T x0, double t, std::uint64_t seed, std::uint64_t first_sample = 0) {
  const auto c = p.at(t);
  const T z = standard_normal(x0, {seed, first_sample, 0});
  return tensor_traits<T>::combine(c.a, std::move(x0), c.s, z);
}

/// The start of a run at time t, s z, z of draw 0 of (seed, first_sample): what noises nothing. On paths
/// whose s is 1 at their end, `standard_normal` does as well.
template <tensor T, path Path>
T noise_at(const Path& p, const T& like, double t, std::uint64_t seed, std::uint64_t first_sample = 0) {
  return tensor_traits<T>::scale(p.at(t).s, standard_normal(like, {seed, first_sample, 0}));
}

} // namespace pushforward
