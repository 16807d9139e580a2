#pragma once
/// \file
/// Where the parts of a local checkpoint of Stable Diffusion 3 or 3.5 lie, and what its text encoders say of
/// a prompt.

#include <pushforward/libtorch/models/checkpoint.hpp>
#include <pushforward/libtorch/models/sd3_transformer.hpp>
#include <pushforward/libtorch/models/weights.hpp>
#include <pushforward/paths/rectified_flow.hpp>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace pushforward::libtorch::models {

struct sd3_checkpoint_options {
  /// As in checkpoint_options.
  std::string variant{};
  /// The autoencoder comes from elsewhere.
  bool without_vae = false;
  /// T5 is left out, as the model allows: zeros take its place, and it need not be there.
  bool without_t5 = false;
  /// Folder with the folders tokenizer, tokenizer_2 and tokenizer_3; empty: the checkpoint's, or the one that
  /// a single file lies in.
  std::filesystem::path tokenizers{};
  /// Folder with clip_l.safetensors, clip_g.safetensors and t5xxl.safetensors (or t5xxl_fp16, t5xxl_bf16,
  /// t5xxl_fp8_e4m3fn), in which those are looked for that a single file lacks; empty: text_encoders beside
  /// it.
  std::filesystem::path text_encoders{};
};

/// An opened checkpoint. Nothing is loaded: every file was found, and every configuration read.
struct sd3_checkpoint {
  checkpoint_layout layout = checkpoint_layout::diffusers;
  checkpoint_part transformer, vae, clip_l, clip_g;
  std::optional<checkpoint_part> t5; ///< none where it is left out, by the options or by the checkpoint
  std::filesystem::path clip_l_tokenizer, clip_g_tokenizer;
  std::optional<std::filesystem::path> t5_tokenizer; ///< beside T5
  rectified_flow path{3.0}; ///< with the scheduler's shift; a single file's is 3, as of every published one
};

/// Whether a folder or a file is one of Stable Diffusion 3 or 3.5, or of another transformer that only
/// `open_sd3_checkpoint` can refuse by name. False for what cannot be read.
bool is_sd3_checkpoint(const std::filesystem::path& path);

/// Opens a folder as `diffusers` writes it (transformer, vae, text_encoder, text_encoder_2, text_encoder_3,
/// tokenizer, tokenizer_2, tokenizer_3, scheduler), or a single `.safetensors` file in the original layout,
/// with text encoders or without.
///
/// A folder whose model_index.json has no text_encoder_3 has no T5; nor has a single file where it is neither
/// in the file nor in the folder of text encoders. A variant may be there for some of the parts alone.
///
/// \throws bad_file for parts that are missing (all of them in one message), pickle files, a configuration
/// that is wrong, parts that do not fit each other, and networks of other families
/// \throws bad_option for `text_encoders` where the checkpoint has its own
sd3_checkpoint open_sd3_checkpoint(const std::filesystem::path& path,
                                   const sd3_checkpoint_options& options = {});

/// Reads what scheduler_config.json of FlowMatchEulerDiscreteScheduler (or ...Heun...) says of training: its
/// shift. \throws bad_file for a value that is wrong or not supported: dynamic shifting, times other than
/// 1000, and other schedulers
rectified_flow read_flow_scheduler(const std::filesystem::path& scheduler_config_json);

/// What the text encoders say of prompts, in float32 on the CPU: `joined_texts` of them. One encoder after
/// the other is loaded and freed, and T5 layer by layer (`t5_encode_layer_by_layer`), so that the memory
/// holds one CLIP encoder, or one layer of T5. All prompts are read at once, as each weight is read once for
/// all.
/// \param where the encoders run, and in which type
/// \param t5_tokens length that T5's sequences are cut or padded to, and of the zeros in its place; padding
///        is not masked, so that it matters: `diffusers`' pipeline takes 256
/// \param tell is called before each parameter is read, and may throw
/// \throws bad_file, bad_option, shape_mismatch
sd3_condition encode_prompts(const sd3_checkpoint& c, const std::vector<std::string>& prompts,
                             const placement& where, std::int64_t t5_tokens = 256,
                             const std::function<void()>& tell = {});

} // namespace pushforward::libtorch::models
