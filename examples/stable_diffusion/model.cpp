#include "model.hpp"

#include "free_memory.hpp"
#include "pictures.hpp"

#include <common/command_line.hpp>
#include <common/console.hpp>

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
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/GradMode.h>

#include <malloc.h>

#include <algorithm>
#include <charconv>
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

int cuda_devices() { return at::hasCUDA() ? at::detail::getCUDAHooks().getNumGPUs() : 0; }

std::string device_list() {
  std::string list =
      "cpu (" + examples::counted(static_cast<std::uint64_t>(at::get_num_threads()), "thread", "threads") +
      ")\n";
  for (int i = 0; i < cuda_devices(); ++i) list += "cuda:" + std::to_string(i) + "\n";
  if (!at::hasCUDA())
    list += "no CUDA device: this build has no CUDA in its libtorch (see README, \"On a GPU\")\n";
  else if (cuda_devices() == 0)
    list += "no CUDA device: libtorch has CUDA, but finds no driver or no GPU\n";
  return list;
}

/// Throws where the tensors of a part do not fit into the memory that is free, as `type`.
void require_room(const models::checkpoint_part& part, const models::placement& where,
                  const std::string& what) {
  if (where.device != at::kCPU) return;
  double bytes = 0.0;
  for (const auto& path : part.files) {
    const pushforward::safetensors::file file(path);
    for (const auto& [name, tensor] : file.tensors())
      if (name.starts_with(part.prefix))
        bytes += 8.0 * static_cast<double>(tensor.bytes.size()) /
                 static_cast<double>(pushforward::safetensors::bits_of(tensor.type)) *
                 static_cast<double>(c10::elementSize(where.type));
  }
  require_memory(bytes, free_memory(), what);
}

/// Has glibc keep what operators free for the next ones, which would wait for new pages else.
void keep_freed_memory() {
  ::malloc_trim(0);                     // but not what loading left
  ::mallopt(M_MMAP_THRESHOLD, 1 << 25); // the most that glibc takes
  ::mallopt(M_TRIM_THRESHOLD, 1 << 29);
}

models::placement placement_of(const part_placement& part, const std::string& standard) {
  return {part.type, device_named(part.device.empty() ? standard : part.device)};
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

/// Its weights, which Ctrl-C keeps from being loaded to their end.
models::weights stoppable_weights(const models::checkpoint_part& part, const models::placement& where) {
  return models::weights_of(part, where).watched(examples::stop_if_interrupted);
}

models::autoencoder_tiny_config tiny_config_of(const models::checkpoint_part& part) {
  return part.config ? models::autoencoder_tiny_config::read(*part.config)
                     : models::autoencoder_tiny_config{};
}

autoencoder autoencoder_of(const models::checkpoint_part& part, const models::placement& where) {
  require_room(part, where, "the autoencoder");
  const auto weights = stoppable_weights(part, where);
  if (part.class_name != "AutoencoderTiny") return kl(models::autoencoder_kl_config_of(part), weights);
  return tiny({tiny_config_of(part), weights}, where);
}

/// Scale and channels of the autoencoder that a run takes, whose files were looked through.
std::pair<std::int64_t, std::int64_t> latents_of(const model_arguments& a, const models::checkpoint& c) {
  if (!a.vae.empty() && pushforward::safetensors::is_there(a.vae / "encoder.safetensors")) {
    const auto small = read_autoencoder(a.vae, {"cpu"}); // some megabytes, whose names and shapes say it
    return {small.scale, small.channels};
  }
  const auto part = a.vae.empty() ? c.vae : models::open_autoencoder(a.vae);
  require_room(part, placement_of(a.vae_placement, a.unet.device), "the autoencoder");
  models::check_weights(part);
  if (part.class_name == "AutoencoderTiny") {
    const auto config = tiny_config_of(part);
    return {std::int64_t{1} << (config.num_encoder_blocks.size() - 1), config.latent_channels};
  }
  const auto config = models::autoencoder_kl_config_of(part);
  require_no_overflow(config, a.vae_placement.type);
  return {config.scale(), config.latent_channels};
}

models::clip_text text_encoder_of(const models::checkpoint& c, const models::placement& where) {
  require_room(c.text_encoder, where, "the text encoder");
  return {models::clip_text_config_of(c.text_encoder), stoppable_weights(c.text_encoder, where)};
}

models::unet unet_of(const models::checkpoint& c, const models::placement& where) {
  require_room(c.unet, where, "the UNet");
  return {models::unet_config_of(c.unet), stoppable_weights(c.unet, where)};
}

/// Which tokenizer the networks were trained with. Those of 1.x and 2.x differ in what they pad with: the end
/// token, or "!", whose id is 0.
std::string needed_tokenizer(const models::checkpoint& c) {
  return std::string("the tokenizer folder of a Stable Diffusion ") +
         (c.cross_attention_dim == 1024 ? "2.x checkpoint, whose tokenizer_config.json and "
                                          "special_tokens_map.json say that it pads with \"!\""
                                        : "1.x checkpoint, which pads with the end token");
}

/// A single file holds no tokenizer.
void require_tokenizer(const models::checkpoint& c, const model_arguments& a) {
  if (!c.tokenizer && a.tokenizer.empty())
    throw bad_option(a.checkpoint.string() + ": a single file holds no tokenizer; pass --tokenizer with " +
                     needed_tokenizer(c));
}

models::clip_tokenizer tokenizer_of(const models::checkpoint& c, const model_arguments& a) {
  require_tokenizer(c, a);
  if (c.tokenizer) return models::clip_tokenizer(*c.tokenizer);
  models::clip_tokenizer tokenizer(a.tokenizer);
  const auto pad = c.cross_attention_dim == 1024 ? 0 : tokenizer.end();
  if (c.layout == models::checkpoint_layout::ldm && tokenizer.pad() != pad)
    throw bad_option(a.tokenizer.string() + ": pads with another token than " + a.checkpoint.string() +
                     " was trained with; pass " + needed_tokenizer(c));
  return tokenizer;
}

/// Whether the UNet takes the latents of the autoencoder.
void require_agreement(const models::unet_config& unet, std::int64_t channels, const model_arguments& a) {
  if (unet.in_channels == channels) return;
  throw bad_option("the UNet of " + a.checkpoint.string() + " takes latents of " +
                   examples::counted(static_cast<std::uint64_t>(unet.in_channels), "channel", "channels") +
                   ", but those of " + (a.vae.empty() ? "its autoencoder" : "--vae " + a.vae.string()) +
                   " have " + std::to_string(channels) + ": they do not belong together");
}

/// Whether the text encoder takes what the tokenizer makes of the prompts.
void require_agreement(const models::clip_text_config& text, const models::clip_tokenizer& tokenizer,
                       const model_arguments& a, const models::checkpoint& c) {
  const std::string where = (c.tokenizer ? *c.tokenizer : a.tokenizer).string();
  if (tokenizer.length() > text.max_position_embeddings)
    throw bad_file(where + ": makes sequences of " + std::to_string(tokenizer.length()) +
                   " tokens (model_max_length in tokenizer_config.json), but the text encoder takes " +
                   std::to_string(text.max_position_embeddings) + "; do they belong together?");
  const auto ids = tokenizer({a.prompt, a.negative_prompt});
  if (const auto most = ids.max().item<std::int64_t>(); most >= text.vocab_size)
    throw bad_file(where + ": makes the id " + std::to_string(most) + ", but the text encoder knows " +
                   std::to_string(text.vocab_size) + " tokens; do they belong together?");
}

/// The path, whose times are those that the network is fed under the convention that was chosen.
examples::any_path path_of(const models::checkpoint& c, const model_arguments& a) {
  const auto* diffusion = std::get_if<pushforward::variance_preserving>(&c.path);
  if (a.time == time_convention::usual) return {c.path};
  if (!diffusion)
    throw bad_option("--time-convention reference is of diffusion models; a flow is fed 1000 times its time: "
                     "leave it out");
  return {diffusion->with_time_offset(0.0)};
}

/// In the usual convention: 1 is none.
double guidance_scale(const model_arguments& a) {
  return a.convention == pushforward::guidance_convention::usual ? a.guidance : 1.0 + a.guidance;
}

/// The ids of a text, with a word on standard error where it is too long.
at::Tensor ids_of(const models::clip_tokenizer& tokenizer, const std::string& text) {
  const auto tokens = static_cast<std::int64_t>(tokenizer.encode(text).size());
  if (const auto cut = tokens - tokenizer.length() + 2; cut > 0)
    std::cerr << "the prompt has " << tokens << " tokens: the last "
              << (cut == 1 ? "is" : std::to_string(cut) + " are") << " cut off\n";
  return tokenizer(std::vector<std::string>{text});
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

c10::Device device_named(const std::string& name) {
  if (name == "cpu") return c10::Device(c10::kCPU);
  int index = 0;
  const bool bare = name == "cuda";
  const auto* end = name.data() + name.size();
  if (!bare) {
    const auto digits = name.compare(0, 5, "cuda:") == 0 ? std::from_chars(name.data() + 5, end, index)
                                                         : std::from_chars_result{nullptr, std::errc{}};
    if (digits.ptr != end || digits.ec != std::errc{} || index < 0)
      throw bad_option("there is no device " + name + ": it must be cpu, cuda or cuda:N");
  }
  if (index >= cuda_devices())
    throw bad_option("there is no device " + name + " here; --list-devices lists those that are");
  return c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(index));
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
  examples::add_name(
      app, "--tokenizer", a.tokenizer,
      "folder with vocab.json and merges.txt, of a checkpoint of the same version: for a single file")
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
         "flow, or reverse_flow (InstaFlow), which no checkpoint of these networks says")
      ->type_name("WORD")
      ->group(group);
  examples::add_name(app, "--device", a.unet.device, "where the networks run: cpu, cuda, cuda:N")
      ->capture_default_str()
      ->group(group);
  examples::add_choice(app, "--dtype", a.unet.type, types(), "type the UNet computes in", group);
  examples::add_name(app, "--vae-device", a.vae_placement.device, "where the autoencoder runs [as --device]")
      ->group(group);
  examples::add_choice(app, "--vae-dtype", a.vae_placement.type, types(), "type of the autoencoder", group);
  examples::add_name(app, "--text-device", a.text.device, "where the text encoder runs [as --device]")
      ->group(group);
  examples::add_choice(app, "--text-dtype", a.text.type, types(), "type of the text encoder", group);
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
                       "classifier-free guidance; see --guidance-convention")
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
  const auto c =
      models::open_checkpoint(a.checkpoint, {a.variant, a.prediction, !a.vae.empty(), !a.tokenizer.empty()});
  require_tokenizer(c, a);
  require_room(c.text_encoder, placement_of(a.text, a.unet.device), "the text encoder");
  require_room(c.unet, placement_of(a.unet, a.unet.device), "the UNet");
  const auto [scale, channels] = latents_of(a, c);
  for (const auto& part : {c.text_encoder, c.unet}) models::check_weights(part);
  require_agreement(models::unet_config_of(c.unet), channels, a);
  require_agreement(models::clip_text_config_of(c.text_encoder), tokenizer_of(c, a), a, c);
  return {path_of(c, a), scale, channels};
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
  const auto c =
      models::open_checkpoint(a.checkpoint, {a.variant, a.prediction, !a.vae.empty(), !a.tokenizer.empty()});
  path_ = path_of(c, a);
  const auto tokenizer = tokenizer_of(c, a);
  const auto where = placement_of(a.unet, a.unet.device);
  const double scale = guidance_scale(a);
  const bool guides = is_guided(a);
  if (!guides && !a.negative_prompt.empty())
    throw bad_option("a negative prompt says nothing without guidance: pass --guidance, too");

  at::Tensor conditional, unconditional;
  {
    tell("text encoder");
    const auto encoder = text_encoder_of(c, placement_of(a.text, a.unet.device));
    conditional = encoder(ids_of(tokenizer, a.prompt)).to(where.device, where.type);
    if (guides) unconditional = encoder(ids_of(tokenizer, a.negative_prompt)).to(where.device, where.type);
  }
  tell("autoencoder");
  auto vae = a.vae_placement;
  if (vae.device.empty()) vae.device = a.unet.device;
  autoencoder_ =
      a.vae.empty() ? autoencoder_of(c.vae, placement_of(vae, a.unet.device)) : read_autoencoder(a.vae, vae);
  tell("UNet");
  const auto net = unet_of(c, where);
  require_agreement(net.config(), autoencoder_->channels, a);
  const pushforward::libtorch::denoiser_options options{c.prediction, where.type, where.device};
  if (guides)
    denoiser_.emplace(
        guided(models::branching(net, conditional, unconditional, options), a.guidance, a.convention));
  else
    denoiser_.emplace(unguided(models::conditioned(net, conditional), options));
  facts_ = {{"checkpoint", examples::name_of(a.checkpoint)},
            {"prediction", name_of(c.prediction)},
            {"prompt", a.prompt},
            {"negative_prompt", a.negative_prompt},
            {"guidance", scale},
            {"device", a.unet.device},
            {"dtype", to_string(where.type)},
            {"vae_dtype", to_string(vae.type)},
            {"threads", at::get_num_threads()}};
  if (!path_.is_flow()) {
    facts_["time_convention"] = a.time == time_convention::reference ? "reference" : "usual";
    if (const auto& path = path_.diffusion(); path.alpha_bar(path.last()) == 0.0)
      facts_["zero_terminal_snr"] = true;
  }
  if (!a.vae.empty()) facts_["vae"] = examples::name_of(a.vae);
  keep_freed_memory();
}

at::Tensor latent_model::latents(std::int64_t n, std::int64_t height, std::int64_t width) const {
  if (height % scale() || width % scale())
    throw bad_option("pictures must have sides that are multiples of " + std::to_string(scale()) + ", not " +
                     std::to_string(height) + " x " + std::to_string(width));
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
