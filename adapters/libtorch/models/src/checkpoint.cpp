#include <pushforward/libtorch/models/checkpoint.hpp>

#include <pushforward/libtorch/models/autoencoder_tiny.hpp>
#include <pushforward/libtorch/models/sd3_transformer.hpp>
#include <pushforward/libtorch/models/t5_encoder.hpp>
#include <pushforward/safetensors/file.hpp>
#include <pushforward/safetensors/regular_file.hpp>

#include "checkpoint_files.hpp"
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

// what names of the text encoders begin with in a single file of the original layout
const std::string ldm_clip = "cond_stage_model.transformer.";
const std::string ldm_open_clip = "cond_stage_model.model.";

const std::map<std::string, prediction_type> predictions{{"epsilon", prediction_type::epsilon},
                                                         {"sample", prediction_type::sample},
                                                         {"v_prediction", prediction_type::v}};

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

/// Betas of the same shape of schedule whose last abar is 0 (S. Lin et al., "Common diffusion noise schedules
/// and sample steps are flawed", 2024, algorithm 1), as `diffusers`' rescale_zero_terminal_snr. At least two.
at::Tensor rescaled_to_zero_terminal_snr(const at::Tensor& betas) {
  const auto T = betas.size(0);
  const at::Tensor old = (1.0 - betas).cumprod(0).sqrt();
  const at::Tensor roots = (old - old[T - 1]) * (old[0] / (old[0] - old[T - 1]));
  const at::Tensor abar = roots.square();
  return 1.0 - at::cat({abar.narrow(0, 0, 1), abar.narrow(0, 1, T - 1) / abar.narrow(0, 0, T - 1)});
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

bool ends_in_noise(const variance_preserving& path) { return path.alpha_bar(path.last()) == 0.0; }

bool is_flow(const std::optional<prediction_type>& p) {
  return p == prediction_type::flow || p == prediction_type::reverse_flow;
}

/// The prediction of a checkpoint that says `said` (or nothing), under the option.
prediction_type agreed(const std::string& where, std::optional<prediction_type> said,
                       std::optional<prediction_type> asked) {
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

/// Takes the path and the prediction of a flow, which the option alone says.
void take_flow(checkpoint& c, prediction_type asked) {
  c.path = rectified_flow();
  c.prediction = asked;
}

/// Takes the path and the prediction that the checkpoint says, or nothing, under the option.
/// \param where the file that says so
void take_diffusion(const std::string& where, checkpoint& c, const variance_preserving& path,
                    std::optional<prediction_type> said, std::optional<prediction_type> asked) {
  c.path = path;
  c.prediction = agreed(where, said, asked);
  if (c.prediction == prediction_type::epsilon && ends_in_noise(path))
    throw bad_file(where + ": has zero terminal signal-to-noise ratio and predicts epsilon, which says "
                           "nothing of the sample in noise alone; such a network predicts v");
}

checkpoint open_folder(const fs::path& folder, const checkpoint_options& options) {
  if (is_file(folder / "model_index.json")) {
    // any other pipeline's parts say whether they are Stable Diffusion's
    const json_config index(folder / "model_index.json");
    const auto name = index.text("_class_name", "StableDiffusionPipeline");
    if (name.starts_with("StableDiffusion3"))
      index.refuse("_class_name", "is of Stable Diffusion 3, which open_sd3_checkpoint opens");
    const bool transformer = is_folder(folder / "transformer") && !is_folder(folder / "unet");
    if (name.starts_with("StableDiffusionXL") || (transformer && !name.starts_with("StableDiffusion")))
      index.refuse("_class_name",
                   "is of another family: only Stable Diffusion 1.x, 2.x, 3 and 3.5 are supported");
  }
  checkpoint c;
  c.layout = checkpoint_layout::diffusers;
  std::vector<std::string> missing;
  c.unet = part_in(folder / "unet", "diffusion_pytorch_model", options.variant, missing);
  if (!options.without_vae)
    c.vae = part_in(folder / "vae", "diffusion_pytorch_model", options.variant, missing);
  c.text_encoder = part_in(folder / "text_encoder", "model", options.variant, missing);
  const auto scheduler = folder / "scheduler" / "scheduler_config.json";
  std::vector<fs::path> needed;
  if (!is_flow(options.prediction)) needed.push_back(scheduler);
  if (!options.without_tokenizer) {
    c.tokenizer = folder / "tokenizer";
    if (!is_file(*c.tokenizer / "tokenizer.json")) // holds both of the others
      needed.insert(needed.begin(), {*c.tokenizer / "vocab.json", *c.tokenizer / "merges.txt"});
  }
  for (const auto& file : needed)
    if (!is_file(file)) missing.push_back(file.string());
  if (!missing.empty()) {
    for (const auto& name : names_in(folder))
      if (missing.front() == (folder / "unet").string() && is_pickle(name)) throw pickle(folder / name);
    throw bad_file(folder.string() + ": parts of the checkpoint are missing: " + listed(missing) +
                   "; copy the whole folder" +
                   (missing.size() == 1 && missing.front() == (folder / "vae").string()
                        ? ", or take an autoencoder from elsewhere (option vae)"
                        : ""));
  }
  const json_config unet(*c.unet.config), text(*c.text_encoder.config);
  c.unet.class_name = unet.text("_class_name", "UNet2DConditionModel");
  c.text_encoder.class_name = "CLIPTextModel";
  if (c.unet.class_name != "UNet2DConditionModel")
    unet.refuse("_class_name",
                "is not UNet2DConditionModel: only Stable Diffusion 1.x and 2.x are supported");
  if (text.text("model_type", "clip_text_model") != "clip_text_model")
    text.refuse("model_type", "is not clip_text_model");
  constexpr std::int64_t widest = 1 << 16;
  c.cross_attention_dim = unet.whole("cross_attention_dim", 1280, 1, widest); // `diffusers`' default
  if (text.whole("hidden_size", 512, 1, widest) != c.cross_attention_dim)
    text.refuse("hidden_size", "is not the UNet's cross_attention_dim, " +
                                   std::to_string(c.cross_attention_dim) + "; do the parts belong together?");
  std::int64_t latents = unet.whole("out_channels", 4, 1, widest);
  if (!options.without_vae) {
    c.vae.class_name = autoencoder_class(*c.vae.config);
    latents = json_config(*c.vae.config).whole("latent_channels", 4, 1, widest);
  }
  if (unet.whole("in_channels", 4, 1, widest) != latents)
    unet.refuse("in_channels",
                "is not the latents' " + std::to_string(latents) +
                    ": a UNet that takes more than the latents (of the inpainting and depth models) is not "
                    "supported");
  unet_config::read(*c.unet.config);
  clip_text_config::read(*c.text_encoder.config);
  if (is_flow(options.prediction)) {
    take_flow(c, *options.prediction);
    return c;
  }
  auto schedule = read_scheduler(scheduler);
  if (!schedule.prediction && !options.prediction) schedule.prediction = prediction_type::epsilon;
  take_diffusion(scheduler.string(), c, schedule.path, schedule.prediction, options.prediction);
  return c;
}

/// Whether two schedules are the same; `stored` is `alphas_cumprod` in the file.
bool same_schedule(const safetensors::tensor_view& stored, const variance_preserving& path) {
  const auto T = static_cast<std::size_t>(path.last());
  bool same = stored.shape == std::vector<std::int64_t>{static_cast<std::int64_t>(T)};
  for (std::size_t i = 0; same && i < T; ++i) {
    float value = 0.0F;
    std::memcpy(&value, stored.bytes.data() + i * sizeof value, sizeof value);
    same = std::abs(static_cast<double>(value) - path.alpha_bar(static_cast<double>(i + 1))) < 1e-4;
  }
  return same;
}

/// What a single file says of its training beside the networks: marks that community tools write, as tensors
/// or in the metadata.
class marks_of {
public:
  explicit marks_of(const safetensors::file& file) : file_{file} {
    const std::set<std::string> v{"v", "v_prediction", "v-prediction", "v_pred", "vpred"};
    for (const char* key : {"modelspec.prediction_type", "modelspec.predict_key"})
      if (const auto word = metadata(key); !word.empty()) {
        if (v.count(word))
          say(prediction_type::v, key);
        else if (word == "epsilon" || word == "eps")
          say(prediction_type::epsilon, key);
        else if (word == "sample")
          say(prediction_type::sample, key);
        else
          throw bad_file(file.name() + ": its metadata " + key + " is " +
                         nlohmann::json(word.substr(0, 50))
                             .dump(-1, ' ', true, nlohmann::json::error_handler_t::replace) +
                         ", which is none of epsilon, sample, v: only Stable Diffusion 1.x and 2.x are "
                         "supported");
      }
    if (there("v_pred")) say(prediction_type::v, "v_pred");
    for (const char* key : {"ztsnr", "ss_zero_terminal_snr"})
      if (there(key)) mark_ = key;
  }

  /// The mark of zero terminal signal-to-noise ratio, or null.
  const char* zero_terminal_snr() const { return mark_; }
  /// \throws bad_file for marks that contradict each other
  std::optional<prediction_type> prediction() const {
    if (said_.size() > 1)
      throw bad_file(file_.name() + ": contradicts itself: " + said_.begin()->second + " says " +
                     std::string(name_of(said_.begin()->first)) + ", " + said_.rbegin()->second + " says " +
                     std::string(name_of(said_.rbegin()->first)) + "; correct the file's metadata");
    return said_.empty() ? std::nullopt : std::optional(said_.begin()->first);
  }

private:
  std::string metadata(const std::string& key) const {
    const auto found = file_.metadata().find(key);
    std::string word = found == file_.metadata().end() ? "" : found->second;
    for (char& c : word)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return word;
  }
  bool there(const std::string& key) const {
    const std::set<std::string> off{"", "0", "false", "no", "none", "null"};
    return file_.contains(key) || file_.contains(original_network + key) || !off.count(metadata(key));
  }
  void say(prediction_type type, const char* key) { said_.emplace(type, key); }

  const safetensors::file& file_;
  std::map<prediction_type, std::string> said_; // and where
  const char* mark_ = nullptr;
};

checkpoint open_single(const fs::path& path, const checkpoint_options& options) {
  const safetensors::file file(path);
  const auto below = [&](const std::string& prefix) { return holds_below(file, prefix); };
  const std::string only = "; only Stable Diffusion 1.x and 2.x are supported";
  if (below("conditioner.embedders."))
    throw bad_file(path.string() + ": is a Stable Diffusion XL checkpoint" + only);
  if (below("model.diffusion_model.joint_blocks.") || below("joint_blocks."))
    throw bad_file(path.string() + ": is a Stable Diffusion 3 checkpoint, which open_sd3_checkpoint opens");
  if (below("unet.") || below("down_blocks.") || below("transformer_blocks."))
    throw bad_file(path.string() + ": has the names of diffusers; give the folder of the whole checkpoint");
  const bool clip = below(ldm_clip), open_clip = below(ldm_open_clip);
  std::vector<std::string> missing;
  for (const auto& [there, part] :
       {std::pair{below(original_network), "the UNet (model.diffusion_model.*)"},
        {below(original_vae) || options.without_vae,
         "the VAE (first_stage_model.*), which the option vae can take from elsewhere"},
        {clip || open_clip, "the text encoder (cond_stage_model.*)"}})
    if (!there) missing.push_back(part);
  if (!missing.empty())
    throw bad_file(path.string() + ": parts of the checkpoint are missing: " + listed(missing) +
                   "; give a whole checkpoint of the original layout");
  const auto& to_k =
      file.at(original_network + "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight").shape;
  const auto& in = file.at(original_network + "input_blocks.0.0.weight").shape;
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
  c.unet = part_of_file("UNet2DConditionModel", path, original_network);
  if (!options.without_vae) c.vae = part_of_file("AutoencoderKL", path, original_vae);
  c.text_encoder = part_of_file("CLIPTextModel", path, clip ? ldm_clip : ldm_open_clip);
  c.cross_attention_dim = to_k[1];

  if (is_flow(options.prediction)) {
    take_flow(c, *options.prediction);
    return c;
  }
  const marks_of marks(file);
  auto said = marks.prediction();
  const auto betas = scaled_linear_betas(0.00085, 0.012, 1000);
  const auto rescaled = path_of(rescaled_to_zero_terminal_snr(betas));
  const bool keeps_schedule = file.contains("alphas_cumprod") && // halves are too coarse to compare
                              file.at("alphas_cumprod").type == safetensors::dtype::f32;
  const bool keeps_rescaled = keeps_schedule && same_schedule(file.at("alphas_cumprod"), rescaled);
  // the marks count, as schedules that training rescaled are not always kept so
  const auto schedule = marks.zero_terminal_snr() || keeps_rescaled ? rescaled : path_of(betas);
  if (keeps_schedule && !keeps_rescaled && !same_schedule(file.at("alphas_cumprod"), path_of(betas)))
    throw bad_file(file.name() +
                   ": alphas_cumprod is not Stable Diffusion's schedule (scaled linear, 0.00085 to "
                   "0.012, 1000 steps); convert the checkpoint to a folder, whose scheduler says its own");
  if (!said && ends_in_noise(schedule)) said = prediction_type::v;
  if (!said && !options.prediction && clip) said = prediction_type::epsilon;
  take_diffusion(path.string(), c, schedule, said, options.prediction);
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

checkpoint_part open_autoencoder(const fs::path& path, const std::string& variant) {
  if (is_folder(path)) {
    if (is_folder(path / "vae") && !is_file(path / "config.json")) // a whole checkpoint
      return open_autoencoder(path / "vae", variant);
    std::vector<std::string> missing;
    auto part = part_in(path, "diffusion_pytorch_model", variant, missing);
    if (!missing.empty())
      throw bad_file(path.string() + ": is no folder of an autoencoder: it lacks " + listed(missing) +
                     " (or, of TAESD, encoder.safetensors and decoder.safetensors)");
    part.class_name = autoencoder_class(*part.config);
    return part;
  }
  if (!is_file(path)) throw bad_file(path.string() + ": there is no such autoencoder");
  if (is_pickle(path)) throw pickle(path);
  const safetensors::file file(path);
  for (const auto& prefix : {original_vae, std::string()})
    if (file.contains(prefix + "decoder.mid.block_1.conv1.weight"))
      return part_of_file("AutoencoderKL", path, prefix);
  checkpoint_part part;
  part.files = {path};
  if (file.contains("decoder.mid_block.resnets.0.conv1.weight")) part.class_name = "AutoencoderKL";
  if (file.contains("decoder.layers.0.weight")) part.class_name = "AutoencoderTiny";
  if (part.class_name.empty())
    throw bad_file(path.string() +
                   ": holds no autoencoder that is supported (AutoencoderKL in diffusers' or the original "
                   "names, AutoencoderTiny in diffusers'; TAESD's pair of files is given by their folder)");
  const auto beside = path.parent_path() / "config.json";
  if (is_file(beside) && json_config(beside).text("_class_name", "") == part.class_name) {
    autoencoder_class(beside);
    part.config = beside;
  }
  return part;
}

namespace {

/// Of a folder what its config.json says, of a single file what names and shapes tell.
template <class Config> Config config_of(const checkpoint_part& part) {
  return part.config ? Config::read(*part.config)
                     : Config::told_by(weights(part.files, {}).below(part.prefix));
}

/// The names of a file that has something in front of each.
naming after(const std::string& prefix) {
  return [prefix](const std::string& name) -> stored_at { return {prefix + name}; };
}

} // namespace

unet_config unet_config_of(const checkpoint_part& part) { return config_of<unet_config>(part); }

autoencoder_kl_config autoencoder_kl_config_of(const checkpoint_part& part) {
  return config_of<autoencoder_kl_config>(part);
}

autoencoder_tiny_config autoencoder_tiny_config_of(const checkpoint_part& part) {
  return config_of<autoencoder_tiny_config>(part);
}

clip_text_config clip_text_config_of(const checkpoint_part& part) {
  return config_of<clip_text_config>(part);
}

sd3_transformer_config sd3_transformer_config_of(const checkpoint_part& part) {
  return config_of<sd3_transformer_config>(part);
}

t5_config t5_config_of(const checkpoint_part& part) { return config_of<t5_config>(part); }

weights weights_of(const checkpoint_part& part, const placement& where) {
  if (part.layout == checkpoint_layout::diffusers) return {part.files, where};
  if (part.class_name == "UNet2DConditionModel")
    return {part.files, where, ldm_unet_names(unet_config_of(part))};
  if (part.class_name == "SD3Transformer2DModel")
    return {part.files, where, original_sd3_transformer_names(sd3_transformer_config_of(part))};
  if (part.class_name == "AutoencoderKL")
    return {part.files, where, ldm_autoencoder_names(autoencoder_kl_config_of(part), part.prefix)};
  return {part.files, where,
          part.prefix == ldm_open_clip ? open_clip_text_names(part.prefix) : after(part.prefix)};
}

void check_weights(const checkpoint_part& part) {
  const auto shapes = weights_of(part, {at::kFloat, at::kMeta});
  if (part.class_name == "UNet2DConditionModel")
    unet(unet_config_of(part), shapes);
  else if (part.class_name == "SD3Transformer2DModel")
    sd3_transformer(sd3_transformer_config_of(part), shapes);
  else if (part.class_name == "T5EncoderModel")
    t5_encoder(t5_config_of(part), shapes);
  else if (part.class_name.starts_with("CLIPTextModel"))
    clip_text(clip_text_config_of(part), shapes);
  else if (part.class_name == "AutoencoderTiny")
    autoencoder_tiny(autoencoder_tiny_config_of(part), shapes);
  else
    autoencoder_kl(autoencoder_kl_config_of(part), shapes);
  // what a configuration leaves out would be missing in silence; fewer layers of CLIP are asked for on
  // purpose
  const std::string blocks = part.class_name == "SD3Transformer2DModel" ? "transformer_blocks."
                             : part.class_name == "T5EncoderModel"      ? "encoder.block."
                                                                        : "";
  if (!part.config || blocks.empty()) return;
  for (const auto& name : shapes.untaken())
    if (name.starts_with(blocks))
      throw bad_file(part.config->string() + ": does not ask for " + name + ", which " +
                     part.files.front().string() + " has; do the two belong together?");
}

noise_schedule read_scheduler(const fs::path& scheduler_config_json) {
  struct defaults {
    double beta_start = 1e-4, beta_end = 0.02;
    const char* beta_schedule = "linear";
  };
  static const std::map<std::string, defaults> classes{{"DDIMScheduler", {}},
                                                       {"DDIMInverseScheduler", {}},
                                                       {"DDIMParallelScheduler", {}},
                                                       {"DDPMScheduler", {}},
                                                       {"DDPMParallelScheduler", {}},
                                                       {"PNDMScheduler", {}},
                                                       {"LMSDiscreteScheduler", {}},
                                                       {"EulerDiscreteScheduler", {}},
                                                       {"EulerAncestralDiscreteScheduler", {}},
                                                       {"UniPCMultistepScheduler", {}},
                                                       {"DPMSolverMultistepScheduler", {}},
                                                       {"DPMSolverSinglestepScheduler", {}},
                                                       {"DEISMultistepScheduler", {}},
                                                       {"SASolverScheduler", {}},
                                                       {"HeunDiscreteScheduler", {0.00085, 0.012}},
                                                       {"KDPM2DiscreteScheduler", {0.00085, 0.012}},
                                                       {"KDPM2AncestralDiscreteScheduler", {0.00085, 0.012}},
                                                       {"DPMSolverSDEScheduler", {0.00085, 0.012}},
                                                       {"LCMScheduler", {0.00085, 0.012, "scaled_linear"}},
                                                       {"TCDScheduler", {0.00085, 0.012, "scaled_linear"}}};
  const json_config json(scheduler_config_json);
  const auto found_class = classes.find(json.text("_class_name", "DDIMScheduler"));
  if (found_class == classes.end())
    json.refuse("_class_name", "is not a scheduler of the variance preserving path with discrete times");
  const defaults& standard = found_class->second;
  if (json.flag("use_flow_sigmas", false)) json.not_supported("use_flow_sigmas");
  json.only("timestep_type", "discrete");
  const auto T = json.whole("num_train_timesteps", 1000, 1, 100000);
  const auto first = json.number("beta_start", standard.beta_start, 1e-6, 0.999);
  const auto last = json.number("beta_end", standard.beta_end, 1e-6, 0.999);
  const auto kind = json.text("beta_schedule", standard.beta_schedule);
  const auto trained = json.numbers("trained_betas", {});
  const bool zero_terminal_snr = json.flag("rescale_betas_zero_snr", false);
  const auto betas = [&] {
    if (json.has("trained_betas")) {
      if (static_cast<std::int64_t>(trained.size()) != T)
        json.refuse("trained_betas", "has not num_train_timesteps entries, " + std::to_string(T));
      if (std::any_of(trained.begin(), trained.end(), [](double b) { return !(b >= 1e-6 && b <= 0.999); }))
        json.refuse("trained_betas", "has an entry that is not from 1e-06 to 0.999");
      return at::tensor(trained, at::kFloat);
    }
    if (kind == "linear") return at::linspace(first, last, T, at::kFloat);
    if (kind == "scaled_linear") return scaled_linear_betas(first, last, T);
    if (kind == "squaredcos_cap_v2") return cosine_betas(T);
    json.refuse("beta_schedule", "is none of linear, scaled_linear, squaredcos_cap_v2");
  }();
  if (zero_terminal_snr && T < 2) json.refuse("num_train_timesteps", "is too few to be rescaled");
  noise_schedule schedule{path_of(betas), {}};
  if (const double left = schedule.path.at(schedule.path.last()).a; left < 1e-6) {
    const char* key = json.has("trained_betas") ? "trained_betas"
                      : T > 1000                ? "num_train_timesteps"
                                                : "beta_end";
    json.refuse(key, "leaves " + nlohmann::json(left).dump() + " of the sample at the last of " +
                         std::to_string(T) +
                         " times, from which nothing can be computed: fewer times, or "
                         "smaller betas, are needed");
  }
  if (zero_terminal_snr) schedule.path = path_of(rescaled_to_zero_terminal_snr(betas));
  if (json.has("prediction_type")) {
    const auto found = predictions.find(json.text("prediction_type", ""));
    if (found == predictions.end())
      json.refuse("prediction_type", "is none of epsilon, sample, v_prediction");
    schedule.prediction = found->second;
  } else if (!json.flag("predict_epsilon", true)) {
    schedule.prediction = prediction_type::sample; // as the key was called at first
  }
  return schedule;
}

} // namespace pushforward::libtorch::models
