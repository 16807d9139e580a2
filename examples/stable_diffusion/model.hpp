#pragma once
/// \file
/// A local checkpoint of Stable Diffusion 1.x or 2.x, of a flow with the same network, or of Stable Diffusion
/// 3, as the programs use it: a denoiser under one prompt, its path, and the autoencoder.

#include <common/any_path.hpp>
#include <common/device.hpp>

#include <pushforward/guidance.hpp>
#include <pushforward/libtorch/denoiser.hpp>
#include <pushforward/libtorch/models/branching.hpp>

#include <ATen/core/Tensor.h>

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace CLI {
class App;
}

namespace stable_diffusion {

/// Where a network runs and in which type. An empty device is the denoising network's.
struct part_placement {
  std::string device;
  c10::ScalarType type = c10::ScalarType::Float;
};

/// What the network is fed at time t of a diffusion's path.
enum class time_convention {
  usual,    ///< t - 1, what it was trained on and `diffusers` feeds
  reference ///< t, as the reference's notebooks do
};

struct model_arguments {
  std::filesystem::path checkpoint;
  std::filesystem::path
      vae; ///< in place of the checkpoint's, which may then be missing; empty: the checkpoint's
  std::filesystem::path tokenizer; ///< for single files, which hold none; of Stable Diffusion 3 of all three
  std::filesystem::path text_encoders; ///< for single files of Stable Diffusion 3 that hold none
  bool without_t5 = false;
  std::optional<std::int64_t> t5_tokens{};
  std::string variant;
  std::optional<pushforward::prediction_type> prediction{};
  std::string prompt, negative_prompt;
  std::optional<double> guidance{}; ///< none: what the model's makers recommend
  pushforward::guidance_convention convention = pushforward::guidance_convention::usual;
  time_convention time = time_convention::usual;
  part_placement unet{"cpu", c10::ScalarType::Float}, vae_placement{}, text{};
};

/// --model, --vae, --tokenizer, --text-encoders, --without-t5, --t5-tokens, --variant, --prediction,
/// --prompt, --negative-prompt, --guidance,
/// --guidance-convention, --time-convention, --device, --dtype, --vae-device, --vae-dtype, --text-device,
/// --text-dtype; and --list-devices, which lists them and ends the program.
void add_model_options(CLI::App& app, model_arguments& a);

/// Refuses those of them that were given and would do nothing. \throws pushforward::bad_option
void check_model_options(const CLI::App& app, const model_arguments& a);

/// The scale of guidance in the usual convention: 1 is none.
double guidance_scale(const model_arguments& a);
/// Whether that takes two passes.
bool is_guided(const model_arguments& a);

/// Refuses a probe that moves no value of size 1 in the type that the network computes in; 0 is automatic.
/// \param option that gives the probe \param type_option that gives the type
/// \throws pushforward::bad_option
void require_felt(double probe, c10::ScalarType type, const std::string& option,
                  const std::string& type_option);
/// The relative distance of neighbouring numbers of a type.
double resolution_of(c10::ScalarType type);

/// What a checkpoint's configurations and the headers of its files say, so that what does not fit is refused
/// before networks are loaded.
struct model_outline {
  examples::any_path path;
  std::int64_t scale;    ///< pixels of a side to one of the latent's
  std::int64_t channels; ///< of the latent
  std::int64_t multiple; ///< sides of a picture are multiples of it: the scale, or more
  std::int64_t largest;  ///< side of a picture that the network takes; 0: any
};

/// Looks at devices, types and the tokenizer's place, too, as far as they can be told.
/// \throws pushforward::bad_file, pushforward::bad_option as loading does
model_outline outline_of(const model_arguments& a);

using examples::device_named;
/// "float32", "bfloat16" or "float16".
std::string to_string(c10::ScalarType type);
/// A decoder with its encoder.
struct autoencoder {
  pushforward::libtorch::differentiable_decoder maps;
  std::int64_t scale;    ///< pixels of a side to one of the latent's
  std::int64_t channels; ///< of the latent
};
/// What `open_autoencoder` takes, or a folder with the pair encoder.safetensors and decoder.safetensors of
/// TAESD's family. \throws pushforward::bad_file
autoencoder read_autoencoder(const std::filesystem::path& path, const part_placement& where);

/// \throws pushforward::bad_option where `bytes` are more than the memory that is free, with what to do
void require_memory(double bytes, double available, const std::string& what);

/// A loaded checkpoint under one prompt. Read-only once made.
class latent_model {
public:
  /// Loads one network after the other; the text encoder is freed once it has read the prompt. `tell` hears
  /// what is being loaded.
  /// \throws pushforward::bad_file, pushforward::bad_option
  latent_model(const model_arguments& a, const std::function<void(const std::string&)>& tell);

  /// Without guidance (a scale of 1) one pass a sample, else two.
  using unguided = pushforward::libtorch::differentiable_denoiser;
  using guided = pushforward::classifier_free_guidance<pushforward::libtorch::models::branching_network>;
  using denoiser = std::variant<unguided, guided>;

  /// f(denoiser) with either of them.
  template <class F> decltype(auto) with_denoiser(F&& f) const {
    return std::visit(std::forward<F>(f), *denoiser_);
  }
  const examples::any_path& path() const { return path_; }
  const pushforward::libtorch::differentiable_decoder& vae() const { return autoencoder_->maps; }
  /// Pixels of a side to one of the latent's.
  std::int64_t scale() const { return autoencoder_->scale; }
  /// Sides of a picture are multiples of it.
  std::int64_t multiple() const { return patch_ * scale(); }
  /// Zeros [n, C, height / scale, width / scale], float32, on the UNet's device. \throws
  /// pushforward::bad_option for sides that are no multiples
  at::Tensor latents(std::int64_t n, std::int64_t height, std::int64_t width) const;
  /// Means of the images' latents. \param images [N, 3, H, W] in [-1, 1]
  at::Tensor encode(const at::Tensor& images) const;
  /// Images in float32 on the CPU.
  at::Tensor decode(const at::Tensor& latents) const;
  /// What a trace says of the model.
  const nlohmann::ordered_json& facts() const { return facts_; }

private:
  examples::any_path path_;
  c10::Device device_;
  std::int64_t patch_ = 1;
  std::optional<autoencoder> autoencoder_;
  std::optional<denoiser> denoiser_;
  nlohmann::ordered_json facts_;
};

} // namespace stable_diffusion
