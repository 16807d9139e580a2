#pragma once
/// \file
/// CLIP's text encoder: the one of Stable Diffusion 1.x (OpenAI's ViT-L/14), 2.x (OpenCLIP's ViT-H/14) and 3
/// (ViT-L/14 and OpenCLIP's ViT-bigG/14), as transformers' CLIPTextModel and CLIPTextModelWithProjection
/// compute it.

#include <pushforward/libtorch/models/weights.hpp>

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

namespace pushforward::libtorch::models {

/// The fields of transformers' config.json, under their names; those of Stable Diffusion 1.x unless set.
struct clip_text_config {
  std::int64_t hidden_size = 768;
  std::int64_t intermediate_size = 3072;
  std::int64_t num_hidden_layers = 12;
  std::int64_t num_attention_heads = 12;
  std::string hidden_act = "quick_gelu"; ///< or "gelu"
  double layer_norm_eps = 1e-5;
  std::int64_t max_position_embeddings = 77;
  std::int64_t vocab_size = 49408;
  std::int64_t eos_token_id = 49407; ///< 2 stands for the greatest id of a sequence, as in old files
  std::int64_t projection_dim = 768;

  static clip_text_config stable_diffusion_1() { return {}; }
  /// OpenCLIP's ViT-H/14 without its last block, which Stable Diffusion 2.x leaves out.
  static clip_text_config stable_diffusion_2();
  /// \param config_json of a text encoder, or of a whole CLIP model
  /// \throws bad_file for a file that cannot be read, and for a value that is wrong or that is not
  /// supported; the message names its key
  static clip_text_config read(const std::filesystem::path& config_json);
  /// What names and shapes tell, seen from below what single files of Stable Diffusion have in front:
  /// cond_stage_model.transformer (transformers' names, 1.x) or cond_stage_model.model
  /// (OpenCLIP's, 2.x, where of 24 blocks the last is left out), or text_encoders.clip_l.transformer and
  /// text_encoders.clip_g.transformer (transformers' names, 3). Heads have 64 channels. Of transformers'
  /// names a width of 1280 is ViT-bigG/14's, whose activation is gelu. \throws bad_file for parameters that
  /// are no such network's
  static clip_text_config told_by(const weights& w);
};

/// The encoder. Cheap to copy.
///
/// Each position sees itself and those before it; padding is not masked, as in Stable Diffusion. In every
/// method `ids` is [N, L], int64 or int32, with 1 <= L <= max_position_embeddings and ids from 0 to
/// vocab_size - 1; results are in the weights' type and on their device. They throw shape_mismatch and
/// bad_option for ids that are not so.
class clip_text {
public:
  /// Parameters have transformers' names, with or without "text_model." in front.
  /// \throws bad_option for a configuration that contradicts itself
  /// \throws bad_file for a parameter that is missing or does not fit; see `weights::take`
  clip_text(const clip_text_config& config, const weights& w);

  /// The last hidden state after the final layer norm: what Stable Diffusion is conditioned on.
  /// \return [N, L, hidden_size]
  at::Tensor operator()(const at::Tensor& ids) const;
  /// The same without the last block.
  at::Tensor penultimate(const at::Tensor& ids) const;
  /// That before the final layer norm, transformers' hidden_states[-2]: what Stable Diffusion 3 is
  /// conditioned on.
  at::Tensor hidden(const at::Tensor& ids) const;
  /// The last hidden state at the first end token of each sequence, [N, hidden_size].
  /// \throws bad_option for a sequence without end token
  at::Tensor pooled(const at::Tensor& ids) const;
  /// The pooled state in the space that text and images share, [N, projection_dim]; not of unit length.
  /// \throws bad_option for a sequence without end token, and where the weights had no text_projection
  at::Tensor projected(const at::Tensor& ids) const;
  /// Whether the weights had text_projection.
  bool projects() const;

  const clip_text_config& config() const;

private:
  struct parts;
  std::shared_ptr<const parts> parts_;
};

/// Where a single file of Stable Diffusion 1.x has the parameters: `cond_stage_model.transformer.text_model.`
naming ldm_clip_text_names();
/// Where OpenCLIP's code keeps a text encoder; by default in a single file of Stable Diffusion 2.x.
naming open_clip_text_names(const std::string& prefix = "cond_stage_model.model.");

} // namespace pushforward::libtorch::models
