#include <pushforward/libtorch/models/checkpoint.hpp>

#include <pushforward/safetensors/file.hpp>
#include <pushforward/safetensors/regular_file.hpp>

#include "json_config.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <set>
#include <utility>

namespace pushforward::libtorch::models {

namespace fs = std::filesystem;

namespace {

const std::map<std::string, prediction_type> predictions{{"epsilon", prediction_type::epsilon},
                                                         {"sample", prediction_type::sample},
                                                         {"v_prediction", prediction_type::v}};

bool is_pickle(const fs::path& file) {
  const auto extension = file.extension().string();
  return extension == ".ckpt" || extension == ".bin" || extension == ".pt" || extension == ".pth";
}

bad_file pickle(const fs::path& file) {
  return bad_file(
      file.string() +
      ": is a pickle file, which can run any code when it is loaded, and is not read here; convert it to "
      "safetensors once, where you trust it: in Python, "
      "safetensors.torch.save_file(torch.load(FILE, weights_only=True), NEW), or diffusers' "
      "save_pretrained(FOLDER)");
}

at::Tensor scaled_linear_betas(double first, double last, std::int64_t T) {
  return at::linspace(std::sqrt(first), std::sqrt(last), T, at::kFloat).square();
}

at::Tensor cosine_betas(std::int64_t T) {
  const auto exact = variance_preserving::cosine(static_cast<std::size_t>(T));
  at::Tensor betas = at::empty({T}, at::kFloat);
  for (std::int64_t i = 0; i < T; ++i)
    betas.data_ptr<float>()[i] = static_cast<float>(exact.beta(static_cast<double>(i + 1)));
  return betas;
}

/// The path of betas in float32. `diffusers` has 1 - beta in float32, too, and multiplies in float64: that
/// rounding moves abar by up to 5e-7, and is repeated here.
variance_preserving path_of(const at::Tensor& betas) {
  const at::Tensor alphas = 1.0 - betas;
  std::vector<double> rounded;
  for (std::int64_t i = 0; i < alphas.size(0); ++i)
    rounded.push_back(1.0 - static_cast<double>(alphas.data_ptr<float>()[i]));
  return variance_preserving(std::move(rounded), -1.0);
}

/// Names of what is in a folder, in alphabetical order.
std::vector<std::string> names_in(const fs::path& folder) {
  std::error_code fault;
  std::vector<std::string> names;
  for (fs::directory_iterator i(folder, fault), end; !fault && i != end; i.increment(fault))
    names.push_back(i->path().filename().string());
  if (fault) throw bad_file(folder.string() + ": cannot be listed (" + fault.message() + ")");
  std::sort(names.begin(), names.end());
  return names;
}

/// Or something else by that name, which is refused once it is opened.
bool is_file(const fs::path& path) { return safetensors::is_there(path); }

bool is_folder(const fs::path& path) {
  std::error_code none;
  return fs::is_directory(path, none);
}

/// The variant in the middle of a name: `stem.VARIANT.end`, or empty for `stem.end`.
std::optional<std::string> middle(const std::string& name, const std::string& stem, const std::string& end) {
  if (name == stem + end) return "";
  const std::string start = stem + ".";
  if (name.size() <= start.size() + end.size() || !name.starts_with(start) || !name.ends_with(end)) return {};
  const auto variant = name.substr(start.size(), name.size() - start.size() - end.size());
  if (variant.find_first_of(".-") != std::string::npos) return {}; // shards have numbers: -00001-of-00002
  return variant;
}

/// The shards that an index names, beside it.
std::vector<fs::path> shards_of(const fs::path& index) {
  const json_config json(index);
  std::set<std::string> names;
  const auto map = json.object("weight_map");
  if (!map) json.refuse("weight_map", "is needed: it says in which file each parameter is");
  for (const auto& key : map->keys()) {
    const auto name = map->text(key, "");
    if (name.find_first_of(std::string("/\\:\0", 4)) != std::string::npos || name.starts_with('.') ||
        !name.ends_with(".safetensors"))
      map->refuse(key, "is not the plain name of a safetensors file beside the index");
    names.insert(name);
  }
  if (names.empty()) json.refuse("weight_map", "names no file");
  std::vector<fs::path> files;
  std::string missing;
  for (const auto& name : names) {
    files.push_back(index.parent_path() / name);
    if (!is_file(files.back())) missing += (missing.empty() ? "" : ", ") + name;
  }
  if (!missing.empty())
    throw bad_file(index.string() + ": names shards that are not there: " + missing + "; copy them, too");
  return files;
}

/// The weights of a part's folder. Adds to `missing` where there are none.
std::vector<fs::path> weights_in(const fs::path& folder, const std::string& stem, const std::string& variant,
                                 std::vector<std::string>& missing) {
  std::map<std::string, fs::path> whole, index; // by variant
  std::optional<fs::path> some_pickle;
  for (const auto& name : names_in(folder)) {
    if (const auto v = middle(name, stem, ".safetensors"))
      whole[*v] = folder / name;
    else if (const auto s = middle(name, stem + ".safetensors.index", ".json"))
      index[*s] = folder / name;
    else if (is_pickle(name))
      some_pickle = folder / name;
  }
  std::set<std::string> variants;
  for (const auto* found : {&whole, &index})
    for (const auto& [v, file] : *found) variants.insert(v);
  if (variants.empty()) {
    if (some_pickle) throw pickle(*some_pickle);
    missing.push_back((folder / (stem + ".safetensors")).string());
    return {};
  }
  std::string chosen = variant;
  if (!variants.count(chosen)) {
    if (!variant.empty() || variants.size() > 1) {
      std::string list;
      for (const auto& v : variants) list += (list.empty() ? "" : ", ") + (v.empty() ? "none" : v);
      throw bad_file(folder.string() + ": has no weights of " +
                     (variant.empty() ? "no variant" : "variant " + variant) + "; there are: " + list +
                     " (option variant)");
    }
    chosen = *variants.begin();
  }
  if (const auto found = whole.find(chosen); found != whole.end()) return {found->second};
  return shards_of(index.at(chosen));
}

checkpoint_part part_in(const fs::path& folder, const std::string& stem, const checkpoint_options& options,
                        std::vector<std::string>& missing) {
  checkpoint_part part;
  if (!is_folder(folder)) {
    missing.push_back(folder.string());
    return part;
  }
  if (is_file(folder / "config.json"))
    part.config = folder / "config.json";
  else
    missing.push_back((folder / "config.json").string());
  part.files = weights_in(folder, stem, options.variant, missing);
  return part;
}

/// The prediction of a checkpoint that says `said` (or nothing), under the option.
prediction_type agreed(const std::string& where, std::optional<prediction_type> said,
                       std::optional<prediction_type> asked) {
  if (asked && *asked != prediction_type::epsilon && *asked != prediction_type::sample &&
      *asked != prediction_type::v)
    throw bad_option(
        where + ": the option prediction is " + std::string(name_of(*asked)) +
        ", but Stable Diffusion 1.x and 2.x are on the variance preserving path: epsilon, sample or v");
  if (said && asked && *said != *asked)
    throw bad_option(where + ": says that the network predicts " + std::string(name_of(*said)) +
                     ", but the option prediction says " + std::string(name_of(*asked)) +
                     "; leave the option out, or correct the file");
  if (!said && !asked)
    throw bad_option(
        where + ": does not say what the network predicts; pass the option prediction: epsilon for Stable "
                "Diffusion 1.x and 2.x-base, v for 2.0 and 2.1 at 768 x 768");
  return said ? *said : *asked;
}

checkpoint open_folder(const fs::path& folder, const checkpoint_options& options) {
  if (is_file(folder / "model_index.json")) {
    const json_config index(folder / "model_index.json");
    const auto name = index.text("_class_name", "StableDiffusionPipeline");
    if (name != "StableDiffusionPipeline" && name != "StableDiffusionImg2ImgPipeline")
      index.refuse("_class_name",
                   "is not StableDiffusionPipeline: only Stable Diffusion 1.x and 2.x are supported");
  }
  checkpoint c;
  c.layout = checkpoint_layout::diffusers;
  std::vector<std::string> missing;
  c.unet = part_in(folder / "unet", "diffusion_pytorch_model", options, missing);
  c.vae = part_in(folder / "vae", "diffusion_pytorch_model", options, missing);
  c.text_encoder = part_in(folder / "text_encoder", "model", options, missing);
  c.tokenizer = folder / "tokenizer";
  const auto scheduler = folder / "scheduler" / "scheduler_config.json";
  std::vector<fs::path> needed{scheduler};
  if (!is_file(*c.tokenizer / "tokenizer.json")) // holds both of the others
    needed.insert(needed.begin(), {*c.tokenizer / "vocab.json", *c.tokenizer / "merges.txt"});
  for (const auto& file : needed)
    if (!is_file(file)) missing.push_back(file.string());
  if (!missing.empty()) {
    for (const auto& name : names_in(folder))
      if (missing.front() == (folder / "unet").string() && is_pickle(name)) throw pickle(folder / name);
    std::string list;
    for (const auto& m : missing) list += (list.empty() ? "" : ", ") + m;
    throw bad_file(folder.string() + ": parts of the checkpoint are missing: " + list);
  }
  const json_config unet(*c.unet.config), vae(*c.vae.config), text(*c.text_encoder.config);
  c.unet.class_name = unet.text("_class_name", "UNet2DConditionModel");
  c.vae.class_name = vae.text("_class_name", "AutoencoderKL");
  c.text_encoder.class_name = "CLIPTextModel";
  if (c.unet.class_name != "UNet2DConditionModel")
    unet.refuse("_class_name",
                "is not UNet2DConditionModel: only Stable Diffusion 1.x and 2.x are supported");
  if (c.vae.class_name != "AutoencoderKL" && c.vae.class_name != "AutoencoderTiny")
    vae.refuse("_class_name", "is neither AutoencoderKL nor AutoencoderTiny");
  if (text.text("model_type", "clip_text_model") != "clip_text_model")
    text.refuse("model_type", "is not clip_text_model");
  constexpr std::int64_t widest = 1 << 16;
  c.cross_attention_dim = unet.whole("cross_attention_dim", 1280, 1, widest); // `diffusers`' default
  if (text.whole("hidden_size", 512, 1, widest) != c.cross_attention_dim)
    text.refuse("hidden_size", "is not the UNet's cross_attention_dim, " +
                                   std::to_string(c.cross_attention_dim) + "; do the parts belong together?");
  if (unet.whole("in_channels", 4, 1, widest) != vae.whole("latent_channels", 4, 1, widest))
    unet.refuse("in_channels",
                "is not the VAE's latent_channels: a UNet that takes more than the latents (of the "
                "inpainting and depth models) is not supported");
  auto schedule = read_scheduler(scheduler);
  c.path = std::move(schedule.path);
  c.prediction = agreed(scheduler.string(), schedule.prediction, options.prediction);
  return c;
}

/// Compares the schedule that the original training code keeps in its files.
void require_schedule(const safetensors::file& file, const variance_preserving& path) {
  if (!file.contains("alphas_cumprod")) return;
  const auto& stored = file.at("alphas_cumprod");
  const auto T = static_cast<std::size_t>(path.last());
  bool same = stored.shape == std::vector<std::int64_t>{static_cast<std::int64_t>(T)};
  if (stored.type != safetensors::dtype::f32) return; // halves are too coarse to compare
  for (std::size_t i = 0; same && i < T; ++i) {
    float value = 0.0F;
    std::memcpy(&value, stored.bytes.data() + i * sizeof value, sizeof value);
    same = std::abs(static_cast<double>(value) - path.alpha_bar(static_cast<double>(i + 1))) < 1e-4;
  }
  if (!same)
    throw bad_file(file.name() +
                   ": alphas_cumprod is not Stable Diffusion's schedule (scaled linear, 0.00085 to "
                   "0.012, 1000 steps); convert the checkpoint to a folder, whose scheduler says its own");
}

checkpoint open_single(const fs::path& path, const checkpoint_options& options) {
  const safetensors::file file(path);
  const auto& tensors = file.tensors();
  const auto below = [&](const std::string& prefix) {
    const auto found = tensors.lower_bound(prefix);
    return found != tensors.end() && found->first.starts_with(prefix);
  };
  const std::string only = "; only Stable Diffusion 1.x and 2.x are supported";
  if (below("conditioner.embedders."))
    throw bad_file(path.string() + ": is a Stable Diffusion XL checkpoint" + only);
  if (below("model.diffusion_model.joint_blocks.") || below("joint_blocks."))
    throw bad_file(path.string() + ": is a Stable Diffusion 3 checkpoint" + only);
  if (below("unet.") || below("down_blocks."))
    throw bad_file(path.string() + ": has the names of diffusers; give the folder of the whole checkpoint");
  const bool clip = below("cond_stage_model.transformer."), open_clip = below("cond_stage_model.model.");
  std::string missing;
  for (const auto& [there, part] :
       {std::pair{below("model.diffusion_model."), "the UNet (model.diffusion_model.*)"},
        {below("first_stage_model."), "the VAE (first_stage_model.*)"},
        {clip || open_clip, "the text encoder (cond_stage_model.*)"}})
    if (!there) missing += std::string(missing.empty() ? "" : ", ") + part;
  if (!missing.empty())
    throw bad_file(path.string() + ": parts of the checkpoint are missing: " + missing +
                   "; give a whole checkpoint of the original layout");
  const std::string unet = "model.diffusion_model.";
  const auto& to_k = file.at(unet + "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight").shape;
  const auto& in = file.at(unet + "input_blocks.0.0.weight").shape;
  if (to_k.size() != 2 || (to_k[1] != 768 && to_k[1] != 1024) || (to_k[1] == 768) != clip)
    throw bad_file(path.string() +
                   ": is neither Stable Diffusion 1.x (cross-attention of width 768, CLIP ViT-L) nor 2.x "
                   "(1024, OpenCLIP)");
  if (in.size() != 4 || in[1] != 4)
    throw bad_file(path.string() +
                   ": the UNet does not take 4 channels; the inpainting and depth models, which take "
                   "more than the latents, are not supported");
  checkpoint c;
  c.layout = checkpoint_layout::ldm;
  for (auto* part : {&c.unet, &c.vae, &c.text_encoder}) part->files = {path};
  c.cross_attention_dim = to_k[1];
  c.path = path_of(scaled_linear_betas(0.00085, 0.012, 1000));
  require_schedule(file, c.path);
  const auto said = clip ? std::optional(prediction_type::epsilon) : std::nullopt;
  c.prediction = agreed(path.string(), options.prediction ? std::nullopt : said, options.prediction);
  return c;
}

} // namespace

checkpoint open_checkpoint(const fs::path& path, const checkpoint_options& options) {
  if (is_folder(path)) return open_folder(path, options);
  if (!is_file(path))
    throw bad_file(path.string() + ": there is no such checkpoint, neither a folder nor a file");
  if (is_pickle(path)) throw pickle(path);
  return open_single(path, options);
}

noise_schedule read_scheduler(const fs::path& scheduler_config_json) {
  static const std::set<std::string> classes{"DDIMScheduler",
                                             "DDPMScheduler",
                                             "PNDMScheduler",
                                             "LMSDiscreteScheduler",
                                             "EulerDiscreteScheduler",
                                             "EulerAncestralDiscreteScheduler",
                                             "HeunDiscreteScheduler",
                                             "KDPM2DiscreteScheduler",
                                             "KDPM2AncestralDiscreteScheduler",
                                             "DPMSolverSDEScheduler",
                                             "UniPCMultistepScheduler",
                                             "DPMSolverMultistepScheduler",
                                             "DEISMultistepScheduler",
                                             "LCMScheduler",
                                             "DPMSolverSinglestepScheduler",
                                             "DDIMInverseScheduler"};
  const json_config json(scheduler_config_json);
  if (!classes.count(json.text("_class_name", "DDIMScheduler")))
    json.refuse("_class_name", "is not a scheduler of the variance preserving path with discrete times");
  if (json.has("trained_betas")) json.not_supported("trained_betas");
  for (const char* key : {"rescale_betas_zero_snr", "use_flow_sigmas"})
    if (json.flag(key, false)) json.not_supported(key);
  for (const char* key : {"beta_schedule", "num_train_timesteps"})
    if (!json.has(key)) json.refuse(key, "is needed");
  const auto kind = json.text("beta_schedule", "");
  const auto T = json.whole("num_train_timesteps", 0, 1, 100000);
  const auto beta = [&](const char* key) {
    if (!json.has(key)) json.refuse(key, "is needed");
    return json.number(key, 0.0, 1e-6, 0.999);
  };
  const auto betas = [&] {
    if (kind == "linear") return at::linspace(beta("beta_start"), beta("beta_end"), T, at::kFloat);
    if (kind == "scaled_linear") return scaled_linear_betas(beta("beta_start"), beta("beta_end"), T);
    if (kind == "squaredcos_cap_v2") return cosine_betas(T);
    json.refuse("beta_schedule", "is none of linear, scaled_linear, squaredcos_cap_v2");
  }();
  std::optional<prediction_type> prediction;
  if (json.has("prediction_type")) {
    const auto found = predictions.find(json.text("prediction_type", ""));
    if (found == predictions.end())
      json.refuse("prediction_type", "is none of epsilon, sample, v_prediction");
    prediction = found->second;
  }
  return {path_of(betas), prediction};
}

} // namespace pushforward::libtorch::models
