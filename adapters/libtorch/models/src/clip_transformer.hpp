#pragma once
/// \file
/// What CLIP's two encoders share: their blocks, the fields of their configurations, and OpenAI's names.

#include "json_config.hpp"

#include <pushforward/libtorch/models/layers.hpp>

#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace pushforward::libtorch::models {

constexpr std::int64_t widest_clip = 1 << 16; // of any extent in a configuration

/// Blocks of transformer: x + attention(norm(x)), then x + mlp(norm(x)).
class clip_transformer {
public:
  struct shape {
    std::int64_t width, inner, layers, heads;
    bool quick_gelu; ///< x sigmoid(1.702 x) for x Phi(x)
    double epsilon;
    bool causal;
  };
  clip_transformer(const weights& w, const shape& s);

  /// \param x [N, L, width]
  /// \param blocks how many of them to run, from the first
  at::Tensor operator()(at::Tensor x, std::int64_t blocks) const;

private:
  struct block {
    block(const weights& w, const shape& s);
    layer_norm norm1;
    linear q, k, v, out;
    layer_norm norm2;
    linear up, down;
  };

  shape shape_;
  std::vector<block> blocks_;
};

/// Of a configuration with CLIP's field names.
template <class Config> clip_transformer::shape clip_shape(const Config& c, bool causal) {
  return {c.hidden_size,
          c.intermediate_size,
          c.num_hidden_layers,
          c.num_attention_heads,
          c.hidden_act == "quick_gelu",
          c.layer_norm_eps,
          causal};
}

/// \throws bad_option that names the field
template <class Config> void check_clip_transformer(const Config& c, const std::string& name) {
  const auto refuse = [&](const std::string& what) { throw bad_option(name + ": " + what); };
  if (c.hidden_size < 1 || c.intermediate_size < 1 || c.num_hidden_layers < 1 || c.projection_dim < 1)
    refuse("hidden_size, intermediate_size, num_hidden_layers and projection_dim must be positive");
  if (c.num_attention_heads < 1 || c.hidden_size % c.num_attention_heads)
    refuse("num_attention_heads must divide hidden_size");
  if (c.hidden_act != "quick_gelu" && c.hidden_act != "gelu")
    refuse("hidden_act must be quick_gelu or gelu, not " + c.hidden_act);
  if (!(std::isfinite(c.layer_norm_eps) && c.layer_norm_eps > 0)) refuse("layer_norm_eps must be positive");
}

/// Reads what both configurations have; `c` comes with the defaults.
/// \param file the encoder's own object
/// \param whole the file, which has the width of the projection where the object is a part of it
template <class Config>
void read_clip_transformer(const json_config& file, const json_config& whole, Config& c) {
  c.hidden_size = file.whole("hidden_size", c.hidden_size, 1, widest_clip);
  c.intermediate_size = file.whole("intermediate_size", c.intermediate_size, 1, widest_clip);
  c.num_hidden_layers = file.whole("num_hidden_layers", c.num_hidden_layers, 1, 256);
  c.num_attention_heads = file.whole("num_attention_heads", c.num_attention_heads, 1, widest_clip);
  c.hidden_act = file.text("hidden_act", c.hidden_act);
  c.layer_norm_eps = file.number("layer_norm_eps", c.layer_norm_eps, 1e-12, 1);
  c.projection_dim = whole.whole("projection_dim", c.projection_dim, 1, widest_clip);
  if (c.hidden_act != "quick_gelu" && c.hidden_act != "gelu")
    file.refuse("hidden_act", "is neither quick_gelu nor gelu");
  if (c.hidden_size % c.num_attention_heads)
    file.refuse("num_attention_heads", "does not divide hidden_size");
}

/// The matrix [out, in] of a projection without bias: `<name>.weight`, or its transpose in `<name>`, as
/// OpenAI keeps it. Undefined where the files have neither.
at::Tensor clip_projection(const weights& w, const std::string& name, std::int64_t in, std::int64_t out);

/// transformers' names of an encoder -> those of OpenAI's and OpenCLIP's code, below `prefix`.
/// \param outer what is not in a block
naming open_clip_names(std::string prefix, std::map<std::string, std::string> outer);

} // namespace pushforward::libtorch::models
