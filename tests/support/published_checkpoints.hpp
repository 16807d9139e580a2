#pragma once
/// \file
/// The configurations of Stable Diffusion's published folders, with just the keys that their files have: many
/// of today's are absent, as the files are older than them.

#include <support/scratch_folder.hpp>

#include <nlohmann/json.hpp>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace testing_support {

struct published_checkpoint {
  const char* name;
  bool second;                   ///< 2.x
  const char* prediction;        ///< of its network: "epsilon" or "v"
  nlohmann::json scheduler_more; ///< keys beside those that all have
};

inline std::vector<published_checkpoint> published_checkpoints() {
  using nlohmann::json;
  const json pndm{{"_class_name", "PNDMScheduler"}}, ddim{{"_class_name", "DDIMScheduler"}};
  const auto with = [](json all, const char* prediction) {
    all["prediction_type"] = prediction;
    return all;
  };
  return {{"v1-4", false, "epsilon", pndm},
          {"v1-5", false, "epsilon", pndm},
          {"2", true, "v", with(ddim, "v_prediction")},
          {"2-1-base", true, "epsilon", with(pndm, "epsilon")},
          {"2-1", true, "v", with(ddim, "v_prediction")}};
}

/// Writes model_index.json and the configurations of every part; no weights, no vocabulary.
inline void write_configurations(const std::filesystem::path& folder, const published_checkpoint& p) {
  using nlohmann::json;
  const auto write = [&](const std::string& name, const json& text) {
    std::filesystem::create_directories((folder / name).parent_path());
    write_bytes(folder / name, text.dump(2));
  };
  write("model_index.json", {{"_class_name", "StableDiffusionPipeline"},
                             {"_diffusers_version", p.second ? "0.8.0" : "0.2.2"},
                             {"scheduler", {"diffusers", p.scheduler_more["_class_name"]}},
                             {"text_encoder", {"transformers", "CLIPTextModel"}},
                             {"tokenizer", {"transformers", "CLIPTokenizer"}},
                             {"unet", {"diffusers", "UNet2DConditionModel"}},
                             {"vae", {"diffusers", "AutoencoderKL"}}});
  json scheduler{
      {"_diffusers_version", "0.6.0"}, {"beta_end", 0.012},      {"beta_schedule", "scaled_linear"},
      {"beta_start", 0.00085},         {"clip_sample", false},   {"num_train_timesteps", 1000},
      {"set_alpha_to_one", false},     {"skip_prk_steps", true}, {"steps_offset", 1},
      {"trained_betas", nullptr}};
  scheduler.update(p.scheduler_more);
  write("scheduler/scheduler_config.json", scheduler);
  const std::string down = "CrossAttnDownBlock2D", up = "CrossAttnUpBlock2D";
  json unet{{"_class_name", "UNet2DConditionModel"},
            {"_diffusers_version", "0.2.2"},
            {"act_fn", "silu"},
            {"attention_head_dim", 8},
            {"block_out_channels", {320, 640, 1280, 1280}},
            {"center_input_sample", false},
            {"cross_attention_dim", 768},
            {"down_block_types", {down, down, down, "DownBlock2D"}},
            {"downsample_padding", 1},
            {"flip_sin_to_cos", true},
            {"freq_shift", 0},
            {"in_channels", 4},
            {"layers_per_block", 2},
            {"mid_block_scale_factor", 1},
            {"norm_eps", 1e-05},
            {"norm_num_groups", 32},
            {"out_channels", 4},
            {"sample_size", p.second ? 96 : 64},
            {"up_block_types", {"UpBlock2D", up, up, up}}};
  json text{{"architectures", {"CLIPTextModel"}},
            {"attention_dropout", 0.0},
            {"bos_token_id", 0},
            {"dropout", 0.0},
            {"eos_token_id", 2},
            {"hidden_act", "quick_gelu"},
            {"hidden_size", 768},
            {"initializer_factor", 1.0},
            {"initializer_range", 0.02},
            {"intermediate_size", 3072},
            {"layer_norm_eps", 1e-05},
            {"max_position_embeddings", 77},
            {"model_type", "clip_text_model"},
            {"num_attention_heads", 12},
            {"num_hidden_layers", 12},
            {"pad_token_id", 1},
            {"projection_dim", 768},
            {"torch_dtype", "float32"},
            {"vocab_size", 49408}};
  if (p.second) {
    unet.update({{"attention_head_dim", {5, 10, 20, 20}},
                 {"cross_attention_dim", 1024},
                 {"dual_cross_attention", false},
                 {"num_class_embeds", nullptr},
                 {"only_cross_attention", false},
                 {"upcast_attention", std::string(p.name) == "2-1"},
                 {"use_linear_projection", true}});
    text.update({{"hidden_act", "gelu"},
                 {"hidden_size", 1024},
                 {"intermediate_size", 4096},
                 {"num_attention_heads", 16},
                 {"num_hidden_layers", 23},
                 {"projection_dim", 512}});
  }
  write("unet/config.json", unet);
  write("text_encoder/config.json", text);
  const std::string encode = "DownEncoderBlock2D", decode = "UpDecoderBlock2D";
  write("vae/config.json", {{"_class_name", "AutoencoderKL"},
                            {"_diffusers_version", "0.2.2"},
                            {"act_fn", "silu"},
                            {"block_out_channels", {128, 256, 512, 512}},
                            {"down_block_types", {encode, encode, encode, encode}},
                            {"in_channels", 3},
                            {"latent_channels", 4},
                            {"layers_per_block", 2},
                            {"out_channels", 3},
                            {"sample_size", p.second ? 768 : 512},
                            {"up_block_types", {decode, decode, decode, decode}}});
  const std::string pad = p.second ? "!" : "<|endoftext|>";
  const auto special = [](const char* content) {
    return json{{"__type", "AddedToken"}, {"content", content}, {"lstrip", false},
                {"normalized", true},     {"rstrip", false},    {"single_word", false}};
  };
  write("tokenizer/tokenizer_config.json", {{"add_prefix_space", false},
                                            {"bos_token", special("<|startoftext|>")},
                                            {"do_lower_case", true},
                                            {"eos_token", special("<|endoftext|>")},
                                            {"errors", "replace"},
                                            {"model_max_length", 77},
                                            {"pad_token", "<|endoftext|>"},
                                            {"tokenizer_class", "CLIPTokenizer"},
                                            {"unk_token", special("<|endoftext|>")}});
  json map{{"bos_token", special("<|startoftext|>")},
           {"eos_token", special("<|endoftext|>")},
           {"unk_token", special("<|endoftext|>")}};
  for (auto& [key, token] : map.items()) token.erase("__type");
  map["pad_token"] = pad;
  write("tokenizer/special_tokens_map.json", map);
}

} // namespace testing_support
