// Checkpoint folders and single files: what diffusers writes, what is refused, and the schedulers' noise.

#include <support/catch.hpp>
#include <support/file_faults.hpp>
#include <support/hollow_file.hpp>
#include <support/oracle.hpp>
#include <support/original_layout.hpp>
#include <support/published_checkpoints.hpp>
#include <support/scratch_folder.hpp>

#include <pushforward/error.hpp>
#include <pushforward/libtorch/models/checkpoint.hpp>
#include <pushforward/libtorch/models/weights.hpp>
#include <pushforward/libtorch/safetensors.hpp>

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <ctime>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

using namespace testing_support;
using namespace pushforward;
using namespace pushforward::libtorch;
using namespace pushforward::libtorch::models;
namespace fs = std::filesystem;

namespace {

/// By value: of checkpoints that do not last.
variance_preserving diffusion_of(const checkpoint& c) { return std::get<variance_preserving>(c.path); }

const std::string stable_diffusion_betas =
    R"("beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "num_train_timesteps": 1000)";

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  write_bytes(path, text);
}

void write_some_tensor(const fs::path& path, const std::string& key = "x") {
  fs::create_directories(path.parent_path());
  write_tensors(path, {{key, at::zeros({1})}});
}

/// A folder with every part, as small as can be.
void write_folder(const fs::path& folder) {
  write(folder / "unet/config.json", R"({"cross_attention_dim": 768, "in_channels": 4})");
  write(folder / "vae/config.json", R"({"_class_name": "AutoencoderKL", "latent_channels": 4})");
  write(folder / "text_encoder/config.json", R"({"hidden_size": 768})");
  write_some_tensor(folder / "unet/diffusion_pytorch_model.safetensors");
  write_some_tensor(folder / "vae/diffusion_pytorch_model.safetensors");
  write_some_tensor(folder / "text_encoder/model.safetensors");
  write(folder / "tokenizer/vocab.json", "{}");
  write(folder / "tokenizer/merges.txt", "");
  write(folder / "scheduler/scheduler_config.json",
        "{" + stable_diffusion_betas + R"(, "prediction_type": "epsilon"})");
}

/// What tells a single file of Stable Diffusion `width` (768: 1.x, 1024: 2.x).
tensors single_file(std::int64_t width) {
  return {{"model.diffusion_model.input_blocks.0.0.weight", at::zeros({8, 4, 3, 3})},
          {"model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight",
           at::zeros({8, width})},
          {"first_stage_model.encoder.conv_in.weight", at::zeros({1})},
          {width == 768 ? "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"
                        : "cond_stage_model.model.token_embedding.weight",
           at::zeros({1})}};
}

fs::path write_single(const scratch_folder& folder, const tensors& all,
                      const std::map<std::string, std::string>& metadata = {}) {
  return write_single_file(folder / "model.safetensors", all, metadata);
}

void check_same(const unet_config& a, const unet_config& b) {
  CHECK(a.in_channels == b.in_channels);
  CHECK(a.out_channels == b.out_channels);
  CHECK(a.block_out_channels == b.block_out_channels);
  CHECK(a.down_block_types == b.down_block_types);
  CHECK(a.up_block_types == b.up_block_types);
  CHECK(a.layers_per_block == b.layers_per_block);
  CHECK(a.transformer_layers_per_block == b.transformer_layers_per_block);
  CHECK(a.num_attention_heads == b.num_attention_heads);
  CHECK(a.cross_attention_dim == b.cross_attention_dim);
  CHECK(a.use_linear_projection == b.use_linear_projection);
  CHECK(a.norm_num_groups == b.norm_num_groups);
  CHECK(a.norm_eps == b.norm_eps);
  CHECK(a.flip_sin_to_cos == b.flip_sin_to_cos);
  CHECK(a.freq_shift == b.freq_shift);
}

void check_same(const autoencoder_kl_config& a, const autoencoder_kl_config& b) {
  CHECK(a.in_channels == b.in_channels);
  CHECK(a.out_channels == b.out_channels);
  CHECK(a.block_out_channels == b.block_out_channels);
  CHECK(a.layers_per_block == b.layers_per_block);
  CHECK(a.latent_channels == b.latent_channels);
  CHECK(a.norm_num_groups == b.norm_num_groups);
  CHECK(a.scaling_factor == b.scaling_factor);
  CHECK(a.shift_factor == b.shift_factor);
  CHECK(a.use_quant_conv == b.use_quant_conv);
  CHECK(a.use_post_quant_conv == b.use_post_quant_conv);
  CHECK(a.mid_block_add_attention == b.mid_block_add_attention);
}

void check_same(const clip_text_config& a, const clip_text_config& b) {
  CHECK(a.hidden_size == b.hidden_size);
  CHECK(a.intermediate_size == b.intermediate_size);
  CHECK(a.num_hidden_layers == b.num_hidden_layers);
  CHECK(a.num_attention_heads == b.num_attention_heads);
  CHECK(a.hidden_act == b.hidden_act);
  CHECK(a.layer_norm_eps == b.layer_norm_eps);
  CHECK(a.max_position_embeddings == b.max_position_embeddings);
  CHECK(a.vocab_size == b.vocab_size);
}

} // namespace

TEST_CASE("a folder that diffusers wrote is opened with its configurations, files and schedule") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  SECTION("whole files") {
    const auto c = open_checkpoint(oracle / "whole");
    CHECK(c.layout == checkpoint_layout::diffusers);
    CHECK(c.unet.config == oracle / "whole/unet/config.json");
    CHECK(c.unet.files == std::vector{oracle / "whole/unet/diffusion_pytorch_model.safetensors"});
    CHECK(c.text_encoder.files == std::vector{oracle / "whole/text_encoder/model.safetensors"});
    CHECK(c.vae.class_name == "AutoencoderKL");
    CHECK(c.tokenizer == oracle / "whole/tokenizer");
    CHECK(c.cross_attention_dim == 24);
    CHECK(c.prediction == prediction_type::epsilon);
    CHECK(diffusion_of(c).last() == 1000.0);
    CHECK(diffusion_of(c).model_time(1000.0) == 999.0);
  }
  SECTION("shards, which hold what the whole file holds") {
    const auto c = open_checkpoint(oracle / "sharded");
    CHECK(c.prediction == prediction_type::v);
    CHECK(c.vae.class_name == "AutoencoderTiny");
    CHECK(c.unet.files.size() > 2);
    CHECK(weights(c.unet.files, {}).keys() ==
          weights(open_checkpoint(oracle / "whole").unet.files, {}).keys());
    CHECK(weights(c.text_encoder.files, {}).keys() ==
          weights(open_checkpoint(oracle / "whole").text_encoder.files, {}).keys());
  }
  SECTION("variants") {
    const auto name = [](const checkpoint& c) { return c.vae.files.at(0).filename().string(); };
    CHECK(name(open_checkpoint(oracle / "fp16")) == "diffusion_pytorch_model.fp16.safetensors");
    CHECK(name(open_checkpoint(oracle / "both")) == "diffusion_pytorch_model.safetensors");
    CHECK(name(open_checkpoint(oracle / "both", {.variant = "fp16"})) ==
          "diffusion_pytorch_model.fp16.safetensors");
    CHECK_THROWS_WITH(open_checkpoint(oracle / "whole", {.variant = "fp16"}),
                      contains_text("no weights of variant fp16; there are some: without a variant"));
  }
}

TEST_CASE("the path of a scheduler's configuration has diffusers' alphas_cumprod") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  std::size_t compared = 0;
  for (const auto& entry : fs::directory_iterator(oracle / "schedules")) {
    if (!entry.is_directory()) continue;
    CAPTURE(entry.path().string());
    const auto schedule = read_scheduler(entry.path() / "scheduler_config.json");
    const auto wanted =
        read_tensor(safetensors::file(entry.path().string() + ".safetensors"), "alphas_cumprod");
    REQUIRE(schedule.path.last() == static_cast<double>(wanted.size(0)));
    CHECK(schedule.prediction == prediction_type::epsilon);
    double furthest = 0.0;
    for (std::int64_t i = 0; i < wanted.size(0); ++i)
      furthest = std::max(furthest, std::abs(schedule.path.alpha_bar(static_cast<double>(i + 1)) -
                                             static_cast<double>(wanted[i].item<float>())));
    CHECK(furthest <= 1e-7);
    CHECK(schedule.path.model_time(1.0) == 0.0);
    ++compared;
  }
  CHECK(compared == 12);
}

TEST_CASE("a key that a scheduler's configuration leaves out has the default of diffusers' class") {
  // of diffusers 0.42: `s = CLASS(); s.alphas_cumprod[-1], len(s.alphas_cumprod), s.config.prediction_type`;
  // of the two that need further packages: the product of 1 - beta for the defaults of their signatures
  const scratch_folder folder;
  const auto file = folder / "scheduler_config.json";
  for (const auto& [name, left] : {std::pair{"DDIMScheduler", 4.03583035e-05},
                                   {"DDIMInverseScheduler", 4.03583035e-05},
                                   {"DDIMParallelScheduler", 4.03583035e-05},
                                   {"DDPMScheduler", 4.03583035e-05},
                                   {"DDPMParallelScheduler", 4.03583035e-05},
                                   {"PNDMScheduler", 4.03583035e-05},
                                   {"LMSDiscreteScheduler", 4.03583035e-05},
                                   {"EulerDiscreteScheduler", 4.03583035e-05},
                                   {"EulerAncestralDiscreteScheduler", 4.03583035e-05},
                                   {"UniPCMultistepScheduler", 4.03583035e-05},
                                   {"DPMSolverMultistepScheduler", 4.03583035e-05},
                                   {"DPMSolverSinglestepScheduler", 4.03583035e-05},
                                   {"DEISMultistepScheduler", 4.03583035e-05},
                                   {"SASolverScheduler", 4.03583035e-05},
                                   {"HeunDiscreteScheduler", 0.00157896278},
                                   {"KDPM2DiscreteScheduler", 0.00157896278},
                                   {"KDPM2AncestralDiscreteScheduler", 0.00157896278},
                                   {"DPMSolverSDEScheduler", 0.00157896278},
                                   {"LCMScheduler", 0.00466009509},
                                   {"TCDScheduler", 0.00466009509}}) {
    CAPTURE(name);
    write(file, R"({"_class_name": ")" + std::string(name) + R"("})");
    const auto s = read_scheduler(file);
    CHECK(s.path.last() == 1000.0);
    CHECK(s.path.alpha_bar(1000.0) == Approx(left).epsilon(1e-6));
    CHECK_FALSE(s.prediction);
  }
  write(file, R"({"beta_schedule": "scaled_linear", "beta_end": 0.012})"); // one beta of the default's
  CHECK(read_scheduler(file).path.beta(1.0) == Approx(1e-4).epsilon(1e-3));
  CHECK(read_scheduler(file).path.beta(1000.0) == Approx(0.012).epsilon(1e-5));
  write(file, R"({"trained_betas": [0.1, 0.2, 0.3], "num_train_timesteps": 3})");
  CHECK(read_scheduler(file).path.alpha_bar(3.0) == Approx(0.9 * 0.8 * 0.7).epsilon(1e-6));
  write(file, R"({"predict_epsilon": false})"); // the key of before prediction_type
  CHECK(read_scheduler(file).prediction == prediction_type::sample);
}

TEST_CASE("betas that are rescaled to zero terminal signal-to-noise ratio are diffusers'") {
  // diffusers 0.42: `DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
  // rescale_betas_zero_snr=True).alphas_cumprod`; then with the default betas; then
  // `num_train_timesteps=300, beta_schedule="squaredcos_cap_v2"`
  const scratch_folder folder;
  const auto file = folder / "scheduler_config.json";
  const auto check = [&](const std::string& keys, const std::vector<std::pair<double, double>>& abar) {
    write(file, R"({"rescale_betas_zero_snr": true, "prediction_type": "v_prediction")" + keys + "}");
    CAPTURE(keys);
    const auto path = read_scheduler(file).path;
    for (const auto& [index, wanted] : abar)
      CHECK(path.alpha_bar(index + 1.0) == Approx(wanted).epsilon(2e-5).margin(1e-13));
    CHECK(path.alpha_bar(path.last()) == 0.0);
    CHECK(path.at(path.last()).s == 1.0);
  };
  check(", " + stable_diffusion_betas, {{0, 0.999149978},
                                        {249, 0.654188871},
                                        {499, 0.242358997},
                                        {749, 0.0331714526},
                                        {989, 2.05006072e-05},
                                        {998, 1.96796336e-07},
                                        {999, 0.0}});
  check("", {{0, 0.999899983},
             {249, 0.52153331},
             {499, 0.076028727},
             {749, 0.00268952176},
             {989, 4.57429167e-07},
             {998, 4.21327329e-09},
             {999, 0.0}});
  check(R"(, "num_train_timesteps": 300, "beta_schedule": "squaredcos_cap_v2")",
        {{0, 0.999843359}, {99, 0.742844224}, {199, 0.246366024}, {298, 2.53146463e-05}, {299, 0.0}});
}

TEST_CASE("everything that a folder lacks is named at once") {
  const scratch_folder folder;
  write_folder(folder / "c");
  REQUIRE_NOTHROW(open_checkpoint(folder / "c"));
  fs::remove_all(folder / "c/vae");
  fs::remove(folder / "c/unet/config.json");
  fs::remove(folder / "c/text_encoder/model.safetensors");
  fs::remove(folder / "c/tokenizer/merges.txt");
  fs::remove(folder / "c/scheduler/scheduler_config.json");
  for (const char* part : {"c/vae", "unet/config.json", "text_encoder/model.safetensors",
                           "tokenizer/merges.txt", "scheduler/scheduler_config.json"})
    CHECK_THROWS_WITH(open_checkpoint(folder / "c"), contains_text(part));
  CHECK_THROWS_AS(open_checkpoint(folder / "c"), bad_file);
  CHECK_THROWS_WITH(open_checkpoint(folder / "nowhere"), contains_text("no such checkpoint"));
}

TEST_CASE("of a checkpoint, what is no regular file or may not be read is named, and is not missing") {
  const scratch_folder folder;
  write_folder(folder / "c");
  ::chmod(folder.path().c_str(), 0755);
  const auto refused = [&] { return fault_of([&] { open_checkpoint(folder / "c"); }); };
  for (const char* part : {"unet/config.json", "scheduler/scheduler_config.json"}) {
    fs::rename(folder / "c" / part, folder / "kept");
    make_fifo(folder / "c" / part);
    CHECK_THAT(refused(), contains_text(std::string(part) + ": is not a regular file but a FIFO"));
    fs::remove(folder / "c" / part);
    fs::create_directory(folder / "c" / part);
    CHECK_THAT(refused(), contains_text(std::string(part) + ": is not a regular file but a folder"));
    fs::remove(folder / "c" / part);
    fs::rename(folder / "kept", folder / "c" / part);
  }
  for (const char* part : {"c/unet/config.json", "c/scheduler"}) {
    const auto before = mode_of(folder / part);
    ::chmod((folder / part).c_str(), 0);
    const auto said = [&] {
      const without_rights user;
      return refused();
    }();
    ::chmod((folder / part).c_str(), before);
    CHECK_THAT(said, contains_text((folder / part).string()) && contains_text("(Permission denied)"));
    CHECK_THAT(said, !contains_text("missing"));
  }
  make_fifo(folder / "fifo");
  CHECK_THROWS_WITH(open_checkpoint(folder / "fifo"), contains_text("is not a regular file but a FIFO"));
}

TEST_CASE("a tokenizer may be in one file") {
  const scratch_folder folder;
  write_folder(folder / "c");
  fs::remove(folder / "c/tokenizer/vocab.json");
  fs::remove(folder / "c/tokenizer/merges.txt");
  CHECK_THROWS_WITH(open_checkpoint(folder / "c"), contains_text("tokenizer/vocab.json"));
  write(folder / "c/tokenizer/tokenizer.json", "{}");
  CHECK(open_checkpoint(folder / "c").tokenizer == folder / "c/tokenizer");
}

TEST_CASE("pickle files are refused with the reason and the remedy") {
  const scratch_folder folder;
  const auto refused = [&](const fs::path& path) {
    CHECK_THROWS_AS(open_checkpoint(path), bad_file);
    CHECK_THROWS_WITH(open_checkpoint(path),
                      contains_text("can run any code") && contains_text("safetensors.torch"));
  };
  for (const char* name : {"m.ckpt", "m.bin", "m.pt", "m.pth"}) {
    write(folder / name, "x");
    refused(folder / name);
  }
  write_folder(folder / "c");
  fs::rename(folder / "c/unet/diffusion_pytorch_model.safetensors",
             folder / "c/unet/diffusion_pytorch_model.bin");
  refused(folder / "c");
  write(folder / "d/v1-5.ckpt", "x");
  refused(folder / "d");
}

TEST_CASE("an index of shards may name plain files beside it only") {
  const scratch_folder folder;
  write_folder(folder / "c");
  const auto unet = folder / "c/unet";
  fs::rename(unet / "diffusion_pytorch_model.safetensors", unet / "shard.safetensors");
  fs::copy_file(unet / "shard.safetensors", folder / "c/outside.safetensors");
  const auto index = [&](const std::string& text) {
    write(unet / "diffusion_pytorch_model.safetensors.index.json", text);
    return open_checkpoint(folder / "c").unet.files;
  };
  CHECK(index(R"({"weight_map": {"a": "shard.safetensors", "b": "shard.safetensors"}})") ==
        std::vector{unet / "shard.safetensors"});
  for (const char* name :
       {"../outside.safetensors", "/etc/passwd", "..", ".hidden.safetensors", "", "a\\\\b.safetensors",
        "shard.safetensors\\u0000", "shard.bin", "C:x.safetensors"}) {
    CAPTURE(name);
    CHECK_THROWS_WITH(index(R"({"weight_map": {"a": ")" + std::string(name) + R"("}})"),
                      contains_text("plain name"));
  }
  CHECK_THROWS_WITH(index(R"({"weight_map": {"a": "s2.safetensors", "b": "s3.safetensors"}})"),
                    contains_text("s2.safetensors, s3.safetensors"));
  for (const char* text : {"", "{}", "[]", R"({"weight_map": {}})", R"({"weight_map": []})",
                           R"({"weight_map": {"a": 1}})", R"({"weight_map": {"a": null}})"}) {
    CAPTURE(text);
    CHECK_THROWS_AS(index(text), bad_file);
  }
}

TEST_CASE("parts that do not fit each other, and pipelines of other models, are refused") {
  const scratch_folder folder;
  const auto opened = [&](const char* file, const char* text, const char* message) {
    write_folder(folder / "c");
    write(folder / "c" / file, text);
    CAPTURE(file, text);
    CHECK_THROWS_AS(open_checkpoint(folder / "c"), bad_file);
    CHECK_THROWS_WITH(open_checkpoint(folder / "c"), contains_text(message));
    fs::remove_all(folder / "c");
  };
  opened("unet/config.json", R"({"cross_attention_dim": 768, "in_channels": 9})", "inpainting");
  opened("unet/config.json", R"({"cross_attention_dim": "768"})", "cross_attention_dim");
  opened("unet/config.json", R"({"cross_attention_dim": 768, "_class_name": "SD3Transformer2DModel"})",
         "_class_name");
  opened("vae/config.json", R"({"_class_name": "VQModel"})", "AutoencoderTiny");
  opened("vae/config.json", "not json", "not a JSON object");
  opened("text_encoder/config.json", R"({"hidden_size": 1024})", "belong together");
  opened("text_encoder/config.json", R"({"hidden_size": 768, "model_type": "t5"})", "model_type");
  opened("model_index.json", R"({"_class_name": "StableDiffusionXLPipeline"})", "StableDiffusionXLPipeline");
  opened("model_index.json", R"({"_class_name": "StableDiffusion3Pipeline"})",
         "which open_sd3_checkpoint opens");
}

TEST_CASE(
    "a configuration that is cut short, is not JSON or has a number for a list is named with what to do") {
  const scratch_folder folder;
  for (const auto& [file, mistaken] : std::vector<std::pair<std::string, std::string>>{
           {"model_index.json", R"({"_class_name": 7})"},
           {"unet/config.json", R"({"cross_attention_dim": 768, "block_out_channels": 7})"},
           {"vae/config.json", R"({"block_out_channels": 7})"},
           {"text_encoder/config.json", R"({"hidden_size": 768, "hidden_act": 7})"},
           {"scheduler/scheduler_config.json", R"({"trained_betas": 7})"}}) {
    const fs::path path = folder / "c" / file;
    const auto refused = [&](const std::string& text, const std::string& remedy) {
      write_folder(folder / "c");
      write(path, text);
      CAPTURE(file, text);
      CHECK_THROWS_WITH(open_checkpoint(folder / "c"),
                        contains_text(path.string() + ": ") && contains_text(remedy));
      fs::remove_all(folder / "c");
    };
    for (const std::string text : {"", "hello", "[7]", R"({"block_out_channels": [3)"})
      refused(text, "is not a JSON object, as a model's configuration is; where it was cut short");
    refused(mistaken, "correct it, or copy the file again");
  }
}

TEST_CASE("a prediction that is missing or contradicts the scheduler names the option to pass") {
  const scratch_folder folder;
  const auto scheduler = folder / "c/scheduler/scheduler_config.json";
  write_folder(folder / "c");
  CHECK(open_checkpoint(folder / "c", {.prediction = prediction_type::epsilon}).prediction ==
        prediction_type::epsilon);
  CHECK_THROWS_AS(open_checkpoint(folder / "c", {.prediction = prediction_type::v}), bad_option);
  CHECK_THROWS_WITH(open_checkpoint(folder / "c", {.prediction = prediction_type::v}),
                    contains_text("predicts epsilon, but the option prediction says v"));
  // of a flow no file says so: the option counts
  for (const auto asked : {prediction_type::flow, prediction_type::reverse_flow}) {
    const auto flow = open_checkpoint(folder / "c", {.prediction = asked});
    CHECK(flow.prediction == asked);
    REQUIRE(std::holds_alternative<rectified_flow>(flow.path));
    const auto& path = std::get<rectified_flow>(flow.path);
    CHECK(path.shift() == 1.0);
    CHECK(path.model_time(1.0) == 1000.0);
  }
  // and the schedule beside it is not read
  write(scheduler, R"({"_class_name": "FlowMatchEulerDiscreteScheduler"})");
  CHECK_THROWS_AS(open_checkpoint(folder / "c"), bad_file);
  CHECK(open_checkpoint(folder / "c", {.prediction = prediction_type::flow}).prediction ==
        prediction_type::flow);
  fs::remove(scheduler);
  CHECK_THROWS_AS(open_checkpoint(folder / "c"), bad_file);
  CHECK(open_checkpoint(folder / "c", {.prediction = prediction_type::flow}).prediction ==
        prediction_type::flow);
  // a file that does not say means epsilon, as in diffusers, but leaves it to the user
  write(scheduler, "{" + stable_diffusion_betas + "}");
  CHECK(open_checkpoint(folder / "c").prediction == prediction_type::epsilon);
  CHECK(open_checkpoint(folder / "c", {.prediction = prediction_type::v}).prediction == prediction_type::v);
  // noise alone says nothing of the sample under epsilon
  const auto rescaled = [&](const char* prediction) {
    write(scheduler, "{" + stable_diffusion_betas +
                         R"(, "rescale_betas_zero_snr": true, "prediction_type": ")" + prediction + "\"}");
    return open_checkpoint(folder / "c");
  };
  CHECK(diffusion_of(rescaled("v_prediction")).alpha_bar(1000.0) == 0.0);
  CHECK(diffusion_of(rescaled("sample")).alpha_bar(1000.0) == 0.0);
  CHECK_THROWS_WITH(rescaled("epsilon"),
                    contains_text("scheduler_config.json: has zero terminal signal-to-noise ratio"));
}

TEST_CASE("a scheduler's configuration that is wrong or not supported is refused by name") {
  const scratch_folder folder;
  const auto file = folder / "scheduler_config.json";
  const auto read = [&](const std::string& text) {
    write(file, text);
    return read_scheduler(file);
  };
  CHECK(read("{" + stable_diffusion_betas + R"(, "steps_offset": 1, "trained_betas": null})").path.last() ==
        1000.0);
  // keys of sampling are not followed
  CHECK_NOTHROW(read(R"({"clip_sample": true, "thresholding": true, "timestep_spacing": "trailing"})"));
  const std::string all = "{" + stable_diffusion_betas + ", ";
  for (const auto& [text, named] :
       {std::pair<std::string, const char*>{all + R"("rescale_betas_zero_snr": 1})",
                                            "rescale_betas_zero_snr"},
        {all + R"("trained_betas": [0.1, 0.2]})", "trained_betas"},
        {R"({"trained_betas": [0.1, 1.0], "num_train_timesteps": 2})", "trained_betas"},
        {R"({"trained_betas": 0.1})", "trained_betas"},
        {R"({"rescale_betas_zero_snr": true, "num_train_timesteps": 1})", "num_train_timesteps"},
        {all + R"("timestep_type": "continuous"})", "timestep_type"},
        {all + R"("prediction_type": "flow_prediction"})", "prediction_type"},
        {all + R"("prediction_type": 3})", "prediction_type"},
        {all + R"("use_flow_sigmas": true})", "use_flow_sigmas"},
        {all + R"("_class_name": "FlowMatchEulerDiscreteScheduler"})", "_class_name"},
        {R"({"beta_schedule": "sigmoid", "num_train_timesteps": 10})", "beta_schedule"},
        {R"({"beta_schedule": "linear", "num_train_timesteps": 10, "beta_start": 0.1, "beta_end": 2})",
         "beta_end"},
        {R"({"beta_schedule": "linear", "num_train_timesteps": 10, "beta_start": 1e-300, "beta_end": 0.1})",
         "beta_start"},
        {R"({"beta_schedule": "linear", "num_train_timesteps": 0})", "num_train_timesteps"},
        {R"({"beta_schedule": "linear", "num_train_timesteps": 1e18})", "num_train_timesteps"},
        // so many steps that nothing is left of the sample
        {R"({"beta_schedule": "scaled_linear", "num_train_timesteps": 100000})",
         "\"num_train_timesteps\" (100000)"},
        {R"({"num_train_timesteps": 100000, "rescale_betas_zero_snr": true})",
         "\"num_train_timesteps\" (100000)"},
        {R"({"beta_end": 0.9})", "\"beta_end\" (0.9)"},
        {R"({"beta_schedule": 1})", "beta_schedule"}}) {
    CAPTURE(text);
    CHECK_THROWS_AS(read(text), bad_file);
    CHECK_THROWS_WITH(read(text), contains_text(named));
  }
  // few steps of large betas are as good as many of small ones
  CHECK_NOTHROW(read(R"({"beta_start": 1e-6, "beta_end": 2e-4, "num_train_timesteps": 100000})"));
}

TEST_CASE("the published folders of Stable Diffusion are opened as what they are") {
  for (const auto& published : published_checkpoints()) {
    CAPTURE(published.name);
    const scratch_folder folder;
    write_configurations(folder.path(), published);
    write_some_tensor(folder / "unet/diffusion_pytorch_model.safetensors");
    write_some_tensor(folder / "vae/diffusion_pytorch_model.safetensors");
    write_some_tensor(folder / "text_encoder/model.safetensors");
    write(folder / "tokenizer/vocab.json", "{}");
    write(folder / "tokenizer/merges.txt", "");
    const auto c = open_checkpoint(folder.path());
    CHECK(std::string(name_of(c.prediction)) == published.prediction);
    CHECK(diffusion_of(c).last() == 1000.0);
    CHECK(diffusion_of(c).model_time(1000.0) == 999.0);
    CHECK(diffusion_of(c).alpha_bar(1000.0) == Approx(0.00466009509).epsilon(1e-6));
    CHECK(c.cross_attention_dim == (published.second ? 1024 : 768));
    check_same(unet_config_of(c.unet),
               published.second ? unet_config::stable_diffusion_2() : unet_config::stable_diffusion_1());
    check_same(autoencoder_kl_config_of(c.vae), autoencoder_kl_config{});
    check_same(clip_text_config_of(c.text_encoder), published.second
                                                        ? clip_text_config::stable_diffusion_2()
                                                        : clip_text_config::stable_diffusion_1());
  }
}

TEST_CASE("a folder that another pipeline saved is judged by its parts") {
  const scratch_folder folder;
  write_folder(folder / "c");
  for (const char* name :
       {"StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline",
        "StableDiffusionInpaintPipelineLegacy", "StableDiffusionControlNetPipeline",
        "StableDiffusionControlNetInpaintPipeline", "StableDiffusionPAGPipeline",
        "LatentConsistencyModelPipeline", "LatentConsistencyModelImg2ImgPipeline"}) {
    CAPTURE(name);
    write(folder / "c/model_index.json", R"({"_class_name": ")" + std::string(name) + "\"}");
    CHECK_NOTHROW(open_checkpoint(folder / "c"));
  }
  for (const auto& [key, named] : {std::pair{R"("in_channels": 9)", "inpainting"},
                                   {R"("in_channels": 5)", "depth"},
                                   {R"("time_cond_proj_dim": 256)", "time_cond_proj_dim"},
                                   {R"("addition_embed_type": "text_time")", "addition_embed_type"},
                                   {R"("class_embed_type": "projection")", "class_embed_type"},
                                   {R"("encoder_hid_dim_type": "image_proj")", "encoder_hid_dim_type"}}) {
    CAPTURE(key);
    write(folder / "c/unet/config.json", std::string(R"({"cross_attention_dim": 768, )") + key + "}");
    for (const bool without_vae : {false, true}) {
      CHECK_THROWS_AS(open_checkpoint(folder / "c", {.without_vae = without_vae}), bad_file);
      CHECK_THROWS_WITH(open_checkpoint(folder / "c", {.without_vae = without_vae}), contains_text(named));
    }
  }
}

TEST_CASE("weights that are not those of their configuration are told from the headers of the files") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  const auto c = open_checkpoint(oracle / "whole");
  for (const auto& part : {c.unet, c.vae, c.text_encoder}) {
    CHECK_NOTHROW(check_weights(part));
    const safetensors::file file(part.files.at(0));
    std::vector<std::pair<std::string, at::Tensor>> all, nan;
    for (const auto& [name, view] : file.tensors()) {
      all.emplace_back(name, read_tensor(file, name));
      nan.emplace_back(name, at::full_like(all.back().second, std::nan("")));
    }
    auto other = part;
    other.files = {folder / "other.safetensors"};
    write_tensors(other.files[0], nan);
    CHECK_NOTHROW(check_weights(other)); // no value is looked at
    auto& value = all.at(all.size() / 2).second;
    const std::string name = all.at(all.size() / 2).first;
    const at::Tensor right = value;
    value = at::zeros({7, 7});
    write_tensors(other.files[0], all);
    CHECK_THROWS_AS(check_weights(other), bad_file);
    CHECK_THROWS_WITH(check_weights(other), contains_text(name) && contains_text("[7, 7]"));
    value = right.to(at::kInt);
    write_tensors(other.files[0], all);
    CHECK_THROWS_WITH(check_weights(other), contains_text(name) && contains_text("floating"));
    all.erase(all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2));
    write_tensors(other.files[0], all);
    CHECK_THROWS_WITH(check_weights(other), contains_text("holds no tensor"));
  }
}

TEST_CASE("parts that come from elsewhere need not be there") {
  const scratch_folder folder;
  write_folder(folder / "c");
  fs::remove_all(folder / "c/vae");
  fs::remove_all(folder / "c/tokenizer");
  CHECK_THROWS_WITH(open_checkpoint(folder / "c"), contains_text("c/vae") && contains_text("vocab.json"));
  CHECK_THROWS_AS(open_checkpoint(folder / "c", {.without_vae = true}), bad_file);
  CHECK_THROWS_AS(open_checkpoint(folder / "c", {.without_tokenizer = true}), bad_file);
  const auto c = open_checkpoint(folder / "c", {.without_vae = true, .without_tokenizer = true});
  CHECK(c.vae.files.empty());
  CHECK_FALSE(c.tokenizer);
  auto all = single_file(768);
  all.erase("first_stage_model.encoder.conv_in.weight");
  const auto single = write_single(folder, all);
  CHECK_THROWS_WITH(open_checkpoint(single),
                    contains_text("the VAE (first_stage_model.*), which the option"));
  CHECK(open_checkpoint(single, {.without_vae = true}).vae.files.empty());
}

TEST_CASE("a folder in place of a configuration file is named") {
  const scratch_folder folder;
  for (const char* name : {"unet/config.json", "vae/config.json", "text_encoder/config.json",
                           "scheduler/scheduler_config.json", "model_index.json"}) {
    CAPTURE(name);
    write_folder(folder / "c");
    fs::remove(folder / "c" / name);
    fs::create_directory(folder / "c" / name);
    CHECK_THROWS_AS(open_checkpoint(folder / "c"), bad_file);
    CHECK_THROWS_WITH(open_checkpoint(folder / "c"),
                      contains_text(std::string(name) + ": is not a regular file but a folder"));
    fs::remove_all(folder / "c");
  }
}

TEST_CASE("a configuration with very many keys is read in time that grows as their number does") {
  const scratch_folder folder;
  write_folder(folder / "c");
  const auto unet = folder / "c/unet";
  fs::rename(unet / "diffusion_pytorch_model.safetensors", unet / "shard.safetensors");
  const auto seconds = [&](int keys) {
    std::string map;
    for (int i = 0; i < keys; ++i) map += "\"" + std::to_string(i) + R"(": {"x": "shard.safetensors"}, )";
    write(unet / "diffusion_pytorch_model.safetensors.index.json",
          R"({"ignored": {)" + map + R"("a": 0}, "weight_map": {"a": "shard.safetensors"}})");
    double least = 1e9;
    for (int i = 0; i < 3; ++i) {
      const auto start = std::clock();
      open_checkpoint(folder / "c");
      least = std::min(least, static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC);
    }
    return least;
  };
  const double few = seconds(2'000), many = seconds(32'000);
  CAPTURE(few, many);
  CHECK(many < 64.0 * few + 0.05); // 16 times the keys; the square would be 256
}

TEST_CASE("a single file's names and shapes tell the configurations of the published sizes") {
  const scratch_folder folder;
  for (const bool second : {false, true}) {
    CAPTURE(second);
    auto all = original_layout::of(second ? original_sizes::second() : original_sizes{});
    // leftovers of training
    all["model_ema.diffusion_modelinput_blocks00weight"] = {320, 4, 3, 3};
    all["model_ema.decay"] = {};
    all["cond_stage_model.logit_scale"] = {};
    const auto c = open_checkpoint(write_hollow(folder / "hollow.safetensors", all),
                                   {.prediction = prediction_type::epsilon});
    CHECK(c.unet.prefix == "model.diffusion_model.");
    CHECK(c.vae.prefix == "first_stage_model.");
    check_same(unet_config_of(c.unet),
               second ? unet_config::stable_diffusion_2() : unet_config::stable_diffusion_1());
    check_same(autoencoder_kl_config_of(c.vae), autoencoder_kl_config{});
    check_same(clip_text_config_of(c.text_encoder),
               second ? clip_text_config::stable_diffusion_2() : clip_text_config::stable_diffusion_1());
  }
}

TEST_CASE("a single file of any size is loaded whole, but for leftovers") {
  const scratch_folder folder;
  for (const std::int64_t context : {768, 1024}) {
    CAPTURE(context);
    auto all = random_parameters(original_layout::of(original_sizes::small(100, context)));
    const std::vector<std::string> leftovers{
        "cond_stage_model.transformer.text_model.embeddings.position_ids", "first_stage_model.loss.logvar",
        "model_ema.decay"};
    for (const auto& name : leftovers)
      if (context == 768 || !name.starts_with("cond")) all[name] = at::zeros({1}, at::kLong);
    const auto c = open_checkpoint(write_single(folder, all), {.prediction = prediction_type::epsilon});
    std::size_t untaken = 0;
    const auto count = [&](const weights& w, const std::string& prefix) {
      for (const auto& key : w.untaken())
        if (key.starts_with(prefix)) {
          CAPTURE(key);
          CHECK(std::find(leftovers.begin(), leftovers.end(), key) != leftovers.end());
          ++untaken;
        }
    };
    const auto u = weights_of(c.unet), v = weights_of(c.vae), t = weights_of(c.text_encoder);
    const unet net(unet_config_of(c.unet), u);
    const autoencoder_kl vae(autoencoder_kl_config_of(c.vae), v);
    const clip_text encode(clip_text_config_of(c.text_encoder), t);
    count(u, original_unet);
    count(v, original_vae);
    count(t, original_text);
    CHECK(untaken == (context == 768 ? 2 : 1));
    const at::Tensor states = encode(at::zeros({1, 77}, at::kLong));
    CHECK(states.sizes() == at::IntArrayRef({1, 77, context}));
    CHECK(net(at::ones({1, 4, 4, 4}), at::ones({1}), states).isfinite().all().item<bool>());
    CHECK(vae.decode(at::ones({1, 4, 2, 2})).sizes() == at::IntArrayRef({1, 3, 16, 16}));
  }
}

TEST_CASE("a single file with parameters of no network that is supported is refused by name") {
  const scratch_folder folder;
  const auto opened = [&](const char* name, std::vector<std::int64_t> shape) {
    auto all = original_layout::of(original_sizes::small(100));
    if (shape.empty())
      all.erase(name);
    else
      all[name] = std::move(shape);
    return open_checkpoint(write_hollow(folder / "hollow.safetensors", all));
  };
  const auto unet = [&](const char* name, std::vector<std::int64_t> shape) {
    const auto c = opened(name, std::move(shape));
    CHECK_THROWS_AS(unet_config_of(c.unet), bad_file);
    CHECK_THROWS_WITH(unet_config_of(c.unet), contains_text("hollow.safetensors"));
  };
  unet("model.diffusion_model.out.2.weight", {});
  unet("model.diffusion_model.out.2.weight", {4});
  unet("model.diffusion_model.input_blocks.3.0.in_layers.2.weight", {}); // a resolution without layers
  unet("model.diffusion_model.input_blocks.3.0.in_layers.2.weight", {100, 64, 3, 3}); // 32 groups?
  const auto vae = [&](const char* name, std::vector<std::int64_t> shape) {
    const auto c = opened(name, std::move(shape));
    CHECK_THROWS_AS(autoencoder_kl_config_of(c.vae), bad_file);
    CHECK_THROWS_WITH(autoencoder_kl_config_of(c.vae), contains_text("hollow.safetensors"));
  };
  vae("first_stage_model.decoder.conv_in.weight", {});
  vae("first_stage_model.decoder.conv_in.weight", {1});
  vae("first_stage_model.encoder.down.0.block.0.conv1.weight", {});
  vae("first_stage_model.encoder.down.1.block.0.conv1.weight", {30, 32, 3, 3});
  const std::string text = "cond_stage_model.transformer.text_model.";
  for (const auto& [name, shape] :
       {std::pair<std::string, std::vector<std::int64_t>>{"embeddings.token_embedding.weight", {100}},
        {"embeddings.token_embedding.weight", {100, 700}},
        {"embeddings.token_embedding.weight", {100, 0}},
        {"embeddings.position_embedding.weight", {}},
        {"encoder.layers.0.mlp.fc1.weight", {}}}) {
    const auto c = opened((text + name).c_str(), shape);
    CAPTURE(name);
    CHECK_THROWS_AS(clip_text_config_of(c.text_encoder), bad_file);
    CHECK_THROWS_WITH(clip_text_config_of(c.text_encoder), contains_text("hollow.safetensors"));
  }
}

TEST_CASE("marks in a single file say what its network predicts") {
  const scratch_folder folder;
  const at::Tensor mark = at::zeros({0});
  using metadata = std::map<std::string, std::string>;
  struct marked {
    tensors more;
    metadata said;
    prediction_type prediction;
    bool zero_terminal_snr;
  };
  const auto v = prediction_type::v, epsilon = prediction_type::epsilon;
  for (const auto& m :
       std::vector<marked>{{{}, {}, epsilon, false},
                           {{{"v_pred", mark}}, {}, v, false},
                           {{{"v_pred", mark}, {"ztsnr", mark}}, {}, v, true},
                           {{{"ztsnr", mark}}, {}, v, true},
                           {{{"model.diffusion_model.v_pred", mark}}, {}, v, false},
                           {{}, {{"v_pred", "true"}, {"ztsnr", "False"}}, v, false},
                           {{}, {{"modelspec.prediction_type", "v"}}, v, false},
                           {{}, {{"modelspec.prediction_type", "v_prediction"}}, v, false},
                           {{}, {{"modelspec.prediction_type", "V-Prediction"}}, v, false},
                           {{}, {{"modelspec.predict_key", "v"}}, v, false},
                           {{}, {{"modelspec.predict_key", "epsilon"}, {"v_pred", "0"}}, epsilon, false},
                           {{}, {{"modelspec.prediction_type", "sample"}}, prediction_type::sample, false},
                           {{{"v_pred", mark}}, {{"ss_zero_terminal_snr", "True"}}, v, true},
                           {{}, {{"ss_zero_terminal_snr", "None"}}, epsilon, false}}) {
    auto all = single_file(768);
    all.insert(m.more.begin(), m.more.end());
    const auto c = open_checkpoint(write_single(folder, all, m.said));
    CAPTURE(m.more, m.said);
    CHECK(c.prediction == m.prediction);
    CHECK((diffusion_of(c).alpha_bar(1000.0) == 0.0) == m.zero_terminal_snr);
    if (m.prediction == v && !m.zero_terminal_snr)
      CHECK_THROWS_WITH(open_checkpoint(folder / "model.safetensors", {.prediction = epsilon}),
                        contains_text("says that the network predicts v"));
  }
  // 2.x says it itself, then
  auto second = single_file(1024);
  second["v_pred"] = mark;
  CHECK(open_checkpoint(write_single(folder, second)).prediction == v);
  // the rescaled schedule may be told by what the file keeps
  const scratch_folder scheduler;
  write(scheduler / "s.json", "{" + stable_diffusion_betas + R"(, "rescale_betas_zero_snr": true})");
  const auto path = read_scheduler(scheduler / "s.json").path;
  at::Tensor kept = at::empty({1000});
  for (int i = 0; i < 1000; ++i) kept[i] = path.alpha_bar(i + 1);
  auto first = single_file(768);
  first["alphas_cumprod"] = kept;
  CHECK(open_checkpoint(write_single(folder, first)).prediction == v);
  CHECK(diffusion_of(open_checkpoint(write_single(folder, first))).alpha_bar(1000.0) == 0.0);

  const auto refused = [&](const tensors& more, const metadata& said, const checkpoint_options& options,
                           const char* message) {
    auto all = single_file(768);
    all.insert(more.begin(), more.end());
    const auto file = write_single(folder, all, said);
    CAPTURE(message);
    CHECK_THROWS_WITH(open_checkpoint(file, options), contains_text(message) && contains_text(file.string()));
  };
  refused({}, {{"modelspec.prediction_type", "flow"}}, {}, "modelspec.prediction_type is \"flow\"");
  refused({{"v_pred", mark}}, {{"modelspec.prediction_type", "epsilon"}}, {}, "contradicts itself");
  refused({{"ztsnr", mark}}, {{"modelspec.prediction_type", "epsilon"}}, {}, "zero terminal signal-to-noise");
  refused({{"ztsnr", mark}}, {}, {.prediction = epsilon}, "the option prediction says epsilon");
}

TEST_CASE("an autoencoder by itself is a folder or a single file, under either names") {
  const scratch_folder folder;
  auto original = original_layout::of(original_sizes::small(100));
  std::erase_if(original, [](const auto& one) { return !one.first.starts_with(original_vae); });
  const auto all = random_parameters(original);
  const auto vae = [](const checkpoint_part& part) {
    return autoencoder_kl(autoencoder_kl_config_of(part), weights_of(part));
  };
  const at::Tensor latent = at::ones({1, 4, 2, 2});
  const auto prefixed = open_autoencoder(write_single(folder, all));
  CHECK(prefixed.prefix == original_vae);
  const at::Tensor expected = vae(prefixed).decode(latent);

  tensors bare;
  for (const auto& [name, t] : all) bare[name.substr(original_vae.size())] = t;
  const auto without = open_autoencoder(write_single_file(folder / "bare.safetensors", bare));
  CHECK(without.prefix.empty());
  CHECK(at::equal(vae(without).decode(latent), expected));

  // diffusers' names, of today and of before 0.17
  const auto names = ldm_autoencoder_names(autoencoder_kl_config_of(prefixed));
  std::set<std::string> asked;
  const auto hear = [&](const std::string& name) {
    if (all.count(names(name).key)) asked.insert(name);
    return names(name);
  };
  const autoencoder_kl heard(autoencoder_kl_config_of(prefixed), weights(prefixed.files, {}, hear));
  for (const bool old : {false, true}) {
    tensors renamed;
    for (std::string name : asked) {
      at::Tensor t = all.at(names(name).key);
      if (name.find("attentions") != name.npos && t.dim() == 4) t = t.flatten(1);
      if (old)
        for (const auto& [now, then] : {std::pair{".to_q.", ".query."},
                                        {".to_k.", ".key."},
                                        {".to_v.", ".value."},
                                        {".to_out.0.", ".proj_attn."}})
          if (const auto at = name.find(now); at != name.npos)
            name.replace(at, std::string(now).size(), then);
      renamed[name] = t;
    }
    CHECK(renamed.size() == all.size());
    CHECK(renamed.count(std::string("decoder.mid_block.attentions.0.") +
                        (old ? "query.weight" : "to_q.weight")));
    const auto file = write_single_file(folder / "renamed.safetensors", renamed);
    const auto part = open_autoencoder(file);
    CHECK(part.layout == checkpoint_layout::diffusers);
    check_same(autoencoder_kl_config_of(part), autoencoder_kl_config_of(prefixed));
    CHECK(at::equal(vae(part).decode(latent), expected));
    // a configuration beside it counts, and makes it a folder, too
    write(folder / "config.json", R"({"_class_name": "AutoencoderKL", "block_out_channels": [32, 32, 32, 32],
      "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"],
      "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"],
      "scaling_factor": 0.5})");
    CHECK(autoencoder_kl_config_of(open_autoencoder(file)).scaling_factor == 0.5);
    fs::create_directories(folder / "whole/vae");
    fs::copy_file(file, folder / "whole/vae/diffusion_pytorch_model.fp16.safetensors",
                  fs::copy_options::overwrite_existing);
    fs::rename(folder / "config.json", folder / "whole/vae/config.json");
    for (const char* name : {"whole/vae", "whole"})
      CHECK(autoencoder_kl_config_of(open_autoencoder(folder / name)).scaling_factor == 0.5);
  }
  CHECK(
      open_autoencoder(write_single_file(folder / "taesd.safetensors", {{"decoder.layers.0.weight", latent}}))
          .class_name == "AutoencoderTiny");

  const auto refused = [](const fs::path& path, const std::string& message) {
    CHECK_THROWS_AS(open_autoencoder(path), bad_file);
    CHECK_THROWS_WITH(open_autoencoder(path), contains_text(message) && contains_text(path.string()));
  };
  refused(folder / "nowhere", "no such autoencoder");
  refused(write_single_file(folder / "x.safetensors", {{"x", latent}}), "holds no autoencoder");
  write(folder / "v.pt", "x");
  refused(folder / "v.pt", "pickle");
  fs::create_directories(folder / "vae");
  refused(folder / "vae", "vae/config.json");
  fs::create_directory(folder / "vae/config.json");
  write_some_tensor(folder / "vae/diffusion_pytorch_model.safetensors");
  refused(folder / "vae", "vae/config.json: is not a regular file but a folder");
}

TEST_CASE("a single file of the original layout is told to be 1.x or 2.x") {
  const scratch_folder folder;
  const auto first = open_checkpoint(write_single(folder, single_file(768)));
  CHECK(first.layout == checkpoint_layout::ldm);
  CHECK(first.cross_attention_dim == 768);
  CHECK(first.prediction == prediction_type::epsilon);
  CHECK(first.unet.files == std::vector{folder / "model.safetensors"});
  CHECK_FALSE(first.unet.config);
  CHECK_FALSE(first.tokenizer);
  CHECK(std::abs(diffusion_of(first).alpha_bar(1000.0) - 0.0046600) < 1e-6); // of Stable Diffusion
  const auto second = write_single(folder, single_file(1024));
  CHECK_THROWS_AS(open_checkpoint(second), bad_option);
  CHECK_THROWS_WITH(open_checkpoint(second), contains_text("pass the option prediction"));
  const auto c = open_checkpoint(second, {.prediction = prediction_type::v});
  CHECK(c.cross_attention_dim == 1024);
  CHECK(c.prediction == prediction_type::v);
}

TEST_CASE("a single file of another model, or with parts missing, is refused by name") {
  const scratch_folder folder;
  const auto refused = [&](const tensors& without, const tensors& with, const std::string& message) {
    auto all = single_file(768);
    for (const auto& [key, value] : without) all.erase(key);
    for (const auto& [key, value] : with) all[key] = value;
    const auto file = write_single(folder, all);
    CAPTURE(message);
    CHECK_THROWS_AS(open_checkpoint(file), bad_file);
    CHECK_THROWS_WITH(open_checkpoint(file), contains_text(message));
  };
  const std::string unet = "model.diffusion_model.",
                    to_k = "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight";
  const at::Tensor one = at::zeros({1});
  refused({{"first_stage_model.encoder.conv_in.weight", {}}}, {}, "the VAE (first_stage_model.*)");
  refused({{"cond_stage_model.transformer.text_model.embeddings.token_embedding.weight", {}}}, {},
          "text encoder");
  refused({{unet + to_k, {}}}, {}, to_k);
  refused({}, {{unet + to_k, at::zeros({8, 2048})}}, "neither Stable Diffusion 1.x");
  refused({}, {{unet + to_k, at::zeros({8, 1024})}}, "neither Stable Diffusion 1.x");
  refused({}, {{unet + to_k, one}}, "neither Stable Diffusion 1.x");
  refused({}, {{unet + "input_blocks.0.0.weight", at::zeros({8, 9, 3, 3})}}, "inpainting");
  refused({}, {{unet + "input_blocks.0.0.weight", one}}, "4 channels");
  refused({}, {{"conditioner.embedders.0.x", one}}, "Stable Diffusion XL");
  refused({}, {{unet + "joint_blocks.0.x", one}}, "Stable Diffusion 3");
  refused({}, {{"down_blocks.0.x", one}}, "names of diffusers");
  refused({}, {{"transformer_blocks.0.x", one}}, "names of diffusers");
  refused({}, {{"alphas_cumprod", at::linspace(1.0, 0.0, 1000)}}, "schedule");
  refused({}, {{"alphas_cumprod", at::linspace(1.0, 0.0, 10)}}, "schedule");
  write(folder / "text.safetensors", "no weights");
  CHECK_THROWS_AS(open_checkpoint(folder / "text.safetensors"), bad_file);
}
