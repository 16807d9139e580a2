#include "model.hpp"

#include "family.hpp"
#include "free_memory.hpp"
#include "loading.hpp"
#include "pictures.hpp"

#include <common/command_line.hpp>
#include <common/console.hpp>
#include <common/device.hpp>

#include <pushforward/error.hpp>
#include <pushforward/libtorch/models/autoencoder_kl.hpp>
#include <pushforward/libtorch/models/autoencoder_tiny.hpp>
#include <pushforward/libtorch/models/checkpoint.hpp>
#include <pushforward/libtorch/models/clip_text.hpp>
#include <pushforward/libtorch/models/clip_tokenizer.hpp>
#include <pushforward/safetensors/file.hpp>
#include <pushforward/safetensors/regular_file.hpp>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include <malloc.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <map>
#include <vector>

namespace stable_diffusion {

namespace fs = std::filesystem;
namespace models = pushforward::libtorch::models;
using pushforward::bad_file;
using pushforward::bad_option;
using json = nlohmann::ordered_json;

namespace {

const std::map<std::string, c10::ScalarType>& types() {
  static const std::map<std::string, c10::ScalarType> all{
      {"float32", at::kFloat}, {"bfloat16", at::kBFloat16}, {"float16", at::kHalf}};
  return all;
}

std::string device_list() {
  std::string list =
      "cpu (" + examples::counted(static_cast<std::uint64_t>(at::get_num_threads()), "thread", "threads") +
      ")\n";
  for (int i = 0; i < examples::cuda_devices(); ++i) list += "cuda:" + std::to_string(i) + "\n";
  if (!at::hasCUDA())
    list += "no CUDA device: this build has no CUDA in its libtorch (see README, \"On a GPU\")\n";
  else if (examples::cuda_devices() == 0)
    list += "no CUDA device: libtorch has CUDA, but finds no driver or no GPU\n";
  return list;
}

/// Has glibc keep what operators free for the next ones, which would wait for new pages else.
void keep_freed_memory() {
  ::malloc_trim(0);                     // but not what loading left
  ::mallopt(M_MMAP_THRESHOLD, 1 << 25); // the most that glibc takes
  ::mallopt(M_TRIM_THRESHOLD, 1 << 29);
}

pushforward::libtorch::differentiable_decoder maps_of(const auto& network, const models::placement& where) {
  return pushforward::libtorch::differentiable_decoder(
      [network](const at::Tensor& z) { return network.decode(z); },
      [network](const at::Tensor& image) { return network.encode(image); },
      pushforward::libtorch::decoder_options{where.type, where.device});
}

void require_no_overflow(const models::autoencoder_kl_config& config, c10::ScalarType type) {
  if (type == at::kHalf && config.force_upcast)
    throw bad_option(
        "the autoencoder overflows in float16 (force_upcast): leave --vae-dtype at float32 or bfloat16");
}

autoencoder kl(const models::autoencoder_kl_config& config, const models::weights& w) {
  require_no_overflow(config, w.where().type);
  return {maps_of(models::autoencoder_kl(config, w), w.where()), config.scale(), config.latent_channels};
}

autoencoder tiny(const models::autoencoder_tiny& network, const models::placement& where) {
  return {maps_of(network, where), network.factor(), network.config().latent_channels};
}

autoencoder autoencoder_of(const models::checkpoint_part& part, const models::placement& where) {
  require_room(part, where, "the autoencoder");
  const auto weights = stoppable_weights(part, where);
  if (part.class_name != "AutoencoderTiny") return kl(models::autoencoder_kl_config_of(part), weights);
  return tiny({models::autoencoder_tiny_config_of(part), weights}, where);
}

/// Scale and channels of the autoencoder that a run takes, whose files were looked through.
std::pair<std::int64_t, std::int64_t> latents_of(const model_arguments& a,
                                                 const models::checkpoint_part& own) {
  if (!a.vae.empty() && pushforward::safetensors::is_there(a.vae / "encoder.safetensors")) {
    const auto small = read_autoencoder(a.vae, {"cpu"}); // some megabytes, whose names and shapes say it
    return {small.scale, small.channels};
  }
  const auto part = a.vae.empty() ? own : models::open_autoencoder(a.vae);
  require_room(part, placement_of(a.vae_placement, a.unet.device), "the autoencoder");
  models::check_weights(part);
  if (part.class_name == "AutoencoderTiny") {
    const auto config = models::autoencoder_tiny_config_of(part);
    return {std::int64_t{1} << (config.num_encoder_blocks.size() - 1), config.latent_channels};
  }
  const auto config = models::autoencoder_kl_config_of(part);
  require_no_overflow(config, a.vae_placement.type);
  return {config.scale(), config.latent_channels};
}

/// Whether the network takes the latents of the autoencoder.
void require_agreement(const opened_checkpoint& c, std::int64_t channels, const model_arguments& a) {
  if (c.channels() == channels) return;
  throw bad_option(c.network().name + " of " + a.checkpoint.string() + " takes latents of " +
                   examples::counted(static_cast<std::uint64_t>(c.channels()), "channel", "channels") +
                   ", but those of " + (a.vae.empty() ? "its autoencoder" : "--vae " + a.vae.string()) +
                   " have " + std::to_string(channels) + ": they do not belong together");
}

} // namespace

std::string to_string(c10::ScalarType type) {
  for (const auto& [word, meaning] : types())
    if (meaning == type) return word;
  return c10::toString(type);
}

void require_memory(double bytes, double available, const std::string& what) {
  if (bytes <= available) return;
  throw bad_option(
      what + " needs " + megabytes(bytes) + " of memory, but " + megabytes(available) +
      " are free: close other programs, or choose a smaller type (--dtype bfloat16, --vae-dtype, "
      "--text-dtype)");
}

void add_model_options(CLI::App& app, model_arguments& a) {
  const std::string group = "Model";
  examples::add_name(app, "--model", a.checkpoint,
                     "checkpoint: a folder as diffusers writes it, or a single .safetensors file")
      ->required()
      ->group(group);
  examples::add_name(
      app, "--vae", a.vae,
      "another autoencoder: a folder as diffusers writes it (AutoencoderKL, AutoencoderTiny), a "
      "single .safetensors file, or the folder of TAESD's encoder and decoder.safetensors")
      ->group(group);
  examples::add_name(app, "--tokenizer", a.tokenizer,
                     "for a single file, of a checkpoint of the same version: folder with vocab.json and "
                     "merges.txt; of Stable "
                     "Diffusion 3 with tokenizer, tokenizer_2, tokenizer_3 [its own folder]")
      ->group(group);
  examples::add_name(app, "--text-encoders", a.text_encoders,
                     "for a single file of Stable Diffusion 3 without them: folder with clip_l, clip_g and "
                     "t5xxl.safetensors [text_encoders beside it]")
      ->group(group);
  app.add_flag("--without-t5", a.without_t5,
               "of Stable Diffusion 3: leaves its largest text encoder out, as the model allows")
      ->group(group);
  examples::add_number(app, "--t5-tokens", a.t5_tokens, examples::whole_numbers{1, 512},
                       "length that T5's prompts are padded to, which it sees [256, as in diffusers]")
      ->group(group);
  examples::add_name(app, "--variant", a.variant, "of the files in a folder: fp16 takes *.fp16.safetensors")
      ->group(group);
  app.add_option_function<std::string>(
         "--prediction",
         [&a](const std::string& word) {
           try {
             a.prediction = pushforward::prediction_named(word);
           } catch (const bad_option&) {
             throw CLI::ValidationError("--prediction",
                                        examples::shown(word) +
                                            " is not one of epsilon, sample, v, flow, reverse_flow");
           }
         },
         "what the UNet predicts, where the checkpoint does not say: epsilon, sample, v; of a rectified flow "
         "flow, or reverse_flow (InstaFlow), which no checkpoint of Stable Diffusion 1.x's network says")
      ->type_name("WORD")
      ->group(group);
  examples::add_name(app, "--device", a.unet.device, "where the networks run: cpu, cuda, cuda:N")
      ->capture_default_str()
      ->group(group);
  examples::add_choice(app, "--dtype", a.unet.type, types(), "type the denoising network computes in", group);
  examples::add_name(app, "--vae-device", a.vae_placement.device, "where the autoencoder runs [as --device]")
      ->group(group);
  examples::add_choice(app, "--vae-dtype", a.vae_placement.type, types(), "type of the autoencoder", group);
  examples::add_name(app, "--text-device", a.text.device, "where the text encoders run [as --device]")
      ->group(group);
  examples::add_choice(app, "--text-dtype", a.text.type, types(), "type of the text encoders", group);
  app.add_flag_callback(
         "--list-devices",
         [] {
           std::cout << device_list();
           throw CLI::Success();
         },
         "lists the devices and ends")
      ->trigger_on_parse()
      ->group(group);
  examples::add_choice<time_convention>(
      app, "--time-convention", a.time,
      {{"usual", time_convention::usual}, {"reference", time_convention::reference}},
      "what the UNet is fed at time t of a diffusion; usual: t - 1, as it was trained; reference: t, as the "
      "published notebooks",
      group);
  const std::string prompt = "Prompt";
  examples::add_text(app, "--prompt", a.prompt, "what the picture shows [nothing]")->group(prompt);
  examples::add_text(app, "--negative-prompt", a.negative_prompt, "what guidance leads away from [nothing]")
      ->group(prompt);
  examples::add_number(app, "--guidance", a.guidance, examples::numbers{.least = -1000.0, .most = 1000.0},
                       "classifier-free guidance; see --guidance-convention [" +
                           (a.guidance ? pushforward::detail::text_of(*a.guidance)
                                       : "1; with a prompt 4.5 of Stable Diffusion 3") +
                           "]")
      ->group(prompt);
  using pushforward::guidance_convention;
  examples::add_choice<guidance_convention>(
      app, "--guidance-convention", a.convention,
      {{"usual", guidance_convention::usual}, {"reference", guidance_convention::reference}},
      "usual: 1 is none, as in diffusers; reference: 0 is none, one less", prompt);
}

void check_model_options(const CLI::App& app, const model_arguments& a) {
  if (!examples::given(app, "--guidance"))
    examples::refuse_given(app, {"--guidance-convention"},
                           "without --guidance, which it explains: pass both");
  if (!is_guided(a))
    examples::refuse_given(app, {"--negative-prompt"}, "without guidance: pass --guidance, too");
  if (std::error_code none; fs::is_regular_file(a.checkpoint, none))
    examples::refuse_given(app, {"--variant"}, "on a single file, which has no variants: leave it out");
}

double guidance_scale(const model_arguments& a) {
  if (!a.guidance) return standard_guidance(a);
  return a.convention == pushforward::guidance_convention::usual ? *a.guidance : 1.0 + *a.guidance;
}

bool is_guided(const model_arguments& a) { return guidance_scale(a) != 1.0; }

double resolution_of(c10::ScalarType type) {
  return type == at::kHalf ? 0x1p-10 : type == at::kBFloat16 ? 0x1p-7 : 0x1p-23;
}

void require_felt(double probe, c10::ScalarType type, const std::string& option,
                  const std::string& type_option) {
  // half the distance of two neighbours is rounded away
  if (const double least = resolution_of(type) / 2.0; probe != 0.0 && probe < least)
    throw bad_option(option + " " + pushforward::detail::text_of(probe) + " rounds to nothing in " +
                     to_string(type) + " (" + type_option + "): it must be at least " +
                     pushforward::detail::text_of(least) + " there");
}

model_outline outline_of(const model_arguments& a) {
  for (const auto& [option, path] : {std::pair("--model", a.checkpoint), {"--vae", a.vae}})
    if (is_picture(path))
      throw bad_file(std::string(option) + ": " + path.string() +
                     " is a picture, and no checkpoint: give a folder as diffusers writes it, or a "
                     ".safetensors file");
  for (const auto& [option, part] :
       {std::pair("--device", a.unet), {"--vae-device", a.vae_placement}, {"--text-device", a.text}})
    examples::as_option(option, [&, &where = part] { return placement_of(where, a.unet.device); });
  const auto c = opened(a);
  auto parts = c->text_encoders();
  parts.push_back(c->network());
  for (const auto& part : parts)
    if (part.whole) require_room(part.files, placement_of(part.where, a.unet.device), part.name);
  const auto [scale, channels] = latents_of(a, c->vae());
  for (const auto& part : parts) models::check_weights(part.files);
  require_agreement(*c, channels, a);
  c->require_agreement();
  return {c->path(), scale, channels, scale * c->patch(), scale * c->largest_side()};
}

autoencoder read_autoencoder(const fs::path& path, const part_placement& part) {
  const auto where = placement_of(part, "cpu");
  if (pushforward::safetensors::is_there(path / "encoder.safetensors"))
    return tiny(models::autoencoder_tiny::from_original(path / "encoder.safetensors",
                                                        path / "decoder.safetensors", where),
                where);
  return autoencoder_of(models::open_autoencoder(path), where);
}

latent_model::latent_model(const model_arguments& a, const std::function<void(const std::string&)>& tell)
    : path_{pushforward::variance_preserving::scaled_linear()}, device_{device_named(a.unet.device)} {
  const c10::NoGradGuard no_grad;
  const auto c = opened(a);
  path_ = c->path();
  patch_ = c->patch();
  const auto where = placement_of(a.unet, a.unet.device);
  if (!is_guided(a) && !a.negative_prompt.empty())
    throw bad_option("a negative prompt says nothing without guidance: pass --guidance, too");

  c->read_prompts(tell);
  tell("autoencoder");
  auto vae = a.vae_placement;
  if (vae.device.empty()) vae.device = a.unet.device;
  autoencoder_ = a.vae.empty() ? autoencoder_of(c->vae(), placement_of(vae, a.unet.device))
                               : read_autoencoder(a.vae, vae);
  require_agreement(*c, autoencoder_->channels, a);
  tell(c->network().name.substr(4)); // without "the"
  denoiser_.emplace(c->load(where));
  facts_ = {{"checkpoint", examples::name_of(a.checkpoint)},
            {"prediction", name_of(c->prediction())},
            {"prompt", a.prompt},
            {"negative_prompt", a.negative_prompt},
            {"guidance", guidance_scale(a)},
            {"device", a.unet.device},
            {"dtype", to_string(where.type)},
            {"vae_dtype", to_string(vae.type)},
            {"threads", at::get_num_threads()}};
  c->describe(facts_);
  if (!a.vae.empty()) facts_["vae"] = examples::name_of(a.vae);
  keep_freed_memory();
}

at::Tensor latent_model::latents(std::int64_t n, std::int64_t height, std::int64_t width) const {
  if (height % multiple() || width % multiple())
    throw bad_option("pictures must have sides that are multiples of " + std::to_string(multiple()) +
                     ", not " + std::to_string(height) + " x " + std::to_string(width));
  return at::zeros({n, autoencoder_->channels, height / scale(), width / scale()},
                   at::TensorOptions().dtype(at::kFloat).device(device_));
}

at::Tensor latent_model::encode(const at::Tensor& images) const {
  const at::Tensor z = vae().encode(images.to(device_, at::kFloat));
  if (!at::isfinite(z).all().item<bool>())
    throw pushforward::error(
        "the autoencoder makes latents of the picture that are not finite: try --vae-dtype "
        "float32, or another --vae");
  return z;
}

at::Tensor latent_model::decode(const at::Tensor& latents) const {
  return vae().decode(latents).to(at::kCPU, at::kFloat).contiguous();
}

} // namespace stable_diffusion
