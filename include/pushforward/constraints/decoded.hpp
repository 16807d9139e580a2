#pragma once
/// \file
/// A constraint on decoded images, for a loop that runs on latents.

#include <pushforward/concepts.hpp>
#include <pushforward/estimate.hpp>

#include <cmath>
#include <optional>
#include <string>
#include <utility>

namespace pushforward {

/// Pullback by the decoder's transposed Jacobian: e = J_D^T e_x. One decoder pass forward, one backward.
struct decoder_vjp {
  template <tensor T, class Decoder, constraint<T> Constraint>
  requires differentiable_decoder<Decoder, T> constraint_value<T>
  operator()(const Decoder& d, const Constraint& c, const T& z, pass_counts& counts) const {
    const std::size_t samples = tensor_traits<T>::shape_of(z).samples();
    auto image = d.linearize_decode(z);
    counts.decoder_forward += samples;
    auto value = evaluate(c, image.value, counts);
    counts.decoder_backward += samples;
    return {std::move(value.loss), image.vjp(value.error)};
  }
};

/// Pullback by a forward difference through the encoder, which stands for the decoder's local inverse
/// (VAE-Newton, Graikos et al., ZoomLDM, CVPR 2025): e = E(D(z) + h e_x) - E(D(z)), h = probe / max|e_x| per
/// sample, scaled to max|e| = 1. One decoder pass, two encoder passes (as one batch), no backward pass.
/// E(D(z)) is subtracted, not z, which cancels the autoencoder's own error. 0 for a sample whose pixel error
/// is 0.
struct encoder_difference {
  double probe = 0.005; ///< in units of the image

  void check() const {
    if (!(std::isfinite(probe) && probe > 0.0))
      throw bad_option("encoder_difference: probe is " + std::to_string(probe) + ", but must be positive");
  }

  template <tensor T, class Decoder, constraint<T> Constraint>
  requires encoding_decoder<Decoder, T> constraint_value<T>
  operator()(const Decoder& d, const Constraint& c, const T& z, pass_counts& counts) const {
    using traits = tensor_traits<T>;
    const std::size_t samples = traits::shape_of(z).samples();
    const T image = d.decode(z);
    counts.decoder_forward += samples;
    auto value = evaluate(c, image, counts);
    const auto h = traits::ratio(probe, traits::max_abs(value.error));
    const T moved = traits::combine(h, std::move(value.error), 1.0, image);
    auto [there, here] = traits::halves(d.encode(traits::concatenate(moved, image)));
    counts.encoder_forward += 2 * samples;
    T e = traits::combine(1.0, std::move(there), -1.0, here);
    // a sample with h = 0 was encoded twice: what is left of it is rounding, not an error
    const auto factor = traits::multiply(traits::ratio(h, h), traits::ratio(1.0, traits::max_abs(e)));
    return {std::move(value.loss), traits::scale(factor, std::move(e))};
  }
};

/// c(D(z)) with its error pulled back to the latent z. Refers to the decoder and keeps the constraint.
template <class Constraint, class Decoder, class Pullback> class decoded {
public:
  /// \throws bad_option for a bad probe
  decoded(Constraint c, const Decoder& d, Pullback pullback)
      : constraint_{std::move(c)}, decoder_{&d}, pullback_{pullback} {
    if constexpr (requires { pullback_.check(); }) pullback_.check();
  }

  template <tensor T>
  requires decoder<Decoder, T> &&
      requires(const Pullback& p, const Decoder& d, const Constraint& c, const T& z, pass_counts& counts) {
    p(d, c, z, counts);
  }
  constraint_value<T> operator()(const T& z, pass_counts& counts) const {
    return pullback_(*decoder_, constraint_, z, counts);
  }

private:
  Constraint constraint_;
  const Decoder* decoder_;
  Pullback pullback_;
};

} // namespace pushforward
