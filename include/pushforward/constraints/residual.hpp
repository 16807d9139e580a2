#pragma once
/// \file
/// What of a residual is more than measurement noise.

#include <pushforward/concepts.hpp>

#include <cmath>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace pushforward {

/// The radius sqrt(m) sigma at which m measurements with noise of standard deviation sigma are expected to
/// leave the residual, per sample (Morozov's discrepancy principle). A residual is shrunk by it, so that a
/// loop does not fit noise: r' = r max(1 - sqrt(m) sigma / |r|, 0). Then 1/2 |r'|^2 is a loss whose negative
/// gradient is A^T r'.
template <tensor T> class noise_ball {
public:
  /// No noise: residuals are left as they are.
  noise_ball() = default;

  /// \param like a tensor of the measurements' type and number of samples
  /// \param measurements m, for each sample
  /// \param noise_level sigma, in units of the measurements, at least 0
  /// \throws bad_option for a noise level that is negative or not finite
  noise_ball(const T& like, std::span<const double> measurements, double noise_level) {
    if (!(std::isfinite(noise_level) && noise_level >= 0.0))
      throw bad_option("noise_level is " + std::to_string(noise_level) + ", but must be 0 or positive");
    variance_ = noise_level * noise_level;
    if (noise_level == 0.0) return;
    std::vector<double> radius;
    for (double m : measurements) radius.push_back(std::sqrt(m) * noise_level);
    radius_ = tensor_traits<T>::from_values(like, radius);
  }

  /// sigma^2.
  double variance() const noexcept { return variance_; }

  /// r' of above.
  T shrink(T r) const {
    using traits = tensor_traits<T>;
    if (!radius_) return r;
    const auto norm = traits::square_root(traits::dot(r, r));
    const auto excess = traits::clamp(traits::combine(1.0, norm, -1.0, *radius_), 0.0,
                                      std::numeric_limits<double>::infinity());
    return traits::scale(traits::ratio(excess, norm), std::move(r));
  }

private:
  double variance_ = 0.0;
  std::optional<per_sample_t<T>> radius_; // absent without noise
};

namespace detail {

/// 1/2 |r|^2 per sample.
template <tensor T> per_sample_t<T> half_square(const T& r) {
  auto squared = tensor_traits<T>::dot(r, r);
  return tensor_traits<T>::combine(0.5, squared, 0.0, squared);
}

} // namespace detail

} // namespace pushforward
