#pragma once
/// \file
/// Classifier-free guidance: a denoiser that wraps a denoiser.

#include <pushforward/concepts.hpp>

#include <cmath>
#include <string>
#include <utility>

namespace pushforward {

/// A denoiser with a conditional and an unconditional branch.
///  - `predict_branches(xx, model_time)`: the raw output for a batch of 2 N samples, of which the first N are
///    to be taken under the condition and the last N without it
///  - `prediction`: what that output is
template <class D, class T>
concept branching_denoiser = tensor<T> && requires(const D& d, const T& xx, double model_time) {
  { d.predict_branches(xx, model_time) } -> std::same_as<T>;
  { d.prediction } -> std::convertible_to<prediction_type>;
};

/// A branching denoiser that can also run backward.
template <class D, class T>
concept differentiable_branching_denoiser = branching_denoiser<D, T> &&
    requires(const D& d, const T& xx, double model_time) {
  { d.linearize_branches(xx, model_time) } -> std::same_as<linearization<T>>;
};

/// How a guidance scale is to be read.
enum class guidance_convention {
  usual,    ///< o = o_uncond + g (o_cond - o_uncond), as diffusers has it: 1 is no guidance
  reference ///< o = (1 + w) o_cond - w o_uncond (Ho and Salimans 2022): 0 is no guidance; g = 1 + w
};

/// Guidance of a branching denoiser, both branches in one batch. Two passes a sample.
/// Keeps its own copy of the denoiser: give it a cheap handle (a reference wrapper of your own, a shared
/// pointer) where the network itself should not be copied.
template <class Denoiser> class classifier_free_guidance {
public:
  static constexpr std::size_t passes_per_sample = 2;

  prediction_type prediction;

  /// \throws bad_option for a scale that is not finite
  classifier_free_guidance(Denoiser denoiser, double scale, guidance_convention convention)
      : prediction{denoiser.prediction}, denoiser_{std::move(denoiser)},
        conditional_{convention == guidance_convention::usual ? scale : 1.0 + scale} {
    if (!std::isfinite(scale)) throw bad_option("the guidance scale is not finite");
  }

  template <tensor T>
  requires branching_denoiser<Denoiser, T> T predict(const T& x, double model_time)
  const {
    auto [conditional, unconditional] =
        tensor_traits<T>::halves(denoiser_.predict_branches(tensor_traits<T>::concatenate(x, x), model_time));
    return tensor_traits<T>::combine(conditional_, std::move(conditional), 1.0 - conditional_, unconditional);
  }

  template <tensor T>
  requires differentiable_branching_denoiser<Denoiser, T> linearization<T> linearize(const T& x,
                                                                                     double model_time)
  const {
    using traits = tensor_traits<T>;
    auto both = denoiser_.linearize_branches(traits::concatenate(x, x), model_time);
    auto [conditional, unconditional] = traits::halves(both.value);
    const double g = conditional_;
    auto pull = [g, vjp = std::move(both.vjp)](const T& w) {
      auto [c, u] = traits::halves(vjp(traits::concatenate(traits::scale(g, w), traits::scale(1.0 - g, w))));
      return traits::combine(1.0, std::move(c), 1.0, u);
    };
    return {traits::combine(g, std::move(conditional), 1.0 - g, unconditional), std::move(pull)};
  }

  double resolution() const { return detail::resolution_of(denoiser_); }

private:
  Denoiser denoiser_;
  double conditional_;
};

} // namespace pushforward
