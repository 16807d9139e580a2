#pragma once
/// \file
/// The encoder of T5 v1.1, the third text encoder of Stable Diffusion 3, as transformers' T5EncoderModel
/// computes it.

#include <pushforward/libtorch/models/weights.hpp>

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

namespace pushforward::libtorch::models {

/// The fields of transformers' config.json, under their names; those of T5 v1.1 XXL unless set.
struct t5_config {
  std::int64_t vocab_size = 32128;
  std::int64_t d_model = 4096; ///< width of the states
  std::int64_t d_kv = 64;      ///< width of a head; num_heads d_kv need not be d_model
  std::int64_t d_ff = 10240;   ///< width inside the feed-forward layers
  std::int64_t num_layers = 24;
  std::int64_t num_heads = 64;
  /// Distances between positions fall into this many buckets, at least 4: half of them for each direction,
  /// and of each half the first half for single distances.
  std::int64_t relative_attention_num_buckets = 32;
  /// Distances from here on share the last bucket; more than a quarter of the buckets.
  std::int64_t relative_attention_max_distance = 128;
  double layer_norm_epsilon = 1e-6;

  static t5_config xxl() { return {}; }
  /// A key that is absent has transformers' default, which is T5 small's.
  /// \throws bad_file for a file that cannot be read, and for a value that is wrong or that is not supported;
  /// the message names its key. Of the feed-forward layers "gated-gelu" alone is supported, T5 v1.1's: the
  /// first T5 had "relu", transformers' default
  static t5_config read(const std::filesystem::path& config_json);
  /// What names and shapes tell; relative_attention_max_distance and layer_norm_epsilon, which they do not
  /// tell, are those of every published T5. \throws bad_file for parameters that are no such network's
  static t5_config told_by(const weights& w);
};

/// The encoder. Cheap to copy.
///
/// Each position sees every other; padding is not masked, as in Stable Diffusion 3, so that states depend on
/// the length that `ids` were padded to. `ids` is [N, L], int64 or int32, with ids from 0 to vocab_size - 1,
/// and L is not limited: a distance that was never trained falls into the last bucket.
///
/// In the half types the sums from layer to layer, the norms, and the product that ends a feed-forward layer
/// are computed in float32. They go beyond float16's greatest number, for which transformers keeps that
/// product's weights in float32; here they are widened as they are used. Products before it are in the half
/// type.
///
/// \see C. Raffel et al., "Exploring the limits of transfer learning with a unified text-to-text transformer"
/// (2020); N. Shazeer, "GLU variants improve transformer" (2020)
class t5_encoder {
public:
  /// Parameters have transformers' names; the embedding is `shared.weight` or `encoder.embed_tokens.weight`.
  /// \throws bad_option for a configuration that contradicts itself
  /// \throws bad_file for a parameter that is missing or does not fit, see `weights::take`, and for weights
  /// that are stored with scales of their own (`scaled_fp8`), which are not supported
  t5_encoder(const t5_config& config, const weights& w);

  /// The last hidden state after the final norm, in the weights' type and on their device.
  /// \return [N, L, d_model]
  /// \throws shape_mismatch, bad_option for ids that are not as above
  at::Tensor operator()(const at::Tensor& ids) const;

  const t5_config& config() const;

private:
  struct parts;
  std::shared_ptr<const parts> parts_;
};

/// What `t5_encoder(config, w)(ids)` gives, to the bit. The weights are taken from the files layer by layer
/// as they are used and then let go: at any time the memory holds one layer, or the embedding. Of T5 v1.1 XXL
/// that is 0.4 GB in a half type, in place of 9.5 GB. \throws as t5_encoder does, for a parameter when its
/// layer is reached
at::Tensor t5_encode_layer_by_layer(const t5_config& config, const weights& w, const at::Tensor& ids);

/// Where a single file of Stable Diffusion 3 has the parameters: `text_encoders.t5xxl.transformer.`
naming sd3_t5_names();

} // namespace pushforward::libtorch::models
