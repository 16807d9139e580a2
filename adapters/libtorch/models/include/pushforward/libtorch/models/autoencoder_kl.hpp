#pragma once
/// \file
/// The autoencoder of Stable Diffusion, as `diffusers`' AutoencoderKL computes it.

#include <pushforward/libtorch/models/weights.hpp>

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace pushforward::libtorch::models {

/// What `diffusers` writes in the autoencoder's config.json, under the same names. The defaults are those of
/// Stable Diffusion 1.x and 2.x.
struct autoencoder_kl_config {
  std::int64_t in_channels = 3;
  std::int64_t out_channels = 3;
  std::vector<std::int64_t> block_out_channels{128, 256, 512, 512}; ///< one a resolution, the finest first
  std::int64_t layers_per_block = 2;
  std::int64_t latent_channels = 4;
  std::int64_t norm_num_groups = 32;
  double scaling_factor = 0.18215;
  double shift_factor = 0.0;
  bool use_quant_conv = true;
  bool use_post_quant_conv = true;
  bool mid_block_add_attention = true;
  /// The weights were trained in float32 and overflow in float16: then run it in float32 or bfloat16. For
  /// whoever chooses the placement; the network itself computes in the type of its weights.
  bool force_upcast = true;

  /// Pixels of the image to one of the latent, in each direction.
  std::int64_t scale() const { return std::int64_t{1} << (block_out_channels.size() - 1); }

  /// \throws bad_file for a file that cannot be read, and for a value that is wrong or that this network does
  /// not implement; the message names its key
  static autoencoder_kl_config read(const std::filesystem::path& config_json);
  /// What names and shapes tell, of `diffusers` or of the original layout (seen from below
  /// first_stage_model). They do not tell the number of groups and the factors: those are Stable Diffusion's,
  /// 1.x's and 2.x's of any channels but 16, and 3's of 16 (1.5305, shifted by 0.0609; other models of 16
  /// channels need their configuration). \throws bad_file for parameters that are no such network's
  static autoencoder_kl_config told_by(const weights& w);
};

/// The network. Cheap to copy. Autograd and forward-mode differentiation go through it.
///
/// Images are [N, in_channels, H, W] in [-1, 1]; latents [N, latent_channels, h, w] have, where H and W are
/// multiples of the scale, h = H / scale. Results are in the weights' type, on their device; inputs are
/// brought there.
class autoencoder_kl {
public:
  /// \throws bad_option for a configuration that contradicts itself
  /// \throws bad_file for a parameter that is missing or does not fit; see `weights::take`
  autoencoder_kl(const autoencoder_kl_config& config, const weights& w);

  /// Mean and log-variance of the unscaled latent's distribution, the latter clamped to [-30, 20].
  /// \throws shape_mismatch
  std::pair<at::Tensor, at::Tensor> encode_moments(const at::Tensor& image) const;
  /// (mean - shift_factor) * scaling_factor. \throws shape_mismatch
  at::Tensor encode(const at::Tensor& image) const;
  /// The image of latent / scaling_factor + shift_factor. \throws shape_mismatch
  at::Tensor decode(const at::Tensor& latent) const;

  const autoencoder_kl_config& config() const;

private:
  struct parts;
  at::Tensor mean_and_log_variance(const at::Tensor& image) const;
  std::shared_ptr<const parts> parts_;
};

/// Where a single file of the original layout has the autoencoder's parameters.
naming ldm_autoencoder_names(const autoencoder_kl_config& config,
                             const std::string& prefix = "first_stage_model.");

} // namespace pushforward::libtorch::models
