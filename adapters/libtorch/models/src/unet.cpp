#include <pushforward/libtorch/models/branching.hpp>
#include <pushforward/libtorch/models/unet.hpp>

#include "blocks.hpp"
#include "json_config.hpp"
#include "ldm_names.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace pushforward::libtorch::models {

namespace {

constexpr const char* down = "DownBlock2D";
constexpr const char* down_attention = "CrossAttnDownBlock2D";
constexpr const char* up = "UpBlock2D";
constexpr const char* up_attention = "CrossAttnUpBlock2D";
constexpr std::int64_t widest = 1 << 16; // of any extent in a configuration

std::optional<fault> fault_of(const unet_config& c) {
  const auto within = [](std::int64_t n, std::int64_t high) { return n >= 1 && n <= high; };
  const auto n = c.block_out_channels.size();
  if (n < 1 || n > 16) return fault{"block_out_channels", "does not have 1 to 16 entries"};
  for (const auto channels : c.block_out_channels)
    if (!within(channels, widest)) return fault{"block_out_channels", "has an entry that is not in 1..65536"};
  if (c.block_out_channels[0] % 2) return fault{"block_out_channels", "begins with an odd number"};
  if (!within(c.in_channels, widest)) return fault{"in_channels", "is not in 1..65536"};
  if (!within(c.out_channels, widest)) return fault{"out_channels", "is not in 1..65536"};
  if (!within(c.cross_attention_dim, widest)) return fault{"cross_attention_dim", "is not in 1..65536"};
  if (!(c.norm_eps > 0.0 && std::isfinite(c.norm_eps))) return fault{"norm_eps", "is not positive"};
  if (!(std::isfinite(c.freq_shift) && c.freq_shift < static_cast<double>(c.block_out_channels[0] / 2)))
    return fault{"freq_shift", "is not below half the first of block_out_channels"};
  const auto types = [&](const std::vector<std::string>& list, const char* a, const char* b) {
    return list.size() == n &&
           std::all_of(list.begin(), list.end(), [&](auto& t) { return t == a || t == b; });
  };
  if (!types(c.down_block_types, down, down_attention))
    return fault{"down_block_types", "is not, for each resolution, DownBlock2D or CrossAttnDownBlock2D"};
  if (!types(c.up_block_types, up, up_attention))
    return fault{"up_block_types", "is not, for each resolution, UpBlock2D or CrossAttnUpBlock2D"};
  const auto counts = [&](const std::vector<std::int64_t>& list) {
    return list.size() == n && std::all_of(list.begin(), list.end(), [&](auto k) { return within(k, 64); });
  };
  if (!counts(c.layers_per_block)) return fault{"layers_per_block", "is not, for each resolution, in 1..64"};
  if (!counts(c.transformer_layers_per_block))
    return fault{"transformer_layers_per_block", "is not, for each resolution, in 1..64"};
  for (std::size_t i = 0; i < n; ++i) {
    if (!within(c.norm_num_groups, widest) || c.block_out_channels[i] % c.norm_num_groups)
      return fault{"norm_num_groups", "does not divide each of block_out_channels"};
    if (c.num_attention_heads.size() != n || !within(c.num_attention_heads[i], widest) ||
        c.block_out_channels[i] % c.num_attention_heads[i])
      return fault{"num_attention_heads", "(attention_head_dim in files) does not divide block_out_channels"};
  }
  return {};
}

const unet_config& checked(const unet_config& c) {
  if (const auto f = fault_of(c)) throw bad_option("unet_config: " + f->field + " " + f->what);
  return c;
}

class attention_layer {
public:
  attention_layer(const weights& w, std::int64_t channels, std::int64_t context, std::int64_t heads)
      : q_{w.below("to_q."), channels, channels, false}, k_{w.below("to_k."), context, channels, false},
        v_{w.below("to_v."), context, channels, false}, out_{w.below("to_out.0."), channels, channels},
        heads_{heads} {}

  at::Tensor operator()(const at::Tensor& x, const at::Tensor& context) const {
    return out_(attention(q_(x), k_(context), v_(context), heads_));
  }

private:
  linear q_, k_, v_, out_;
  std::int64_t heads_;
};

/// a gelu(b), (a, b) = halves of W x, and a linear layer.
class feed_forward {
public:
  feed_forward(const weights& w, std::int64_t channels)
      : in_{w.below("net.0.proj."), channels, 8 * channels}, out_{w.below("net.2."), 4 * channels, channels} {
  }

  at::Tensor operator()(const at::Tensor& x) const {
    const auto halves = in_(x).chunk(2, -1);
    return out_(at::gelu(halves[1]).mul_(halves[0]));
  }

private:
  linear in_, out_;
};

class transformer_block {
public:
  transformer_block(const weights& w, std::int64_t channels, std::int64_t context, std::int64_t heads)
      : norm1_{w.below("norm1."), channels}, norm2_{w.below("norm2."), channels},
        norm3_{w.below("norm3."), channels}, self_{w.below("attn1."), channels, channels, heads},
        cross_{w.below("attn2."), channels, context, heads}, feed_{w.below("ff."), channels} {}

  at::Tensor operator()(at::Tensor x, const at::Tensor& context) const {
    const at::Tensor seen = norm1_(x);
    x = self_(seen, seen).add_(x);
    x = cross_(norm2_(x), context).add_(x);
    return feed_(norm3_(x)).add_(x);
  }

private:
  layer_norm norm1_, norm2_, norm3_;
  attention_layer self_, cross_;
  feed_forward feed_;
};

/// Transformer blocks on the pixels of a feature map.
class spatial_transformer {
public:
  spatial_transformer(const weights& w, const unet_config& c, std::size_t level)
      : spatial_transformer(w, c, c.block_out_channels[level], c.num_attention_heads[level],
                            c.transformer_layers_per_block[level]) {}

  at::Tensor operator()(const at::Tensor& x, const at::Tensor& context) const {
    at::Tensor h = in_(tokens_of(norm_(x)));
    for (const auto& block : blocks_) h = block(std::move(h), context);
    return map_of(out_(h), x).add_(x);
  }

private:
  // a projection kept as a 1 x 1 convolution is the same map of tokens
  spatial_transformer(const weights& w, const unet_config& c, std::int64_t channels, std::int64_t heads,
                      std::int64_t layers)
      : norm_{w.below("norm."), c.norm_num_groups, channels, 1e-6},
        in_{w.below("proj_in."), channels, channels}, out_{w.below("proj_out."), channels, channels} {
    for (std::int64_t i = 0; i < layers; ++i)
      blocks_.emplace_back(w.below("transformer_blocks." + std::to_string(i) + "."), channels,
                           c.cross_attention_dim, heads);
  }

  group_norm norm_;
  linear in_, out_;
  std::vector<transformer_block> blocks_;
};

/// A residual block, and attention where the resolution has it.
struct layer {
  resnet_block resnet;
  std::optional<spatial_transformer> attend;

  layer(const weights& w, std::int64_t index, std::int64_t in, std::size_t level, bool attends,
        const unet_config& c)
      : resnet{w.below("resnets." + std::to_string(index) + "."),
               in,
               c.block_out_channels[level],
               c.norm_num_groups,
               c.norm_eps,
               4 * c.block_out_channels[0]} {
    if (attends) attend.emplace(w.below("attentions." + std::to_string(index) + "."), c, level);
  }

  at::Tensor operator()(const at::Tensor& x, const at::Tensor& embedding, const at::Tensor& context) const {
    at::Tensor h = resnet(x, embedding);
    return attend ? (*attend)(h, context) : h;
  }
};

struct down_block {
  std::vector<layer> layers;
  std::optional<conv2d> shrink;
};

struct up_block {
  std::vector<layer> layers;
  std::optional<upsampler> grow;
};

} // namespace

unet_config unet_config::stable_diffusion_2() {
  unet_config c;
  c.num_attention_heads = {5, 10, 20, 20};
  c.cross_attention_dim = 1024;
  c.use_linear_projection = true;
  return c;
}

unet_config unet_config::read(const std::filesystem::path& config_json) {
  const json_config file(config_json);
  unet_config c;
  file.only("_class_name", "UNet2DConditionModel");
  c.block_out_channels = file.wholes("block_out_channels", c.block_out_channels, 1, widest);
  if (c.block_out_channels.empty()) file.refuse("block_out_channels", "is empty");
  const auto n = c.block_out_channels.size();
  c.in_channels = file.whole("in_channels", 4, 1, widest);
  c.out_channels = file.whole("out_channels", 4, 1, widest);
  c.down_block_types = file.texts("down_block_types", c.down_block_types);
  c.up_block_types = file.texts("up_block_types", c.up_block_types);
  c.layers_per_block = file.wholes_for("layers_per_block", n, 2, 1, 64);
  c.transformer_layers_per_block = file.wholes_for("transformer_layers_per_block", n, 1, 1, 64);
  // written before anyone noticed that it is a number of heads, and kept:
  // https://github.com/huggingface/diffusers/issues/2011
  const char* heads = file.has("num_attention_heads") ? "num_attention_heads" : "attention_head_dim";
  file.has("attention_head_dim");
  c.num_attention_heads = file.wholes_for(heads, n, 8, 1, widest);
  const auto context = file.wholes_for("cross_attention_dim", n, 1280, 1, widest);
  if (!context.empty()) c.cross_attention_dim = context[0];
  if (std::any_of(context.begin(), context.end(), [&](auto d) { return d != context[0]; }))
    file.not_supported("cross_attention_dim");
  c.use_linear_projection = file.flag("use_linear_projection", false);
  c.upcast_attention = file.flag("upcast_attention", false);
  c.norm_num_groups = file.whole("norm_num_groups", 32, 1, widest);
  c.norm_eps = file.number("norm_eps", 1e-5, 1e-12, 1.0);
  c.flip_sin_to_cos = file.flag("flip_sin_to_cos", true);
  c.freq_shift = file.number("freq_shift", 0.0, -1e6, 1e6);
  const std::string activation = file.text("act_fn", "silu");
  if (activation != "silu" && activation != "swish") file.not_supported("act_fn");
  file.only_false("only_cross_attention");
  file.only("mid_block_type", "UNetMidBlock2DCrossAttn");
  file.only("downsample_padding", 1);
  file.only("mid_block_scale_factor", 1);
  file.only("resnet_out_scale_factor", 1);
  file.only("resnet_time_scale_shift", "default");
  file.only("time_embedding_type", "positional");
  file.only("attention_type", "default");
  file.only("conv_in_kernel", 3);
  file.only("conv_out_kernel", 3);
  if (file.has("time_cond_proj_dim"))
    file.refuse("time_cond_proj_dim", "asks for an embedding of the guidance (of a latent consistency model "
                                      "that was distilled with it), which is not supported");
  for (const char* irrelevant : {"sample_size", "dropout", "addition_embed_type_num_heads"})
    file.has(irrelevant);
  file.only_what_was_read();
  if (const auto f = fault_of(c)) file.refuse(f->field == "num_attention_heads" ? heads : f->field, f->what);
  return c;
}

unet_config unet_config::told_by(const weights& w) {
  const auto shape_of = [&](const std::string& name) { return kernel_shape(w, name); };
  unet_config c;
  c.in_channels = shape_of("input_blocks.0.0.weight")[1];
  c.out_channels = shape_of("out.2.weight")[0];
  c.block_out_channels = {0};
  c.layers_per_block = c.transformer_layers_per_block = {0};
  c.down_block_types = {down};
  for (int i = 1;; ++i) {
    const std::string block = "input_blocks." + std::to_string(i) + ".";
    if (w.contains(block + "0.op.weight")) {
      c.block_out_channels.push_back(0);
      c.layers_per_block.push_back(0);
      c.transformer_layers_per_block.push_back(0);
      c.down_block_types.push_back(down);
      continue;
    }
    if (!w.contains(block + "0.in_layers.2.weight")) break;
    c.block_out_channels.back() = shape_of(block + "0.in_layers.2.weight")[0];
    ++c.layers_per_block.back();
    const auto key = [&](std::int64_t j) {
      return block + "1.transformer_blocks." + std::to_string(j) + ".attn2.to_k.weight";
    };
    if (!w.contains(key(0))) continue;
    c.down_block_types.back() = down_attention;
    if (const auto shape = w.shape_of(key(0)); shape.size() == 2) c.cross_attention_dim = shape[1];
    c.use_linear_projection = w.shape_of(block + "1.proj_in.weight").size() == 2;
    auto& layers = c.transformer_layers_per_block.back();
    for (layers = 0; w.contains(key(layers));) ++layers;
  }
  for (auto& layers : c.transformer_layers_per_block) layers = std::max<std::int64_t>(layers, 1);
  c.up_block_types.clear();
  for (auto type = c.down_block_types.rbegin(); type != c.down_block_types.rend(); ++type)
    c.up_block_types.push_back(*type == down_attention ? up_attention : up);
  c.num_attention_heads.clear();
  for (const auto channels : c.block_out_channels)
    c.num_attention_heads.push_back(c.cross_attention_dim == 1024 ? channels / 64 : 8);
  if (const auto f = fault_of(c))
    throw bad_file(w.file_name() + ": holds no UNet that is supported: " + f->field + " " + f->what);
  return c;
}

struct unet::parts {
  unet_config config;
  placement where;
  at::Tensor frequencies;
  linear time1, time2;
  conv2d in;
  std::vector<down_block> down;
  std::vector<up_block> up;
  std::vector<layer> middle;
  group_norm norm;
  conv2d out;

  parts(const unet_config& c, const weights& w)
      : config{checked(c)}, where{w.where()}, frequencies{time_frequencies(c.block_out_channels[0] / 2,
                                                                           c.freq_shift, w.where().device)},
        time1{w.below("time_embedding.linear_1."), c.block_out_channels[0], 4 * c.block_out_channels[0]},
        time2{w.below("time_embedding.linear_2."), 4 * c.block_out_channels[0], 4 * c.block_out_channels[0]},
        in{w.below("conv_in."), c.in_channels, c.block_out_channels[0]}, norm{w.below("conv_norm_out."),
                                                                              c.norm_num_groups,
                                                                              c.block_out_channels[0],
                                                                              c.norm_eps},
        out{w.below("conv_out."), c.block_out_channels[0], c.out_channels} {
    const auto levels = c.block_out_channels.size();
    std::vector<std::int64_t> skips{c.block_out_channels[0]}; // channels of the maps that the way up takes
    for (std::size_t level = 0; level < levels; ++level) {
      const auto below = w.below("down_blocks." + std::to_string(level) + ".");
      const auto channels = c.block_out_channels[level];
      auto& block = down.emplace_back();
      for (std::int64_t i = 0; i < c.layers_per_block[level]; ++i) {
        block.layers.emplace_back(below, i, skips.back(), level, c.down_block_types[level] == down_attention,
                                  c);
        skips.push_back(channels);
      }
      if (level + 1 < levels) {
        block.shrink.emplace(below.below("downsamplers.0.conv."), channels, channels,
                             conv2d::options{3, 2, 1});
        skips.push_back(channels);
      }
    }
    const auto last = levels - 1;
    for (std::int64_t i = 0; i < 2; ++i)
      middle.emplace_back(w.below("mid_block."), i, c.block_out_channels[last], last, i == 0, c);
    auto channels = c.block_out_channels[last];
    for (std::size_t i = 0; i < levels; ++i) {
      const auto level = last - i;
      const auto below = w.below("up_blocks." + std::to_string(i) + ".");
      auto& block = up.emplace_back();
      for (std::int64_t j = 0; j <= c.layers_per_block[level]; ++j) {
        block.layers.emplace_back(below, j, channels + skips.back(), level,
                                  c.up_block_types[i] == up_attention, c);
        skips.pop_back();
        channels = c.block_out_channels[level];
      }
      if (level > 0) block.grow.emplace(below, channels);
    }
  }

  /// silu of the time's embedding [N, width]: what the residual blocks project.
  at::Tensor embedding_of(const at::Tensor& time) const {
    const at::Tensor angle = time.to(where.device, at::kFloat).unsqueeze(1) * frequencies;
    const at::Tensor c = angle.cos(), s = angle.sin();
    const at::Tensor waves = config.flip_sin_to_cos ? at::cat({c, s}, 1) : at::cat({s, c}, 1);
    return at::silu(time2(at::silu(time1(waves.to(where.type)))));
  }
};

namespace {

void check_context(const unet& net, const at::Tensor& context) {
  const auto width = net.config().cross_attention_dim;
  if (context.dim() != 3 || context.size(0) < 1 || context.size(1) < 1 || context.size(2) != width)
    throw shape_mismatch("unet: the context is " + text_of(context) + ", but must be [N or 1, L, " +
                         std::to_string(width) + "]");
}

} // namespace

unet::unet(const unet_config& config, const weights& w) : parts_{std::make_shared<const parts>(config, w)} {}

const unet_config& unet::config() const { return parts_->config; }

at::Tensor unet::operator()(const at::Tensor& x, const at::Tensor& time, const at::Tensor& context) const {
  const parts& p = *parts_;
  if (x.dim() != 4 || x.size(1) != p.config.in_channels || x.size(2) < 1 || x.size(3) < 1)
    throw shape_mismatch("unet: x is " + text_of(x) + ", but must be [N, " +
                         std::to_string(p.config.in_channels) + ", H, W]");
  const auto n = x.size(0);
  if (time.dim() != 1 || (time.size(0) != n && time.size(0) != 1))
    throw shape_mismatch("unet: the time is " + text_of(time) + ", but must be [" + std::to_string(n) +
                         "] or [1]");
  check_context(*this, context);
  if (context.size(0) != n && context.size(0) != 1)
    throw shape_mismatch("unet: the context is " + text_of(context) + ", but x has " + std::to_string(n) +
                         " samples");

  const at::Tensor embedding = p.embedding_of(time);
  const at::Tensor seen = context.to(p.where.device, p.where.type).expand({n, -1, -1});
  at::Tensor h = p.in(x.to(p.where.device, p.where.type).contiguous(at::MemoryFormat::ChannelsLast));
  std::vector<at::Tensor> skips{h};
  for (const auto& block : p.down) {
    for (const auto& l : block.layers) skips.push_back(h = l(h, embedding, seen));
    if (block.shrink) skips.push_back(h = (*block.shrink)(h));
  }
  for (const auto& l : p.middle) h = l(h, embedding, seen);
  for (const auto& block : p.up) {
    for (const auto& l : block.layers) {
      h = l(at::cat({h, skips.back()}, 1), embedding, seen);
      skips.pop_back();
    }
    if (block.grow) h = (*block.grow)(h, skips.back().size(2), skips.back().size(3));
  }
  h = p.norm(h);
  return p.out(at::silu_(h)).contiguous();
}

network conditioned(const unet& net, const at::Tensor& context) {
  check_context(net, context);
  return [net, context](const at::Tensor& x, const at::Tensor& time) { return net(x, time, context); };
}

branching_network branching(const unet& net, const at::Tensor& conditional, const at::Tensor& unconditional,
                            const denoiser_options& options) {
  check_context(net, conditional);
  check_context(net, unconditional);
  if (conditional.size(1) != unconditional.size(1))
    throw shape_mismatch("branching: the conditions are " + text_of(conditional) + " and " +
                         text_of(unconditional) + ", but must be of the same length");
  const network both = [net, conditional, unconditional](const at::Tensor& xx, const at::Tensor& time) {
    const auto n = xx.size(0) / 2;
    return net(xx, time, at::cat({conditional.expand({n, -1, -1}), unconditional.expand({n, -1, -1})}));
  };
  return branching_network(both, options);
}

naming ldm_unet_names(const unet_config& config) {
  const auto& c = checked(config);
  std::map<std::string, std::string> modules{{"time_embedding.linear_1", "time_embed.0"},
                                             {"time_embedding.linear_2", "time_embed.2"},
                                             {"conv_in", "input_blocks.0.0"},
                                             {"conv_norm_out", "out.0"},
                                             {"conv_out", "out.2"}};
  const auto add_layer = [&](const std::string& ours, std::int64_t index, const std::string& resnet,
                             const std::string& attention) {
    const std::string from = ours + ".resnets." + std::to_string(index);
    for (const auto& [part, theirs] : {std::pair{".norm1", ".in_layers.0"},
                                       {".conv1", ".in_layers.2"},
                                       {".time_emb_proj", ".emb_layers.1"},
                                       {".norm2", ".out_layers.0"},
                                       {".conv2", ".out_layers.3"},
                                       {".conv_shortcut", ".skip_connection"}})
      modules[from + part] = resnet + theirs;
    modules[ours + ".attentions." + std::to_string(index)] = attention;
  };
  const auto levels = c.block_out_channels.size();
  std::int64_t number = 1;
  for (std::size_t level = 0; level < levels; ++level) {
    const std::string ours = "down_blocks." + std::to_string(level);
    for (std::int64_t i = 0; i < c.layers_per_block[level]; ++i, ++number) {
      const std::string theirs = "input_blocks." + std::to_string(number);
      add_layer(ours, i, theirs + ".0", theirs + ".1");
    }
    if (level + 1 < levels)
      modules[ours + ".downsamplers.0.conv"] = "input_blocks." + std::to_string(number++) + ".0.op";
  }
  add_layer("mid_block", 0, "middle_block.0", "middle_block.1");
  add_layer("mid_block", 1, "middle_block.2", "middle_block.3");
  number = 0;
  for (std::size_t i = 0; i < levels; ++i) {
    const std::string ours = "up_blocks." + std::to_string(i);
    std::string theirs;
    for (std::int64_t j = 0; j <= c.layers_per_block[levels - 1 - i]; ++j, ++number) {
      theirs = "output_blocks." + std::to_string(number);
      add_layer(ours, j, theirs + ".0", theirs + ".1");
    }
    modules[ours + ".upsamplers.0.conv"] =
        theirs + (c.up_block_types[i] == up_attention ? ".2.conv" : ".1.conv");
  }
  return modules_named(std::move(modules), "model.diffusion_model.");
}

} // namespace pushforward::libtorch::models
