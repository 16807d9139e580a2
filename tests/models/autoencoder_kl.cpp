// The autoencoder against diffusers'.
#include <pushforward/libtorch/models/autoencoder_kl.hpp>

#include "cases.hpp"

using namespace pushforward;
using namespace pushforward::libtorch;
using namespace testing_support;
using models::autoencoder_kl;
using models::autoencoder_kl_config;

namespace {

const char* const part = "autoencoder_kl";

autoencoder_kl load(const fs::path& folder, c10::ScalarType type = at::kFloat) {
  return {autoencoder_kl_config::read(folder / "config.json"), weights_in(folder, type)};
}

} // namespace

TEST_CASE("an autoencoder's outputs, vjps and jvp are diffusers'", "[device]") {
  for_each_case(part, 8, [](const fs::path& path) {
    const io expected(path / "io.safetensors");
    const auto w = weights_in(path);
    const autoencoder_kl vae(autoencoder_kl_config::read(path / "config.json"), w);
    CHECK(w.untaken().empty());
    const auto encode = [&](const at::Tensor& image) { return vae.encode(image); };
    const auto decode = [&](const at::Tensor& z) { return vae.decode(z); };
    const auto [mean, log_variance] = vae.encode_moments(40.0 * expected["image"]);
    CHECK(relative_l2(mean, expected["mean"]) < 1e-5);
    CHECK(relative_l2(log_variance, expected["log_variance"]) < 1e-5);
    CHECK(relative_l2(vae.encode(expected["image"]), expected["latent"]) < 1e-5);
    CHECK(relative_l2(vae.decode(expected["z"]), expected["pixels"]) < 1e-5);
    CHECK(relative_l2(vjp(encode, expected["image"], expected["z"]).second, expected["encode_vjp"]) < 1e-4);
    CHECK(relative_l2(vjp(decode, expected["z"], expected["w"]).second, expected["decode_vjp"]) < 1e-4);
    CHECK(relative_l2(jvp(decode, expected["z"], expected["v"]), expected["decode_jv"]) < 1e-4);
    CHECK(relative_l2(load(path, at::kBFloat16).decode(expected["z"]), expected["pixels"]) < 0.1);
    CHECK_FALSE(vae.decode(expected["z"]).requires_grad());
  });
}

TEST_CASE("an autoencoder in the original layout is the same autoencoder", "[device]") {
  for_each_case(part, 8, [](const fs::path& path) {
    if (!fs::exists(path / "ldm.safetensors")) return; // that layout always has attention
    const auto config = autoencoder_kl_config::read(path / "config.json");
    const models::weights w({path / "ldm.safetensors"}, {at::kFloat, test_device()},
                            models::ldm_autoencoder_names(config));
    const autoencoder_kl vae(config, w);
    CHECK(w.untaken().empty());
    const io expected(path / "io.safetensors");
    CHECK(relative_l2(vae.encode(expected["image"]), expected["latent"]) < 1e-5);
    CHECK(relative_l2(vae.decode(expected["z"]), expected["pixels"]) < 1e-5);
  });
}

TEST_CASE("the log-variance of an autoencoder is clamped, and the mean is not") {
  const auto path = case_folder(part, "sd");
  if (path.empty()) return;
  const io in(path / "io.safetensors");
  const auto config = autoencoder_kl_config::read(path / "config.json");
  // with a bias that takes the moments far out
  const scratch_folder folder;
  const safetensors::file file(path / "diffusion_pytorch_model.safetensors");
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const auto& [key, view] : file.tensors()) {
    tensors.emplace_back(key, read_tensor(file, key));
    if (key == "quant_conv.bias")
      tensors.back().second.copy_(at::tensor({90., 90., 90., 90., 90., 90., -90., -90.}));
  }
  write_tensors(folder / "w", tensors);
  const autoencoder_kl vae(config, {{folder / "w"}, {}});
  const auto [mean, log_variance] = vae.encode_moments(in["image"]);
  CHECK(mean.min().item<double>() > 30.0);
  CHECK(log_variance.max().item<double>() == 20.0);
  CHECK(log_variance.min().item<double>() == -30.0);
}

TEST_CASE("an autoencoder refuses inputs that do not fit") {
  const auto path = case_folder(part, "three_levels");
  if (path.empty()) return;
  const auto vae = load(path);
  CHECK(vae.config().scale() == 4);
  CHECK_FALSE(vae.config().force_upcast);
  CHECK_THROWS_AS(vae.encode(at::randn({1, 4, 8, 8})), shape_mismatch);
  CHECK_THROWS_AS(vae.encode_moments(at::randn({1, 3, 3, 8})), shape_mismatch);
  CHECK_THROWS_AS(vae.encode(at::randn({3, 8, 8})), shape_mismatch);
  CHECK_THROWS_AS(vae.decode(at::randn({1, 3, 8, 8})), shape_mismatch);
  CHECK_THROWS_WITH(vae.decode(at::randn({1, 4, 8})), contains_text("[1, 4, 8]"));
}

TEST_CASE("what is wrong with an autoencoder's configuration is said with its key") {
  const auto path = case_folder(part, "sd");
  if (path.empty()) return;
  const config_editor edit(path / "config.json");
  for (const auto& [key, value] : std::vector<std::pair<const char*, const char*>>{
           {"_class_name", R"("AutoencoderTiny")"},
           {"in_channels", "0"},
           {"out_channels", "1.5"},
           {"latent_channels", "[4]"},
           {"block_out_channels", "[]"},
           {"block_out_channels", "[16, 1e9]"},
           {"layers_per_block", "-2"},
           {"norm_num_groups", "7"},
           {"norm_num_groups", "0"},
           {"down_block_types", R"(["DownEncoderBlock2D"])"},
           {"down_block_types", R"(["DownEncoderBlock2D", "X"])"},
           {"up_block_types", R"(["UpDecoderBlock2D", null])"},
           {"act_fn", R"("relu")"},
           {"scaling_factor", "0"},
           {"scaling_factor", R"("0.18215")"},
           {"shift_factor", "[]"},
           {"latents_mean", "[0, 0, 0, 0]"},
           {"latents_std", "[1, 1, 1, 1]"},
           {"use_quant_conv", "0"},
           {"force_upcast", "2"},
           {"something_new", "3"}}) {
    INFO(key << ": " << value);
    const auto read = [&, k = key, v = value] { autoencoder_kl_config::read(edit.with(k, v)); };
    CHECK_THROWS_AS(read(), bad_file);
    CHECK_THROWS_WITH(read(), contains_text(key) && contains_text("config.json"));
  }
  CHECK(autoencoder_kl_config::read(edit.with("shift_factor", "null")).shift_factor == 0.0);
}

TEST_CASE("an autoencoder of Stable Diffusion is that of its published configuration") {
  const scratch_folder folder;
  write_bytes(folder / "c",
              R"({"_class_name": "AutoencoderKL", "_diffusers_version": "0.6.0", "act_fn": "silu",
    "block_out_channels": [128, 256, 512, 512], "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D",
    "DownEncoderBlock2D", "DownEncoderBlock2D"], "in_channels": 3, "latent_channels": 4, "layers_per_block": 2,
    "norm_num_groups": 32, "out_channels": 3, "sample_size": 512, "up_block_types": ["UpDecoderBlock2D",
    "UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"]})");
  const auto read = autoencoder_kl_config::read(folder / "c");
  const autoencoder_kl_config built_in;
  CHECK(read.block_out_channels == built_in.block_out_channels);
  CHECK(read.layers_per_block == built_in.layers_per_block);
  CHECK(read.latent_channels == built_in.latent_channels);
  CHECK(read.norm_num_groups == built_in.norm_num_groups);
  CHECK(read.scaling_factor == built_in.scaling_factor);
  CHECK(read.shift_factor == built_in.shift_factor);
  CHECK(read.use_quant_conv == built_in.use_quant_conv);
  CHECK(read.use_post_quant_conv == built_in.use_post_quant_conv);
  CHECK(read.mid_block_add_attention == built_in.mid_block_add_attention);
  CHECK(read.scale() == 8);
}

TEST_CASE("weights that do not belong to an autoencoder's configuration are refused by name") {
  const auto path = case_folder(part, "no_quant_conv");
  if (path.empty()) return;
  auto config = autoencoder_kl_config::read(path / "config.json");
  config.use_post_quant_conv = true;
  CHECK_THROWS_WITH(autoencoder_kl(config, weights_in(path)), contains_text("post_quant_conv.weight"));
  config.use_post_quant_conv = false;
  config.latent_channels = 5;
  CHECK_THROWS_AS(autoencoder_kl(config, weights_in(path)), bad_file);
  config.norm_num_groups = 3;
  CHECK_THROWS_AS(autoencoder_kl(config, weights_in(path)), bad_option);
}
