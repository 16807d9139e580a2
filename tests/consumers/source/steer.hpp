#pragma once
// What every consumer program does with the tensor type it brings: steers samples of a normal prior, whose
// denoiser is known in closed form, onto a target.

#include <pushforward/pushforward.hpp>

#include <cmath>
#include <cstdio>
#include <vector>

/// The posterior mean of x0 ~ N(0, 1) given x = a x0 + s eps: a x / (a^2 + s^2).
template <class T> struct normal_prior {
  pushforward::prediction_type prediction = pushforward::prediction_type::sample;

  T predict(const T& x, double model_time) const {
    const double s = model_time / 1000.0, a = 1.0 - s;
    return pushforward::tensor_traits<T>::scale(a / (a * a + s * s), x);
  }
};

/// Exit status: 0 if the samples end on the target.
template <class T> int steer(const T& target) {
  using namespace pushforward;
  using traits = tensor_traits<T>;
  const T ones = traits::from_elements(target, traits::shape_of(target),
                                       std::vector<double>(traits::elements(target).size(), 1.0));
  const rectified_flow path;
  const normal_prior<T> prior;
  const auto result =
      sample(standard_normal(target, {.seed = 1}), model{prior, path}, rectified_flow_euler(path),
             masked<T>(target, ones), update{inexact_newton{}, infinity_norm{}, 5});
  const auto is = traits::elements(result.x), wanted = traits::elements(target);
  double worst = 0.0;
  for (std::size_t i = 0; i < is.size(); ++i) worst = std::max(worst, std::abs(is[i] - wanted[i]));
  std::printf("version %d.%d.%d: %zu passes, farthest from the target: %.4f\n", version_major, version_minor,
              version_patch, result.passes.forward, worst);
  return worst < 0.2 ? 0 : 1;
}
