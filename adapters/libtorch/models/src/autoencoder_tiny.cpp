#include <pushforward/libtorch/models/autoencoder_tiny.hpp>

#include <pushforward/libtorch/models/layers.hpp>

#include "json_config.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <utility>

namespace pushforward::libtorch::models {

namespace {

constexpr std::int64_t widest = 1 << 16;

std::optional<fault> fault_of(const autoencoder_tiny_config& c) {
  for (const auto& [field, value] : {std::pair{"in_channels", c.in_channels},
                                     {"out_channels", c.out_channels},
                                     {"latent_channels", c.latent_channels},
                                     {"encoder_block_out_channels", c.encoder_block_out_channels},
                                     {"decoder_block_out_channels", c.decoder_block_out_channels}})
    if (value < 1 || value > widest) return fault{field, "is not in 1..65536"};
  for (const auto& [field, blocks] : {std::pair{"num_encoder_blocks", &c.num_encoder_blocks},
                                      {"num_decoder_blocks", &c.num_decoder_blocks}})
    if (blocks->empty() || blocks->size() > 8 ||
        std::any_of(blocks->begin(), blocks->end(), [](auto n) { return n < 0 || n > 64; }))
      return fault{field, "is not 1 to 8 numbers in 0..64"};
  if (c.upsampling_scaling_factor < 1 || c.upsampling_scaling_factor > 8)
    return fault{"upsampling_scaling_factor", "is not in 1..8"};
  if (!(std::isfinite(c.scaling_factor) && c.scaling_factor > 0.0))
    return fault{"scaling_factor", "is not positive"};
  if (!(std::isfinite(c.latent_magnitude) && c.latent_magnitude > 0.0))
    return fault{"latent_magnitude", "is not positive"};
  if (!std::isfinite(c.latent_shift)) return fault{"latent_shift", "is not finite"};
  if (!std::isfinite(c.shift_factor)) return fault{"shift_factor", "is not finite"};
  if (c.midblock_groups < 0 ||
      (c.midblock_groups > 0 && (4 * c.encoder_block_out_channels % c.midblock_groups ||
                                 4 * c.decoder_block_out_channels % c.midblock_groups)))
    return fault{"midblock_groups", "does not divide four times the blocks' channels"};
  return {};
}

/// relu(f(x) + x), f three convolutions; where there are groups, x + W2 relu(norm(W1 x)) goes in for x.
class block {
public:
  block(const weights& w, std::int64_t channels, std::int64_t groups)
      : first_{w.below("conv.0."), channels, channels}, second_{w.below("conv.2."), channels, channels},
        third_{w.below("conv.4."), channels, channels} {
    if (groups > 0) widened_.emplace(w.below("pool."), channels, groups);
  }

  at::Tensor operator()(at::Tensor x) const {
    if (widened_) x = (*widened_)(x);
    const at::Tensor h = second_(first_(x).relu_()).relu_();
    return third_(h).add_(x).relu_();
  }

private:
  class widened {
  public:
    widened(const weights& w, std::int64_t channels, std::int64_t groups)
        : up_{w.below("0."), channels, 4 * channels, {1, 1, 0, false}}, norm_{w.below("1."), groups,
                                                                              4 * channels, 1e-5},
          down_{w.below("3."), 4 * channels, channels, {1, 1, 0, false}} {}
    at::Tensor operator()(const at::Tensor& x) const { return down_(norm_(up_(x)).relu_()).add_(x); }

  private:
    conv2d up_;
    group_norm norm_;
    conv2d down_;
  };

  conv2d first_, second_, third_;
  std::optional<widened> widened_;
};

/// The numbered modules of an nn.Sequential, in order.
class numbered {
public:
  explicit numbered(weights w) : w_{std::move(w)} {}
  weights next() { return w_.below(std::to_string(n_++) + "."); }
  void skip() { ++n_; }

private:
  weights w_;
  int n_ = 0;
};

std::vector<block> blocks(numbered& modules, std::int64_t n, std::int64_t channels, std::int64_t groups) {
  std::vector<block> all;
  for (std::int64_t i = 0; i < n; ++i) all.emplace_back(modules.next(), channels, groups);
  return all;
}

at::Tensor through(const std::vector<block>& all, at::Tensor x) {
  for (const auto& b : all) x = b(std::move(x));
  return x;
}

constexpr conv2d::options halving{3, 2, 1, false};
constexpr conv2d::options unbiased{3, 1, 1, false};

struct encoder {
  struct stage {
    conv2d in;
    std::vector<block> then;
  };
  std::vector<stage> stages;
  conv2d out;

  encoder(const autoencoder_tiny_config& c, numbered modules)
      : stages{stages_of(c, modules)}, out{modules.next(), c.encoder_block_out_channels, c.latent_channels} {}

  static std::vector<stage> stages_of(const autoencoder_tiny_config& c, numbered& modules) {
    const auto width = c.encoder_block_out_channels;
    const std::size_t n = c.num_encoder_blocks.size();
    std::vector<stage> all;
    for (std::size_t i = 0; i < n; ++i) {
      auto in = i == 0 ? conv2d(modules.next(), c.in_channels, width)
                       : conv2d(modules.next(), width, width, halving);
      all.push_back({std::move(in),
                     blocks(modules, c.num_encoder_blocks[i], width, i + 1 == n ? c.midblock_groups : 0)});
    }
    return all;
  }

  at::Tensor operator()(at::Tensor x) const {
    for (const auto& s : stages) x = through(s.then, s.in(x));
    return out(x);
  }
};

struct decoder {
  struct stage {
    std::vector<block> first;
    conv2d out;
  };
  conv2d in;
  std::vector<stage> stages;
  std::int64_t upsampling;

  decoder(const autoencoder_tiny_config& c, numbered modules)
      : in{modules.next(), c.latent_channels, c.decoder_block_out_channels}, stages{stages_of(c, modules)},
        upsampling{c.upsampling_scaling_factor} {}

  static std::vector<stage> stages_of(const autoencoder_tiny_config& c, numbered& modules) {
    const auto width = c.decoder_block_out_channels;
    const std::size_t n = c.num_decoder_blocks.size();
    std::vector<stage> all;
    modules.skip(); // relu
    for (std::size_t i = 0; i < n; ++i) {
      auto first = blocks(modules, c.num_decoder_blocks[i], width, i == 0 ? c.midblock_groups : 0);
      if (i + 1 < n) modules.skip(); // upsampling
      all.push_back({std::move(first), i + 1 < n ? conv2d(modules.next(), width, width, unbiased)
                                                 : conv2d(modules.next(), width, c.out_channels)});
    }
    return all;
  }

  at::Tensor operator()(at::Tensor x) const {
    x = in(x).relu_();
    for (std::size_t i = 0; i < stages.size(); ++i) {
      x = through(stages[i].first, std::move(x));
      if (i + 1 < stages.size())
        x = at::upsample_nearest2d(x, {x.size(2) * upsampling, x.size(3) * upsampling});
      x = stages[i].out(x);
    }
    return x;
  }
};

void require_channels(const char* what, const at::Tensor& x, std::int64_t channels, std::int64_t factor) {
  if (x.dim() == 4 && x.size(0) > 0 && x.size(1) == channels && x.size(2) > 0 && x.size(3) > 0 &&
      x.size(2) % factor == 0 && x.size(3) % factor == 0)
    return;
  throw shape_mismatch(std::string("the tiny autoencoder's ") + what + " must be [N, " +
                       std::to_string(channels) + ", H, W]" +
                       (factor > 1 ? " with H and W multiples of " + std::to_string(factor) : std::string()) +
                       ", not " + c10::str(x.sizes()));
}

/// The configuration that the modules of an encoder and a decoder tell.
class module_layout {
public:
  /// \param first number of the decoder's first convolution: 1 in the original repository's files, which
  ///        count the clamp before it, and 0 in `diffusers`'
  module_layout(const weights& encoder, const weights& decoder, int first)
      : encoder_{encoder}, decoder_{decoder}, first_{first} {}

  autoencoder_tiny_config config() const {
    autoencoder_tiny_config c;
    const auto first = shape_of(encoder_, "0.weight"), in = shape_of(decoder_, name(first_, "weight"));
    c.encoder_block_out_channels = first[0];
    c.in_channels = first[1];
    c.decoder_block_out_channels = in[0];
    c.latent_channels = in[1];
    c.num_encoder_blocks = {0};
    for (int i = 1; !encoder_.contains(name(i, "bias")); ++i)
      if (is_block(encoder_, i))
        ++c.num_encoder_blocks.back();
      else if (encoder_.contains(name(i, "weight")))
        c.num_encoder_blocks.push_back(0);
      else
        refuse(encoder_, i);
    c.num_decoder_blocks = {0};
    int i = first_ + 2; // after the convolution and a relu
    for (; !decoder_.contains(name(i, "bias")); ++i)
      if (is_block(decoder_, i))
        ++c.num_decoder_blocks.back();
      else if (decoder_.contains(name(i + 1, "weight")) && !decoder_.contains(name(i, "weight"))) {
        c.num_decoder_blocks.push_back(0); // upsampling, and its convolution
        ++i;
        if (decoder_.contains(name(i, "bias"))) refuse(decoder_, i);
      } else
        refuse(decoder_, i);
    c.out_channels = shape_of(decoder_, name(i, "weight"))[0];
    if (decoder_.contains(name(first_ + 2, "pool.0.weight"))) c.midblock_groups = 4;
    return c;
  }

private:
  static std::string name(int module, const std::string& parameter) {
    return std::to_string(module) + "." + parameter;
  }
  static bool is_block(const weights& w, int module) { return w.contains(name(module, "conv.0.weight")); }
  static std::vector<std::int64_t> shape_of(const weights& w, const std::string& key) {
    auto shape = w.shape_of(key);
    if (shape.size() != 4) throw bad_file(w.file_name() + ": tensor " + key + " is no convolution's");
    return shape;
  }
  [[noreturn]] static void refuse(const weights& w, int module) {
    throw bad_file(
        w.file_name() + ": module " + std::to_string(module) +
        " is none of a tiny autoencoder's; give the encoder and the decoder of the original repository, or "
        "a file of diffusers' AutoencoderTiny");
  }

  const weights &encoder_, &decoder_;
  int first_;
};

} // namespace

struct autoencoder_tiny::parts {
  autoencoder_tiny_config config;
  placement where;
  models::encoder encode;
  models::decoder decode;

  parts(const autoencoder_tiny_config& c, const weights& encoder, const weights& decoder)
      : config{c}, where{encoder.where()}, encode{c, numbered(encoder)}, decode{c, numbered(decoder)} {}
};

autoencoder_tiny_config autoencoder_tiny_config::read(const std::filesystem::path& config_json) {
  const json_config json(config_json);
  autoencoder_tiny_config c;
  json.only("_class_name", "AutoencoderTiny");
  json.only("act_fn", "relu");
  json.only("upsample_fn", "nearest");
  const auto count = [&](const char* key, std::int64_t otherwise) {
    return json.whole(key, otherwise, 1, widest);
  };
  c.in_channels = count("in_channels", c.in_channels);
  c.out_channels = count("out_channels", c.out_channels);
  c.latent_channels = count("latent_channels", c.latent_channels);
  c.num_encoder_blocks = json.wholes("num_encoder_blocks", c.num_encoder_blocks, 0, 64);
  c.num_decoder_blocks = json.wholes("num_decoder_blocks", c.num_decoder_blocks, 0, 64);
  for (const auto& [key, blocks] : {std::pair{"num_encoder_blocks", &c.num_encoder_blocks},
                                    {"num_decoder_blocks", &c.num_decoder_blocks}})
    if (blocks->empty()) json.refuse(key, "has no entry");
  const auto width = [&](const char* key, std::int64_t otherwise, std::size_t resolutions) {
    const auto all = json.wholes_for(key, resolutions, otherwise, 1, widest);
    if (all.empty() || std::any_of(all.begin(), all.end(), [&](auto n) { return n != all.front(); }))
      json.refuse(key,
                  "is not one width for all resolutions, without which the layers do not fit each other");
    return all.front();
  };
  c.encoder_block_out_channels =
      width("encoder_block_out_channels", c.encoder_block_out_channels, c.num_encoder_blocks.size());
  c.decoder_block_out_channels =
      width("decoder_block_out_channels", c.decoder_block_out_channels, c.num_decoder_blocks.size());
  c.upsampling_scaling_factor = json.whole("upsampling_scaling_factor", c.upsampling_scaling_factor, 1, 8);
  c.latent_magnitude = json.number("latent_magnitude", c.latent_magnitude, 1e-6, 1e6);
  c.latent_shift = json.number("latent_shift", c.latent_shift, -1e6, 1e6);
  c.scaling_factor = json.number("scaling_factor", c.scaling_factor, 1e-6, 1e6);
  c.shift_factor = json.number("shift_factor", c.shift_factor, -1e6, 1e6);
  if (const auto f = fault_of(c)) json.refuse(f->field, f->what);
  return c;
}

autoencoder_tiny_config autoencoder_tiny_config::told_by(const weights& w) {
  const weights encoder = w.below("encoder.layers."), decoder = w.below("decoder.layers.");
  const auto config = module_layout(encoder, decoder, 0).config();
  if (const auto f = fault_of(config)) throw bad_file(w.file_name() + ": " + f->field + " " + f->what);
  return config;
}

autoencoder_tiny::autoencoder_tiny(const autoencoder_tiny_config& config, const weights& w) {
  if (const auto f = fault_of(config))
    throw bad_option("autoencoder_tiny_config: " + f->field + " " + f->what);
  parts_ = std::make_shared<parts>(config, w.below("encoder.layers."), w.below("decoder.layers."));
}

autoencoder_tiny autoencoder_tiny::from_original(const std::filesystem::path& encoder,
                                                 const std::filesystem::path& decoder,
                                                 const placement& where) {
  const weights e({encoder}, where), d({decoder}, where);
  const auto config = module_layout(e, d, 1).config();
  if (const auto f = fault_of(config))
    throw bad_file(encoder.string() + ", " + decoder.string() + ": " + f->field + " " + f->what);
  // the decoder's module 0 there is the clamp, which `diffusers` does not count
  const auto without_clamp = [](const std::string& name) -> stored_at {
    const auto dot = name.find('.');
    return {std::to_string(std::stoi(name) + 1) + name.substr(dot)};
  };
  autoencoder_tiny a(std::make_shared<const parts>(config, e, d.named(without_clamp)));
  for (const auto* w : {&e, &d})
    if (const auto left = w->untaken(); !left.empty())
      throw bad_file(w->file_name() + ": holds tensor " + left.front() + ", which a tiny autoencoder lacks");
  return a;
}

at::Tensor autoencoder_tiny::encode(const at::Tensor& image) const {
  const auto& c = parts_->config;
  require_channels("image", image, c.in_channels, factor());
  const at::Tensor z = parts_->encode(image.to(parts_->where.device, parts_->where.type).add(1.0).div(2.0));
  return z.sub(c.shift_factor).mul(c.scaling_factor);
}

at::Tensor autoencoder_tiny::decode(const at::Tensor& z) const {
  const auto& c = parts_->config;
  require_channels("latents", z, c.latent_channels, 1);
  const at::Tensor u =
      z.to(parts_->where.device, parts_->where.type).div(c.scaling_factor).add(c.shift_factor);
  return parts_->decode(u.div(3.0).tanh().mul(3.0)).mul(2.0).sub(1.0);
}

at::Tensor autoencoder_tiny::scale_latents(const at::Tensor& z) const {
  return z.div(2.0 * parts_->config.latent_magnitude).add(parts_->config.latent_shift).clamp(0.0, 1.0);
}

at::Tensor autoencoder_tiny::unscale_latents(const at::Tensor& shades) const {
  return shades.sub(parts_->config.latent_shift).mul(2.0 * parts_->config.latent_magnitude);
}

std::int64_t autoencoder_tiny::factor() const {
  return std::int64_t{1} << (parts_->config.num_encoder_blocks.size() - 1);
}

const autoencoder_tiny_config& autoencoder_tiny::config() const { return parts_->config; }

} // namespace pushforward::libtorch::models
