#pragma once
/// \file
/// The UNet of Stable Diffusion 1.x and 2.x (Rombach et al. 2022, "High-resolution image synthesis with
/// latent diffusion models"), as `diffusers`' UNet2DConditionModel computes it.

#include <pushforward/libtorch/denoiser.hpp>
#include <pushforward/libtorch/models/weights.hpp>

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace pushforward::libtorch::models {

/// What `diffusers` writes in the UNet's config.json, under the same names; lists have one entry a
/// resolution, the finest first. The defaults are those of Stable Diffusion 1.x.
struct unet_config {
  std::int64_t in_channels = 4;
  std::int64_t out_channels = 4;
  std::vector<std::int64_t> block_out_channels{320, 640, 1280, 1280};
  std::vector<std::string> down_block_types{"CrossAttnDownBlock2D", "CrossAttnDownBlock2D",
                                            "CrossAttnDownBlock2D", "DownBlock2D"};
  /// the coarsest first
  std::vector<std::string> up_block_types{"UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D",
                                          "CrossAttnUpBlock2D"};
  std::vector<std::int64_t> layers_per_block{2, 2, 2, 2};
  std::vector<std::int64_t> transformer_layers_per_block{1, 1, 1, 1};
  std::vector<std::int64_t> num_attention_heads{8, 8, 8, 8}; ///< the files call it attention_head_dim
  std::int64_t cross_attention_dim = 768;
  bool use_linear_projection = false;
  /// Attention in float32. Scaled dot product attention sums in float32 in any type, so that both values
  /// compute the same.
  bool upcast_attention = false;
  std::int64_t norm_num_groups = 32;
  double norm_eps = 1e-5;
  bool flip_sin_to_cos = true;
  double freq_shift = 0.0;

  /// Stable Diffusion 1.x.
  static unet_config stable_diffusion_1() { return {}; }
  /// Stable Diffusion 2.x.
  static unet_config stable_diffusion_2();
  /// \throws bad_file for a file that cannot be read, and for a value that is wrong or that this network does
  /// not implement; the message names its key
  static unet_config read(const std::filesystem::path& config_json);
  /// What names and shapes of the original layout tell, seen from below model.diffusion_model. They do not
  /// tell heads and groups: those are Stable Diffusion's, 8 heads, or heads of 64 channels where
  /// cross-attention is 1024 wide (2.x). \throws bad_file for parameters that are no such network's
  static unet_config told_by(const weights& w);
};

/// The network. Cheap to copy. Autograd and forward-mode differentiation go through it; in the latter
/// attention takes memory that grows with the square of H W, as the fused kernel has no forward derivative.
class unet {
public:
  /// \throws bad_option for a configuration that contradicts itself
  /// \throws bad_file for a parameter that is missing or does not fit; see `weights::take`
  unet(const unet_config& config, const weights& w);

  /// The raw output, in the weights' type, on their device; inputs are brought there.
  /// \param x [N, in_channels, H, W], of any size
  /// \param time [N] or [1]
  /// \param context [N or 1, L, cross_attention_dim]: the text encoder's last states
  /// \return [N, out_channels, H, W]
  /// \throws shape_mismatch
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& time, const at::Tensor& context) const;

  const unet_config& config() const;

private:
  struct parts;
  std::shared_ptr<const parts> parts_;
};

/// Where a single file of the original layout (`model.diffusion_model.`) has the UNet's parameters.
naming ldm_unet_names(const unet_config& config);

/// A UNet under one condition, for `forward_denoiser` and `differentiable_denoiser`.
/// \param context [N or 1, L, D]
/// \throws shape_mismatch
network conditioned(const unet& net, const at::Tensor& context);

} // namespace pushforward::libtorch::models
