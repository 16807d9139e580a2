#pragma once
/// \file
/// A constraint on decoded images, for a loop that runs on latents.

#include <pushforward/concepts.hpp>
#include <pushforward/constraints/least_squares.hpp>
#include <pushforward/estimate.hpp>

#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>

namespace pushforward {

namespace detail {

/// The least-squares problem of a constraint on D(z): A J_D v by a forward difference through the decoder.
template <tensor T, class Decoder, class Problem, bool exact> struct decoded_problem {
  static constexpr bool exact_adjoint = exact && Problem::exact_adjoint;
  const Decoder& decoder;
  T z, image; ///< where it is linearized
  Problem pixels;
  decltype(Problem::residual) residual;
  constraint_value<T> value;

  auto apply(const T& v, pass_counts& counts) const {
    using traits = tensor_traits<T>;
    constexpr double probe = 0.005;
    const auto size = traits::max_abs(v);
    T moved = decoder.decode(traits::combine(traits::ratio(probe, size), v, 1.0, z));
    counts.decoder_forward += traits::shape_of(z).samples();
    return pixels.apply(traits::scale(traits::combine(1.0 / probe, size, 0.0, size),
                                      traits::combine(1.0, std::move(moved), -1.0, image)),
                        counts);
  }
  template <class R> T adjoint(const R& r, pass_counts& counts) const requires exact_adjoint {
    const std::size_t samples = tensor_traits<T>::shape_of(z).samples();
    const auto again = decoder.linearize_decode(z); // a linearization may serve once
    counts.decoder_forward += samples;
    counts.decoder_backward += samples;
    return again.vjp(pixels.adjoint(r, counts));
  }
  template <class R> R covary(const R& r) const { return pixels.covary(r); }
  bool noisy() const { return pixels.noisy(); }
};

template <bool exact, tensor T, class Decoder, class Problem>
decoded_problem<T, Decoder, Problem, exact> make_decoded_problem(const Decoder& d, const T& z, T image,
                                                                 Problem pixels, T error) {
  auto residual = pixels.residual;
  constraint_value<T> value{pixels.value.loss, std::move(error)};
  return {d, z, std::move(image), std::move(pixels), std::move(residual), std::move(value)};
}

} // namespace detail

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

  template <tensor T, class Decoder, least_squares_constraint<T> Constraint>
  requires differentiable_decoder<Decoder, T>
  auto least_squares(const Decoder& d, const Constraint& c, const T& z, pass_counts& counts) const {
    const std::size_t samples = tensor_traits<T>::shape_of(z).samples();
    auto image = d.linearize_decode(z);
    counts.decoder_forward += samples;
    auto pixels = c.least_squares(image.value, counts);
    counts.decoder_backward += samples;
    T e = image.vjp(pixels.value.error);
    return detail::make_decoded_problem<true>(d, z, std::move(image.value), std::move(pixels), std::move(e));
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
    return {std::move(value.loss), pulled_back(d, image, std::move(value.error), counts)};
  }

  /// The length of what is pulled back says nothing: its `exact_adjoint` is false.
  template <tensor T, class Decoder, least_squares_constraint<T> Constraint>
  requires encoding_decoder<Decoder, T>
  auto least_squares(const Decoder& d, const Constraint& c, const T& z, pass_counts& counts) const {
    T image = d.decode(z);
    counts.decoder_forward += tensor_traits<T>::shape_of(z).samples();
    auto pixels = c.least_squares(image, counts);
    T e = pulled_back(d, image, pixels.value.error, counts);
    return detail::make_decoded_problem<false>(d, z, std::move(image), std::move(pixels), std::move(e));
  }

private:
  template <class T, class Decoder>
  T pulled_back(const Decoder& d, const T& image, T error, pass_counts& counts) const {
    using traits = tensor_traits<T>;
    const auto h = traits::ratio(probe, traits::max_abs(error));
    const T moved = traits::combine(h, std::move(error), 1.0, image);
    auto [there, here] = traits::halves(d.encode(traits::concatenate(moved, image)));
    counts.encoder_forward += 2 * traits::shape_of(image).samples();
    T e = traits::combine(1.0, std::move(there), -1.0, here);
    // a sample with h = 0 was encoded twice: what is left of it is rounding, not an error
    const auto factor = traits::multiply(traits::ratio(h, h), traits::ratio(1.0, traits::max_abs(e)));
    return traits::scale(factor, std::move(e));
  }
};

/// c(D(z)) with its error pulled back to the latent z. Refers to the decoder and keeps the constraint.
template <class Constraint, class Decoder, class Pullback> class decoded {
public:
  static constexpr bool error_has_length =
      detail::error_has_length<Constraint>() && !std::same_as<Pullback, encoder_difference>;

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

  /// See `least_squares_problem`; for pullbacks that have one.
  template <tensor T>
  requires requires(const Pullback& p, const Decoder& d, const Constraint& c, const T& z,
                    pass_counts& counts) {
    p.least_squares(d, c, z, counts);
  }
  auto least_squares(const T& z, pass_counts& counts) const {
    return pullback_.least_squares(*decoder_, constraint_, z, counts);
  }

private:
  Constraint constraint_;
  const Decoder* decoder_;
  Pullback pullback_;
};

} // namespace pushforward
