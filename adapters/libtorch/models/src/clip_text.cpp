#include <pushforward/libtorch/models/clip_text.hpp>

#include "clip_transformer.hpp"
#include "token_ids.hpp"

#include <ATen/ATen.h>

#include <algorithm>

namespace pushforward::libtorch::models {

namespace {

constexpr std::int64_t greatest_id_ends = 2; // the eos_token_id that says so

void check(const clip_text_config& c) {
  check_clip_transformer(c, "clip_text_config");
  if (c.max_position_embeddings < 1 || c.vocab_size < 1)
    throw bad_option("clip_text_config: max_position_embeddings and vocab_size must be positive");
}

} // namespace

clip_text_config clip_text_config::stable_diffusion_2() {
  clip_text_config c;
  c.hidden_size = 1024;
  c.intermediate_size = 4096;
  c.num_hidden_layers = 23;
  c.num_attention_heads = 16;
  c.hidden_act = "gelu";
  c.projection_dim = 1024;
  return c;
}

clip_text_config clip_text_config::read(const std::filesystem::path& config_json) {
  const json_config whole(config_json);
  const auto part = whole.object("text_config");
  const json_config& file = part ? *part : whole;
  clip_text_config c; // transformers' defaults
  c.hidden_size = c.projection_dim = 512;
  c.intermediate_size = 2048;
  c.num_attention_heads = 8;
  if (const auto type = file.text("model_type", "clip_text_model"); type != "clip_text_model")
    file.refuse("model_type", "is not a CLIP text encoder");
  file.only("use_attention_mask", false);
  read_clip_transformer(file, whole, c);
  c.max_position_embeddings =
      file.whole("max_position_embeddings", c.max_position_embeddings, 1, widest_clip);
  c.vocab_size = file.whole("vocab_size", c.vocab_size, 1, std::int64_t{1} << 24);
  c.eos_token_id = file.whole("eos_token_id", c.eos_token_id, 0, std::int64_t{1} << 24);
  return c;
}

clip_text_config clip_text_config::told_by(const weights& w) {
  const bool open_clip = w.contains("token_embedding.weight");
  const auto names =
      !open_clip && w.contains("text_model.embeddings.token_embedding.weight") ? w.below("text_model.") : w;
  const auto matrix_of = [](const weights& where, const std::string& name) {
    auto shape = where.shape_of(name);
    if (shape.size() != 2) throw bad_file(where.file_name() + ": tensor " + name + " is not a matrix");
    return shape;
  };
  const auto matrix = [&](const std::string& name) { return matrix_of(names, name); };
  const auto tokens = matrix(open_clip ? "token_embedding.weight" : "embeddings.token_embedding.weight");
  const auto positions = matrix(open_clip ? "positional_embedding" : "embeddings.position_embedding.weight");
  const std::string block = open_clip ? "transformer.resblocks." : "encoder.layers.",
                    up = open_clip ? ".mlp.c_fc.weight" : ".mlp.fc1.weight";
  clip_text_config c = open_clip ? stable_diffusion_2() : stable_diffusion_1();
  c.vocab_size = tokens[0];
  c.hidden_size = c.projection_dim = tokens[1];
  c.max_position_embeddings = positions[0];
  c.intermediate_size = matrix(block + "0" + up)[0];
  std::int64_t layers = 1;
  while (names.contains(block + std::to_string(layers) + up)) ++layers;
  c.num_hidden_layers = open_clip ? std::min(layers, c.num_hidden_layers) : layers;
  c.num_attention_heads = c.hidden_size / 64;
  c.eos_token_id = c.vocab_size - 1;
  if (open_clip && w.contains("text_projection")) c.projection_dim = matrix("text_projection")[1];
  if (!open_clip && w.contains("text_projection.weight"))
    c.projection_dim = matrix_of(w, "text_projection.weight")[0];
  if (!open_clip && c.hidden_size == 1280) c.hidden_act = "gelu";
  if (c.num_attention_heads < 1 || c.hidden_size % 64 || c.vocab_size < 1 || c.intermediate_size < 1 ||
      c.max_position_embeddings < 1 || c.projection_dim < 1)
    throw bad_file(w.file_name() + ": holds no text encoder that is supported: it is " +
                   std::to_string(c.hidden_size) + " wide, of " + std::to_string(c.vocab_size) + " tokens");
  return c;
}

struct clip_text::parts {
  // `names` starts below "text_model." where the files have that.
  parts(const clip_text_config& c, const weights& w, const weights& names)
      : config{c}, tokens{names.take("embeddings.token_embedding.weight", {c.vocab_size, c.hidden_size})},
        positions{
            names.take("embeddings.position_embedding.weight", {c.max_position_embeddings, c.hidden_size})},
        transformer{names, clip_shape(c, true)}, final_norm{names.below("final_layer_norm."), c.hidden_size,
                                                            c.layer_norm_eps},
        projection{clip_projection(w, "text_projection", c.hidden_size, c.projection_dim)} {}

  clip_text_config config;
  at::Tensor tokens, positions;
  clip_transformer transformer;
  layer_norm final_norm;
  at::Tensor projection; // undefined where the files have none

  at::Tensor checked(const at::Tensor& ids) const {
    check_ids(ids, config.vocab_size, "clip_text");
    if (ids.size(1) > config.max_position_embeddings)
      throw shape_mismatch("clip_text: sequences of " + std::to_string(ids.size(1)) +
                           " ids are longer than the " + std::to_string(config.max_position_embeddings) +
                           " positions of this encoder; cut them");
    return ids.to(tokens.device(), at::kLong);
  }

  at::Tensor hidden(const at::Tensor& ids, std::int64_t blocks) const {
    return transformer(at::embedding(tokens, ids) + positions.narrow(0, 0, ids.size(1)), blocks);
  }
  at::Tensor run(const at::Tensor& ids, std::int64_t blocks) const { return final_norm(hidden(ids, blocks)); }

  at::Tensor pooled(const at::Tensor& ids) const {
    at::Tensor at_end;
    if (config.eos_token_id == greatest_id_ends) {
      at_end = ids.argmax(1);
    } else {
      const at::Tensor ends = ids == config.eos_token_id;
      if (!ends.any(1).all().item<bool>())
        throw bad_option("clip_text: a sequence has no end token (id " + std::to_string(config.eos_token_id) +
                         ")");
      at_end = ends.to(at::kInt).argmax(1); // the first
    }
    const at::Tensor states = run(ids, config.num_hidden_layers);
    return states.index({at::arange(ids.size(0), at_end.options()), at_end});
  }
};

clip_text::clip_text(const clip_text_config& config, const weights& w) {
  check(config);
  const bool inside = w.contains("text_model.final_layer_norm.weight");
  parts_ = std::make_shared<const parts>(config, w, inside ? w.below("text_model.") : w);
}

at::Tensor clip_text::operator()(const at::Tensor& ids) const {
  return parts_->run(parts_->checked(ids), parts_->config.num_hidden_layers);
}

at::Tensor clip_text::penultimate(const at::Tensor& ids) const {
  return parts_->run(parts_->checked(ids), parts_->config.num_hidden_layers - 1);
}

at::Tensor clip_text::hidden(const at::Tensor& ids) const {
  return parts_->hidden(parts_->checked(ids), parts_->config.num_hidden_layers - 1);
}

at::Tensor clip_text::pooled(const at::Tensor& ids) const { return parts_->pooled(parts_->checked(ids)); }

at::Tensor clip_text::projected(const at::Tensor& ids) const {
  if (!parts_->projection.defined()) throw bad_option("clip_text: the weights have no text_projection");
  return at::linear(pooled(ids), parts_->projection);
}

bool clip_text::projects() const { return parts_->projection.defined(); }

const clip_text_config& clip_text::config() const { return parts_->config; }

naming ldm_clip_text_names() {
  return [](const std::string& name) -> stored_at { return {"cond_stage_model.transformer." + name}; };
}

naming open_clip_text_names(const std::string& prefix) {
  return open_clip_names(prefix, {{"embeddings.token_embedding.weight", "token_embedding.weight"},
                                  {"embeddings.position_embedding.weight", "positional_embedding"},
                                  {"final_layer_norm.weight", "ln_final.weight"},
                                  {"final_layer_norm.bias", "ln_final.bias"}});
}

} // namespace pushforward::libtorch::models
