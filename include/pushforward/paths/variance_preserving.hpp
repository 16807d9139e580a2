#pragma once
/// \file
/// The variance preserving path (DDPM): a = sqrt(abar_t), s = sqrt(1 - abar_t).

#include <pushforward/error.hpp>
#include <pushforward/prediction.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

namespace pushforward {

/// x_t = sqrt(abar_t) x0 + sqrt(1 - abar_t) eps with abar_t = prod_{i=1..t} (1 - beta_i) and abar_0 = 1 (Ho,
/// Jain and Abbeel 2020). Times are t in [0, T]; between whole t, log abar is interpolated linearly. The
/// network is fed t + time_offset: 0 for networks trained on t = 1..T, -1 for those trained on the index
/// 0..T-1 (Stable Diffusion, `diffusers`).
class variance_preserving {
public:
  /// betas[i] is beta_{i+1}, each in (0, 1); the last may be 1: then abar_T = 0 (zero terminal
  /// signal-to-noise ratio, Lin et al. 2024), where a prediction of epsilon does not determine x0, and on the
  /// way there from T - 1 abar itself is linear.
  /// \throws bad_option for no betas or one out of range, and for a time_offset that is not finite
  explicit variance_preserving(std::vector<double> betas, double time_offset = 0.0)
      : betas_{std::move(betas)}, time_offset_{time_offset} {
    if (betas_.empty()) throw bad_option("variance_preserving: no betas");
    if (!std::isfinite(time_offset))
      throw bad_option("variance_preserving: time_offset is " + std::to_string(time_offset) +
                       ", but must be finite");
    log_abar_.reserve(betas_.size() + 1);
    log_abar_.push_back(0.0);
    for (std::size_t i = 0; i < betas_.size(); ++i) {
      const double beta = betas_[i];
      const bool ends_in_noise = beta == 1.0 && i + 1 == betas_.size();
      if (!(beta > 0.0 && beta < 1.0) && !ends_in_noise)
        throw bad_option("variance_preserving: beta is " + std::to_string(beta) +
                         ", but must lie in (0, 1), the last in (0, 1]");
      log_abar_.push_back(log_abar_.back() + std::log1p(-beta)); // -infinity where abar is 0
    }
  }

  /// Betas linear from first to last: 1e-4..2e-2 with T = 1000 is DDPM's, and that of the MNIST models.
  static variance_preserving linear(double first = 1e-4, double last = 2e-2, std::size_t T = 1000,
                                    double time_offset = 0.0) {
    return variance_preserving(line(first, last, T), time_offset);
  }

  /// Squares of a line from sqrt(first) to sqrt(last): 8.5e-4..1.2e-2 with T = 1000 is Stable Diffusion's.
  static variance_preserving scaled_linear(double first = 8.5e-4, double last = 1.2e-2, std::size_t T = 1000,
                                           double time_offset = -1.0) {
    if (!(std::isfinite(first) && std::isfinite(last) && first > 0.0 && last > 0.0))
      throw bad_option("scaled_linear: betas go from " + std::to_string(first) + " to " +
                       std::to_string(last) + ", but must be positive");
    auto betas = line(std::sqrt(first), std::sqrt(last), T);
    for (double& beta : betas) beta *= beta;
    return variance_preserving(std::move(betas), time_offset);
  }

  /// abar_t = f(t) / f(0), f(t) = cos^2((t/T + offset) / (1 + offset) pi/2), beta clipped at max_beta (Nichol
  /// and Dhariwal 2021; offset 0.008, max_beta 0.999).
  static variance_preserving cosine(std::size_t T = 1000, double offset = 0.008, double max_beta = 0.999,
                                    double time_offset = 0.0) {
    if (!(std::isfinite(offset) && offset >= 0.0))
      throw bad_option("cosine: offset is " + std::to_string(offset) + ", but must be 0 or positive");
    if (!(max_beta > 0.0 && max_beta < 1.0))
      throw bad_option("cosine: max_beta is " + std::to_string(max_beta) + ", but must lie in (0, 1)");
    auto f = [&](double t) {
      const double c =
          std::cos((t / static_cast<double>(T) + offset) / (1.0 + offset) * std::numbers::pi / 2.0);
      return c * c;
    };
    std::vector<double> betas(T);
    for (std::size_t i = 0; i < T; ++i)
      betas[i] = std::min(1.0 - f(static_cast<double>(i + 1)) / f(static_cast<double>(i)), max_beta);
    return variance_preserving(std::move(betas), time_offset);
  }

  /// T, the noisiest time.
  double last() const noexcept { return static_cast<double>(betas_.size()); }

  /// \throws bad_option for t outside [0, T]
  coefficients at(double t) const {
    const double abar = std::exp(log_alpha_bar(t));
    return {std::sqrt(abar), std::sqrt(-std::expm1(log_alpha_bar(t)))};
  }

  double model_time(double t) const noexcept { return t + time_offset_; }

  /// The same path, with the network fed t + offset.
  variance_preserving with_time_offset(double offset) const {
    variance_preserving other = *this;
    other.time_offset_ = offset;
    return other;
  }

  /// abar_t.
  double alpha_bar(double t) const { return std::exp(log_alpha_bar(t)); }

  /// The one-step beta at time t (of the whole step that ends at t). t in (0, T].
  double beta(double t) const {
    if (!(t > 0.0 && t <= last())) throw out_of_range(t);
    return betas_[static_cast<std::size_t>(std::ceil(t)) - 1];
  }

  /// The time at a fraction of the way from clean (0) to noise (1): the nearest whole t, as networks are
  /// trained on.
  double time_at(double fraction) const { return std::round(fraction * last()); }

private:
  static std::vector<double> line(double first, double last, std::size_t T) {
    std::vector<double> values(T, first);
    for (std::size_t i = 1; i < T; ++i)
      values[i] = first + (last - first) * static_cast<double>(i) / static_cast<double>(T - 1);
    return values;
  }

  double log_alpha_bar(double t) const {
    if (!(t >= 0.0 && t <= last())) throw out_of_range(t);
    const auto i = static_cast<std::size_t>(t);
    const double part = t - static_cast<double>(i);
    if (part == 0.0) return log_abar_[i];
    if (std::isinf(log_abar_[i + 1])) return log_abar_[i] + std::log1p(-part);
    return log_abar_[i] + part * (log_abar_[i + 1] - log_abar_[i]);
  }

  bad_option out_of_range(double t) const {
    return bad_option("time " + detail::text_of(t) + " lies outside the path's [0, " +
                      detail::text_of(last()) + "]");
  }

  std::vector<double> betas_;
  std::vector<double> log_abar_;
  double time_offset_;
};

} // namespace pushforward
