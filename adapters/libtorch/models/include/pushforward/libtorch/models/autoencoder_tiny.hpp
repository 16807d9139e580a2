#pragma once
/// \file
/// Tiny autoencoders (TAESD and its family, https://github.com/madebyollin/taesd): distilled encoders and
/// decoders of the latents of Stable Diffusion and other models, as `diffusers`' AutoencoderTiny computes
/// them.

#include <pushforward/libtorch/models/weights.hpp>

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

namespace pushforward::libtorch::models {

/// What `diffusers` writes in config.json, under the same names. The defaults are TAESD's.
struct autoencoder_tiny_config {
  std::int64_t in_channels = 3;
  std::int64_t out_channels = 3;
  std::int64_t latent_channels = 4;
  std::vector<std::int64_t> num_encoder_blocks{1, 3, 3, 3}; ///< at each resolution, the finest first
  std::vector<std::int64_t> num_decoder_blocks{3, 3, 3, 1}; ///< the coarsest first
  /// one width for all resolutions, as the architecture has it
  std::int64_t encoder_block_out_channels = 64;
  std::int64_t decoder_block_out_channels = 64;
  std::int64_t upsampling_scaling_factor = 2;
  double latent_magnitude = 3.0;
  double latent_shift = 0.5;
  double scaling_factor = 1.0;
  double shift_factor = 0.0;
  /// Groups of the normalisation inside the blocks of the coarsest resolution, which then begin with
  /// x + W2 relu(norm(W1 x)); 0: they do not. TAEF2 has 4. (`diffusers` lacks this variant.)
  std::int64_t midblock_groups = 0;

  /// \throws bad_file for a file that cannot be read, and for a value that is wrong or that this network does
  /// not implement (act_fn other than relu, upsample_fn other than nearest); the message names its key
  static autoencoder_tiny_config read(const std::filesystem::path& config_json);
  /// What names and shapes of `diffusers`' layout tell; the rest is as of TAESD. \throws bad_file for
  /// parameters that are no such network's
  static autoencoder_tiny_config told_by(const weights& w);
};

/// Encoder and decoder. Cheap to copy. Images are in [-1, 1]; the network inside works on [0, 1].
class autoencoder_tiny {
public:
  /// From `diffusers`' names: `encoder.layers.0.weight`, ...
  /// \throws bad_option for a configuration that contradicts itself
  /// \throws bad_file for a parameter that is missing or does not fit; see `weights::take`
  autoencoder_tiny(const autoencoder_tiny_config& config, const weights& w);

  /// From the encoder's and the decoder's files of the original repository (`0.weight`, `1.conv.0.weight`,
  /// ...), with the configuration that their names and shapes tell: TAESD, TAESDXL, TAESD3, TAEF1, TAEF2.
  /// \throws bad_file for files that are not of this architecture
  static autoencoder_tiny from_original(const std::filesystem::path& encoder,
                                        const std::filesystem::path& decoder, const placement& where = {});

  /// Latents z = (E((image + 1) / 2) - shift_factor) * scaling_factor, in the weights' type and on their
  /// device. \param image [N, in_channels, H, W] in [-1, 1]; H and W are multiples of `factor` \return [N,
  /// latent_channels, H / factor, W / factor] \throws shape_mismatch
  at::Tensor encode(const at::Tensor& image) const;

  /// Images 2 D(3 tanh(u / 3)) - 1 with u = z / scaling_factor + shift_factor. They may leave [-1, 1] a
  /// little. \param z [N, latent_channels, h, w] \throws shape_mismatch
  at::Tensor decode(const at::Tensor& z) const;

  /// Latents as the shades of a picture, z / (2 latent_magnitude) + latent_shift clamped to [0, 1]; and back.
  at::Tensor scale_latents(const at::Tensor& z) const;
  at::Tensor unscale_latents(const at::Tensor& shades) const;

  /// Pixels on a side of a latent element: 2^(resolutions - 1) of the encoder.
  std::int64_t factor() const;
  const autoencoder_tiny_config& config() const;

private:
  struct parts;
  explicit autoencoder_tiny(std::shared_ptr<const parts> p) : parts_{std::move(p)} {}

  std::shared_ptr<const parts> parts_;
};

} // namespace pushforward::libtorch::models
