#pragma once
/// \file
/// The transformer of Stable Diffusion 3 and 3.5 (Esser et al. 2024, "Scaling rectified flow transformers for
/// high-resolution image synthesis": MMDiT), as `diffusers`' SD3Transformer2DModel computes it.

#include <pushforward/libtorch/denoiser.hpp>
#include <pushforward/libtorch/models/weights.hpp>

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

namespace pushforward::libtorch::models {

/// What `diffusers` writes in the transformer's config.json, under the same names. The defaults are those of
/// Stable Diffusion 3 medium.
struct sd3_transformer_config {
  std::int64_t in_channels = 16;
  std::int64_t out_channels = 16;
  std::int64_t patch_size = 2;
  std::int64_t num_layers = 24;
  std::int64_t attention_head_dim = 64;
  std::int64_t num_attention_heads = 24;
  std::int64_t joint_attention_dim = 4096;           ///< of the text's states
  std::int64_t pooled_projection_dim = 2048;         ///< of the text's pooled state
  std::int64_t pos_embed_max_size = 192;             ///< patches along a side that the table of positions has
  std::vector<std::int64_t> dual_attention_layers{}; ///< whose picture attends to itself alone, too
  bool qk_norm = false; ///< queries and keys are RMS-normed ("rms_norm" in files)

  /// attention_head_dim num_attention_heads, which is caption_projection_dim, too.
  std::int64_t width() const { return attention_head_dim * num_attention_heads; }

  static sd3_transformer_config stable_diffusion_3_medium() { return {}; }
  static sd3_transformer_config stable_diffusion_3_5_medium();
  /// Turbo is the same network.
  static sd3_transformer_config stable_diffusion_3_5_large();
  /// \throws bad_file for a file that cannot be read, and for a value that is wrong or that this network does
  /// not implement; the message names its key
  static sd3_transformer_config read(const std::filesystem::path& config_json);
  /// What names and shapes of the original layout tell, seen from below model.diffusion_model. Heads are 64
  /// wide where queries are not normed. \throws bad_file for parameters that are no such network's
  static sd3_transformer_config told_by(const weights& w);
};

/// A text as the transformer takes it.
struct sd3_condition {
  at::Tensor states; ///< [N or 1, L, joint_attention_dim]
  at::Tensor pooled; ///< [N or 1, pooled_projection_dim]
  /// How many tokens the last one of `states` is there for: attention sees its key and value so often.
  std::int64_t last_counts = 1;
};

/// The same condition in fewer tokens: those at the end of each text that equal its last are taken as one,
/// which counts for all of them. Tokens of the text have no position, so that equal ones stay equal through
/// all blocks, and the network's output is the same but for rounding. Where T5 is left out 78 tokens are left
/// of 333. States that are differentiated are left as they are. `conditioned` and `branching` do so by
/// themselves. \throws shape_mismatch for states that are not [N, L, D]
sd3_condition merged(const sd3_condition& condition);

/// What Stable Diffusion 3's three text encoders say of a prompt, joined as `diffusers`'
/// StableDiffusion3Pipeline does: along the channels CLIP-L, CLIP-G and zeros, and after them, along the
/// tokens, T5; pooled CLIP-L, CLIP-G.
/// \param clip_l,clip_g     [N, L, D]: `clip_text::hidden`
/// \param pooled_l,pooled_g [N, D]: `clip_text::projected`
/// \param t5 [N, L', D] at least as wide as both together; zeros of T5's shape where it is left out
/// (published:
///           256 tokens of 4096)
/// \throws shape_mismatch
sd3_condition joined_texts(const at::Tensor& clip_l, const at::Tensor& clip_g, const at::Tensor& pooled_l,
                           const at::Tensor& pooled_g, const at::Tensor& t5);

/// The network. Cheap to copy. Autograd and forward-mode differentiation go through it; in the latter
/// attention takes memory that grows with the square of the tokens, as the fused kernels have no forward
/// derivative.
class sd3_transformer {
public:
  /// \throws bad_option for a configuration that contradicts itself
  /// \throws bad_file for a parameter that is missing or does not fit; see `weights::take`
  sd3_transformer(const sd3_transformer_config& config, const weights& w);

  /// The raw output, noise minus sample, in the weights' type, on their device; inputs are brought there.
  /// \param x [N, in_channels, H, W], whose sides are multiples of patch_size, of at most patch_size
  ///          pos_embed_max_size
  /// \param time [N] or [1]: 1000 sigma, fractions included
  /// \return [N, out_channels, H, W]
  /// \throws shape_mismatch
  /// \throws bad_option for a count of the last token that is not positive
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& time, const sd3_condition& condition) const;

  const sd3_transformer_config& config() const;

private:
  struct parts;
  std::shared_ptr<const parts> parts_;
};

/// Where a single file of the original layout has the parameters, below "model.diffusion_model.": queries,
/// keys and values as one, and scale and shift of what is not gated the other way round.
naming original_sd3_transformer_names(const sd3_transformer_config& config);

/// A transformer under one condition, `merged`, for `forward_denoiser` and `differentiable_denoiser`.
/// \throws shape_mismatch
network conditioned(const sd3_transformer& net, const sd3_condition& condition);

} // namespace pushforward::libtorch::models
