#include <pushforward/libtorch/models/t5_encoder.hpp>

#include "json_config.hpp"
#include "token_ids.hpp"

#include <pushforward/libtorch/models/layers.hpp>

#include <ATen/ATen.h>

#include <cmath>
#include <string>
#include <vector>

namespace pushforward::libtorch::models {

namespace {

constexpr std::int64_t widest = 1 << 16; // of any extent in a configuration
constexpr std::int64_t most_layers = 256;

std::string block_name(std::int64_t i) { return "encoder.block." + std::to_string(i) + "."; }

/// How many distances of a direction have a bucket of their own.
std::int64_t single_distances(const t5_config& c) { return c.relative_attention_num_buckets / 2 / 2; }

void check(const t5_config& c) {
  const auto refuse = [](const std::string& what) { throw bad_option("t5_config: " + what); };
  if (c.vocab_size < 1 || c.d_model < 1 || c.d_kv < 1 || c.d_ff < 1 || c.num_layers < 1 || c.num_heads < 1)
    refuse("vocab_size, d_model, d_kv, d_ff, num_layers and num_heads must be positive");
  if (c.relative_attention_num_buckets < 4) refuse("relative_attention_num_buckets must be at least 4");
  if (c.relative_attention_max_distance <= single_distances(c))
    refuse("relative_attention_max_distance must be more than a quarter of relative_attention_num_buckets");
  if (!(std::isfinite(c.layer_norm_epsilon) && c.layer_norm_epsilon > 0))
    refuse("layer_norm_epsilon must be positive");
}

/// The bucket of each key's distance from each query, [L, L], int64.
///
/// Of the n buckets of a direction the first e = n / 2 are for the distances 0..e - 1; a distance d from e on
/// has bucket min(n - 1, e + floor(log(d / e) / log(max_distance / e) (n - e))), in float32 and on the CPU,
/// as another rounding would put distances into other buckets.
at::Tensor buckets(const t5_config& c, std::int64_t length) {
  const std::int64_t n = c.relative_attention_num_buckets / 2, e = single_distances(c);
  const double span =
      std::log(static_cast<double>(c.relative_attention_max_distance) / static_cast<double>(e));
  const at::Tensor position = at::arange(length, at::kLong);
  const at::Tensor offset = position.unsqueeze(0) - position.unsqueeze(1), distance = offset.abs();
  const at::Tensor far =
      (at::log(distance.clamp_min(e).to(at::kFloat) / e) / span * (n - e)).to(at::kLong) + e;
  return at::where(distance < e, distance, far.clamp_max(n - 1)) + (offset > 0).to(at::kLong) * n;
}

/// What attention adds for the distances, [1, heads, L, L].
/// \param weight [buckets, heads]
at::Tensor position_bias(const t5_config& c, const at::Tensor& weight, std::int64_t length) {
  return at::embedding(weight, buckets(c, length).to(weight.device()))
      .permute({2, 0, 1})
      .contiguous()
      .unsqueeze(0);
}

/// The states that the layers begin with; see t5_encoder for their type.
at::Tensor embedded(const at::Tensor& tokens, const at::Tensor& ids) {
  const at::Tensor x = at::embedding(tokens, ids.to(tokens.device(), at::kLong));
  return at::isReducedFloatingType(x.scalar_type()) ? x.to(at::kFloat) : x;
}

at::Tensor take_tokens(const t5_config& c, const weights& w) {
  if (w.contains("scaled_fp8") || w.contains(block_name(0) + "layer.0.SelfAttention.q.scale_weight"))
    throw bad_file(
        w.file_name() +
        ": its weights are to be multiplied by scales that lie beside them (scaled_fp8), which is not "
        "supported; take a file without them");
  const std::string shared = "shared.weight", own = "encoder.embed_tokens.weight";
  return w.take(w.contains(own) && !w.contains(shared) ? own : shared, {c.vocab_size, c.d_model});
}

at::Tensor take_relative_bias(const t5_config& c, const weights& w) {
  return w.take(block_name(0) + "layer.0.SelfAttention.relative_attention_bias.weight",
                {c.relative_attention_num_buckets, c.num_heads});
}

rms_norm take_final_norm(const t5_config& c, const weights& w) {
  return {w.below("encoder.final_layer_norm."), c.d_model, c.layer_norm_epsilon};
}

/// x + o(attention(norm(x))), then x + wo(gelu(wi_0 y) wi_1 y) of y = norm(x).
struct block {
  block(const t5_config& c, const weights& w)
      : heads{c.num_heads}, norm1{w.below("layer.0.layer_norm."), c.d_model, c.layer_norm_epsilon},
        q{w.below("layer.0.SelfAttention.q."), c.d_model, c.num_heads * c.d_kv, false},
        k{w.below("layer.0.SelfAttention.k."), c.d_model, c.num_heads * c.d_kv, false},
        v{w.below("layer.0.SelfAttention.v."), c.d_model, c.num_heads * c.d_kv, false},
        o{w.below("layer.0.SelfAttention.o."), c.num_heads * c.d_kv, c.d_model, false},
        norm2{w.below("layer.1.layer_norm."), c.d_model, c.layer_norm_epsilon},
        gate{w.below("layer.1.DenseReluDense.wi_0."), c.d_model, c.d_ff, false},
        up{w.below("layer.1.DenseReluDense.wi_1."), c.d_model, c.d_ff, false},
        down{w.below("layer.1.DenseReluDense.wo."), c.d_ff, c.d_model, false} {}

  /// \param x [N, L, d_model], in float32 where the weights are of a half type
  /// \param bias [1, heads, L, L]
  at::Tensor operator()(at::Tensor x, const at::Tensor& bias) const {
    const at::Tensor y = norm1(x);
    x = x + o(attention(q(y), k(y), v(y), heads, false, bias, 1.0));
    const at::Tensor z = norm2(x);
    return x + down(at::gelu(gate(z), "tanh").to(x.scalar_type()) * up(z));
  }

  std::int64_t heads;
  rms_norm norm1;
  linear q, k, v, o;
  rms_norm norm2;
  linear gate, up, down;
};

} // namespace

t5_config t5_config::read(const std::filesystem::path& config_json) {
  const json_config file(config_json);
  if (const auto type = file.text("model_type", "t5"); type != "t5") file.refuse("model_type", "is not a T5");
  if (file.text("feed_forward_proj", "relu") != "gated-gelu")
    file.refuse("feed_forward_proj", "is not gated-gelu, as T5 v1.1 has it, which alone is supported");
  file.only("dense_act_fn", "gelu_new");
  file.only("is_gated_act", true);
  file.only("is_decoder", false);
  t5_config c; // transformers' defaults
  c.vocab_size = file.whole("vocab_size", 32128, 1, std::int64_t{1} << 24);
  c.d_model = file.whole("d_model", 512, 1, widest);
  c.d_kv = file.whole("d_kv", 64, 1, widest);
  c.d_ff = file.whole("d_ff", 2048, 1, widest);
  c.num_layers = file.whole("num_layers", 6, 1, most_layers);
  c.num_heads = file.whole("num_heads", 8, 1, widest);
  c.relative_attention_num_buckets = file.whole("relative_attention_num_buckets", 32, 4, widest);
  c.relative_attention_max_distance =
      file.whole("relative_attention_max_distance", 128, single_distances(c) + 1, std::int64_t{1} << 30);
  c.layer_norm_epsilon = file.number("layer_norm_epsilon", 1e-6, 1e-12, 1);
  return c;
}

t5_config t5_config::told_by(const weights& w) {
  const auto matrix = [&](const std::string& name) {
    auto shape = w.shape_of(name);
    if (shape.size() != 2 || shape[0] < 1 || shape[1] < 1)
      throw bad_file(w.file_name() + ": tensor " + name + " is not a matrix");
    return shape;
  };
  const std::string own = "encoder.embed_tokens.weight", first = block_name(0) + "layer.0.SelfAttention.";
  const std::string gate = "layer.1.DenseReluDense.wi_0.weight";
  const auto tokens = matrix(w.contains(own) ? own : "shared.weight"),
             bias = matrix(first + "relative_attention_bias.weight");
  const auto inner = matrix(first + "q.weight")[0];
  if (w.contains(block_name(0) + "layer.1.DenseReluDense.wi.weight"))
    throw bad_file(w.file_name() +
                   ": holds the first T5, whose feed-forward layers are not gated; T5 v1.1 alone is "
                   "supported");
  t5_config c;
  c.vocab_size = tokens[0];
  c.d_model = tokens[1];
  c.relative_attention_num_buckets = bias[0];
  c.num_heads = bias[1];
  c.d_kv = inner / c.num_heads;
  c.d_ff = matrix(block_name(0) + gate)[0];
  c.num_layers = 1;
  while (w.contains(block_name(c.num_layers) + gate)) ++c.num_layers;
  if (inner % c.num_heads || c.relative_attention_num_buckets < 4 ||
      c.relative_attention_max_distance <= single_distances(c))
    throw bad_file(w.file_name() + ": holds no T5 that is supported: it has " + std::to_string(c.num_heads) +
                   " heads, " + std::to_string(inner) + " wide together, and " +
                   std::to_string(c.relative_attention_num_buckets) + " buckets of distances");
  return c;
}

struct t5_encoder::parts {
  parts(const t5_config& c, const weights& w)
      : config{c}, tokens{take_tokens(c, w)}, relative_bias{take_relative_bias(c, w)},
        final_norm{take_final_norm(c, w)} {
    for (std::int64_t i = 0; i < c.num_layers; ++i) blocks.emplace_back(c, w.below(block_name(i)));
  }

  t5_config config;
  at::Tensor tokens, relative_bias;
  rms_norm final_norm;
  std::vector<block> blocks;
};

t5_encoder::t5_encoder(const t5_config& config, const weights& w) {
  check(config);
  parts_ = std::make_shared<const parts>(config, w);
}

at::Tensor t5_encoder::operator()(const at::Tensor& ids) const {
  const parts& p = *parts_;
  check_ids(ids, p.config.vocab_size, "t5_encoder");
  at::Tensor x = embedded(p.tokens, ids);
  const at::Tensor bias = position_bias(p.config, p.relative_bias, ids.size(1));
  for (const block& layer : p.blocks) x = layer(x, bias);
  return p.final_norm(x);
}

const t5_config& t5_encoder::config() const { return parts_->config; }

at::Tensor t5_encode_layer_by_layer(const t5_config& config, const weights& w, const at::Tensor& ids) {
  check(config);
  check_ids(ids, config.vocab_size, "t5_encode_layer_by_layer");
  at::Tensor x = embedded(take_tokens(config, w), ids);
  const at::Tensor bias = position_bias(config, take_relative_bias(config, w), ids.size(1));
  for (std::int64_t i = 0; i < config.num_layers; ++i) x = block(config, w.below(block_name(i)))(x, bias);
  return take_final_norm(config, w)(x);
}

naming sd3_t5_names() {
  return [](const std::string& name) -> stored_at { return {"text_encoders.t5xxl.transformer." + name}; };
}

} // namespace pushforward::libtorch::models
