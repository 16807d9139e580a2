// Checkpoints of Stable Diffusion 3: what is opened and refused, what its text encoders say, and the programs
// on a small one, against diffusers' pipeline and the published loop in Python.

#include "programs.hpp"

#include <support/file_faults.hpp>
#include <support/hollow_file.hpp>
#include <support/original_layout.hpp>

#include <pushforward/error.hpp>
#include <pushforward/libtorch/models/sd3_checkpoint.hpp>
#include <pushforward/libtorch/models/weights.hpp>
#include <pushforward/libtorch/safetensors.hpp>

#include <ATen/ATen.h>

#include <functional>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

using namespace testing_support;
namespace models = pushforward::libtorch::models;
using pushforward::bad_file;
using pushforward::bad_option;

namespace {

tensors read_all(const fs::path& path) {
  const pushforward::safetensors::file file(path);
  tensors all;
  for (const auto& [name, view] : file.tensors()) all[name] = pushforward::libtorch::read_tensor(file, name);
  return all;
}

/// A copy that can be changed.
fs::path copied(const fs::path& oracle, const scratch_folder& folder, const char* name = "copy") {
  fs::copy(oracle / "checkpoint", folder / name, fs::copy_options::recursive);
  return folder / name;
}

void change(const fs::path& file, const json& values) {
  auto config = json::parse(read_bytes(file));
  config.update(values);
  write_bytes(file, config.dump());
}

/// The single file, with tokenizers beside it.
fs::path single_in(const fs::path& oracle, const scratch_folder& folder, const tensors& all) {
  fs::create_directories(folder / "single");
  for (const char* part : {"tokenizer", "tokenizer_2", "tokenizer_3"})
    fs::copy(oracle / "checkpoint" / part, folder / "single" / part, fs::copy_options::recursive);
  return write_single_file(folder / "single" / "model.safetensors", all);
}

/// The folder with the same activation in both CLIP encoders, as names and shapes of these small ones tell.
fs::path folder_like_single(const fs::path& oracle, const scratch_folder& folder) {
  const auto copy = copied(oracle, folder);
  change(copy / "text_encoder_2" / "config.json", {{"hidden_act", "quick_gelu"}});
  return copy;
}

models::sd3_condition prompt_of(const models::sd3_checkpoint& c, std::int64_t t5_tokens = 40) {
  return models::encode_prompts(c, {"a cat"}, {}, t5_tokens);
}

std::string refusal_of(const fs::path& path, const models::sd3_checkpoint_options& options = {}) {
  try {
    models::open_sd3_checkpoint(path, options);
  } catch (const bad_file& e) {
    return e.what();
  }
  return "";
}

/// Names and shapes that a network asks for, as a file of the original layout has them.
shapes original_shapes(const models::naming& names, const std::function<void(const models::weights&)>& load) {
  shapes all;
  load(models::weights(
      [&](const std::string& name, const std::vector<std::int64_t>& shape) {
        const auto place = names(name);
        auto whole = shape;
        whole[0] *= place.parts;
        all[place.key] = whole;
        return at::empty(shape, at::TensorOptions().device(at::kMeta).dtype(at::kFloat));
      },
      {at::kFloat, at::kMeta}));
  return all;
}

} // namespace

TEST_CASE("a folder of Stable Diffusion 3 is opened with its parts, and its prompts are diffusers'") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  CHECK(models::is_sd3_checkpoint(oracle / "checkpoint"));
  const auto c = models::open_sd3_checkpoint(oracle / "checkpoint");
  CHECK(c.layout == models::checkpoint_layout::diffusers);
  CHECK(c.path.shift() == 3.0);
  CHECK(c.transformer.class_name == "SD3Transformer2DModel");
  CHECK(c.vae.class_name == "AutoencoderKL");
  REQUIRE(c.t5);
  CHECK(c.t5_tokenizer == oracle / "checkpoint" / "tokenizer_3");
  for (const auto& part : {c.transformer, c.vae, c.clip_l, c.clip_g, *c.t5}) models::check_weights(part);
  const auto condition = prompt_of(c);
  CHECK(relative_l2(condition.states, expected(oracle, "prompt.safetensors", "states")) < 1e-5);
  CHECK(relative_l2(condition.pooled, expected(oracle, "prompt.safetensors", "pooled")) < 1e-5);

  // several at once are those one by one
  const auto both = models::encode_prompts(c, {"a dog on a long walk", "a cat"}, {}, 40);
  CHECK(both.states.size(0) == 2);
  CHECK(relative_l2(both.states.narrow(0, 1, 1), condition.states) < 1e-6);
  CHECK(relative_l2(both.pooled.narrow(0, 1, 1), condition.pooled) < 1e-6);
  CHECK_THROWS_AS(models::encode_prompts(c, {}, {}), bad_option);
  CHECK_THROWS_AS(models::encode_prompts(c, {"a"}, {}, 0), bad_option);
  const auto stop = [] { throw bad_option("stopped"); };
  CHECK_THROWS_WITH(models::encode_prompts(c, {"a"}, {}, 40, stop), "stopped");

  // left out, zeros of its shape
  const auto without = models::open_sd3_checkpoint(oracle / "checkpoint", {.without_t5 = true});
  CHECK_FALSE(without.t5);
  const auto bare = prompt_of(without);
  CHECK(bare.states.sizes() == condition.states.sizes());
  CHECK(at::equal(bare.states.narrow(1, 0, 77), condition.states.narrow(1, 0, 77)));
  CHECK(bare.states.narrow(1, 77, 40).abs().max().item<double>() == 0.0);
}

TEST_CASE("a single file of Stable Diffusion 3 says what the folder with the same parameters says") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  auto all = read_all(oracle / "single.safetensors");
  const auto single = single_in(oracle, folder, all);
  CHECK(models::is_sd3_checkpoint(single));
  const auto c = models::open_sd3_checkpoint(single);
  CHECK(c.layout == models::checkpoint_layout::ldm);
  CHECK(c.path.shift() == 3.0);
  const auto vae = models::autoencoder_kl_config_of(c.vae);
  CHECK(vae.scaling_factor == 1.5305);
  CHECK(vae.shift_factor == 0.0609);
  for (const auto& part : {c.transformer, c.clip_l, c.clip_g, *c.t5}) models::check_weights(part);
  const auto like = models::open_sd3_checkpoint(folder_like_single(oracle, folder));
  const auto wanted = prompt_of(like), given = prompt_of(c);
  CHECK(relative_l2(given.states, wanted.states) < 1e-6);
  CHECK(relative_l2(given.pooled, wanted.pooled) < 1e-6);

  SECTION("a file without the first encoder's projection has the identity there, as published ones") {
    all.erase("text_encoders.clip_l.transformer.text_projection.weight");
    const auto bare = prompt_of(models::open_sd3_checkpoint(write_single_file(single, all)));
    const auto weights = folder / "copy" / "text_encoder" / "model.safetensors";
    auto encoder = read_all(weights);
    encoder["text_projection.weight"] = at::eye(64);
    write_single_file(weights, encoder);
    const auto identity = prompt_of(models::open_sd3_checkpoint(folder / "copy"));
    CHECK(relative_l2(bare.pooled, identity.pooled) < 1e-6);
    CHECK(relative_l2(bare.pooled, wanted.pooled) > 1e-2);
  }
  SECTION("text encoders may lie beside it as files of their own, or elsewhere") {
    const fs::path beside = folder / "single" / "text_encoders";
    fs::create_directories(beside);
    tensors rest;
    std::map<std::string, tensors> encoders;
    for (const auto& [name, tensor] : all) {
      const std::string start = "text_encoders.", middle = ".transformer.";
      if (!name.starts_with(start)) {
        rest[name] = tensor;
        continue;
      }
      const auto end = name.find(middle);
      encoders[name.substr(start.size(), end - start.size())][name.substr(end + middle.size())] = tensor;
    }
    REQUIRE(encoders.size() == 3);
    for (const auto& [name, parameters] : encoders)
      write_single_file(beside / (name == "t5xxl" ? "t5xxl_fp16.safetensors" : name + ".safetensors"),
                        parameters);
    const auto apart = write_single_file(single, rest);
    const auto found = prompt_of(models::open_sd3_checkpoint(apart));
    CHECK(relative_l2(found.states, wanted.states) < 1e-6);
    CHECK(relative_l2(found.pooled, wanted.pooled) < 1e-6);
    fs::rename(beside, folder / "elsewhere");
    CHECK(holds(refusal_of(apart), "clip_l.safetensors"));
    CHECK(holds(refusal_of(apart), "text_encoders"));
    const auto other = models::open_sd3_checkpoint(apart, {.text_encoders = folder / "elsewhere"});
    CHECK(relative_l2(prompt_of(other).states, wanted.states) < 1e-6);
    fs::remove(folder / "elsewhere" / "t5xxl_fp16.safetensors");
    CHECK_FALSE(models::open_sd3_checkpoint(apart, {.text_encoders = folder / "elsewhere"}).t5);
  }
  SECTION("text encoders are not named for nothing") {
    for (const auto& own : {single, folder / "copy"})
      CHECK_THROWS_WITH(models::open_sd3_checkpoint(own, {.text_encoders = folder / "elsewhere"}),
                        Catch::Contains("the option text_encoders") && Catch::Contains("has no effect"));
  }
  SECTION("T5 alone may lie beside a file that has both others") {
    const fs::path beside = folder / "single" / "text_encoders";
    fs::create_directories(beside);
    tensors rest, t5;
    const std::string start = "text_encoders.t5xxl.transformer.";
    for (const auto& [name, tensor] : all)
      name.starts_with(start) ? t5[name.substr(start.size())] = tensor : rest[name] = tensor;
    write_single_file(beside / "t5xxl.safetensors", t5);
    const auto found = models::open_sd3_checkpoint(write_single_file(single, rest));
    REQUIRE(found.t5);
    CHECK(relative_l2(prompt_of(found).states, wanted.states) < 1e-6);
  }
  SECTION("without T5 it has none, and needs no tokenizer for it") {
    tensors rest;
    for (const auto& [name, tensor] : all)
      if (!name.starts_with("text_encoders.t5xxl.")) rest[name] = tensor;
    fs::remove_all(folder / "single" / "tokenizer_3");
    CHECK_FALSE(models::open_sd3_checkpoint(write_single_file(single, rest)).t5);
  }
  SECTION("its tokenizers may lie elsewhere") {
    fs::rename(folder / "single" / "tokenizer", folder / "tokenizer");
    fs::rename(folder / "single" / "tokenizer_2", folder / "tokenizer_2");
    CHECK(holds(refusal_of(single), "holds no tokenizers"));
    CHECK(holds(refusal_of(single), (folder / "single" / "tokenizer" / "vocab.json").string()));
    fs::rename(folder / "single" / "tokenizer_3", folder / "tokenizer_3");
    CHECK_NOTHROW(
        models::open_sd3_checkpoint(single, {.tokenizers = fs::path(folder / "tokenizer").parent_path()}));
  }
  SECTION("parts that are missing are named, all at once") {
    tensors rest;
    for (const auto& [name, tensor] : all)
      if (!name.starts_with("first_stage_model.") && !name.starts_with("text_encoders.clip_g."))
        rest[name] = tensor;
    write_single_file(single, rest);
    CHECK(holds(refusal_of(single), "the VAE (first_stage_model.*), which the option vae can take"));
    CHECK(holds(refusal_of(single), "clip_g.safetensors"));
    CHECK_FALSE(holds(refusal_of(single, {.without_vae = true}), "first_stage_model"));
  }
}

TEST_CASE("files of the published sizes are told from their names and shapes") {
  const scratch_folder folder;
  const auto after = [](const std::string& prefix) {
    return [prefix](const std::string& name) -> models::stored_at { return {prefix + name}; };
  };
  models::autoencoder_kl_config vae;
  vae.latent_channels = 16;
  vae.use_quant_conv = vae.use_post_quant_conv = false;
  const models::clip_text_config clip_l;
  models::clip_text_config clip_g;
  clip_g.hidden_size = clip_g.projection_dim = 1280;
  clip_g.intermediate_size = 5120;
  clip_g.num_hidden_layers = 32;
  clip_g.num_attention_heads = 20;
  clip_g.hidden_act = "gelu";
  shapes rest;
  rest.merge(original_shapes(models::ldm_autoencoder_names(vae),
                             [&](const models::weights& w) { models::autoencoder_kl(vae, w); }));
  for (const auto& [name, config] : {std::pair{"clip_l", clip_l}, {"clip_g", clip_g}})
    rest.merge(original_shapes(after(std::string("text_encoders.") + name + ".transformer."),
                               [&, &c = config](const models::weights& w) { models::clip_text(c, w); }));
  rest.merge(original_shapes(models::sd3_t5_names(), [&](const models::weights& w) {
    models::t5_encoder(models::t5_config::xxl(), w);
  }));
  for (const char* part : {"tokenizer", "tokenizer_2", "tokenizer_3"}) {
    fs::create_directories(folder / part);
    write_bytes(folder / part / "tokenizer.json", "{}"); // opened when prompts are read
  }
  for (const auto& config : {models::sd3_transformer_config::stable_diffusion_3_medium(),
                             models::sd3_transformer_config::stable_diffusion_3_5_medium(),
                             models::sd3_transformer_config::stable_diffusion_3_5_large()}) {
    auto all = original_shapes(models::original_sd3_transformer_names(config),
                               [&](const models::weights& w) { models::sd3_transformer(config, w); });
    all.merge(shapes(rest));
    const auto c = models::open_sd3_checkpoint(write_hollow(folder / "published.safetensors", all));
    const auto told = models::sd3_transformer_config_of(c.transformer);
    CHECK(told.num_layers == config.num_layers);
    CHECK(told.width() == config.width());
    CHECK(told.attention_head_dim == 64);
    CHECK(told.pos_embed_max_size == config.pos_embed_max_size);
    CHECK(told.dual_attention_layers == config.dual_attention_layers);
    CHECK(told.qk_norm == config.qk_norm);
    CHECK(told.pooled_projection_dim == 2048);
    CHECK(told.joint_attention_dim == 4096);
    const auto g = models::clip_text_config_of(c.clip_g), l = models::clip_text_config_of(c.clip_l);
    CHECK(g.hidden_act == "gelu");
    CHECK(g.num_attention_heads == 20);
    CHECK(g.num_hidden_layers == 32);
    CHECK(l.hidden_act == "quick_gelu");
    CHECK(l.num_hidden_layers == 12);
    REQUIRE(c.t5);
    CHECK(models::t5_config_of(*c.t5).num_layers == 24);
    for (const auto& part : {c.transformer, c.vae, c.clip_l, c.clip_g, *c.t5}) models::check_weights(part);
  }
}

TEST_CASE("a folder of Stable Diffusion 3 that does not hold together is refused, with what is wrong") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  const auto copy = copied(oracle, folder);
  const auto refused = [&](const std::string& said, const models::sd3_checkpoint_options& options = {}) {
    INFO(refusal_of(copy, options));
    CHECK(holds(refusal_of(copy, options), said));
  };
  const auto config = [&](const char* part) { return copy / part / "config.json"; };
  const auto with = [&](const fs::path& file, const json& values, const std::string& said) {
    const auto before = read_bytes(file);
    change(file, values);
    refused(said);
    write_bytes(file, before);
  };
  REQUIRE(refusal_of(copy).empty());
  with(config("transformer"), {{"_class_name", "FluxTransformer2DModel"}},
       "only Stable Diffusion 3 is supported");
  with(config("transformer"), {{"pooled_projection_dim", 100}}, "the two CLIP encoders give 64 and 64");
  with(config("transformer"), {{"joint_attention_dim", 100}}, "the two CLIP encoders give 64 and 64");
  with(config("transformer"), {{"joint_attention_dim", 140}}, "T5 is 136 wide");
  with(config("transformer"), {{"in_channels", 33}}, "a model that takes more than the latents");
  with(config("text_encoder"), {{"hidden_size", 72}}, "are they swapped?");
  with(config("vae"), {{"latent_channels", 4}}, "makes latents of 4 channels, but the transformer takes 16");
  with(config("text_encoder"), {{"model_type", "bert"}}, "is not clip_text_model");
  with(config("text_encoder_3"), {{"model_type", "umt5"}}, "is not t5");
  const fs::path scheduler = copy / "scheduler" / "scheduler_config.json";
  with(scheduler, {{"_class_name", "DDIMScheduler"}}, "is not FlowMatchEulerDiscreteScheduler");
  with(scheduler, {{"use_dynamic_shifting", true}}, "use_dynamic_shifting");
  with(scheduler, {{"shift_terminal", 0.02}}, "shift_terminal");
  with(scheduler, {{"num_train_timesteps", 500}}, "num_train_timesteps");
  with(scheduler, {{"shift", 0}}, "shift");
  change(scheduler, {{"shift", 1.5}});
  CHECK(models::open_sd3_checkpoint(copy).path.shift() == 1.5);

  // files that have more than the configuration asks for
  const auto mismatched = [&](const char* part, const json& values, const std::string& said) {
    const auto before = read_bytes(config(part));
    change(config(part), values);
    const auto c = models::open_sd3_checkpoint(copy);
    CHECK_THROWS_WITH(models::check_weights(part == std::string("transformer") ? c.transformer : *c.t5),
                      Catch::Contains(said));
    write_bytes(config(part), before);
  };
  mismatched("transformer", {{"qk_norm", nullptr}}, "does not ask for transformer_blocks.0.attn.norm");
  mismatched("text_encoder_3", {{"num_layers", 1}}, "does not ask for encoder.block.1.");
  // a variant of some parts
  const fs::path text = copy / "text_encoder";
  fs::rename(text / "model.safetensors", text / "model.fp16.safetensors");
  const auto some = models::open_sd3_checkpoint(copy, {.variant = "fp16"});
  CHECK(some.clip_l.files.front() == text / "model.fp16.safetensors");
  CHECK(some.clip_g.files.front() == copy / "text_encoder_2" / "model.safetensors");
  refused("of variant bf16", {.variant = "bf16"});
  fs::rename(text / "model.fp16.safetensors", text / "model.safetensors");
  auto unprojected = read_all(text / "model.safetensors");
  unprojected.erase("text_projection.weight");
  write_single_file(text / "model.safetensors", unprojected);
  CHECK_THROWS_WITH(prompt_of(models::open_sd3_checkpoint(copy)), Catch::Contains("text_projection.weight"));

  with(copy / "model_index.json", {{"text_encoder_3", {1, 2}}}, "is neither a library and a class");
  fs::rename(copy / "tokenizer_3", folder / "tokenizer_3");
  refused(
      "tokenizer_3/spiece.model; copy the whole folder, or leave T5 out (option without_t5, --without-t5)");
  fs::rename(folder / "tokenizer_3", copy / "tokenizer_3");
  fs::rename(copy / "vae", folder / "vae");
  refused("vae; copy the whole folder, or take an autoencoder from elsewhere (option vae)");
  fs::rename(folder / "vae", copy / "vae");
  const auto index = read_bytes(copy / "model_index.json");
  write_bytes(copy / "model_index.json", "{}");
  CHECK(models::is_sd3_checkpoint(copy)); // by its transformer
  change(copy / "model_index.json", {{"_class_name", "FluxPipeline"}});
  CHECK_FALSE(models::is_sd3_checkpoint(copy));
  CHECK_THROWS_WITH(models::open_checkpoint(copy),
                    Catch::Contains("FluxPipeline") && Catch::Contains("only Stable Diffusion 1.x, 2.x, 3"));
  write_bytes(copy / "model_index.json", index);

  fs::rename(copy / "text_encoder_3", folder / "t5");
  refused("text_encoder_3; copy the whole folder, or leave T5 out (option without_t5, --without-t5)");
  CHECK(refusal_of(copy, {.without_t5 = true}).empty());
  for (const json& none : {json(nullptr), json({nullptr, nullptr})}) {
    change(copy / "model_index.json", {{"text_encoder_3", none}});
    CHECK_FALSE(models::open_sd3_checkpoint(copy).t5);
  }
  fs::remove_all(copy / "vae");
  fs::remove(copy / "tokenizer_2" / "merges.txt");
  refused((copy / "vae").string() + ", " + (copy / "tokenizer_2" / "merges.txt").string());
  CHECK(holds(refusal_of(copy, {.without_vae = true}), "merges.txt"));
  fs::remove(copy / "model_index.json");
  CHECK(models::is_sd3_checkpoint(copy)); // by its transformer
  CHECK(holds(refusal_of(folder / "none"), "there is no such checkpoint"));
  CHECK_FALSE(models::is_sd3_checkpoint(folder / "none"));
  write_bytes(folder / "model.ckpt", "x");
  CHECK(holds(refusal_of(folder / "model.ckpt"), "is a pickle file"));
  CHECK_FALSE(models::is_sd3_checkpoint(folder / "model.ckpt"));
}

// --- The programs

TEST_CASE(
    "inpaint on Stable Diffusion 3 ends at the latents of diffusers' pipeline, and of the loop in Python") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  const words common{oracle / "picture.png",
                     "--known",
                     "left",
                     "--batch",
                     "2",
                     "--prompt",
                     "a cat",
                     "--latents",
                     oracle / "latents.safetensors",
                     "--save-latents"};
  const auto ends_at = [&](const char* name, const words& arguments, double tolerance) {
    const auto r = run(folder, oracle, "inpaint", joined(common, arguments));
    INFO(name << ": " << r.ended.said);
    REQUIRE(r.ended.status == 0);
    CHECK(relative_l2(r.latents(), expected(oracle, "latents.safetensors", name)) < tolerance);
    return r.trace();
  };
  const words plain{"--policy", "none", "--steps", "4"},
      steered{"--steps", "4", "--K", "3", "--lr", "0.5", "--lr-last", "0.1"};
  const auto trace = ends_at("sampled", joined(plain, {"--guidance", "1"}), 3e-5);
  CHECK(trace["model"]["prediction"] == "flow");
  CHECK(trace["model"]["shift"] == 3.0);
  CHECK(trace["model"]["t5"] == "read");
  CHECK(trace["model"]["t5_tokens"] == 256);
  CHECK(trace["settings"]["renoise"] == 0.0);
  // the guidance of the model's makers, where there is a prompt
  CHECK(ends_at("guided", plain, 3e-5)["model"]["guidance"] == 4.5);
  ends_at("negative", {"--policy", "none", "--steps", "3", "--negative-prompt", "a dog", "--guidance", "2"},
          3e-5);
  CHECK(ends_at("without_t5", joined(plain, {"--guidance", "1", "--without-t5"}), 3e-5)["model"]["t5"] ==
        "left out");
  ends_at("short", joined(plain, {"--guidance", "1", "--t5-tokens", "40"}), 3e-5);
  ends_at("plain", joined(steered, {"--guidance", "1"}), 1e-3);
  const auto costs =
      ends_at("steered", joined(steered, {"--guidance", "2", "--negative-prompt", "a dog"}), 1e-3);
  CHECK(costs["costs_of_the_batch"]["passes"] == 2 * 2 * 4 * (1 + 2 * 3));
  // what the cases tell apart is told apart
  const auto sampled = expected(oracle, "latents.safetensors", "sampled");
  for (const char* other : {"without_t5", "short"})
    CHECK(relative_l2(expected(oracle, "latents.safetensors", other), sampled) > 1e-3);
}

TEST_CASE("every program takes Stable Diffusion 3, and a single file of it") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  const auto succeeds = [&](const std::string& program, const words& arguments) {
    const auto r = run(folder, oracle, program, arguments);
    INFO(program << ": " << r.ended.said);
    REQUIRE(r.ended.status == 0);
    return r;
  };
  const fs::path picture = oracle / "picture.png";
  for (const char* policy : {"posterior_step", "gradient_descent", "forward_mode_newton"})
    succeeds("inpaint", {picture, "--known", "left", "--steps", "2", "--policy", policy});
  const auto large = succeeds("superres", {picture, "--factor", "2", "--width", "24", "--height", "16",
                                           "--steps", "2", "--renoise", "1", "--K", "1"});
  CHECK(large.picture().sizes() == at::IntArrayRef({1, 3, 32, 48})); // multiples of 16
  succeeds("style", {picture, "--clip", oracle / "clip", "--width", "64", "--height", "64", "--K", "1",
                     "--steps", "2"});
  CHECK(succeeds("jacobian", {picture, "--pixel", "3", "4", "--vectors", "ones"}).trace()["t"] == 0.6);
  succeeds("spectrum", {picture, "--krylov", "2"});
  succeeds("superres", {picture, "--vae", oracle / "tiny", "--factor", "2", "--width", "24", "--height", "16",
                        "--steps", "1", "--pullback", "encoder", "--K", "2"});
  // without its config.json the file tells its channels
  fs::copy(oracle / "tiny" / "diffusion_pytorch_model.safetensors", folder / "tiny.safetensors");
  succeeds("inpaint", {picture, "--vae", folder / "tiny.safetensors", "--known", "left", "--steps", "1"});
  succeeds("convergence", {picture, "--K", "1", "--steps", "2", "--krylov", "2", "--c", "1"});

  const words one{picture, "--known", "left",           "--steps",  "1",
                  "--K",   "1",       "--save-latents", "--prompt", "a cat"};
  const auto single = single_in(oracle, folder, read_all(oracle / "single.safetensors"));
  const auto like = folder_like_single(oracle, folder);
  const auto wanted = succeeds("inpaint", joined({"--model", like}, one)).latents();
  CHECK(relative_l2(succeeds("inpaint", joined({"--model", single}, one)).latents(), wanted) < 1e-5);
  fs::rename(folder / "single" / "tokenizer", folder / "single" / "other");
  const words elsewhere{"--model", single, "--tokenizer", like};
  CHECK(relative_l2(succeeds("inpaint", joined(elsewhere, one)).latents(), wanted) < 1e-5);
}

TEST_CASE("what does not serve Stable Diffusion 3 is refused before anything is loaded") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  const auto refused = [&](const words& arguments, const std::string& said,
                           const std::string& program = "inpaint") {
    const auto r = run(folder, oracle, program, joined({oracle / "picture.png"}, arguments));
    INFO(said << ": " << r.ended.said);
    CHECK(r.ended.status == 2);
    CHECK(holds(r.ended.said, said));
    CHECK_FALSE(holds(r.ended.said, "loading"));
    CHECK_FALSE(r.has(".png"));
  };
  const words left{"--known", "left"};
  refused(joined(left, {"--width", "72", "--height", "64"}), "each side must be a multiple of 16");
  refused(joined(left, {"--width", "144", "--height", "64"}),
          "takes pictures of sides up to 128 pixels, not 64 x 144");
  refused({"--width", "144", "--height", "64"}, "takes pictures of sides up to 128 pixels", "spectrum");
  refused(joined(left, {"--prediction", "epsilon"}), "--prediction epsilon");
  refused(joined(left, {"--time-convention", "reference"}),
          "--time-convention reference is of diffusion models");
  refused(joined(left, {"--eta", "0"}), "--eta has no effect on a flow");
  refused(joined(left, {"--negative-prompt", "a dog", "--guidance", "1"}), "--negative-prompt has no effect");
  refused(joined(left, {"--t5-tokens", "513"}), "--t5-tokens");
  refused(joined(left, {"--prompt", "a cat", "--policy", "forward_mode_newton"}),
          "does not work under guidance");

  // its files are no place for results
  const auto over = run_program(folder, programs + "inpaint",
                                {oracle / "picture.png", "--known", "left", "--model", oracle / "checkpoint",
                                 "--out", oracle / "checkpoint" / "tokenizer_3" / "tokenizer"});
  CHECK(over.status == 2);
  CHECK(holds(over.said, "tokenizer.json"));

  const auto copy = copied(oracle, folder);
  change(copy / "text_encoder_3" / "config.json", {{"vocab_size", 100}});
  refused(joined(left, {"--model", copy}), "text_encoder_3");
  change(copy / "text_encoder_3" / "config.json", {{"vocab_size", 210}});
  const auto longer = read_bytes(copy / "tokenizer_2" / "tokenizer_config.json");
  change(copy / "tokenizer_2" / "tokenizer_config.json", {{"model_max_length", 5}});
  refused(joined(left, {"--model", copy}), "makes sequences of 5 tokens");
  write_bytes(copy / "tokenizer_2" / "tokenizer_config.json", longer);
  const auto weights = copy / "transformer" / "diffusion_pytorch_model.safetensors";
  auto all = read_all(weights);
  all.erase("proj_out.bias");
  write_single_file(weights, all);
  refused(joined(left, {"--model", copy}), "proj_out.bias");
}

#ifdef CHECKPOINT_BENCH
TEST_CASE("the bench of policies measures a checkpoint of the user's") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  for (const char* part : {"training", "held_out"}) {
    fs::create_directories(folder / part);
    fs::copy(oracle / "picture.png", folder / part / "a.png");
  }
  const auto lines = [&](const words& more) {
    const auto out = folder / "lines.jsonl";
    fs::remove(out);
    const auto r = run_program(
        folder, CHECKPOINT_BENCH,
        joined({"--model", oracle / "checkpoint", "--photographs", folder / "held_out" / "..", "--side", "32",
                "--tuned", "2", "--tested", "2", "--passes", "12", "--tuned-at", "12", "--out", out},
               more));
    INFO(r.said);
    REQUIRE(r.status == 0);
    std::map<std::string, double> psnr;
    std::istringstream text(read_bytes(out));
    for (std::string line; std::getline(text, line);) {
      const auto read = json::parse(line);
      CHECK(read["of"]["checkpoint"] == "checkpoint");
      CHECK(read["of"]["prediction"] == "flow");
      CHECK(read["passes"].get<double>() <= 12.0); // two of them for each answer under guidance
      if (read["role"] == "tested")
        psnr[read["task"].get<std::string>() + ", " + read["method"].get<std::string>()] = read["psnr"][0];
    }
    return psnr;
  };
  const auto plain = lines({"--tasks", "half", "x4", "--methods", "posterior step", "inexact Newton", "DDNM",
                            "FlowChef", "FlowDPS", "LATINO", "plain sampling"});
  for (const char* method : {"posterior step", "inexact Newton", "FlowChef", "FlowDPS", "plain sampling"})
    for (const char* task : {"half", "x4"}) CHECK(plain.count(std::string(task) + ", " + method) == 1);
  CHECK(plain.count("half, DDNM") == 1);
  CHECK(plain.count("x4, LATINO") == 1);
  const auto guided = lines(
      {"--tasks", "half", "--methods", "plain sampling", "posterior step", "FLAIR", "--prompt", "a cat"});
  CHECK(guided.count("half, posterior step") == 1);
  CHECK(guided.count("half, FLAIR") == 1);
  CHECK(guided.at("half, plain sampling") != plain.at("half, plain sampling"));
  const auto odd = run_program(folder, CHECKPOINT_BENCH,
                               {"--model", oracle / "checkpoint", "--photographs", folder / "held_out" / "..",
                                "--side", "72", "--out", folder / "lines.jsonl"});
  CHECK(odd.status == 2);
  CHECK(holds(odd.said, "--side 72 is no multiple of 16"));
  const auto large =
      run_program(folder, CHECKPOINT_BENCH,
                  {"--model", oracle / "checkpoint", "--photographs", folder / "held_out" / "..", "--side",
                   "4096", "--out", folder / "lines.jsonl"});
  CHECK(large.status == 2);
  CHECK(holds(large.said, "--side: this model takes pictures of sides up to"));
  const auto none = run_program(folder, CHECKPOINT_BENCH,
                                {"--model", oracle / "checkpoint", "--photographs",
                                 folder / "held_out" / "..", "--side", "32", "--tuned", "2", "--tested", "2",
                                 "--tasks", "half", "--methods", "LATINO", "--out", folder / "none.jsonl"});
  CHECK(holds(none.said, "LATINO: left out, as it serves none of the tasks"));
}
#endif
