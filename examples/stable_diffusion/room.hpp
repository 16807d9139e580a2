#pragma once
/// \file
/// Whether a run has room in memory, told before anything is loaded.

#include "model.hpp"
#include "pictures.hpp"

#include <pushforward/libtorch/models/autoencoder_kl.hpp>
#include <pushforward/libtorch/models/autoencoder_tiny.hpp>

#include <cstdint>
#include <string>

namespace stable_diffusion {

/// What of a run takes memory beside the weights.
struct run_size {
  picture_size pixels;
  std::int64_t batch = 1;
  bool decoder_backward = false; ///< a pass back through the decoder keeps what each layer was given
  bool forward_mode = false;     ///< forward-mode differentiation of the UNet keeps attention as a matrix
};

/// Values that the decoder holds at its peak, for each pixel of the result.
///  - Forward: in the first block of the finest resolution, its input, the same normalised (both of the
///    channels of the resolution below), and its output: 640 of Stable Diffusion's.
///  - Backward: what all layers were given: of each block three times its input and three times its output,
///  as
///    its norms, activations and convolutions each keep one.
double decoder_values(const pushforward::libtorch::models::autoencoder_kl_config& c, bool backward);
double decoder_values(const pushforward::libtorch::models::autoencoder_tiny_config& c, bool backward);

/// Bytes of a run on the CPU at its peak, beside the weights, from the checkpoint's configurations: what the
/// decoder holds, or with forward mode the UNet's attention at the finest resolution, if that is more. Parts
/// that run elsewhere count nothing. An estimate from below: what is refused by it would not have fitted.
/// \throws pushforward::bad_file, pushforward::bad_option as opening the checkpoint does
double bytes_of_run(const model_arguments& a, const run_size& size);

/// \param remedy which options make the run smaller
/// \throws pushforward::bad_option where that is more than the memory that is free
void require_free(double bytes, const run_size& size, const std::string& remedy);
/// The same for `bytes_of_run`.
void require_room(const model_arguments& a, const run_size& size, const std::string& remedy);

} // namespace stable_diffusion
