// Tiny autoencoders against diffusers' AutoencoderTiny and a PyTorch statement of the original repository's.

#include <support/catch.hpp>
#include <support/oracle.hpp>
#include <support/scratch_folder.hpp>

#include <pushforward/libtorch/denoiser.hpp>
#include <pushforward/libtorch/models/autoencoder_tiny.hpp>
#include <pushforward/libtorch/safetensors.hpp>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>

#include <cstdlib>
#include <string>

using namespace testing_support;
using namespace pushforward;
using namespace pushforward::libtorch;
using namespace pushforward::libtorch::models;
namespace fs = std::filesystem;

namespace {

autoencoder_tiny diffusers_model(const fs::path& folder) {
  return {autoencoder_tiny_config::read(folder / "config.json"),
          weights({folder / "diffusion_pytorch_model.safetensors"}, {})};
}

at::Tensor vjp(const libtorch::map& f, const at::Tensor& x, const at::Tensor& w) {
  return libtorch::differentiable_decoder(f).linearize_decode(x).vjp(w);
}

/// Outputs and products of a model against those the script wrote.
void compare(const autoencoder_tiny& model, const fs::path& file, double vjp_tolerance = 1e-4) {
  const safetensors::file wanted(file);
  const auto at = [&](const char* name) { return read_tensor(wanted, name); };
  {
    const c10::NoGradGuard no_grad;
    CHECK(relative_l2(model.encode(at("image")), at("encoded")) <= 1e-5);
    CHECK(relative_l2(model.decode(at("z")), at("decoded")) <= 1e-5);
  }
  CHECK(relative_l2(vjp([&](const at::Tensor& x) { return model.encode(x); }, at("image"), at("w_encoder")),
                    at("encoder_vjp")) <= vjp_tolerance);
  CHECK(relative_l2(vjp([&](const at::Tensor& z) { return model.decode(z); }, at("z"), at("w_decoder")),
                    at("decoder_vjp")) <= vjp_tolerance);
}

const char* small_config = R"({"encoder_block_out_channels": [4], "decoder_block_out_channels": [4],
  "num_encoder_blocks": [0], "num_decoder_blocks": [0])";

} // namespace

TEST_CASE("a tiny autoencoder equals diffusers' in outputs and vector-Jacobian products") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const std::string name = GENERATE("taesd", "taesd3", "uneven");
  CAPTURE(name);
  const auto model = diffusers_model(oracle / name);
  compare(model, oracle / (name + ".safetensors"));
  const safetensors::file wanted(oracle / (name + ".safetensors"));
  const auto z = read_tensor(wanted, "z");
  CHECK(relative_l2(model.scale_latents(z), read_tensor(wanted, "scaled")) <= 1e-6);
  CHECK(relative_l2(model.unscale_latents(z), read_tensor(wanted, "unscaled")) <= 1e-6);
}

TEST_CASE("the original repository's files of a tiny autoencoder tell their architecture") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const std::string name = GENERATE("original_taesd", "original_taef2");
  CAPTURE(name);
  const auto model = autoencoder_tiny::from_original(oracle / name / "encoder.safetensors",
                                                     oracle / name / "decoder.safetensors");
  CHECK(model.config().latent_channels == (name == "original_taef2" ? 32 : 4));
  CHECK(model.config().midblock_groups == (name == "original_taef2" ? 4 : 0));
  CHECK(model.config().num_encoder_blocks == std::vector<std::int64_t>{1, 3, 3, 3});
  CHECK(model.config().num_decoder_blocks == std::vector<std::int64_t>{3, 3, 3, 1});
  CHECK(model.factor() == 8);
  compare(model, oracle / (name + ".safetensors"));
}

TEST_CASE("a file of diffusers' tiny autoencoder tells its architecture") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const std::string name = GENERATE("taesd", "taesd3", "uneven");
  CAPTURE(name);
  const auto file = oracle / name / "diffusion_pytorch_model.safetensors";
  const auto told = autoencoder_tiny_config::told_by({{file}, {}});
  const auto read = autoencoder_tiny_config::read(oracle / name / "config.json");
  CHECK(told.in_channels == read.in_channels);
  CHECK(told.out_channels == read.out_channels);
  CHECK(told.latent_channels == read.latent_channels);
  CHECK(told.num_encoder_blocks == read.num_encoder_blocks);
  CHECK(told.num_decoder_blocks == read.num_decoder_blocks);
  CHECK(told.encoder_block_out_channels == read.encoder_block_out_channels);
  CHECK(told.decoder_block_out_channels == read.decoder_block_out_channels);
  CHECK(told.scaling_factor == 1.0);
  CHECK_THROWS_AS(autoencoder_tiny_config::told_by({{oracle / "original_taesd/encoder.safetensors"}, {}}),
                  bad_file);
}

TEST_CASE("a tiny autoencoder takes images and latents of its own shape only") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const auto model = diffusers_model(oracle / "taesd");
  CHECK_THROWS_WITH(model.encode(at::zeros({1, 3, 20, 16})),
                    contains_text("multiples of 8, not [1, 3, 20, 16]"));
  CHECK_THROWS_AS(model.encode(at::zeros({1, 4, 16, 16})), shape_mismatch);
  CHECK_THROWS_AS(model.encode(at::zeros({3, 16, 16})), shape_mismatch);
  CHECK_THROWS_AS(model.decode(at::zeros({1, 3, 2, 2})), shape_mismatch);
  CHECK_THROWS_AS(model.decode(at::zeros({1, 4, 0, 2})), shape_mismatch);
}

TEST_CASE("files of another architecture are refused as a tiny autoencoder's") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const auto original = oracle / "original_taef2";
  const auto encoder = original / "encoder.safetensors", decoder = original / "decoder.safetensors";
  SECTION("encoder and decoder swapped") {
    CHECK_THROWS_AS(autoencoder_tiny::from_original(decoder, encoder), bad_file);
  }
  SECTION("the encoder twice") {
    CHECK_THROWS_AS(autoencoder_tiny::from_original(encoder, encoder), bad_file);
  }
  SECTION("the decoder of another width of latents") {
    CHECK_THROWS_WITH(autoencoder_tiny::from_original(oracle / "original_taesd/encoder.safetensors", decoder),
                      contains_text("11.pool.0.weight"));
  }
  SECTION("diffusers' names") {
    CHECK_THROWS_AS(
        autoencoder_tiny::from_original(oracle / "taesd/diffusion_pytorch_model.safetensors", decoder),
        bad_file);
  }
  SECTION("a tensor too many, or of too few axes") {
    const scratch_folder folder;
    const auto changed = [&](const std::string& without, const std::string& name, const at::Tensor& value) {
      const safetensors::file file(encoder);
      std::vector<std::pair<std::string, at::Tensor>> tensors{{name, value}};
      for (const auto& [key, view] : file.tensors())
        if (key != without && key != name) tensors.emplace_back(key, read_tensor(file, key));
      write_tensors(folder / "encoder.safetensors", tensors);
      return autoencoder_tiny::from_original(folder / "encoder.safetensors", decoder);
    };
    CHECK_NOTHROW(changed("", "0.bias", at::zeros({8})));
    CHECK_THROWS_WITH(changed("", "15.weight", at::zeros({8})), contains_text("holds tensor 15.weight"));
    CHECK_THROWS_WITH(changed("", "0.weight", at::zeros({8})), contains_text("is no convolution's"));
    CHECK_THROWS_WITH(changed("14.bias", "x", at::zeros({8})), contains_text("module 15 is none of"));
    CHECK_THROWS_WITH(changed("5.conv.0.weight", "x", at::zeros({8})), contains_text("module 5 is none of"));
    CHECK_THROWS_WITH(changed("12.pool.0.weight", "x", at::zeros({8})), contains_text("12.pool.0.weight"));
  }
}

TEST_CASE("a tiny autoencoder's config.json is read, and what it asks for in vain is refused by name") {
  const scratch_folder folder;
  const auto read = [&](const std::string& more) {
    write_bytes(folder / "config.json", small_config + more + "}");
    return autoencoder_tiny_config::read(folder / "config.json");
  };
  CHECK(read("").encoder_block_out_channels == 4);
  CHECK(read(R"(, "latent_magnitude": 2.5)").latent_magnitude == 2.5);
  CHECK(read(R"(, "act_fn": "relu", "upsample_fn": "nearest", "force_upcast": false)").midblock_groups == 0);
  for (const auto& [text, named] :
       {std::pair{R"(, "act_fn": "gelu")", "act_fn"},
        {R"(, "upsample_fn": "bilinear")", "upsample_fn"},
        {R"(, "_class_name": "AutoencoderKL")", "_class_name"},
        {R"(, "latent_channels": 0)", "latent_channels"},
        {R"(, "latent_channels": 1e300)", "latent_channels"},
        {R"(, "latent_channels": "4")", "latent_channels"},
        {R"(, "num_encoder_blocks": [])", "num_encoder_blocks"},
        {R"(, "num_decoder_blocks": [1, 100000])", "num_decoder_blocks"},
        {R"(, "decoder_block_out_channels": [4, 8], "num_decoder_blocks": [1, 1])",
         "decoder_block_out_channels"},
        {R"(, "decoder_block_out_channels": [4, 4])", "decoder_block_out_channels"},
        {R"(, "upsampling_scaling_factor": 2.5)", "upsampling_scaling_factor"},
        {R"(, "scaling_factor": 0)", "scaling_factor"},
        {R"(, "latent_magnitude": [])", "latent_magnitude"}}) {
    CAPTURE(text);
    CHECK_THROWS_AS(read(text), bad_file);
    CHECK_THROWS_WITH(read(text), contains_text(named));
  }
  CHECK_THROWS_AS(autoencoder_tiny_config::read(folder / "none.json"), bad_file);
}

TEST_CASE("a tiny autoencoder's configuration is checked before a parameter is read") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const weights w({oracle / "taesd/diffusion_pytorch_model.safetensors"}, {});
  CHECK_THROWS_WITH(autoencoder_tiny({.midblock_groups = 3}, w), contains_text("midblock_groups"));
  CHECK_THROWS_WITH(autoencoder_tiny({.num_encoder_blocks = {}}, w), contains_text("num_encoder_blocks"));
  CHECK_THROWS_WITH(autoencoder_tiny({.scaling_factor = -1.0}, w), contains_text("scaling_factor"));
  CHECK_THROWS_WITH(autoencoder_tiny({}, w), contains_text("has shape"));
}

// The real weights are not in the repository; without them this case has nothing to do. real_tiny.py says
// what diffusers makes of them.
TEST_CASE("real files of tiny autoencoders give what they give in diffusers") {
  const char* real = std::getenv("PUSHFORWARD_TINY_AUTOENCODERS");
  if (real == nullptr) return;
  // diffusers' own products in float32 are 2e-4 from those in float64: kinks of the relus
  constexpr double vjps = 1e-3;
  for (const auto& entry : fs::directory_iterator(real)) {
    const auto folder = entry.path();
    INFO(folder.filename().string());
    const auto model =
        autoencoder_tiny::from_original(folder / "encoder.safetensors", folder / "decoder.safetensors");
    compare(model, folder / "io.safetensors", vjps);
    compare(diffusers_model(folder / "diffusers"), folder / "io.safetensors", vjps);
    const weights theirs({folder / "diffusers/diffusion_pytorch_model.safetensors"}, {});
    compare({autoencoder_tiny_config::told_by(theirs), theirs}, folder / "io.safetensors", vjps);
  }
}
