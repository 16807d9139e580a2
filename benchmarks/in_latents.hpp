#pragma once
/// \file
/// Constraints on pixels, for latents.

#include "baselines/latino.hpp"

#include <pushforward/pushforward.hpp>

namespace policies {

/// Pulled back by the decoder's vjp, or met in pixels. Refers to the decoder.
template <class Constraint, class Decoder>
struct in_latents : pushforward::decoded<Constraint, Decoder, pushforward::decoder_vjp> {
  in_latents(const Constraint& c, const Decoder& d)
      : pushforward::decoded<Constraint, Decoder, pushforward::decoder_vjp>(c, d, {}), by_pixels{c, d} {}
  baselines::by_pixels<Constraint, Decoder> by_pixels;
};

} // namespace policies
