// Checkpoint folders and single files: what diffusers writes, what is refused, and the schedulers' noise.

#include <support/catch.hpp>
#include <support/file_faults.hpp>
#include <support/oracle.hpp>
#include <support/scratch_folder.hpp>

#include <pushforward/error.hpp>
#include <pushforward/libtorch/models/checkpoint.hpp>
#include <pushforward/libtorch/models/weights.hpp>
#include <pushforward/libtorch/safetensors.hpp>

#include <ATen/ATen.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

using namespace testing_support;
using namespace pushforward;
using namespace pushforward::libtorch;
using namespace pushforward::libtorch::models;
namespace fs = std::filesystem;

namespace {

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

using tensors = std::map<std::string, at::Tensor>;

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

fs::path write_single(const scratch_folder& folder, const tensors& all) {
  write_tensors(folder / "model.safetensors", {all.begin(), all.end()});
  return folder / "model.safetensors";
}

} // namespace

TEST_CASE("a folder that diffusers wrote is opened with its configurations, files and schedule") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  if (oracle.empty()) return;
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
    CHECK(c.path.last() == 1000.0);
    CHECK(c.path.model_time(1000.0) == 999.0);
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
                      contains_text("no weights of variant fp16; there are: none"));
  }
}

TEST_CASE("the path of a scheduler's configuration has diffusers' alphas_cumprod") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  if (oracle.empty()) return;
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
  CHECK_THROWS_WITH(open_checkpoint(folder / "c", {.prediction = prediction_type::flow}),
                    contains_text("variance preserving"));
  write(scheduler, "{" + stable_diffusion_betas + "}");
  CHECK_THROWS_AS(open_checkpoint(folder / "c"), bad_option);
  CHECK_THROWS_WITH(open_checkpoint(folder / "c"), contains_text("pass the option prediction"));
  CHECK(open_checkpoint(folder / "c", {.prediction = prediction_type::v}).prediction == prediction_type::v);
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
  const std::string all = "{" + stable_diffusion_betas + ", ";
  for (const auto& [text, named] :
       {std::pair<std::string, const char*>{all + R"("rescale_betas_zero_snr": true})",
                                            "rescale_betas_zero_snr"},
        {all + R"("trained_betas": [0.1, 0.2]})", "trained_betas"},
        {all + R"("prediction_type": "flow_prediction"})", "prediction_type"},
        {all + R"("prediction_type": 3})", "prediction_type"},
        {all + R"("use_flow_sigmas": true})", "use_flow_sigmas"},
        {all + R"("_class_name": "FlowMatchEulerDiscreteScheduler"})", "_class_name"},
        {R"({"beta_schedule": "sigmoid", "num_train_timesteps": 10})", "beta_schedule"},
        {R"({"beta_schedule": "linear", "num_train_timesteps": 10, "beta_end": 0.1})", "beta_start"},
        {R"({"beta_schedule": "linear", "num_train_timesteps": 10, "beta_start": 0.1, "beta_end": 2})",
         "beta_end"},
        {R"({"beta_schedule": "linear", "num_train_timesteps": 10, "beta_start": 1e-300, "beta_end": 0.1})",
         "beta_start"},
        {R"({"beta_schedule": "linear", "num_train_timesteps": 0})", "num_train_timesteps"},
        {R"({"beta_schedule": "linear", "num_train_timesteps": 1e18})", "num_train_timesteps"},
        {R"({"beta_schedule": "linear"})", "num_train_timesteps"},
        {R"({"num_train_timesteps": 10})", "beta_schedule"}}) {
    CAPTURE(text);
    CHECK_THROWS_AS(read(text), bad_file);
    CHECK_THROWS_WITH(read(text), contains_text(named));
  }
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
  CHECK(std::abs(first.path.alpha_bar(1000.0) - 0.0046600) < 1e-6); // of Stable Diffusion
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
  refused({}, {{"alphas_cumprod", at::linspace(1.0, 0.0, 1000)}}, "schedule");
  refused({}, {{"alphas_cumprod", at::linspace(1.0, 0.0, 10)}}, "schedule");
  write(folder / "text.safetensors", "no weights");
  CHECK_THROWS_AS(open_checkpoint(folder / "text.safetensors"), bad_file);
}
