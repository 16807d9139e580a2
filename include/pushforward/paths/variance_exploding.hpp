#pragma once
/// \file
/// The variance exploding path: a = 1, s = sigma.

#include <pushforward/error.hpp>
#include <pushforward/prediction.hpp>

#include <cmath>
#include <string>

namespace pushforward {

/// x_sigma = x0 + sigma eps (Song et al. 2021; Karras, Aittala, Aila and Laine 2022). Times are sigma, from 0
/// to the largest; the network is fed sigma. The start of a run is `noise_at`, sigma times standard normal
/// noise.
class variance_exploding {
public:
  /// \param largest, smallest sigma of Karras's grid: 80 and 0.002 for data of deviation 0.5
  /// \param rho its exponent, 7 in the paper
  /// \throws bad_option unless 0 < smallest < largest and rho > 0, all finite
  explicit variance_exploding(double largest = 80.0, double smallest = 0.002, double rho = 7.0)
      : largest_{largest}, smallest_{smallest}, rho_{rho} {
    if (!(std::isfinite(largest) && smallest > 0.0 && smallest < largest))
      throw bad_option("variance_exploding: sigma goes from " + detail::text_of(smallest) + " to " +
                       detail::text_of(largest) + ", but must be positive and rise");
    if (!(std::isfinite(rho) && rho > 0.0))
      throw bad_option("variance_exploding: rho is " + detail::text_of(rho) +
                       ", but must be positive and finite");
  }

  /// The noisiest time.
  double last() const noexcept { return largest_; }
  double smallest() const noexcept { return smallest_; }

  /// \throws bad_option for sigma outside [0, the largest]
  coefficients at(double sigma) const {
    if (!(sigma >= 0.0 && sigma <= largest_))
      throw bad_option("sigma " + detail::text_of(sigma) + " lies outside the path's [0, " +
                       detail::text_of(largest_) + "]");
    return {1.0, sigma};
  }

  double model_time(double sigma) const noexcept { return sigma; }

  /// (smallest^(1/rho) + u (largest^(1/rho) - smallest^(1/rho)))^rho, and 0 at u = 0.
  double time_at(double fraction) const noexcept {
    if (fraction <= 0.0) return 0.0;
    if (fraction >= 1.0) return largest_;
    const double low = std::pow(smallest_, 1.0 / rho_), high = std::pow(largest_, 1.0 / rho_);
    return std::pow(low + fraction * (high - low), rho_);
  }

private:
  double largest_, smallest_, rho_;
};

} // namespace pushforward
