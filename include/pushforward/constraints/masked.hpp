#pragma once
/// \file
/// Known elements: inpainting.

#include <pushforward/constraints/residual.hpp>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

namespace pushforward {

/// loss = 1/2 sum m (y - x0)^2, error = m (y - x0), the negative gradient of the loss. The mask m is 1 where
/// x0 is known to be y, 0 where it is not, and in between the weight of what is known in part. With a known
/// noise level of y, r = sqrt(m) (y - x0) is shrunk as `noise_ball` says, where a sample counts as sum m
/// measurements: loss = 1/2 |r'|^2, error = sqrt(m) r'.
template <tensor T> class masked {
public:
  /// \param target y; its values where the mask is 0 are not looked at, and need not be finite
  /// \param mask m, of target's shape, with values from 0 to 1
  /// \param noise_level standard deviation of the noise in the known elements, in units of x0
  /// \throws shape_mismatch where target and mask differ in shape
  /// \throws bad_option for a mask with values beyond 0 to 1, a known element that is not finite, or a bad
  ///         noise level
  masked(const T& target, const T& mask, double noise_level = 0.0) : root_{mask}, target_{mask} {
    using traits = tensor_traits<T>;
    const shape s = traits::shape_of(target);
    detail::require_same_shape("the mask", traits::shape_of(mask), s);
    auto m = traits::elements(mask);
    auto y = traits::elements(target);
    std::vector<double> known(s.samples(), 0.0);
    for (std::size_t i = 0; i < y.size(); ++i) {
      if (!(m[i] >= 0.0 && m[i] <= 1.0))
        throw bad_option("the mask has a value of " + std::to_string(m[i]) +
                         ": it must lie between 0 (unknown) and 1 (known)");
      if (m[i] == 0.0)
        y[i] = 0.0;
      else if (!std::isfinite(y[i]))
        throw bad_option("a known element of the target is not finite: take it out of the mask");
      known[i / s.sample_elements()] += m[i];
      m[i] = std::sqrt(m[i]);
    }
    root_ = traits::from_elements(mask, s, m);
    target_ = traits::from_elements(target, s, y);
    ball_ = noise_ball<T>(target, known, noise_level);
  }

  void check(const shape& s) const {
    detail::require_same_shape("the clean estimate", s, tensor_traits<T>::shape_of(target_));
  }

  constraint_value<T> operator()(const T& x0) const {
    T r = ball_.shrink(residual(x0));
    auto loss = detail::half_square(r);
    return {std::move(loss), tensor_traits<T>::multiply(std::move(r), root_)};
  }

  /// r = sqrt(m) (y - x0), A = diag sqrt(m); see `least_squares_problem`.
  struct problem {
    static constexpr bool exact_adjoint = true;
    const masked& of;
    T residual;
    constraint_value<T> value;

    T apply(const T& v, pass_counts&) const { return tensor_traits<T>::multiply(v, of.root_); }
    T adjoint(const T& r, pass_counts&) const { return tensor_traits<T>::multiply(r, of.root_); }
    T covary(const T& r) const { return tensor_traits<T>::scale(of.ball_.variance(), r); }
    bool noisy() const { return of.ball_.variance() > 0.0; }
  };

  problem least_squares(const T& x0, pass_counts&) const {
    T r = residual(x0);
    auto loss = detail::half_square(ball_.shrink(r));
    T e = tensor_traits<T>::multiply(r, root_);
    return {*this, std::move(r), {std::move(loss), std::move(e)}};
  }

  /// m (y - x0): makes what is wholly known y. With a noise level, of r' of above.
  T replacement(const T& x0) const { return tensor_traits<T>::multiply(ball_.shrink(residual(x0)), root_); }

private:
  T residual(const T& x0) const {
    using traits = tensor_traits<T>;
    return traits::multiply(traits::combine(1.0, target_, -1.0, x0), root_);
  }

  T root_; // of the mask
  T target_;
  noise_ball<T> ball_;
};

} // namespace pushforward
