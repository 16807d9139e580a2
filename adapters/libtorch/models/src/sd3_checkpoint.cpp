#include <pushforward/libtorch/models/sd3_checkpoint.hpp>

#include <pushforward/libtorch/models/clip_tokenizer.hpp>
#include <pushforward/libtorch/models/t5_tokenizer.hpp>
#include <pushforward/safetensors/file.hpp>

#include "checkpoint_files.hpp"
#include "json_config.hpp"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <utility>

namespace pushforward::libtorch::models {

namespace fs = std::filesystem;

namespace {

const std::string family = "Stable Diffusion 3";
const std::string transformer_class = "SD3Transformer2DModel", clip_class = "CLIPTextModelWithProjection",
                  t5_class = "T5EncoderModel";

// what names of the text encoders begin with in a single file
const std::string original_clip_l = "text_encoders.clip_l.transformer.",
                  original_clip_g = "text_encoders.clip_g.transformer.",
                  original_t5 = "text_encoders.t5xxl.transformer.";

[[noreturn]] void refuse_missing(const std::string& where, const std::vector<std::string>& missing,
                                 const std::string& remedy) {
  throw bad_file(where + ": parts of the checkpoint are missing: " + listed(missing) + "; " + remedy);
}

/// What else than copying helps, where it would be enough.
std::string other_ways(const std::vector<std::string>& missing) {
  const auto are = [&](std::initializer_list<const char*> parts) {
    return std::all_of(missing.begin(), missing.end(), [&](const std::string& path) {
      return std::any_of(parts.begin(), parts.end(),
                         [&](const char* part) { return path.find(part) != std::string::npos; });
    });
  };
  if (are({"text_encoder_3", "tokenizer_3"})) return ", or leave T5 out (option without_t5, --without-t5)";
  return are({"/vae"}) ? ", or take an autoencoder from elsewhere (option vae)" : "";
}

/// The tokenizers' folders, below one.
void find_tokenizers(sd3_checkpoint& c, const fs::path& folder, std::vector<std::string>& missing) {
  const auto find = [&](const char* name, std::initializer_list<std::vector<std::string>> alternatives) {
    const auto found = folder / name;
    for (const auto& files : alternatives) {
      bool all = true;
      for (const auto& file : files) all = all && is_file(found / file);
      if (all) return found;
    }
    for (const auto& file : *alternatives.begin())
      if (!is_file(found / file)) missing.push_back((found / file).string());
    return found;
  };
  c.clip_l_tokenizer = find("tokenizer", {{"vocab.json", "merges.txt"}, {"tokenizer.json"}});
  c.clip_g_tokenizer = find("tokenizer_2", {{"vocab.json", "merges.txt"}, {"tokenizer.json"}});
  if (c.t5) c.t5_tokenizer = find("tokenizer_3", {{"spiece.model"}, {"tokenizer.json"}});
}

/// A text encoder as a file of its own, under the first of the names that the published folders and other
/// programs give it; no files where there is none.
checkpoint_part loose_text_encoder(const std::string& class_name, const fs::path& folder,
                                   std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (is_file(folder / name)) return {{}, class_name, {folder / name}, checkpoint_layout::diffusers, {}};
  return {};
}

/// Whether the parts take what the others give.
void check_agreement(const sd3_checkpoint& c, bool without_vae) {
  const auto transformer = sd3_transformer_config_of(c.transformer);
  const auto l = clip_text_config_of(c.clip_l), g = clip_text_config_of(c.clip_g);
  const auto name = [](const checkpoint_part& part) {
    return (part.config ? *part.config : part.files.front()).string();
  };
  const std::string together = "; do the parts belong together?";
  if (l.hidden_size > g.hidden_size)
    throw bad_file(name(c.clip_l) + ": the first text encoder is " + std::to_string(l.hidden_size) +
                   " wide, and the second, " + name(c.clip_g) + ", " + std::to_string(g.hidden_size) +
                   ": published ones are CLIP ViT-L, then the wider ViT-bigG; are they swapped?");
  if (l.projection_dim + g.projection_dim != transformer.pooled_projection_dim)
    throw bad_file(name(c.transformer) + ": takes a pooled text of " +
                   std::to_string(transformer.pooled_projection_dim) +
                   " numbers (pooled_projection_dim), but the two CLIP encoders give " +
                   std::to_string(l.projection_dim) + " and " + std::to_string(g.projection_dim) + together);
  if (l.hidden_size + g.hidden_size > transformer.joint_attention_dim)
    throw bad_file(name(c.transformer) + ": takes a text of width " +
                   std::to_string(transformer.joint_attention_dim) +
                   " (joint_attention_dim), but the two CLIP encoders give " + std::to_string(l.hidden_size) +
                   " and " + std::to_string(g.hidden_size) + together);
  if (c.t5)
    if (const auto width = t5_config_of(*c.t5).d_model; width != transformer.joint_attention_dim)
      throw bad_file(name(*c.t5) + ": T5 is " + std::to_string(width) +
                     " wide (d_model), but the transformer takes " +
                     std::to_string(transformer.joint_attention_dim) + " (joint_attention_dim)" + together);
  if (transformer.out_channels != transformer.in_channels)
    throw bad_file(name(c.transformer) + ": out_channels is " + std::to_string(transformer.out_channels) +
                   ", but in_channels " + std::to_string(transformer.in_channels) +
                   ": a model that takes more than the latents is not supported");
  if (!without_vae && c.vae.class_name == "AutoencoderKL")
    if (const auto channels = autoencoder_kl_config_of(c.vae).latent_channels;
        channels != transformer.in_channels)
      throw bad_file(name(c.vae) + ": makes latents of " + std::to_string(channels) +
                     " channels, but the transformer takes " + std::to_string(transformer.in_channels) +
                     together);
}

/// Text encoders that were named for nothing.
void require_no_text_encoders(const fs::path& path, const sd3_checkpoint_options& o) {
  if (!o.text_encoders.empty())
    throw bad_option(path.string() + ": has text encoders of its own, so that the option text_encoders (" +
                     o.text_encoders.string() + ") has no effect; leave it out");
}

/// Whether the folder's pipeline was saved with a third text encoder. \throws bad_file
bool has_t5(const fs::path& folder) {
  if (!is_file(folder / "model_index.json")) return true;
  const json_config index(folder / "model_index.json");
  const auto words = index.list("text_encoder_3"); // a library and a class, or none
  const auto all = [&](auto is) { return std::all_of(words.begin(), words.end(), is); };
  if (all([](const auto& word) { return word.is_null(); })) return false;
  if (words.size() != 2 || !all([](const auto& word) { return word.is_string(); }))
    index.refuse("text_encoder_3", "is neither a library and a class, nor twice null");
  return true;
}

sd3_checkpoint open_folder(const fs::path& folder, const sd3_checkpoint_options& o) {
  require_no_text_encoders(folder, o);
  sd3_checkpoint c;
  std::vector<std::string> missing;
  // published folders have variants of some parts alone
  const auto has_variant = [&](const char* part, const std::string& stem) {
    return is_file(folder / part / (stem + "." + o.variant + ".safetensors")) ||
           is_file(folder / part / (stem + ".safetensors.index." + o.variant + ".json"));
  };
  const std::string network = "diffusion_pytorch_model", text = "model";
  const bool some = has_variant("transformer", network) || has_variant("vae", network) ||
                    has_variant("text_encoder", text) || has_variant("text_encoder_2", text) ||
                    has_variant("text_encoder_3", text);
  const auto part = [&](const char* name, const std::string& stem) {
    return part_in(folder / name, stem, some && !has_variant(name, stem) ? "" : o.variant, missing);
  };
  c.transformer = part("transformer", network);
  if (!o.without_vae) c.vae = part("vae", network);
  c.clip_l = part("text_encoder", text);
  c.clip_g = part("text_encoder_2", text);
  if (!o.without_t5 && has_t5(folder)) c.t5 = part("text_encoder_3", text);
  find_tokenizers(c, o.tokenizers.empty() ? folder : o.tokenizers, missing);
  const auto scheduler = folder / "scheduler" / "scheduler_config.json";
  if (!is_file(scheduler)) missing.push_back(scheduler.string());
  if (!missing.empty())
    refuse_missing(folder.string(), missing, "copy the whole folder" + other_ways(missing));
  const json_config transformer(*c.transformer.config);
  c.transformer.class_name = transformer.text("_class_name", transformer_class);
  if (c.transformer.class_name != transformer_class)
    transformer.refuse("_class_name",
                       "is not " + transformer_class + ": of transformers only " + family + " is supported");
  for (auto* clip : {&c.clip_l, &c.clip_g}) {
    const json_config config(*clip->config);
    if (config.text("model_type", "clip_text_model") != "clip_text_model")
      config.refuse("model_type", "is not clip_text_model");
    clip->class_name = clip_class;
  }
  if (c.t5) {
    const json_config config(*c.t5->config);
    if (config.text("model_type", "t5") != "t5") config.refuse("model_type", "is not t5");
    c.t5->class_name = t5_class;
  }
  if (!o.without_vae) c.vae.class_name = autoencoder_class(*c.vae.config);
  c.path = read_flow_scheduler(scheduler);
  return c;
}

sd3_checkpoint open_single(const fs::path& path, const sd3_checkpoint_options& o) {
  const safetensors::file file(path);
  sd3_checkpoint c;
  c.layout = checkpoint_layout::ldm;
  std::vector<std::string> missing;
  if (!holds_below(file, original_network)) missing.push_back("the transformer (" + original_network + "*)");
  if (!o.without_vae && !holds_below(file, original_vae))
    missing.push_back("the VAE (" + original_vae + "*), which the option vae can take from elsewhere");
  c.transformer = part_of_file(transformer_class, path, original_network);
  if (!o.without_vae) c.vae = part_of_file("AutoencoderKL", path, original_vae);
  // each encoder that the file lacks is looked for in the folder
  const auto folder = o.text_encoders.empty() ? path.parent_path() / "text_encoders" : o.text_encoders;
  bool lacks = false;
  const auto encoder = [&](const std::string& class_name, const std::string& prefix,
                           std::initializer_list<const char*> names) {
    if (holds_below(file, prefix)) return part_of_file(class_name, path, prefix);
    lacks = true;
    return loose_text_encoder(class_name, folder, names);
  };
  c.clip_l = encoder(clip_class, original_clip_l, {"clip_l.safetensors"});
  c.clip_g = encoder(clip_class, original_clip_g, {"clip_g.safetensors"});
  for (const auto& [found, name] :
       {std::pair{&c.clip_l, "clip_l.safetensors"}, {&c.clip_g, "clip_g.safetensors"}})
    if (found->files.empty()) missing.push_back((folder / name).string());
  if (!o.without_t5)
    if (auto t5 = encoder(t5_class, original_t5,
                          {"t5xxl.safetensors", "t5xxl_fp16.safetensors", "t5xxl_bf16.safetensors",
                           "t5xxl_fp8_e4m3fn.safetensors"});
        !t5.files.empty())
      c.t5 = std::move(t5);
  if (!lacks) require_no_text_encoders(path, o);
  const bool all_but_tokenizers = missing.empty();
  find_tokenizers(c, o.tokenizers.empty() ? path.parent_path() : o.tokenizers, missing);
  if (!missing.empty())
    refuse_missing(path.string(), missing,
                   std::string(all_but_tokenizers ? "a single file holds no tokenizers"
                                                  : "a single file may lack text encoders, and holds no "
                                                    "tokenizers") +
                       ": name the folder of a checkpoint of " + family +
                       " that has them, or copy them beside the file (options tokenizers and "
                       "text_encoders, --tokenizer and --text-encoders)" +
                       other_ways(missing));
  return c;
}

/// The states of the last but one block, and what is pooled.
std::pair<at::Tensor, at::Tensor> clip_of(const checkpoint_part& part, const fs::path& tokenizer,
                                          const std::vector<std::string>& prompts, const placement& where,
                                          const std::function<void()>& tell) {
  const clip_text encoder(clip_text_config_of(part), weights_of(part, where).watched(tell));
  const at::Tensor ids = clip_tokenizer(tokenizer)(prompts);
  if (part.config && !encoder.projects())
    throw bad_file(part.files.front().string() + ": has no text_projection.weight, which " + clip_class +
                   " has; copy the file again");
  // single files without a projection mean the identity
  return {encoder.hidden(ids).to(at::kCPU, at::kFloat),
          (encoder.projects() ? encoder.projected(ids) : encoder.pooled(ids)).to(at::kCPU, at::kFloat)};
}

} // namespace

bool is_sd3_checkpoint(const fs::path& path) {
  try {
    if (is_folder(path)) {
      if (is_file(path / "model_index.json"))
        if (const auto name = json_config(path / "model_index.json").text("_class_name", ""); !name.empty())
          return name.starts_with("StableDiffusion3");
      return is_folder(path / "transformer") && !is_folder(path / "unet");
    }
    if (!is_file(path) || is_pickle(path)) return false;
    const safetensors::file file(path);
    return holds_below(file, original_network + "joint_blocks.") || holds_below(file, "joint_blocks.");
  } catch (const error&) {
    return false; // whoever opens it says why
  }
}

sd3_checkpoint open_sd3_checkpoint(const fs::path& path, const sd3_checkpoint_options& options) {
  if (!is_folder(path) && !is_file(path))
    throw bad_file(path.string() + ": there is no such checkpoint, neither a folder nor a file");
  if (is_pickle(path)) throw pickle(path);
  auto c = is_folder(path) ? open_folder(path, options) : open_single(path, options);
  check_agreement(c, options.without_vae);
  return c;
}

rectified_flow read_flow_scheduler(const fs::path& scheduler_config_json) {
  const json_config json(scheduler_config_json);
  const std::string standard = "FlowMatchEulerDiscreteScheduler";
  if (const auto name = json.text("_class_name", standard);
      name != standard && name != "FlowMatchHeunDiscreteScheduler")
    json.refuse("_class_name", "is not " + standard + ", of a rectified flow");
  // bends that this family's grids do not have
  for (const char* key : {"use_dynamic_shifting", "invert_sigmas", "use_karras_sigmas",
                          "use_exponential_sigmas", "use_beta_sigmas"})
    if (json.flag(key, false)) json.not_supported(key);
  if (json.has("shift_terminal")) json.not_supported("shift_terminal");
  json.only("num_train_timesteps", 1000);
  return rectified_flow(json.number("shift", 1.0, 1e-3, 1e3));
}

sd3_condition encode_prompts(const sd3_checkpoint& c, const std::vector<std::string>& prompts,
                             const placement& where, std::int64_t t5_tokens,
                             const std::function<void()>& tell) {
  if (prompts.empty()) throw bad_option("encode_prompts: there are no prompts");
  if (t5_tokens < 1)
    throw bad_option("encode_prompts: t5_tokens is " + std::to_string(t5_tokens) + ", but must be positive");
  const c10::NoGradGuard no_grad;
  const auto [l, pooled_l] = clip_of(c.clip_l, c.clip_l_tokenizer, prompts, where, tell);
  const auto [g, pooled_g] = clip_of(c.clip_g, c.clip_g_tokenizer, prompts, where, tell);
  const auto n = static_cast<std::int64_t>(prompts.size());
  at::Tensor t5;
  if (c.t5) {
    const at::Tensor ids = t5_tokenizer(*c.t5_tokenizer)(prompts, t5_tokens);
    t5 = t5_encode_layer_by_layer(t5_config_of(*c.t5), weights_of(*c.t5, where).watched(tell), ids)
             .to(at::kCPU, at::kFloat);
  } else {
    t5 = at::zeros({n, t5_tokens, sd3_transformer_config_of(c.transformer).joint_attention_dim});
  }
  return joined_texts(l, g, pooled_l, pooled_g, t5);
}

} // namespace pushforward::libtorch::models
