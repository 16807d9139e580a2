#pragma once
/// \file
/// CLIP's vision encoder, a vision transformer (OpenAI's ViT-B/16 and its relatives), as transformers'
/// CLIPVisionModel and CLIPVisionModelWithProjection compute it; and what style constraints make of its
/// tokens. Autograd goes through all of it.

#include <pushforward/libtorch/models/weights.hpp>

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

namespace pushforward::libtorch::models {

/// The fields of transformers' config.json, under their names; those of ViT-B/16 unless set.
struct clip_vision_config {
  std::int64_t hidden_size = 768;
  std::int64_t intermediate_size = 3072;
  std::int64_t num_hidden_layers = 12;
  std::int64_t num_attention_heads = 12;
  std::string hidden_act = "quick_gelu"; ///< or "gelu"
  double layer_norm_eps = 1e-5;
  std::int64_t num_channels = 3;
  std::int64_t image_size = 224;
  std::int64_t patch_size = 16;
  std::int64_t projection_dim = 512;

  /// \param config_json of a vision encoder, or of a whole CLIP model
  /// \throws bad_file for a file that cannot be read, and for a value that is wrong or that is not
  /// supported; the message names its key
  static clip_vision_config read(const std::filesystem::path& config_json);
};

/// The encoder. Cheap to copy.
///
/// `pixels` is [N, num_channels, image_size, image_size], as `clip_pixels` makes them, of any floating type.
/// Results are in the weights' type and on their device. Tokens are [N, 1 + patches, hidden_size], the class
/// token first. Every method throws shape_mismatch for other pixels.
class clip_vision {
public:
  /// Parameters have transformers' names, with or without "vision_model." in front.
  /// \throws bad_option for a configuration that contradicts itself
  /// \throws bad_file for a parameter that is missing or does not fit; see `weights::take`
  clip_vision(const clip_vision_config& config, const weights& w);

  /// The tokens after the last residual block, before the last layer norm.
  at::Tensor operator()(const at::Tensor& pixels) const;
  /// The tokens after residual block `block`, from 0 (transformers: hidden_states[block + 1]); later ones are
  /// not run. \throws bad_option for a block that is not there
  at::Tensor tokens_after(const at::Tensor& pixels, std::int64_t block) const;
  /// The class token after the last block and layer norm, [N, hidden_size].
  at::Tensor pooled(const at::Tensor& pixels) const;
  /// The pooled state in the space that text and images share, [N, projection_dim]; not of unit length.
  /// \throws bad_option where the weights had no visual_projection
  at::Tensor projected(const at::Tensor& pixels) const;

  const clip_vision_config& config() const;

private:
  struct parts;
  std::shared_ptr<const parts> parts_;
};

/// Where OpenAI's and OpenCLIP's code keep a vision encoder.
naming open_clip_vision_names(const std::string& prefix = "visual.");

/// Images in [-1, 1] as a vision encoder takes them: brought to size x size by antialiased cubic
/// interpolation (which stretches those that are not square), to [0, 1], then by channel to (x - mean) /
/// deviation of CLIP's training set. \param image [N, 3, H, W] \return [N, 3, size, size], float32 (float64
/// of float64) \throws shape_mismatch, bad_option for a type that is not floating or a size below 1
at::Tensor clip_pixels(const at::Tensor& image, std::int64_t size = 224);

/// Gram matrices F^T F of features F [N, P, D], as of the patch tokens after a block: [N, D, D].
/// \throws shape_mismatch
at::Tensor gram(const at::Tensor& features);

/// Tokens [N, 1 + P, D] without the class token: [N, P, D].
/// \throws shape_mismatch
at::Tensor patch_tokens(const at::Tensor& tokens);

} // namespace pushforward::libtorch::models
