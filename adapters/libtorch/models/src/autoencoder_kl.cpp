#include <pushforward/libtorch/models/autoencoder_kl.hpp>

#include "blocks.hpp"
#include "json_config.hpp"
#include "ldm_names.hpp"

#include <ATen/ATen.h>

#include <cmath>
#include <optional>

namespace pushforward::libtorch::models {

namespace {

constexpr double epsilon = 1e-6;
constexpr std::int64_t widest = 1 << 16;

/// Attention of one head over the pixels, added to its input.
class pixel_attention {
public:
  pixel_attention(const weights& w, std::int64_t channels, std::int64_t groups)
      : pixel_attention(w, channels, groups, w.contains("query.weight")) {}

  at::Tensor operator()(const at::Tensor& x) const {
    const at::Tensor h = tokens_of(norm_(x));
    return map_of(out_(attention(q_(h), k_(h), v_(h), 1)), x).add_(x);
  }

private:
  /// \param old the names of before diffusers 0.17
  pixel_attention(const weights& w, std::int64_t channels, std::int64_t groups, bool old)
      : norm_{w.below("group_norm."), groups, channels, epsilon}, q_{w.below(old ? "query." : "to_q."),
                                                                     channels, channels},
        k_{w.below(old ? "key." : "to_k."), channels, channels}, v_{w.below(old ? "value." : "to_v."),
                                                                    channels, channels},
        out_{w.below(old ? "proj_attn." : "to_out.0."), channels, channels} {}

  group_norm norm_;
  linear q_, k_, v_, out_;
};

class middle_block {
public:
  middle_block(const weights& w, std::int64_t channels, const autoencoder_kl_config& c)
      : first_{w.below("resnets.0."), channels, channels, c.norm_num_groups, epsilon},
        last_{w.below("resnets.1."), channels, channels, c.norm_num_groups, epsilon} {
    if (c.mid_block_add_attention) attend_.emplace(w.below("attentions.0."), channels, c.norm_num_groups);
  }

  at::Tensor operator()(const at::Tensor& x) const {
    const at::Tensor h = first_(x);
    return last_(attend_ ? (*attend_)(h) : h);
  }

private:
  resnet_block first_, last_;
  std::optional<pixel_attention> attend_;
};

/// silu(norm(x)), then a convolution: the end of both halves.
class head {
public:
  head(const weights& w, std::int64_t in, std::int64_t out, std::int64_t groups)
      : norm_{w.below("conv_norm_out."), groups, in, epsilon}, conv_{w.below("conv_out."), in, out} {}
  at::Tensor operator()(const at::Tensor& x) const {
    at::Tensor h = norm_(x);
    return conv_(at::silu_(h));
  }

private:
  group_norm norm_;
  conv2d conv_;
};

std::vector<resnet_block> resnets(const weights& w, std::int64_t in, std::int64_t out, std::int64_t count,
                                  std::int64_t groups) {
  std::vector<resnet_block> all;
  for (std::int64_t i = 0; i < count; ++i)
    all.emplace_back(w.below("resnets." + std::to_string(i) + "."), i ? out : in, out, groups, epsilon);
  return all;
}

class encoder {
public:
  encoder(const weights& w, const autoencoder_kl_config& c)
      : in_{w.below("conv_in."), c.in_channels, c.block_out_channels.front()},
        middle_{w.below("mid_block."), c.block_out_channels.back(), c}, out_{w, c.block_out_channels.back(),
                                                                             2 * c.latent_channels,
                                                                             c.norm_num_groups} {
    auto channels = c.block_out_channels.front();
    for (std::size_t i = 0; i < c.block_out_channels.size(); ++i) {
      const auto below = w.below("down_blocks." + std::to_string(i) + ".");
      auto& block = down_.emplace_back();
      const auto next = c.block_out_channels[i];
      block.layers = resnets(below, channels, next, c.layers_per_block, c.norm_num_groups);
      channels = next;
      if (i + 1 < c.block_out_channels.size())
        block.shrink.emplace(below.below("downsamplers.0.conv."), channels, channels,
                             conv2d::options{3, 2, 0});
    }
  }

  at::Tensor operator()(const at::Tensor& image) const {
    at::Tensor h = in_(image);
    for (const auto& block : down_) {
      for (const auto& layer : block.layers) h = layer(h);
      if (block.shrink) h = (*block.shrink)(at::constant_pad_nd(h, {0, 1, 0, 1}));
    }
    return out_(middle_(h));
  }

private:
  struct level {
    std::vector<resnet_block> layers;
    std::optional<conv2d> shrink;
  };
  conv2d in_;
  std::vector<level> down_;
  middle_block middle_;
  head out_;
};

class decoder {
public:
  decoder(const weights& w, const autoencoder_kl_config& c)
      : in_{w.below("conv_in."), c.latent_channels, c.block_out_channels.back()},
        middle_{w.below("mid_block."), c.block_out_channels.back(), c}, out_{w, c.block_out_channels.front(),
                                                                             c.out_channels,
                                                                             c.norm_num_groups} {
    auto channels = c.block_out_channels.back();
    const auto levels = c.block_out_channels.size();
    for (std::size_t i = 0; i < levels; ++i) {
      const auto below = w.below("up_blocks." + std::to_string(i) + ".");
      auto& block = up_.emplace_back();
      const auto next = c.block_out_channels[levels - 1 - i];
      block.layers = resnets(below, channels, next, c.layers_per_block + 1, c.norm_num_groups);
      channels = next;
      if (i + 1 < levels) block.grow.emplace(below, channels);
    }
  }

  at::Tensor operator()(const at::Tensor& latent) const {
    at::Tensor h = middle_(in_(latent));
    for (const auto& block : up_) {
      for (const auto& layer : block.layers) h = layer(h);
      if (block.grow) h = (*block.grow)(h, 2 * h.size(2), 2 * h.size(3));
    }
    return out_(h);
  }

private:
  struct level {
    std::vector<resnet_block> layers;
    std::optional<upsampler> grow;
  };
  conv2d in_;
  middle_block middle_;
  std::vector<level> up_;
  head out_;
};

/// The field of a configuration that is at fault, and what is wrong with it.
std::optional<std::pair<std::string, std::string>> fault_of(const autoencoder_kl_config& c) {
  const auto within = [](std::int64_t n) { return n >= 1 && n <= widest; };
  using fault = std::pair<std::string, std::string>;
  if (!within(c.in_channels)) return fault{"in_channels", "is not in 1..65536"};
  if (!within(c.out_channels)) return fault{"out_channels", "is not in 1..65536"};
  if (!within(c.latent_channels)) return fault{"latent_channels", "is not in 1..65536"};
  if (c.layers_per_block < 1 || c.layers_per_block > 64) return fault{"layers_per_block", "is not in 1..64"};
  if (c.block_out_channels.empty() || c.block_out_channels.size() > 16)
    return fault{"block_out_channels", "does not have 1 to 16 entries"};
  for (const auto channels : c.block_out_channels) {
    if (!within(channels)) return fault{"block_out_channels", "has an entry that is not in 1..65536"};
    if (!within(c.norm_num_groups) || channels % c.norm_num_groups)
      return fault{"norm_num_groups", "does not divide each of block_out_channels"};
  }
  if (!(std::isfinite(c.scaling_factor) && c.scaling_factor > 0.0))
    return fault{"scaling_factor", "is not positive"};
  if (!std::isfinite(c.shift_factor)) return fault{"shift_factor", "is not finite"};
  return {};
}

const autoencoder_kl_config& checked(const autoencoder_kl_config& c) {
  if (const auto f = fault_of(c)) throw bad_option("autoencoder_kl_config: " + f->first + " " + f->second);
  return c;
}

void check_input(const at::Tensor& x, const char* what, std::int64_t channels, std::int64_t at_least) {
  if (x.dim() != 4 || x.size(1) != channels || x.size(2) < at_least || x.size(3) < at_least)
    throw shape_mismatch(std::string("autoencoder_kl: the ") + what + " is " + text_of(x) +
                         ", but must be [N, " + std::to_string(channels) + ", H, W], H and W at least " +
                         std::to_string(at_least));
}

} // namespace

autoencoder_kl_config autoencoder_kl_config::read(const std::filesystem::path& config_json) {
  const json_config file(config_json);
  autoencoder_kl_config c;
  file.only("_class_name", "AutoencoderKL");
  c.in_channels = file.whole("in_channels", 3, 1, widest);
  c.out_channels = file.whole("out_channels", 3, 1, widest);
  c.block_out_channels = file.wholes("block_out_channels", {64}, 1, widest);
  if (c.block_out_channels.empty()) file.refuse("block_out_channels", "is empty");
  c.layers_per_block = file.whole("layers_per_block", 1, 1, 64);
  c.latent_channels = file.whole("latent_channels", 4, 1, widest);
  c.norm_num_groups = file.whole("norm_num_groups", 32, 1, widest);
  c.scaling_factor = file.number("scaling_factor", 0.18215, 1e-6, 1e6);
  c.shift_factor = file.number("shift_factor", 0.0, -1e6, 1e6);
  c.use_quant_conv = file.flag("use_quant_conv", true);
  c.use_post_quant_conv = file.flag("use_post_quant_conv", true);
  c.mid_block_add_attention = file.flag("mid_block_add_attention", true);
  c.force_upcast = file.flag("force_upcast", true);
  for (const auto& [key, type] : {std::pair{"down_block_types", "DownEncoderBlock2D"},
                                  std::pair{"up_block_types", "UpDecoderBlock2D"}}) {
    const auto types = file.texts(key, {type});
    if (types != std::vector<std::string>(c.block_out_channels.size(), type))
      file.refuse(key, std::string("is not ") + type + " for each of block_out_channels");
  }
  const std::string activation = file.text("act_fn", "silu");
  if (activation != "silu" && activation != "swish") file.not_supported("act_fn");
  file.has("sample_size");
  file.only_what_was_read();
  if (const auto f = fault_of(c)) file.refuse(f->first, f->second);
  return c;
}

autoencoder_kl_config autoencoder_kl_config::told_by(const weights& w) {
  const auto shape_of = [&](const std::string& name) { return kernel_shape(w, name); };
  const bool original = w.contains("encoder.down.0.block.0.conv1.weight");
  const std::string level = original ? "encoder.down." : "encoder.down_blocks.",
                    block = original ? ".block." : ".resnets.";
  const auto conv = [&](std::size_t i, std::int64_t j) {
    return level + std::to_string(i) + block + std::to_string(j) + ".conv1.weight";
  };
  autoencoder_kl_config c;
  c.in_channels = shape_of("encoder.conv_in.weight")[1];
  c.out_channels = shape_of("decoder.conv_out.weight")[0];
  c.latent_channels = shape_of("decoder.conv_in.weight")[1];
  c.block_out_channels.clear();
  for (std::size_t i = 0; w.contains(conv(i, 0)); ++i)
    c.block_out_channels.push_back(shape_of(conv(i, 0))[0]);
  c.layers_per_block = 0;
  while (w.contains(conv(0, c.layers_per_block))) ++c.layers_per_block;
  c.use_quant_conv = w.contains("quant_conv.weight");
  c.use_post_quant_conv = w.contains("post_quant_conv.weight");
  if (c.latent_channels == 16) {
    c.scaling_factor = 1.5305;
    c.shift_factor = 0.0609;
  }
  c.mid_block_add_attention = w.contains(original ? "encoder.mid.attn_1.norm.weight"
                                                  : "encoder.mid_block.attentions.0.group_norm.weight");
  if (const auto f = fault_of(c))
    throw bad_file(w.file_name() + ": holds no autoencoder that is supported: " + f->first + " " + f->second);
  return c;
}

struct autoencoder_kl::parts {
  autoencoder_kl_config config;
  placement where;
  encoder encode;
  decoder decode;
  std::optional<conv2d> quantize, unquantize;

  parts(const autoencoder_kl_config& c, const weights& w)
      : config{checked(c)}, where{w.where()}, encode{w.below("encoder."), c}, decode{w.below("decoder."), c} {
    const conv2d::options one{1, 1, 0};
    const auto n = c.latent_channels;
    if (c.use_quant_conv) quantize.emplace(w.below("quant_conv."), 2 * n, 2 * n, one);
    if (c.use_post_quant_conv) unquantize.emplace(w.below("post_quant_conv."), n, n, one);
  }

  at::Tensor brought(const at::Tensor& x) const {
    return x.to(where.device, where.type).contiguous(at::MemoryFormat::ChannelsLast);
  }
};

autoencoder_kl::autoencoder_kl(const autoencoder_kl_config& config, const weights& w)
    : parts_{std::make_shared<const parts>(config, w)} {}

const autoencoder_kl_config& autoencoder_kl::config() const { return parts_->config; }

at::Tensor autoencoder_kl::mean_and_log_variance(const at::Tensor& image) const {
  check_input(image, "image", config().in_channels, config().scale());
  const at::Tensor h = parts_->encode(parts_->brought(image));
  return parts_->quantize ? (*parts_->quantize)(h) : h;
}

std::pair<at::Tensor, at::Tensor> autoencoder_kl::encode_moments(const at::Tensor& image) const {
  const auto halves = mean_and_log_variance(image).chunk(2, 1);
  return {halves[0].contiguous(), halves[1].clamp(-30.0, 20.0).contiguous()};
}

at::Tensor autoencoder_kl::encode(const at::Tensor& image) const {
  const at::Tensor mean = mean_and_log_variance(image).narrow(1, 0, config().latent_channels).contiguous();
  return (mean - config().shift_factor) * config().scaling_factor;
}

at::Tensor autoencoder_kl::decode(const at::Tensor& latent) const {
  check_input(latent, "latent", config().latent_channels, 1);
  const at::Tensor z = parts_->brought(latent) / config().scaling_factor + config().shift_factor;
  return parts_->decode(parts_->unquantize ? (*parts_->unquantize)(z) : z).contiguous();
}

naming ldm_autoencoder_names(const autoencoder_kl_config& config, const std::string& prefix) {
  const auto& c = checked(config);
  std::map<std::string, std::string> modules;
  const auto add_resnet = [&](const std::string& ours, const std::string& theirs) {
    for (const char* same : {".norm1", ".conv1", ".norm2", ".conv2"}) modules[ours + same] = theirs + same;
    modules[ours + ".conv_shortcut"] = theirs + ".nin_shortcut";
  };
  for (const std::string half : {"encoder", "decoder"}) {
    modules[half + ".conv_norm_out"] = half + ".norm_out";
    add_resnet(half + ".mid_block.resnets.0", half + ".mid.block_1");
    add_resnet(half + ".mid_block.resnets.1", half + ".mid.block_2");
    const std::string ours = half + ".mid_block.attentions.0.", theirs = half + ".mid.attn_1.";
    modules[ours + "group_norm"] = theirs + "norm";
    modules[ours + "to_q"] = theirs + "q";
    modules[ours + "to_k"] = theirs + "k";
    modules[ours + "to_v"] = theirs + "v";
    modules[ours + "to_out.0"] = theirs + "proj_out";
  }
  const auto levels = c.block_out_channels.size();
  for (std::size_t i = 0; i < levels; ++i) {
    const std::string number = std::to_string(i), mirrored = std::to_string(levels - 1 - i);
    const std::string down = "encoder.down_blocks." + number, up = "decoder.up_blocks." + number;
    for (std::int64_t j = 0; j <= c.layers_per_block; ++j) {
      const std::string index = std::to_string(j);
      add_resnet(down + ".resnets." + index, "encoder.down." + number + ".block." + index);
      add_resnet(up + ".resnets." + index, "decoder.up." + mirrored + ".block." + index);
    }
    modules[down + ".downsamplers.0.conv"] = "encoder.down." + number + ".downsample.conv";
    modules[up + ".upsamplers.0.conv"] = "decoder.up." + mirrored + ".upsample.conv";
  }
  return modules_named(std::move(modules), prefix);
}

} // namespace pushforward::libtorch::models
