#pragma once
/// \file
/// The rectified flow path: a = 1 - sigma, s = sigma.

#include <pushforward/error.hpp>
#include <pushforward/prediction.hpp>

#include <cmath>
#include <string>

namespace pushforward {

/// x_sigma = (1 - sigma) x0 + sigma eps (Liu, Gong and Liu 2022). Times are sigma in [0, 1]; the network is
/// fed time_scale sigma (1000 sigma for Stable Diffusion 3, InstaFlow and the MNIST model).
class rectified_flow {
public:
  /// \param shift k of sigma' = k sigma / (1 + (k - 1) sigma), by which time grids are bent towards noise
  ///        (Stable Diffusion 3 uses 3); 1 leaves them straight
  /// \throws bad_option for a shift or time_scale that is not positive and finite
  explicit rectified_flow(double shift = 1.0, double time_scale = 1000.0)
      : shift_{shift}, time_scale_{time_scale} {
    if (!(std::isfinite(shift) && shift > 0.0))
      throw bad_option("rectified_flow: shift is " + std::to_string(shift) +
                       ", but must be positive and finite");
    if (!(std::isfinite(time_scale) && time_scale > 0.0))
      throw bad_option("rectified_flow: time_scale is " + std::to_string(time_scale) +
                       ", but must be positive and finite");
  }

  /// 1, the noisiest time.
  double last() const noexcept { return 1.0; }

  /// \throws bad_option for sigma outside [0, 1]
  coefficients at(double sigma) const {
    if (!(sigma >= 0.0 && sigma <= 1.0))
      throw bad_option("sigma " + detail::text_of(sigma) + " lies outside the path's [0, 1]");
    return {1.0 - sigma, sigma};
  }

  double model_time(double sigma) const noexcept { return time_scale_ * sigma; }

  /// The time at a fraction u of the way from clean (0) to noise (1): k u / (1 + (k - 1) u).
  double time_at(double fraction) const noexcept {
    const double shifted = shift_ * fraction;
    return shifted / ((1.0 - fraction) + shifted); // written so that rounding does not lead out of [0, 1]
  }

  double shift() const noexcept { return shift_; }

private:
  double shift_;
  double time_scale_;
};

} // namespace pushforward
