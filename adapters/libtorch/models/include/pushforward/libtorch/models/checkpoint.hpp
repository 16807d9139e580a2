#pragma once
/// \file
/// Where the parts of a local checkpoint of Stable Diffusion 1.x or 2.x, or of a flow with the same network
/// (InstaFlow), lie, and what it was trained to predict.

#include <pushforward/libtorch/models/autoencoder_kl.hpp>
#include <pushforward/libtorch/models/autoencoder_tiny.hpp>
#include <pushforward/libtorch/models/clip_text.hpp>
#include <pushforward/libtorch/models/sd3_transformer.hpp>
#include <pushforward/libtorch/models/t5_encoder.hpp>
#include <pushforward/libtorch/models/unet.hpp>
#include <pushforward/libtorch/models/weights.hpp>
#include <pushforward/paths/rectified_flow.hpp>
#include <pushforward/paths/variance_preserving.hpp>
#include <pushforward/prediction.hpp>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <variant>
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
  std::vector<std::filesystem::path> files; ///< safetensors: one, or the shards; none: there is no such part
  checkpoint_layout layout = checkpoint_layout::diffusers;
  std::string prefix; ///< of its names in the original layout ("model.diffusion_model."), else empty
};

struct checkpoint_options {
  /// "fp16" takes `*.fp16.safetensors` in a folder. Empty takes the files without a variant, or the only
  /// variant.
  std::string variant{};
  /// What the UNet predicts, where the checkpoint does not say. `flow` and `reverse_flow` (InstaFlow) say
  /// that it is a rectified flow, whatever schedule of a diffusion lies beside it: no file of these networks
  /// says so.
  std::optional<prediction_type> prediction{};
  /// The autoencoder, or the tokenizer, comes from elsewhere: the checkpoint's is not opened, and need not be
  /// there.
  bool without_vae = false;
  bool without_tokenizer = false;
};

/// An opened checkpoint. Nothing is loaded: every file was found, and every configuration read.
struct checkpoint {
  checkpoint_layout layout = checkpoint_layout::diffusers;
  checkpoint_part unet, vae, text_encoder;
  /// Folder with vocab.json and merges.txt, or tokenizer.json; none in a single file, and where none is asked
  /// for.
  std::optional<std::filesystem::path> tokenizer;
  /// Width of the text's states: 768 in Stable Diffusion 1.x, 1024 in 2.x.
  std::int64_t cross_attention_dim = 768;
  /// Of a flow without a shift, as InstaFlow's: times 1 to 0, of which the network is fed a thousandfold.
  std::variant<variance_preserving, rectified_flow> path = variance_preserving::scaled_linear();
  prediction_type prediction = prediction_type::epsilon;
};

/// Opens a folder as `diffusers` writes it (unet, vae, text_encoder, tokenizer, scheduler; model_index.json
/// may be absent), or a single `.safetensors` file in the original layout.
///
/// A folder may have been saved by any pipeline whose parts are those of Stable Diffusion 1.x or 2.x: text to
/// image, image to image, inpainting with a UNet of 4 channels, ControlNet, latent consistency. What the
/// pipeline has besides is not read.
///
/// In a single file Stable Diffusion 1.x is told from 2.x by the width of the UNet's cross-attention. Its
/// prediction is what marks in the file say: tensors or metadata `v_pred` and `ztsnr`, metadata
/// `modelspec.prediction_type`, `modelspec.predict_key` and `ss_zero_terminal_snr`. Without a mark 1.x is
/// epsilon, unless `options.prediction` says other; for 2.x `options.prediction` must say it. The schedule is
/// Stable Diffusion's (scaled linear, 0.00085 to 0.012, 1000 steps), rescaled to zero terminal
/// signal-to-noise ratio where a mark (`ztsnr`, which implies v) or the schedule that the file keeps says so;
/// a file that keeps another schedule is refused. Averages of training (`model_ema.*`) and other leftovers
/// are not read.
///
/// \throws bad_file for parts that are missing (all of them in one message), pickle files, a configuration
/// that is wrong, parts that do not fit each other, networks other than Stable Diffusion 1.x and 2.x, and a
/// prediction of epsilon on a schedule of zero terminal signal-to-noise ratio, which does not determine the
/// sample
/// \throws bad_option for a prediction that is needed and absent, or contradicts what the checkpoint says
checkpoint open_checkpoint(const std::filesystem::path& path, const checkpoint_options& options = {});

/// Opens an autoencoder by itself: a folder as `diffusers` writes it (AutoencoderKL or AutoencoderTiny), or a
/// single `.safetensors` file with the names of the original repository (with first_stage_model in front
/// or without) or of `diffusers`. Of a whole checkpoint, folder or file, it is the autoencoder.
/// \param variant as in checkpoint_options
/// \throws bad_file
checkpoint_part open_autoencoder(const std::filesystem::path& path, const std::string& variant = "");

/// The configuration of a part: of a folder its config.json, of a single file what names and shapes tell.
/// Heads of attention and groups of normalisation, which they do not tell, are Stable Diffusion's, as are the
/// autoencoder's factors; see each network's `told_by`. \throws bad_file
unet_config unet_config_of(const checkpoint_part& part);
autoencoder_kl_config autoencoder_kl_config_of(const checkpoint_part& part);
autoencoder_tiny_config autoencoder_tiny_config_of(const checkpoint_part& part);
clip_text_config clip_text_config_of(const checkpoint_part& part);
sd3_transformer_config sd3_transformer_config_of(const checkpoint_part& part);
t5_config t5_config_of(const checkpoint_part& part);

/// The parameters of a part under the names that its network asks for. \throws bad_file, bad_option as the
/// constructor of `weights`
weights weights_of(const checkpoint_part& part, const placement& where = {});

/// Looks whether the files of a part have every parameter that its network asks for, and in its shape. Reads
/// their headers alone. Of Stable Diffusion 3's transformer and T5, whether they have more, too, than the
/// configuration of a folder asks for. \throws as loading the network does, but for values that are not
/// finite
void check_weights(const checkpoint_part& part);

/// What a scheduler's configuration says of training.
struct noise_schedule {
  /// abar of our t = 1..T is `alphas_cumprod[t - 1]` of `diffusers`, and the network is fed t - 1. Our t = 0
  /// is clean
  /// (`set_alpha_to_one`); `steps_offset` and `timestep_spacing` only choose which times `diffusers` visits.
  variance_preserving path;
  /// none where the file does not say: then it is epsilon, as `diffusers` reads it
  std::optional<prediction_type> prediction;
};

/// Reads what scheduler_config.json says of training: beta_schedule (linear, scaled_linear,
/// squaredcos_cap_v2), beta_start, beta_end, trained_betas, num_train_timesteps, rescale_betas_zero_snr,
/// prediction_type (epsilon, sample, v_prediction). A key that is absent has the default of `diffusers`'
/// class. What a scheduler does when it samples (clip_sample, thresholding, timestep_spacing, ...) is not
/// followed: samplers are ours.
/// \throws bad_file for a value that is wrong or not supported (schedulers of other paths), and for betas
/// that leave less than a millionth of the sample at the last time, yet not 0
noise_schedule read_scheduler(const std::filesystem::path& scheduler_config_json);

} // namespace pushforward::libtorch::models
