#include "family.hpp"

#include "loading.hpp"

#include <common/console.hpp>
#include <common/cuda_graphs.hpp>

#include <pushforward/error.hpp>
#include <pushforward/libtorch/models/branching.hpp>
#include <pushforward/libtorch/models/clip_text.hpp>
#include <pushforward/libtorch/models/clip_tokenizer.hpp>
#include <pushforward/libtorch/models/sd3_checkpoint.hpp>
#include <pushforward/libtorch/models/sd3_transformer.hpp>
#include <pushforward/libtorch/models/t5_tokenizer.hpp>
#include <pushforward/libtorch/models/unet.hpp>

#include <ATen/ATen.h>

#include <algorithm>
#include <iostream>
#include <optional>
#include <utility>

namespace stable_diffusion {

namespace fs = std::filesystem;
namespace models = pushforward::libtorch::models;
using pushforward::bad_file;
using pushforward::bad_option;

namespace {

/// A word on standard error for a prompt that is too long. \param room tokens besides start and end
void tell_cut(std::size_t tokens, std::int64_t room, const std::string& reader) {
  if (const auto cut = static_cast<std::int64_t>(tokens) - room; cut > 0)
    std::cerr << "the prompt has " << tokens << " tokens" << reader << ": the last "
              << (cut == 1 ? "is" : std::to_string(cut) + " are") << " cut off\n";
}

/// Whether a text encoder takes what the tokenizer makes of the prompts.
void require_agreement(const models::clip_text_config& text, const models::clip_tokenizer& tokenizer,
                       const fs::path& folder, const model_arguments& a) {
  const std::string where = folder.string();
  if (tokenizer.length() > text.max_position_embeddings)
    throw bad_file(where + ": makes sequences of " + std::to_string(tokenizer.length()) +
                   " tokens (model_max_length in tokenizer_config.json), but the text encoder takes " +
                   std::to_string(text.max_position_embeddings) + "; do they belong together?");
  const auto ids = tokenizer({a.prompt, a.negative_prompt});
  if (const auto most = ids.max().item<std::int64_t>(); most >= text.vocab_size)
    throw bad_file(where + ": makes the id " + std::to_string(most) + ", but the text encoder knows " +
                   std::to_string(text.vocab_size) + " tokens; do they belong together?");
}

[[noreturn]] void refuse_convention_of_flow() {
  throw bad_option("--time-convention reference is of diffusion models; a flow is fed 1000 times its time: "
                   "leave it out");
}

/// A denoiser under one condition, or guided under two.
template <class Net, class Condition>
latent_model::denoiser denoiser_of(const Net& net, const Condition& conditional,
                                   const std::optional<Condition>& unconditional,
                                   pushforward::prediction_type prediction, const models::placement& where,
                                   const model_arguments& a) {
  pushforward::libtorch::denoiser_options options{prediction, where.type, where.device};
  if (where.device.is_cuda()) {
    const auto tell = [](const std::string& why) {
      std::cerr << "passes are not captured, and take longer: " << why << '\n';
    };
    if (const auto why = examples::have_passes_captured(); why.empty())
      options.captured = pushforward::libtorch::capture_options{.tell = tell};
    else
      tell(why);
  }
  if (!unconditional) return latent_model::unguided(models::conditioned(net, conditional), options);
  return latent_model::guided(models::branching(net, conditional, *unconditional, options), guidance_scale(a),
                              pushforward::guidance_convention::usual);
}

/// Stable Diffusion 1.x and 2.x, and flows with their network.
class unet_checkpoint : public opened_checkpoint {
public:
  explicit unet_checkpoint(const model_arguments& a)
      : a_{a}, c_{models::open_checkpoint(a.checkpoint,
                                          {a.variant, a.prediction, !a.vae.empty(), !a.tokenizer.empty()})} {
    if (!a.text_encoders.empty() || a.without_t5 || a.t5_tokens)
      throw bad_option(std::string(a.without_t5  ? "--without-t5"
                                   : a.t5_tokens ? "--t5-tokens"
                                                 : "--text-encoders") +
                       " is of Stable Diffusion 3, which " + a.checkpoint.string() + " is not: leave it out");
    if (!c_.tokenizer && a.tokenizer.empty())
      throw bad_option(a.checkpoint.string() + ": a single file holds no tokenizer; pass --tokenizer with " +
                       needed_tokenizer());
  }

  examples::any_path path() const override {
    const auto* diffusion = std::get_if<pushforward::variance_preserving>(&c_.path);
    if (a_.time == time_convention::usual) return {c_.path};
    if (!diffusion) refuse_convention_of_flow();
    return {diffusion->with_time_offset(0.0)};
  }
  pushforward::prediction_type prediction() const override { return c_.prediction; }
  named_part network() const override { return {c_.unet, "the UNet", a_.unet}; }
  std::vector<named_part> text_encoders() const override {
    return {{c_.text_encoder, "the text encoder", a_.text}};
  }
  const models::checkpoint_part& vae() const override { return c_.vae; }

  std::int64_t channels() const override { return models::unet_config_of(c_.unet).in_channels; }
  double attention_values(std::int64_t height, std::int64_t width) const override {
    const auto net = c_.unet.config                  ? models::unet_config::read(*c_.unet.config)
                     : c_.cross_attention_dim == 768 ? models::unet_config::stable_diffusion_1()
                                                     : models::unet_config::stable_diffusion_2();
    if (net.down_block_types.front() != "CrossAttnDownBlock2D") return 0.0;
    const double tokens = static_cast<double>(height) * static_cast<double>(width);
    return static_cast<double>(net.num_attention_heads.front()) * tokens * tokens;
  }

  void require_agreement() const override {
    stable_diffusion::require_agreement(models::clip_text_config_of(c_.text_encoder), tokenizer(),
                                        c_.tokenizer ? *c_.tokenizer : a_.tokenizer, a_);
  }
  void describe(nlohmann::ordered_json& facts) const override {
    const auto* diffusion = std::get_if<pushforward::variance_preserving>(&c_.path);
    if (!diffusion) return;
    facts["time_convention"] = a_.time == time_convention::reference ? "reference" : "usual";
    if (diffusion->alpha_bar(diffusion->last()) == 0.0) facts["zero_terminal_snr"] = true;
  }

  void read_prompts(const std::function<void(const std::string&)>& tell) override {
    const auto where = placement_of(a_.text, a_.unet.device);
    const auto reader = tokenizer();
    tell("text encoder");
    require_room(c_.text_encoder, where, "the text encoder");
    const models::clip_text encoder(models::clip_text_config_of(c_.text_encoder),
                                    stoppable_weights(c_.text_encoder, where));
    const auto read = [&](const std::string& text) {
      tell_cut(reader.encode(text).size(), reader.length() - 2, "");
      return encoder(reader(std::vector<std::string>{text}));
    };
    conditional_ = read(a_.prompt);
    if (is_guided(a_)) unconditional_ = read(a_.negative_prompt);
  }

  latent_model::denoiser load(const models::placement& where) const override {
    require_room(c_.unet, where, "the UNet");
    const models::unet net(models::unet_config_of(c_.unet), stoppable_weights(c_.unet, where));
    const auto here = [&](const at::Tensor& states) { return states.to(where.device, where.type); };
    return denoiser_of(net, here(conditional_),
                       unconditional_ ? std::optional(here(*unconditional_)) : std::nullopt, c_.prediction,
                       where, a_);
  }

private:
  /// Which tokenizer the networks were trained with. Those of 1.x and 2.x differ in what they pad with: the
  /// end token, or "!", whose id is 0.
  std::string needed_tokenizer() const {
    return std::string("the tokenizer folder of a Stable Diffusion ") +
           (c_.cross_attention_dim == 1024 ? "2.x checkpoint, whose tokenizer_config.json and "
                                             "special_tokens_map.json say that it pads with \"!\""
                                           : "1.x checkpoint, which pads with the end token");
  }

  models::clip_tokenizer tokenizer() const {
    if (c_.tokenizer) return models::clip_tokenizer(*c_.tokenizer);
    models::clip_tokenizer made(a_.tokenizer);
    const auto pad = c_.cross_attention_dim == 1024 ? 0 : made.end();
    if (c_.layout == models::checkpoint_layout::ldm && made.pad() != pad)
      throw bad_option(a_.tokenizer.string() + ": pads with another token than " + a_.checkpoint.string() +
                       " was trained with; pass " + needed_tokenizer());
    return made;
  }

  model_arguments a_;
  models::checkpoint c_;
  at::Tensor conditional_;
  std::optional<at::Tensor> unconditional_;
};

/// Stable Diffusion 3 and 3.5.
class sd3_checkpoint : public opened_checkpoint {
public:
  explicit sd3_checkpoint(const model_arguments& a)
      : a_{a}, c_{models::open_sd3_checkpoint(
                   a.checkpoint, {a.variant, !a.vae.empty(), a.without_t5, a.tokenizer, a.text_encoders})} {
    if (a.time != time_convention::usual) refuse_convention_of_flow();
    if (a.prediction && *a.prediction != pushforward::prediction_type::flow)
      throw bad_option("--prediction " + std::string(name_of(*a.prediction)) + ": " + a.checkpoint.string() +
                       " is a rectified flow, which predicts flow: leave it out");
  }

  examples::any_path path() const override { return {c_.path, pushforward::flow_grid::shifted_twice}; }
  pushforward::prediction_type prediction() const override { return pushforward::prediction_type::flow; }
  named_part network() const override { return {c_.transformer, "the transformer", a_.unet}; }
  std::vector<named_part> text_encoders() const override {
    std::vector<named_part> all{{c_.clip_l, "the first text encoder", a_.text},
                                {c_.clip_g, "the second text encoder", a_.text}};
    if (c_.t5) all.push_back({*c_.t5, "T5", a_.text, false});
    return all;
  }
  const models::checkpoint_part& vae() const override { return c_.vae; }

  std::int64_t channels() const override { return config().in_channels; }
  std::int64_t patch() const override { return config().patch_size; }
  std::int64_t largest_side() const override { return config().patch_size * config().pos_embed_max_size; }
  double attention_values(std::int64_t height, std::int64_t width) const override {
    const double side = static_cast<double>(patch());
    const double tokens = static_cast<double>(height) * static_cast<double>(width) / (side * side);
    return static_cast<double>(config().num_attention_heads) * tokens * tokens;
  }

  void require_agreement() const override {
    for (const auto& [text, folder] :
         {std::pair{&c_.clip_l, &c_.clip_l_tokenizer}, {&c_.clip_g, &c_.clip_g_tokenizer}})
      stable_diffusion::require_agreement(models::clip_text_config_of(*text), models::clip_tokenizer(*folder),
                                          *folder, a_);
    const auto length = [](const std::filesystem::path& folder) {
      return models::clip_tokenizer(folder).length();
    };
    if (length(c_.clip_l_tokenizer) != length(c_.clip_g_tokenizer))
      throw bad_file(c_.clip_g_tokenizer.string() + ": makes sequences of " +
                     std::to_string(length(c_.clip_g_tokenizer)) + " tokens, and " +
                     c_.clip_l_tokenizer.string() + " of " + std::to_string(length(c_.clip_l_tokenizer)) +
                     " (model_max_length in tokenizer_config.json); do they belong together?");
    if (!c_.t5) return;
    const auto known = models::t5_config_of(*c_.t5).vocab_size;
    const auto ids = models::t5_tokenizer(*c_.t5_tokenizer)({a_.prompt, a_.negative_prompt}, t5_tokens());
    if (const auto most = ids.max().item<std::int64_t>(); most >= known)
      throw bad_file(c_.t5_tokenizer->string() + ": makes the id " + std::to_string(most) +
                     ", but T5 knows " + std::to_string(known) + " tokens; do they belong together?");
  }
  void describe(nlohmann::ordered_json& facts) const override {
    facts["shift"] = c_.path.shift();
    facts["t5"] = c_.t5 ? "read" : "left out";
    facts["t5_tokens"] = t5_tokens(); // of zeros, too
  }

  void read_prompts(const std::function<void(const std::string&)>& tell) override {
    if (!c_.t5 && !a_.without_t5) std::cerr << "without T5, which the checkpoint has not\n";
    tell("text encoders");
    const auto where = placement_of(a_.text, a_.unet.device);
    for (const auto& part : text_encoders())
      if (part.whole) require_room(part.files, where, part.name);
    std::vector<std::string> prompts{a_.prompt};
    if (is_guided(a_)) prompts.push_back(a_.negative_prompt);
    const models::clip_tokenizer clip(c_.clip_l_tokenizer);
    for (const auto& text : prompts) {
      tell_cut(clip.encode(text).size(), clip.length() - 2, " for CLIP");
      if (c_.t5)
        tell_cut(models::t5_tokenizer(*c_.t5_tokenizer).encode(text).size(), t5_tokens() - 1, " for T5");
    }
    const auto both = models::encode_prompts(c_, prompts, where, t5_tokens(), examples::stop_if_interrupted);
    const auto one = [&](std::int64_t i) {
      return models::sd3_condition{both.states.narrow(0, i, 1), both.pooled.narrow(0, i, 1)};
    };
    conditional_ = one(0);
    if (is_guided(a_)) unconditional_ = one(1);
  }

  latent_model::denoiser load(const models::placement& where) const override {
    require_room(c_.transformer, where, "the transformer");
    const models::sd3_transformer net(config(), stoppable_weights(c_.transformer, where));
    const auto here = [&](const models::sd3_condition& c) { // once, and not in each pass
      return models::sd3_condition{c.states.to(where.device, where.type),
                                   c.pooled.to(where.device, where.type)};
    };
    return denoiser_of(net, here(conditional_),
                       unconditional_ ? std::optional(here(*unconditional_)) : std::nullopt, prediction(),
                       where, a_);
  }

private:
  models::sd3_transformer_config config() const { return models::sd3_transformer_config_of(c_.transformer); }
  std::int64_t t5_tokens() const { return a_.t5_tokens.value_or(256); } // as diffusers' pipeline

  model_arguments a_;
  models::sd3_checkpoint c_;
  models::sd3_condition conditional_;
  std::optional<models::sd3_condition> unconditional_;
};

} // namespace

std::unique_ptr<opened_checkpoint> opened(const model_arguments& a) {
  if (models::is_sd3_checkpoint(a.checkpoint)) return std::make_unique<sd3_checkpoint>(a);
  return std::make_unique<unet_checkpoint>(a);
}

double standard_guidance(const model_arguments& a) {
  const bool prompted = !a.prompt.empty() || !a.negative_prompt.empty();
  return prompted && models::is_sd3_checkpoint(a.checkpoint) ? 4.5 : 1.0; // without, both branches are one
}

} // namespace stable_diffusion
