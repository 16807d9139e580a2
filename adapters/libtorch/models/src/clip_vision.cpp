#include <pushforward/libtorch/models/clip_vision.hpp>

#include "clip_transformer.hpp"

#include <ATen/ATen.h>

namespace pushforward::libtorch::models {

namespace {

void check(const clip_vision_config& c) {
  check_clip_transformer(c, "clip_vision_config");
  if (c.num_channels < 1) throw bad_option("clip_vision_config: num_channels must be positive");
  if (c.image_size < 1 || c.patch_size < 1 || c.image_size % c.patch_size)
    throw bad_option("clip_vision_config: patch_size must divide image_size");
}

std::int64_t patches_of(const clip_vision_config& c) {
  const std::int64_t along = c.image_size / c.patch_size;
  return along * along;
}

} // namespace

clip_vision_config clip_vision_config::read(const std::filesystem::path& config_json) {
  const json_config whole(config_json);
  const auto part = whole.object("vision_config");
  const json_config& file = part ? *part : whole;
  if (const auto type = file.text("model_type", "clip_vision_model"); type != "clip_vision_model")
    file.refuse("model_type", "is not a CLIP vision encoder");
  clip_vision_config c;
  c.patch_size = 32; // transformers' default
  read_clip_transformer(file, whole, c);
  c.num_channels = file.whole("num_channels", c.num_channels, 1, widest_clip);
  c.image_size = file.whole("image_size", c.image_size, 1, 1 << 14);
  c.patch_size = file.whole("patch_size", c.patch_size, 1, 1 << 14);
  if (c.image_size % c.patch_size) file.refuse("patch_size", "does not divide image_size");
  return c;
}

struct clip_vision::parts {
  // `names` starts below "vision_model." where the files have that.
  parts(const clip_vision_config& c, const weights& w, const weights& names)
      : config{c}, patches{names.below("embeddings.patch_embedding."),
                           c.num_channels,
                           c.hidden_size,
                           {.kernel = c.patch_size, .stride = c.patch_size, .padding = 0, .bias = false}},
        class_token{names.take("embeddings.class_embedding", {c.hidden_size})},
        positions{names.take("embeddings.position_embedding.weight", {1 + patches_of(c), c.hidden_size})},
        first_norm{names.below("pre_layrnorm."), c.hidden_size, c.layer_norm_eps},
        transformer{names, clip_shape(c, false)}, last_norm{names.below("post_layernorm."), c.hidden_size,
                                                            c.layer_norm_eps},
        projection{clip_projection(w, "visual_projection", c.hidden_size, c.projection_dim)} {}

  clip_vision_config config;
  conv2d patches;
  at::Tensor class_token, positions;
  layer_norm first_norm;
  clip_transformer transformer;
  layer_norm last_norm;
  at::Tensor projection; // undefined where the files have none

  at::Tensor run(const at::Tensor& pixels, std::int64_t blocks) const {
    const auto& c = config;
    if (pixels.dim() != 4 ||
        pixels.sizes().slice(1) != at::IntArrayRef{c.num_channels, c.image_size, c.image_size})
      throw shape_mismatch("clip_vision: pixels must be [N, " + std::to_string(c.num_channels) + ", " +
                           std::to_string(c.image_size) + ", " + std::to_string(c.image_size) + "], not " +
                           c10::str(pixels.sizes()) + "; clip_pixels brings images there");
    const at::Tensor x =
        patches(pixels.to(class_token.device(), class_token.scalar_type())).flatten(2).transpose(1, 2);
    const at::Tensor tokens = at::cat({class_token.expand({x.size(0), 1, c.hidden_size}), x}, 1) + positions;
    return transformer(first_norm(tokens), blocks);
  }
};

clip_vision::clip_vision(const clip_vision_config& config, const weights& w) {
  check(config);
  const bool inside = w.contains("vision_model.post_layernorm.weight");
  parts_ = std::make_shared<const parts>(config, w, inside ? w.below("vision_model.") : w);
}

at::Tensor clip_vision::operator()(const at::Tensor& pixels) const {
  return parts_->run(pixels, parts_->config.num_hidden_layers);
}

at::Tensor clip_vision::tokens_after(const at::Tensor& pixels, std::int64_t block) const {
  if (block < 0 || block >= parts_->config.num_hidden_layers)
    throw bad_option("clip_vision: there is no residual block " + std::to_string(block) + "; they are 0 to " +
                     std::to_string(parts_->config.num_hidden_layers - 1));
  return parts_->run(pixels, block + 1);
}

at::Tensor clip_vision::pooled(const at::Tensor& pixels) const {
  return parts_->last_norm((*this)(pixels).select(1, 0));
}

at::Tensor clip_vision::projected(const at::Tensor& pixels) const {
  if (!parts_->projection.defined()) throw bad_option("clip_vision: the weights have no visual_projection");
  return at::linear(pooled(pixels), parts_->projection);
}

const clip_vision_config& clip_vision::config() const { return parts_->config; }

naming open_clip_vision_names(const std::string& prefix) {
  return open_clip_names(prefix, {{"embeddings.class_embedding", "class_embedding"},
                                  {"embeddings.patch_embedding.weight", "conv1.weight"},
                                  {"embeddings.position_embedding.weight", "positional_embedding"},
                                  {"pre_layrnorm.weight", "ln_pre.weight"},
                                  {"pre_layrnorm.bias", "ln_pre.bias"},
                                  {"post_layernorm.weight", "ln_post.weight"},
                                  {"post_layernorm.bias", "ln_post.bias"},
                                  {"visual_projection", "proj"}});
}

at::Tensor clip_pixels(const at::Tensor& image, std::int64_t size) {
  if (image.dim() != 4 || image.size(1) != 3 || image.numel() == 0)
    throw shape_mismatch("clip_pixels: images must be [N, 3, H, W], not " + c10::str(image.sizes()));
  if (!at::isFloatingType(image.scalar_type()))
    throw bad_option(std::string("clip_pixels: images must be of a floating type, not ") +
                     c10::toString(image.scalar_type()));
  if (size < 1) throw bad_option("clip_pixels: size must be positive");
  const at::Tensor x = image.scalar_type() == at::kDouble ? image : image.to(at::kFloat);
  const auto by_channel = [&](double r, double g, double b) {
    return at::tensor({r, g, b}, at::kDouble).to(x.device(), x.scalar_type()).view({3, 1, 1});
  };
  const at::Tensor mean = by_channel(0.48145466, 0.4578275, 0.40821073);
  const at::Tensor deviation = by_channel(0.26862954, 0.26130258, 0.27577711);
  const at::Tensor resized = at::_upsample_bicubic2d_aa(x, {size, size}, false);
  return (0.5 * resized + 0.5 - mean) / deviation;
}

at::Tensor gram(const at::Tensor& features) {
  if (features.dim() != 3)
    throw shape_mismatch("gram: features must be [N, P, D], not " + c10::str(features.sizes()));
  return at::matmul(features.transpose(1, 2), features);
}

at::Tensor patch_tokens(const at::Tensor& tokens) {
  if (tokens.dim() != 3 || tokens.size(1) < 2)
    throw shape_mismatch("patch_tokens: tokens must be [N, 1 + P, D], not " + c10::str(tokens.sizes()));
  return tokens.narrow(1, 1, tokens.size(1) - 1);
}

} // namespace pushforward::libtorch::models
