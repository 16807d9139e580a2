#pragma once
/// \file
/// Single files of Stable Diffusion in the original repository's layout: names and shapes of every parameter,
/// stated here a second time, of published or of small sizes.

#include <pushforward/libtorch/safetensors.hpp>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace testing_support {

/// Sizes; the standard ones are those of Stable Diffusion 1.x.
struct original_sizes {
  std::vector<std::int64_t> unet{320, 640, 1280, 1280}, vae{128, 256, 512, 512};
  std::int64_t unet_layers = 2, vae_layers = 2, context = 768, text_layers = 12, text_inner = 3072,
               tokens = 49408;

  /// Of Stable Diffusion 2.x, whose files hold all 24 blocks of OpenCLIP's.
  static original_sizes second() {
    original_sizes s;
    s.context = 1024;
    s.text_layers = 24;
    s.text_inner = 4096;
    return s;
  }
  /// As small as 32 groups, 8 heads and the width of the text allow.
  static original_sizes small(std::int64_t tokens, std::int64_t context = 768) {
    original_sizes s;
    s.unet = {64, 128};
    s.vae = {32, 32, 32, 32};
    s.unet_layers = s.vae_layers = s.text_layers = 1;
    s.context = context;
    s.text_inner = 64;
    s.tokens = tokens;
    return s;
  }
};

using shapes = std::map<std::string, std::vector<std::int64_t>>;

/// What the names of a part begin with.
inline const std::string original_unet = "model.diffusion_model.", original_vae = "first_stage_model.",
                         original_text = "cond_stage_model.";

class original_layout {
public:
  static shapes of(const original_sizes& s) {
    original_layout all;
    all.unet(s);
    all.vae(s);
    s.context == 1024 ? all.open_clip(s) : all.clip(s);
    return all.shapes_;
  }

private:
  void put(const std::string& name, std::vector<std::int64_t> shape) { shapes_[name] = std::move(shape); }
  void affine(const std::string& name, std::vector<std::int64_t> shape) {
    put(name + ".bias", {shape[0]});
    put(name + ".weight", std::move(shape));
  }
  void conv(const std::string& name, std::int64_t in, std::int64_t out, std::int64_t size = 3) {
    affine(name, {out, in, size, size});
  }

  void unet_resnet(const std::string& name, std::int64_t in, std::int64_t out, std::int64_t embedding) {
    affine(name + ".in_layers.0", {in});
    conv(name + ".in_layers.2", in, out);
    affine(name + ".emb_layers.1", {out, embedding});
    affine(name + ".out_layers.0", {out});
    conv(name + ".out_layers.3", out, out);
    if (in != out) conv(name + ".skip_connection", in, out, 1);
  }

  void transformer(const std::string& name, std::int64_t n, std::int64_t context) {
    affine(name + ".norm", {n});
    for (const char* end : {".proj_in", ".proj_out"})
      affine(name + end,
             context == 1024 ? std::vector{n, n} : std::vector{n, n, std::int64_t{1}, std::int64_t{1}});
    const std::string block = name + ".transformer_blocks.0";
    for (const char* end : {".norm1", ".norm2", ".norm3"}) affine(block + end, {n});
    for (const std::string attention : {".attn1", ".attn2"}) {
      put(block + attention + ".to_q.weight", {n, n});
      for (const char* end : {".to_k.weight", ".to_v.weight"})
        put(block + attention + end, {n, attention == ".attn1" ? n : context});
      affine(block + attention + ".to_out.0", {n, n});
    }
    affine(block + ".ff.net.0.proj", {8 * n, n});
    affine(block + ".ff.net.2", {n, 4 * n});
  }

  void unet(const original_sizes& s) {
    const auto first = s.unet.front(), embedding = 4 * first;
    const auto last = s.unet.size() - 1; // the coarsest resolution has no attention
    affine(original_unet + "time_embed.0", {embedding, first});
    affine(original_unet + "time_embed.2", {embedding, embedding});
    conv(original_unet + "input_blocks.0.0", 4, first);
    std::vector<std::int64_t> skips{first};
    auto n = first;
    for (std::size_t level = 0, block = 1; level <= last; ++level) {
      for (std::int64_t i = 0; i < s.unet_layers; ++i) {
        const auto name = original_unet + "input_blocks." + std::to_string(block++);
        unet_resnet(name + ".0", n, s.unet[level], embedding);
        n = s.unet[level];
        if (level < last) transformer(name + ".1", n, s.context);
        skips.push_back(n);
      }
      if (level == last) continue;
      conv(original_unet + "input_blocks." + std::to_string(block++) + ".0.op", n, n);
      skips.push_back(n);
    }
    unet_resnet(original_unet + "middle_block.0", n, n, embedding);
    transformer(original_unet + "middle_block.1", n, s.context);
    unet_resnet(original_unet + "middle_block.2", n, n, embedding);
    for (std::size_t i = 0, block = 0; i <= last; ++i) {
      const auto level = last - i;
      for (std::int64_t j = 0; j <= s.unet_layers; ++j) {
        const auto name = original_unet + "output_blocks." + std::to_string(block++);
        unet_resnet(name + ".0", n + skips.back(), s.unet[level], embedding);
        skips.pop_back();
        n = s.unet[level];
        if (level < last) transformer(name + ".1", n, s.context);
        if (level > 0 && j == s.unet_layers) conv(name + (level < last ? ".2.conv" : ".1.conv"), n, n);
      }
    }
    affine(original_unet + "out.0", {first});
    conv(original_unet + "out.2", first, 4);
  }

  void vae_resnet(const std::string& name, std::int64_t in, std::int64_t out) {
    affine(name + ".norm1", {in});
    conv(name + ".conv1", in, out);
    affine(name + ".norm2", {out});
    conv(name + ".conv2", out, out);
    if (in != out) conv(name + ".nin_shortcut", in, out, 1);
  }

  void vae_middle(const std::string& name, std::int64_t n) {
    vae_resnet(name + ".block_1", n, n);
    affine(name + ".attn_1.norm", {n});
    for (const char* end : {".q", ".k", ".v", ".proj_out"}) conv(name + ".attn_1" + end, n, n, 1);
    vae_resnet(name + ".block_2", n, n);
  }

  void vae(const original_sizes& s) {
    const std::string encoder = original_vae + "encoder.", decoder = original_vae + "decoder.";
    const auto last = s.vae.size() - 1;
    auto n = s.vae.front();
    conv(encoder + "conv_in", 3, n);
    for (std::size_t level = 0; level <= last; ++level) {
      const auto name = encoder + "down." + std::to_string(level);
      for (std::int64_t j = 0; j < s.vae_layers; ++j) {
        vae_resnet(name + ".block." + std::to_string(j), n, s.vae[level]);
        n = s.vae[level];
      }
      if (level < last) conv(name + ".downsample.conv", n, n);
    }
    vae_middle(encoder + "mid", n);
    affine(encoder + "norm_out", {n});
    conv(encoder + "conv_out", n, 8);
    conv(original_vae + "quant_conv", 8, 8, 1);
    conv(original_vae + "post_quant_conv", 4, 4, 1);
    conv(decoder + "conv_in", 4, n);
    vae_middle(decoder + "mid", n);
    for (std::size_t i = 0; i <= last; ++i) {
      const auto level = last - i;
      const auto name = decoder + "up." + std::to_string(level);
      for (std::int64_t j = 0; j <= s.vae_layers; ++j) {
        vae_resnet(name + ".block." + std::to_string(j), n, s.vae[level]);
        n = s.vae[level];
      }
      if (level > 0) conv(name + ".upsample.conv", n, n);
    }
    affine(decoder + "norm_out", {n});
    conv(decoder + "conv_out", n, 3);
  }

  void clip(const original_sizes& s) {
    const std::string text = original_text + "transformer.text_model.";
    const auto d = s.context;
    put(text + "embeddings.token_embedding.weight", {s.tokens, d});
    put(text + "embeddings.position_embedding.weight", {77, d});
    for (std::int64_t i = 0; i < s.text_layers; ++i) {
      const auto block = text + "encoder.layers." + std::to_string(i);
      for (const char* end : {".layer_norm1", ".layer_norm2"}) affine(block + end, {d});
      for (const char* end : {".q_proj", ".k_proj", ".v_proj", ".out_proj"})
        affine(block + ".self_attn" + end, {d, d});
      affine(block + ".mlp.fc1", {s.text_inner, d});
      affine(block + ".mlp.fc2", {d, s.text_inner});
    }
    affine(text + "final_layer_norm", {d});
  }

  void open_clip(const original_sizes& s) {
    const std::string text = original_text + "model.";
    const auto d = s.context;
    put(text + "token_embedding.weight", {s.tokens, d});
    put(text + "positional_embedding", {77, d});
    put(text + "text_projection", {d, d});
    for (std::int64_t i = 0; i < s.text_layers; ++i) {
      const auto block = text + "transformer.resblocks." + std::to_string(i);
      for (const char* end : {".ln_1", ".ln_2"}) affine(block + end, {d});
      put(block + ".attn.in_proj_weight", {3 * d, d});
      put(block + ".attn.in_proj_bias", {3 * d});
      affine(block + ".attn.out_proj", {d, d});
      affine(block + ".mlp.c_fc", {s.text_inner, d});
      affine(block + ".mlp.c_proj", {d, s.text_inner});
    }
    affine(text + "ln_final", {d});
  }

  shapes shapes_;
};

using tensors = std::map<std::string, at::Tensor>;

/// Random parameters of these shapes, under which signals neither vanish nor grow.
inline tensors random_parameters(const shapes& all, std::uint64_t seed = 3) {
  auto generator = at::detail::createCPUGenerator(seed);
  tensors made;
  for (const auto& [name, shape] : all) {
    at::Tensor t = at::randn(shape, generator);
    const bool norm = shape.size() == 1 && name.ends_with(".weight");
    const double inputs = static_cast<double>(t.numel()) / static_cast<double>(shape.at(0));
    made[name] = norm ? t.mul(0.1).add(1.0) : shape.size() == 1 ? t.mul(0.1) : t.div(std::sqrt(inputs));
  }
  return made;
}

inline std::filesystem::path write_single_file(const std::filesystem::path& path, const tensors& all,
                                               const std::map<std::string, std::string>& metadata = {}) {
  pushforward::libtorch::write_tensors(path, {all.begin(), all.end()}, metadata);
  return path;
}

} // namespace testing_support
