#pragma once
/// \file
/// VAE-Newton: inexact Newton through the denoiser and through the VAE, without a backward pass anywhere.

#include <pushforward/constraints/decoded.hpp>
#include <pushforward/updates/inexact_newton.hpp>

#include <utility>

namespace pushforward {

/// Inexact Newton on latents whose error comes from `encoder_difference`: a second forward difference,
/// through the encoder, in place of the decoder's backward pass (ZoomLDM). Give `sample` this policy together
/// with the constraint that `constraint(c, decoder)` makes of a pixel constraint; the two are inexact Newton
/// and `decoded`, put together. An inner iteration costs 1 decoder, 2 encoder and 2 denoiser passes.
struct vae_newton {
  double probe = 0.0;           ///< of the denoiser; 0: from the compute type
  double encoder_probe = 0.005; ///< in units of the image

  void check() const {
    inexact_newton{probe}.check();
    encoder_difference{encoder_probe}.check();
  }

  template <class Constraint, class Decoder>
  decoded<Constraint, Decoder, encoder_difference> constraint(Constraint c, const Decoder& d) const {
    return {std::move(c), d, encoder_difference{encoder_probe}};
  }

  template <forward_model Model>
  auto direction(const Model& m, const estimate<typename Model::tensor_type>& at,
                 const typename Model::tensor_type& error) const {
    return inexact_newton{probe}.direction(m, at, error);
  }
};

} // namespace pushforward
