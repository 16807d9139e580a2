#pragma once
/// \file
/// Where the parts of a local Stable Diffusion 1.x or 2.x checkpoint lie, and what it was trained to predict.

#include <pushforward/paths/variance_preserving.hpp>
#include <pushforward/prediction.hpp>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace pushforward::libtorch::models {

/// How the files name the parameters.
enum class checkpoint_layout {
  diffusers, ///< a folder as `diffusers` writes it: one subfolder a part, each with its configuration
  ldm        ///< a single file of the original repository; parts are told by prefixes of the names
};

/// One network of a checkpoint.
struct checkpoint_part {
  std::optional<std::filesystem::path> config; ///< its config.json; none in a single file
  std::string class_name;                      ///< as the configuration has it ("AutoencoderKL"), else empty
  std::vector<std::filesystem::path> files;    ///< safetensors: one, or the shards
};

struct checkpoint_options {
  /// "fp16" takes `*.fp16.safetensors` in a folder. Empty takes the files without a variant, or the only
  /// variant.
  std::string variant{};
  /// What the UNet predicts, where the checkpoint does not say.
  std::optional<prediction_type> prediction{};
};

/// An opened checkpoint. Nothing is loaded: every file was found, and every configuration read.
struct checkpoint {
  checkpoint_layout layout = checkpoint_layout::diffusers;
  checkpoint_part unet, vae, text_encoder;
  /// Folder with vocab.json and merges.txt, or tokenizer.json; none in a single file.
  std::optional<std::filesystem::path> tokenizer;
  /// Width of the text's states: 768 in Stable Diffusion 1.x, 1024 in 2.x.
  std::int64_t cross_attention_dim = 768;
  variance_preserving path = variance_preserving::scaled_linear();
  prediction_type prediction = prediction_type::epsilon;
};

/// Opens a folder as `diffusers` writes it (unet, vae, text_encoder, tokenizer, scheduler; model_index.json
/// may be absent), or a single `.safetensors` file in the original layout.
///
/// Stable Diffusion 1.x is told from 2.x by the width of the UNet's cross-attention. A single file says
/// nothing of the prediction: 1.x is epsilon; for 2.x `options.prediction` must say it. Its schedule is
/// Stable Diffusion's (scaled linear, 0.00085 to 0.012, 1000 steps); where the file keeps its own, it is
/// compared.
///
/// \throws bad_file for parts that are missing (all of them in one message), pickle files, a configuration
/// that is wrong, parts that do not fit each other, and networks other than Stable Diffusion 1.x and 2.x
/// \throws bad_option for a prediction that is needed and absent, or contradicts the scheduler's
/// configuration
checkpoint open_checkpoint(const std::filesystem::path& path, const checkpoint_options& options = {});

/// What a scheduler's configuration says of training.
struct noise_schedule {
  /// abar of our t = 1..T is `alphas_cumprod[t - 1]` of `diffusers`, and the network is fed t - 1. Our t = 0
  /// is clean
  /// (`set_alpha_to_one`); `steps_offset` and `timestep_spacing` only choose which times `diffusers` visits.
  variance_preserving path;
  std::optional<prediction_type> prediction; ///< none where the file does not say
};

/// Reads scheduler_config.json: beta_schedule (linear, scaled_linear, squaredcos_cap_v2), beta_start,
/// beta_end, num_train_timesteps, prediction_type (epsilon, sample, v_prediction). \throws bad_file for a
/// value that is absent, wrong or not supported (trained_betas, rescale_betas_zero_snr, schedulers of other
/// paths)
noise_schedule read_scheduler(const std::filesystem::path& scheduler_config_json);

} // namespace pushforward::libtorch::models
