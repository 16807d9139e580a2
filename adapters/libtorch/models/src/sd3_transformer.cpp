#include <pushforward/libtorch/models/branching.hpp>
#include <pushforward/libtorch/models/sd3_transformer.hpp>

#include "blocks.hpp"
#include "json_config.hpp"
#include "ldm_names.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <map>
#include <optional>
#include <utility>

namespace pushforward::libtorch::models {

namespace {

constexpr std::int64_t widest = 1 << 16;    // of any extent in a configuration
constexpr std::int64_t time_channels = 256; // of the sinusoids of the time
constexpr double epsilon = 1e-6;            // of every norm

std::optional<fault> fault_of(const sd3_transformer_config& c) {
  const auto within = [](std::int64_t n, std::int64_t high) { return n >= 1 && n <= high; };
  for (const auto& [field, value, high] : {std::tuple{"in_channels", c.in_channels, widest},
                                           {"out_channels", c.out_channels, widest},
                                           {"patch_size", c.patch_size, std::int64_t{64}},
                                           {"num_layers", c.num_layers, std::int64_t{256}},
                                           {"attention_head_dim", c.attention_head_dim, widest},
                                           {"num_attention_heads", c.num_attention_heads, widest},
                                           {"joint_attention_dim", c.joint_attention_dim, widest},
                                           {"pooled_projection_dim", c.pooled_projection_dim, widest},
                                           {"pos_embed_max_size", c.pos_embed_max_size, std::int64_t{4096}}})
    if (!within(value, high)) return fault{field, "is not in 1.." + std::to_string(high)};
  if (c.width() > widest) return fault{"num_attention_heads", "times attention_head_dim is above 65536"};
  for (const auto layer : c.dual_attention_layers)
    if (layer < 0 || layer >= c.num_layers)
      return fault{"dual_attention_layers",
                   "has an entry that is no layer: 0.." + std::to_string(c.num_layers - 1)};
  return {};
}

const sd3_transformer_config& checked(const sd3_transformer_config& c) {
  if (const auto f = fault_of(c)) throw bad_option("sd3_transformer_config: " + f->field + " " + f->what);
  return c;
}

bool is_dual(const sd3_transformer_config& c, std::int64_t layer) {
  return std::count(c.dual_attention_layers.begin(), c.dual_attention_layers.end(), layer) > 0;
}

at::Tensor normalized(const at::Tensor& x) { return at::layer_norm(x, {x.size(-1)}, {}, {}, epsilon); }

/// (1 + scale) x + shift, of x [N, L, width] and [N, 1, width].
at::Tensor modulated(const at::Tensor& x, const at::Tensor& shift, const at::Tensor& scale) {
  return at::addcmul(shift, x, scale + 1.0);
}

/// x + gate y.
at::Tensor gated(const at::Tensor& x, const at::Tensor& gate, const at::Tensor& y) {
  return at::addcmul(x, gate, y);
}

/// Shifts, scales and gates of a block: [N, width], the silu of the embedding -> each [N, 1, width].
class modulation {
public:
  modulation(const weights& w, std::int64_t width, std::int64_t count)
      : linear_{w.below("linear."), width, count * width}, count_{count} {}
  std::vector<at::Tensor> operator()(const at::Tensor& embedding) const {
    return linear_(embedding).unsqueeze(1).chunk(count_, -1);
  }

private:
  linear linear_;
  std::int64_t count_;
};

/// Queries, keys and values of tokens [N, L, width].
class projections {
public:
  /// \param names of the projections' and the norms' parameters
  struct names {
    const char *q, *k, *v, *norm_q, *norm_k;
  };
  projections(const weights& w, const sd3_transformer_config& c, const names& n)
      : q_{w.below(n.q), c.width(), c.width()}, k_{w.below(n.k), c.width(), c.width()},
        v_{w.below(n.v), c.width(), c.width()}, head_{c.attention_head_dim} {
    if (!c.qk_norm) return;
    norm_q_.emplace(w.below(n.norm_q), c.attention_head_dim, epsilon);
    norm_k_.emplace(w.below(n.norm_k), c.attention_head_dim, epsilon);
  }

  struct of_tokens {
    at::Tensor q, k, v;
  };
  of_tokens operator()(const at::Tensor& x) const {
    return {normed(norm_q_, q_(x)), normed(norm_k_, k_(x)), v_(x)};
  }

private:
  at::Tensor normed(const std::optional<rms_norm>& norm, const at::Tensor& x) const {
    if (!norm) return x;
    return (*norm)(x.view({x.size(0), x.size(1), -1, head_})).view(x.sizes());
  }

  linear q_, k_, v_;
  std::optional<rms_norm> norm_q_, norm_k_;
  std::int64_t head_;
};

constexpr projections::names of_picture{"to_q.", "to_k.", "to_v.", "norm_q.", "norm_k."};
constexpr projections::names of_text{"add_q_proj.", "add_k_proj.", "add_v_proj.", "norm_added_q.",
                                     "norm_added_k."};

/// W gelu(V x), gelu by tanh.
class feed_forward {
public:
  feed_forward(const weights& w, std::int64_t width)
      : in_{w.below("net.0.proj."), width, 4 * width}, out_{w.below("net.2."), 4 * width, width} {}
  at::Tensor operator()(const at::Tensor& x) const { return out_(at::gelu(in_(x), "tanh")); }

private:
  linear in_, out_;
};

/// The picture's attention to itself alone.
class self_attention {
public:
  self_attention(const weights& w, const sd3_transformer_config& c)
      : project_{w, c, of_picture}, out_{w.below("to_out.0."), c.width(), c.width()},
        heads_{c.num_attention_heads} {}
  at::Tensor operator()(const at::Tensor& x) const {
    const auto p = project_(x);
    return out_(attention(p.q, p.k, p.v, heads_));
  }

private:
  projections project_;
  linear out_;
  std::int64_t heads_;
};

/// What goes on with the text after attention; the last block has none of it.
struct text_side {
  text_side(const weights& w, std::int64_t width)
      : out{w.below("attn.to_add_out."), width, width}, feed{w.below("ff_context."), width} {}
  linear out;
  feed_forward feed;
};

/// Tokens of the picture and of the text, [N, L, width] each.
struct tokens {
  at::Tensor picture, text;
};

/// A block: both attend to both.
class joint_block {
public:
  joint_block(const weights& w, const sd3_transformer_config& c, std::int64_t layer)
      : modulate_{w.below("norm1."), c.width(), is_dual(c, layer) ? 9 : 6},
        modulate_text_{w.below("norm1_context."), c.width(), layer + 1 < c.num_layers ? 6 : 2},
        picture_{w.below("attn."), c, of_picture}, text_{w.below("attn."), c, of_text},
        out_{w.below("attn.to_out.0."), c.width(), c.width()}, feed_{w.below("ff."), c.width()},
        heads_{c.num_attention_heads} {
    if (is_dual(c, layer)) self_.emplace(w.below("attn2."), c);
    if (layer + 1 < c.num_layers) text_side_.emplace(w, c.width());
  }

  /// \param embedding [N, width], after its silu
  /// \param last_counts how many tokens of the text the last is there for
  tokens operator()(const tokens& x, const at::Tensor& embedding, std::int64_t last_counts) const {
    // shift, scale and gate of attention, then of the feed-forward layer, then of the picture's own attention
    const auto m = modulate_(embedding), t = modulate_text_(embedding);
    const at::Tensor seen = normalized(x.picture);
    const auto p = picture_(modulated(seen, m[0], m[1]));
    const auto q = text_(text_side_ ? modulated(normalized(x.text), t[0], t[1])
                                    : modulated(normalized(x.text), t[1], t[0])); // the last: scale first
    const auto length = x.picture.size(1), text_length = x.text.size(1);
    const auto attended = [&](const at::Tensor& picture, const at::Tensor& text) {
      const at::Tensor last = text.narrow(1, text_length - 1, 1).expand({-1, last_counts - 1, -1});
      return at::cat({picture, text, last}, 1);
    };
    const at::Tensor mixed =
        attention(at::cat({p.q, q.q}, 1), attended(p.k, q.k), attended(p.v, q.v), heads_);

    at::Tensor picture = gated(x.picture, m[2], out_(mixed.narrow(1, 0, length).contiguous()));
    if (self_) picture = gated(picture, m[8], (*self_)(modulated(seen, m[6], m[7])));
    picture = gated(picture, m[5], feed_(modulated(normalized(picture), m[3], m[4])));
    if (!text_side_) return {picture, {}};
    at::Tensor text = gated(x.text, t[2], text_side_->out(mixed.narrow(1, length, text_length).contiguous()));
    return {picture, gated(text, t[5], text_side_->feed(modulated(normalized(text), t[3], t[4])))};
  }

private:
  modulation modulate_, modulate_text_;
  projections picture_, text_;
  linear out_;
  feed_forward feed_;
  std::int64_t heads_;
  std::optional<self_attention> self_;
  std::optional<text_side> text_side_;
};

/// Two linear layers with a silu between them.
class embedder {
public:
  embedder(const weights& w, std::int64_t in, std::int64_t width)
      : in_{w.below("linear_1."), in, width}, out_{w.below("linear_2."), width, width} {}
  at::Tensor operator()(const at::Tensor& x) const { return out_(at::silu(in_(x))); }

private:
  linear in_, out_;
};

} // namespace

sd3_transformer_config sd3_transformer_config::stable_diffusion_3_5_medium() {
  sd3_transformer_config c;
  c.pos_embed_max_size = 384;
  c.dual_attention_layers = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
  c.qk_norm = true;
  return c;
}

sd3_transformer_config sd3_transformer_config::stable_diffusion_3_5_large() {
  sd3_transformer_config c;
  c.num_layers = c.num_attention_heads = 38;
  c.qk_norm = true;
  return c;
}

sd3_transformer_config sd3_transformer_config::read(const std::filesystem::path& config_json) {
  const json_config file(config_json);
  sd3_transformer_config c;
  file.only("_class_name", "SD3Transformer2DModel");
  c.in_channels = file.whole("in_channels", 16, 1, widest);
  c.out_channels = file.whole("out_channels", c.in_channels, 1, widest);
  c.patch_size = file.whole("patch_size", 2, 1, 64);
  c.num_layers = file.whole("num_layers", 18, 1, 256);
  c.attention_head_dim = file.whole("attention_head_dim", 64, 1, widest);
  c.num_attention_heads = file.whole("num_attention_heads", 18, 1, widest);
  c.joint_attention_dim = file.whole("joint_attention_dim", 4096, 1, widest);
  c.pooled_projection_dim = file.whole("pooled_projection_dim", 2048, 1, widest);
  c.pos_embed_max_size = file.whole("pos_embed_max_size", 96, 1, 4096);
  c.dual_attention_layers = file.wholes("dual_attention_layers", {}, 0, 255);
  if (const auto normed = file.text("qk_norm", ""); !normed.empty()) {
    if (normed != "rms_norm") file.not_supported("qk_norm");
    c.qk_norm = true;
  }
  if (file.whole("caption_projection_dim", 1152, 1, widest) != c.width())
    file.refuse("caption_projection_dim",
                "is not attention_head_dim times num_attention_heads, " + std::to_string(c.width()));
  file.has("sample_size"); // the table of positions is in the weights
  file.only_what_was_read();
  if (const auto f = fault_of(c)) file.refuse(f->field, f->what);
  return c;
}

sd3_transformer_config sd3_transformer_config::told_by(const weights& w) {
  const auto extents = [&](const std::string& name, std::size_t axes) {
    auto shape = w.shape_of(name);
    if (shape.size() != axes || std::count(shape.begin(), shape.end(), 0) > 0)
      throw bad_file(w.file_name() + ": tensor " + name + " has shape " + text_of(shape) +
                     ", which is no part of Stable Diffusion 3's transformer");
    return shape;
  };
  const auto block = [](std::int64_t i) { return "joint_blocks." + std::to_string(i) + ".x_block."; };
  sd3_transformer_config c;
  const auto patch = extents("x_embedder.proj.weight", 4);
  const auto width = patch[0];
  c.in_channels = patch[1];
  c.patch_size = patch[2];
  c.out_channels = extents("final_layer.linear.weight", 2)[0] / (c.patch_size * c.patch_size);
  c.joint_attention_dim = extents("context_embedder.weight", 2)[1];
  c.pooled_projection_dim = extents("y_embedder.mlp.0.weight", 2)[1];
  const auto positions = extents("pos_embed", 3)[1];
  c.pos_embed_max_size = std::llround(std::sqrt(static_cast<double>(positions)));
  for (c.num_layers = 0; w.contains(block(c.num_layers) + "attn.qkv.weight"); ++c.num_layers)
    if (w.contains(block(c.num_layers) + "attn2.qkv.weight")) c.dual_attention_layers.push_back(c.num_layers);
  c.qk_norm = w.contains(block(0) + "attn.ln_q.weight");
  if (c.qk_norm) c.attention_head_dim = extents(block(0) + "attn.ln_q.weight", 1)[0];
  c.num_attention_heads = width / c.attention_head_dim;
  const auto fault = fault_of(c);
  if (fault || c.width() != width)
    throw bad_file(w.file_name() + ": holds no transformer of Stable Diffusion 3 that is supported: " +
                   (fault ? fault->field + " " + fault->what
                          : "its width, " + std::to_string(width) + ", is not a multiple of " +
                                std::to_string(c.attention_head_dim)));
  return c;
}

struct sd3_transformer::parts {
  sd3_transformer_config config;
  placement where;
  conv2d patches;
  at::Tensor positions; // [max, max, width]
  at::Tensor frequencies;
  embedder time, pooled;
  linear text;
  std::vector<joint_block> blocks;
  modulation modulate; // scale and shift
  linear out;

  parts(const sd3_transformer_config& c, const weights& w)
      : config{checked(c)}, where{w.where()}, patches{w.below("pos_embed.proj."), c.in_channels, c.width(),
                                                      conv2d::options{c.patch_size, c.patch_size, 0}},
        positions{w.take("pos_embed.pos_embed", {1, c.pos_embed_max_size * c.pos_embed_max_size, c.width()})
                      .view({c.pos_embed_max_size, c.pos_embed_max_size, c.width()})},
        frequencies{time_frequencies(time_channels / 2, 0.0, w.where().device)},
        time{w.below("time_text_embed.timestep_embedder."), time_channels, c.width()},
        pooled{w.below("time_text_embed.text_embedder."), c.pooled_projection_dim, c.width()},
        text{w.below("context_embedder."), c.joint_attention_dim, c.width()},
        modulate{w.below("norm_out."), c.width(), 2}, out{w.below("proj_out."), c.width(),
                                                          c.patch_size * c.patch_size * c.out_channels} {
    for (std::int64_t i = 0; i < c.num_layers; ++i)
      blocks.emplace_back(w.below("transformer_blocks." + std::to_string(i) + "."), c, i);
  }

  /// Of the middle of the table.
  at::Tensor positions_of(std::int64_t height, std::int64_t width) const {
    const auto most = config.pos_embed_max_size;
    return positions.narrow(0, (most - height) / 2, height)
        .narrow(1, (most - width) / 2, width)
        .reshape({1, height * width, -1});
  }

  /// silu of the embedding [N, width] of the time and the pooled text.
  at::Tensor embedding_of(const at::Tensor& t, const at::Tensor& text_pooled) const {
    const at::Tensor angle = t.to(where.device, at::kFloat).unsqueeze(1) * frequencies;
    const at::Tensor waves = at::cat({angle.cos(), angle.sin()}, 1);
    return at::silu(time(waves.to(where.type)) + pooled(text_pooled.to(where.device, where.type)));
  }

  /// [N, H W, patch patch C] of H x W patches -> [N, C, H patch, W patch].
  at::Tensor picture_of(const at::Tensor& tokens, std::int64_t height, std::int64_t width) const {
    const auto p = config.patch_size;
    return tokens.view({tokens.size(0), height, width, p, p, config.out_channels})
        .permute({0, 5, 1, 3, 2, 4})
        .reshape({tokens.size(0), config.out_channels, height * p, width * p});
  }
};

namespace {

void check_condition(const sd3_transformer& net, const sd3_condition& condition) {
  const auto& [states, pooled, last_counts] = condition;
  const auto& c = net.config();
  if (states.dim() != 3 || states.size(0) < 1 || states.size(1) < 1 ||
      states.size(2) != c.joint_attention_dim)
    throw shape_mismatch("sd3_transformer: the text's states are " + text_of(states) +
                         ", but must be [N or 1, L, " + std::to_string(c.joint_attention_dim) + "]");
  if (pooled.dim() != 2 || pooled.size(1) != c.pooled_projection_dim ||
      (pooled.size(0) != states.size(0) && pooled.size(0) != 1))
    throw shape_mismatch("sd3_transformer: the pooled text is " + text_of(pooled) +
                         ", but must be [N or 1, " + std::to_string(c.pooled_projection_dim) + "]");
  if (last_counts < 1 || last_counts > widest)
    throw bad_option("sd3_transformer: last_counts is " + std::to_string(last_counts) +
                     ", but must be from 1 to " + std::to_string(widest));
}

/// How many tokens at the end of each text equal each other. Derivatives by the text tell them apart.
std::int64_t equal_at_end(const at::Tensor& states) {
  if (states.requires_grad() || states._fw_grad(0).defined()) return 1;
  const auto length = states.size(1);
  const at::Tensor equal =
      states.eq(states.narrow(1, length - 1, 1)).all(2).all(0).to(at::kCPU, at::kByte).contiguous();
  const auto* begin = equal.const_data_ptr<std::uint8_t>();
  const auto* end = begin + length;
  const auto* differs = std::find(std::reverse_iterator(end), std::reverse_iterator(begin), 0).base();
  return std::max<std::int64_t>(1, end - differs);
}

/// The condition without its last `n` tokens, which equal the one before them.
sd3_condition with_last_counting(const sd3_condition& c, std::int64_t n) {
  return {c.states.narrow(1, 0, c.states.size(1) - n), c.pooled, c.last_counts + n};
}

} // namespace

sd3_condition merged(const sd3_condition& condition) {
  if (condition.states.dim() != 3 || condition.states.size(1) < 1)
    throw shape_mismatch("merged: the text's states are " + text_of(condition.states) +
                         ", but must be [N, L, D]");
  return with_last_counting(condition, equal_at_end(condition.states) - 1);
}

sd3_condition joined_texts(const at::Tensor& clip_l, const at::Tensor& clip_g, const at::Tensor& pooled_l,
                           const at::Tensor& pooled_g, const at::Tensor& t5) {
  const auto n = clip_l.dim() == 3 ? clip_l.size(0) : 0;
  for (const auto* states : {&clip_l, &clip_g, &t5})
    if (states->dim() != 3 || states->size(0) != n || (states != &t5 && states->size(1) != clip_l.size(1)))
      throw shape_mismatch("joined_texts: the states are " + text_of(clip_l) + ", " + text_of(clip_g) +
                           " and " + text_of(t5) + ", but must be [N, L, D], the first two of one length");
  for (const auto* pooled : {&pooled_l, &pooled_g})
    if (pooled->dim() != 2 || pooled->size(0) != n)
      throw shape_mismatch("joined_texts: the pooled states are " + text_of(pooled_l) + " and " +
                           text_of(pooled_g) + ", but must be [N, D] of " + std::to_string(n) + " texts");
  const at::Tensor clip = at::cat({clip_l, clip_g}, 2);
  const auto left = t5.size(2) - clip.size(2);
  if (left < 0)
    throw shape_mismatch("joined_texts: T5's states are " + text_of(t5) + ", narrower than those of CLIP, " +
                         text_of(clip));
  return {at::cat({at::constant_pad_nd(clip, {0, left}), t5}, 1), at::cat({pooled_l, pooled_g}, 1)};
}

sd3_transformer::sd3_transformer(const sd3_transformer_config& config, const weights& w)
    : parts_{std::make_shared<const parts>(config, w)} {}

const sd3_transformer_config& sd3_transformer::config() const { return parts_->config; }

at::Tensor sd3_transformer::operator()(const at::Tensor& x, const at::Tensor& time,
                                       const sd3_condition& condition) const {
  const parts& p = *parts_;
  const auto patch = p.config.patch_size, most = p.config.pos_embed_max_size;
  if (x.dim() != 4 || x.size(1) != p.config.in_channels || x.size(2) < 1 || x.size(3) < 1 ||
      x.size(2) % patch || x.size(3) % patch)
    throw shape_mismatch("sd3_transformer: x is " + text_of(x) + ", but must be [N, " +
                         std::to_string(p.config.in_channels) + ", H, W] with sides that are multiples of " +
                         std::to_string(patch));
  const auto n = x.size(0), height = x.size(2) / patch, width = x.size(3) / patch;
  if (height > most || width > most)
    throw shape_mismatch("sd3_transformer: x is " + text_of(x) + ", but its sides may be at most " +
                         std::to_string(patch * most) + ", as far as the table of positions goes");
  if (time.dim() != 1 || (time.size(0) != n && time.size(0) != 1))
    throw shape_mismatch("sd3_transformer: the time is " + text_of(time) + ", but must be [" +
                         std::to_string(n) + "] or [1]");
  check_condition(*this, condition);
  if (condition.states.size(0) != n && condition.states.size(0) != 1)
    throw shape_mismatch("sd3_transformer: the text's states are " + text_of(condition.states) +
                         ", but x has " + std::to_string(n) + " samples");

  const at::Tensor embedding = p.embedding_of(time, condition.pooled);
  const at::Tensor map = x.to(p.where.device, p.where.type).contiguous(at::MemoryFormat::ChannelsLast);
  tokens h{tokens_of(p.patches(map)) + p.positions_of(height, width),
           p.text(condition.states.to(p.where.device, p.where.type)).expand({n, -1, -1})};
  for (const auto& block : p.blocks) h = block(h, embedding, condition.last_counts);
  const auto m = p.modulate(embedding);
  return p.picture_of(p.out(modulated(normalized(h.picture), m[1], m[0])), height, width);
}

network conditioned(const sd3_transformer& net, const sd3_condition& condition) {
  check_condition(net, condition);
  return
      [net, c = merged(condition)](const at::Tensor& x, const at::Tensor& time) { return net(x, time, c); };
}

branching_network branching(const sd3_transformer& net, const sd3_condition& conditional,
                            const sd3_condition& unconditional, const denoiser_options& options) {
  check_condition(net, conditional);
  check_condition(net, unconditional);
  if (conditional.states.size(1) != unconditional.states.size(1) ||
      conditional.last_counts != unconditional.last_counts)
    throw shape_mismatch("branching: the texts' states are " + text_of(conditional.states) + " and " +
                         text_of(unconditional.states) + ", the last of which count " +
                         std::to_string(conditional.last_counts) + " and " +
                         std::to_string(unconditional.last_counts) +
                         " times, but must be of the same length and count the same");
  const auto surplus = std::min(equal_at_end(conditional.states), equal_at_end(unconditional.states)) - 1;
  const network both = [net, one = with_last_counting(conditional, surplus),
                        other = with_last_counting(unconditional, surplus)](const at::Tensor& xx,
                                                                            const at::Tensor& time) {
    const auto n = xx.size(0) / 2;
    return net(xx, time,
               {at::cat({one.states.expand({n, -1, -1}), other.states.expand({n, -1, -1})}),
                at::cat({one.pooled.expand({n, -1}), other.pooled.expand({n, -1})}), one.last_counts});
  };
  return branching_network(both, options);
}

naming original_sd3_transformer_names(const sd3_transformer_config& config) {
  const auto& c = checked(config);
  std::map<std::string, stored_at> modules{
      {"pos_embed.proj", {"x_embedder.proj"}},
      {"time_text_embed.timestep_embedder.linear_1", {"t_embedder.mlp.0"}},
      {"time_text_embed.timestep_embedder.linear_2", {"t_embedder.mlp.2"}},
      {"time_text_embed.text_embedder.linear_1", {"y_embedder.mlp.0"}},
      {"time_text_embed.text_embedder.linear_2", {"y_embedder.mlp.2"}},
      {"norm_out.linear", {"final_layer.adaLN_modulation.1", 0, 1, true}},
      {"proj_out", {"final_layer.linear"}}};
  for (std::int64_t i = 0; i < c.num_layers; ++i) {
    const std::string ours = "transformer_blocks." + std::to_string(i) + ".",
                      theirs = "joint_blocks." + std::to_string(i) + ".";
    const std::string x = theirs + "x_block.", context = theirs + "context_block.";
    const auto add_attention = [&](const std::string& attention, const projections::names& names,
                                   const std::string& there) {
      const auto module = [&](const char* name) { // without the dot at its end
        const std::string all = attention + name;
        return all.substr(0, all.size() - 1);
      };
      std::int64_t part = 0;
      for (const char* name : {names.q, names.k, names.v}) modules[module(name)] = {there + "qkv", part++, 3};
      modules[module(names.norm_q)] = {there + "ln_q"};
      modules[module(names.norm_k)] = {there + "ln_k"};
    };
    add_attention(ours + "attn.", of_picture, x + "attn.");
    add_attention(ours + "attn.", of_text, context + "attn.");
    add_attention(ours + "attn2.", of_picture, x + "attn2.");
    modules[ours + "attn.to_out.0"] = {x + "attn.proj"};
    modules[ours + "attn.to_add_out"] = {context + "attn.proj"};
    modules[ours + "attn2.to_out.0"] = {x + "attn2.proj"};
    modules[ours + "norm1.linear"] = {x + "adaLN_modulation.1"};
    modules[ours + "norm1_context.linear"] = {context + "adaLN_modulation.1", 0, 1, i + 1 == c.num_layers};
    for (const auto& [feed, there] : {std::pair{"ff.", x}, {"ff_context.", context}}) {
      modules[ours + feed + "net.0.proj"] = {there + "mlp.fc1"};
      modules[ours + feed + "net.2"] = {there + "mlp.fc2"};
    }
  }
  const naming named = modules_named(std::move(modules), "model.diffusion_model.");
  return [named](const std::string& name) -> stored_at {
    if (name == "pos_embed.pos_embed") return {"model.diffusion_model.pos_embed"};
    return named(name);
  };
}

} // namespace pushforward::libtorch::models
