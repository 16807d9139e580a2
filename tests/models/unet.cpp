// The UNet against diffusers'.
#include <pushforward/guidance.hpp>
#include <pushforward/libtorch/models/branching.hpp>
#include <pushforward/libtorch/models/unet.hpp>

#include "cases.hpp"

using namespace pushforward;
using namespace pushforward::libtorch;
using models::unet;
using models::unet_config;
using namespace testing_support;

namespace {

const char* const part = "unet";

unet load(const fs::path& folder, c10::ScalarType type = at::kFloat) {
  return {unet_config::read(folder / "config.json"), weights_in(folder, type)};
}

} // namespace

// One case for each thing that is compared: scripts/gpu/check.sh deals them out.

TEST_CASE("a UNet's output and vjp are diffusers'", "[device]") {
  for_each_case(part, 15, [](const fs::path& path) {
    const io expected(path / "io.safetensors");
    const auto w = weights_in(path);
    const unet net(unet_config::read(path / "config.json"), w);
    CHECK(w.untaken().empty());
    const at::Tensor x = expected["x"], time = expected["time"], context = expected["context"];
    const auto f = [&](const at::Tensor& input) { return net(input, time, context); };
    CHECK(relative_l2(f(x), expected["y"]) < 1e-5);
    const auto [y, g] = vjp(f, x, expected["w"]);
    CHECK(relative_l2(y, expected["y"]) < 1e-5);
    CHECK(relative_l2(g, expected["vjp"]) < 1e-4);
  });
}

TEST_CASE("a UNet's jvp is diffusers'", "[device]") {
  for_each_case(part, 15, [](const fs::path& path) {
    const io expected(path / "io.safetensors");
    const unet net = load(path);
    const at::Tensor time = expected["time"], context = expected["context"];
    const auto f = [&](const at::Tensor& input) { return net(input, time, context); };
    CHECK(relative_l2(jvp(f, expected["x"], expected["v"]), expected["jv"]) < 1e-4);
  });
}

TEST_CASE("a UNet's output in float64 is diffusers'", "[device]") {
  for_each_case(part, 15, [](const fs::path& path) {
    const io in(path / "io.safetensors");
    // both compute the sinusoids of the time in float32
    CHECK(relative_l2(load(path, at::kDouble)(in["x"], in["time"], in["context"]), in["y_double"]) < 1e-6);
  });
}

TEST_CASE("a UNet's output in half types is diffusers' to their rounding", "[device]") {
  for_each_case(part, 15, [](const fs::path& path) {
    const io in(path / "io.safetensors");
    const at::Tensor x = in["x"], time = in["time"], context = in["context"];
    CHECK(relative_l2(load(path, at::kBFloat16)(x, time, context), in["y"]) < 0.05);
    CHECK(relative_l2(load(path, at::kHalf)(x, time, context), in["y"]) < 0.01);
  });
}

TEST_CASE("a UNet in the original layout is the same UNet", "[device]") {
  for_each_case(part, 15, [](const fs::path& path) {
    if (!fs::exists(path / "ldm.safetensors")) return; // the conversion cannot have some
    const auto config = unet_config::read(path / "config.json");
    const models::weights w({path / "ldm.safetensors"}, {at::kFloat, test_device()},
                            models::ldm_unet_names(config));
    const unet net(config, w);
    CHECK(w.untaken().empty());
    const io expected(path / "io.safetensors");
    CHECK(relative_l2(net(expected["x"], expected["time"], expected["context"]), expected["y"]) < 1e-5);
  });
}

TEST_CASE("a UNet leaves its inputs as they are, and no graph where nobody asks for one", "[device]") {
  const auto path = case_folder(part, "sd1");
  if (path.empty()) return;
  const auto net = load(path);
  const io in(path / "io.safetensors");
  const at::Tensor x = in["x"], time = in["time"], context = in["context"];
  CHECK_FALSE(net(x, time, context).requires_grad());
  const c10::NoGradGuard no_grad;
  CHECK_FALSE(net(x.clone().requires_grad_(true), time, context).requires_grad());
  CHECK(at::equal(x, in["x"]));
  CHECK(at::equal(context, in["context"]));
}

TEST_CASE("a UNet gives the same whatever it was called with before", "[device]") {
  const auto path = case_folder(part, "sd2");
  if (path.empty()) return;
  const io in(path / "io.safetensors");
  const at::Tensor x = in["x"], time = in["time"], context = in["context"];
  const auto net = load(path);
  const at::Tensor y = net(x, time, context); // the weights are now in oneDNN's layout for this size
  const at::Tensor larger = at::cat({x, x}, 3);
  CHECK(relative_l2(net(larger, time, context), load(path)(larger, time, context)) < 1e-6);
  const auto f = [&](const at::Tensor& input) { return net(input, time, context); };
  CHECK(relative_l2(vjp(f, x, in["w"]).second, in["vjp"]) < 1e-4); // and now in their own
  CHECK(relative_l2(f(x), y) < 1e-6);
}

TEST_CASE("one time and one context stand for the whole batch of a UNet", "[device]") {
  const auto path = case_folder(part, "sd2");
  if (path.empty()) return;
  const auto net = load(path);
  const io in(path / "io.safetensors");
  const at::Tensor x = in["x"], time = in["time"].narrow(0, 0, 1), context = in["context"].narrow(0, 0, 1);
  const at::Tensor y = net(x, time, context);
  CHECK(relative_l2(y, net(x, time.expand({2}), context.expand({2, -1, -1}))) < 1e-5);
  CHECK(relative_l2(y.narrow(0, 1, 1), net(x.narrow(0, 1, 1), time, context)) < 1e-5);
}

TEST_CASE("a UNet refuses inputs that do not fit") {
  const auto path = case_folder(part, "sd1");
  if (path.empty()) return;
  const auto net = load(path);
  const auto x = at::randn({1, 4, 8, 8}), time = at::ones({1}), context = at::randn({1, 7, 24});
  const auto fails = [&](const at::Tensor& a, const at::Tensor& t, const at::Tensor& c, const char* text) {
    CHECK_THROWS_AS(net(a, t, c), shape_mismatch);
    CHECK_THROWS_WITH(net(a, t, c), contains_text(text));
  };
  fails(at::randn({1, 3, 8, 8}), time, context, "[1, 3, 8, 8]");
  fails(at::randn({4, 8, 8}), time, context, "[4, 8, 8]");
  fails(at::randn({1, 4, 0, 8}), time, context, "[1, 4, 0, 8]");
  fails(x, at::ones({2}), context, "the time is [2]");
  fails(x, at::ones({}), context, "the time is []");
  fails(x, time, at::randn({1, 7, 25}), "[1, 7, 25]");
  fails(x, time, at::randn({2, 7, 24}), "[2, 7, 24]");
  fails(x, time, at::randn({1, 0, 24}), "[1, 0, 24]");
  fails(x, time, at::randn({7, 24}), "[7, 24]");
  CHECK_THROWS_AS(models::conditioned(net, at::randn({1, 7, 25})), shape_mismatch);
  CHECK_THROWS_AS(models::branching(net, context, at::randn({1, 6, 24})), shape_mismatch);
  CHECK_THROWS_AS(models::branching(net, context, at::randn({1, 7, 23})), shape_mismatch);
}

TEST_CASE("a UNet under one condition is a denoiser that can be differentiated", "[device]") {
  const auto path = case_folder(part, "sd1");
  if (path.empty()) return;
  const auto net = load(path);
  const io in(path / "io.safetensors");
  const at::Tensor context = in["context"];
  const double time = in["time"].item<double>();
  const pushforward::libtorch::differentiable_denoiser d(models::conditioned(net, context),
                                                         {.prediction = prediction_type::v});
  CHECK(relative_l2(d.predict(in["x"], time), in["y"]) < 1e-5);
  CHECK(relative_l2(d.linearize(in["x"], time).vjp(in["w"]), in["vjp"]) < 1e-4);
  CHECK(relative_l2(d.jvp(in["x"], time, in["v"]), in["jv"]) < 1e-4);
}

TEST_CASE("guidance of a UNet is o_uncond + g (o_cond - o_uncond)", "[device]") {
  const auto path = case_folder(part, "sd2");
  if (path.empty()) return;
  const auto net = load(path);
  const io in(path / "io.safetensors");
  const at::Tensor x = in["x"], w = in["w"]; // a batch of 2
  const at::Tensor empty = in["context"].narrow(0, 1, 1);
  const double g = 7.5, time = 261.0;
  const at::Tensor times = at::full({2}, time);
  // one condition for all, and one for each sample
  for (const at::Tensor& context : {in["context"].narrow(0, 0, 1), at::cat({empty + 1.0, empty - 1.0})}) {
    const auto by_hand = [&](const at::Tensor& input) {
      const at::Tensor o_cond = net(input, times, context), o_uncond = net(input, times, empty);
      return o_uncond + g * (o_cond - o_uncond);
    };
    const auto branches = models::branching(net, context, empty, {.prediction = prediction_type::v});
    const classifier_free_guidance guided(branches, g, guidance_convention::usual);
    CHECK(guided.prediction == prediction_type::v);
    CHECK(relative_l2(guided.predict(x, time), by_hand(x)) < 1e-5);
    const auto [y, pulled] = vjp(by_hand, x, w);
    const auto linear = guided.linearize(x, time);
    CHECK(relative_l2(linear.value, y) < 1e-5);
    CHECK(relative_l2(linear.vjp(w), pulled) < 1e-4);
  }
}

TEST_CASE("what is wrong with a UNet's configuration is said with its key") {
  const auto path = case_folder(part, "sd2");
  if (path.empty()) return;
  const config_editor edit(path / "config.json");
  const auto fails = [&](const char* key, const char* value) {
    INFO(key << ": " << value);
    const auto read = [&] { unet_config::read(edit.with(key, value)); };
    CHECK_THROWS_AS(read(), bad_file);
    CHECK_THROWS_WITH(read(), contains_text(key) && contains_text("config.json"));
  };
  for (const auto& [key, value] : std::vector<std::pair<const char*, const char*>>{
           {"_class_name", R"("UNet2DModel")"},
           {"in_channels", "-1"},
           {"in_channels", "1e300"},
           {"in_channels", R"("4")"},
           {"in_channels", "4.5"},
           {"out_channels", "0"},
           {"block_out_channels", "32"},
           {"block_out_channels", "[]"},
           {"block_out_channels", "[32, 64, 99999999]"},
           {"block_out_channels", R"([32, 64, "64"])"},
           {"block_out_channels", "[33, 66, 66]"},
           {"down_block_types", R"(["CrossAttnDownBlock2D", "CrossAttnDownBlock2D"])"},
           {"down_block_types",
            R"(["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "ResnetDownsampleBlock2D"])"},
           {"up_block_types", R"(["UpBlock2D", "CrossAttnUpBlock2D", "AttnUpBlock2D"])"},
           {"up_block_types", "[1, 2, 3]"},
           {"mid_block_type", R"("UNetMidBlock2DSimpleCrossAttn")"},
           {"layers_per_block", "0"},
           {"layers_per_block", "[2, 2]"},
           {"layers_per_block", "1000000"},
           {"transformer_layers_per_block", "[[1], [1], [1]]"},
           {"transformer_layers_per_block", "0"},
           {"attention_head_dim", "[2, 4]"},
           {"attention_head_dim", "[2, 4, 7]"},
           {"attention_head_dim", "{}"},
           {"num_attention_heads", "7"},
           {"cross_attention_dim", "[40, 40, 41]"},
           {"cross_attention_dim", "true"},
           {"norm_num_groups", "5"},
           {"norm_eps", "0"},
           {"norm_eps", R"("small")"},
           {"freq_shift", "16"},
           {"use_linear_projection", "1"},
           {"flip_sin_to_cos", R"("yes")"},
           {"upcast_attention", "[]"},
           {"act_fn", R"("mish")"},
           {"only_cross_attention", "true"},
           {"only_cross_attention", "[false, true, false]"},
           {"dual_cross_attention", "true"},
           {"class_embed_type", R"("timestep")"},
           {"num_class_embeds", "1000"},
           {"addition_embed_type", R"("text_time")"},
           {"encoder_hid_dim", "1024"},
           {"time_cond_proj_dim", "256"},
           {"time_embedding_type", R"("fourier")"},
           {"time_embedding_dim", "64"},
           {"resnet_time_scale_shift", R"("scale_shift")"},
           {"resnet_skip_time_act", "true"},
           {"resnet_out_scale_factor", "1.5"},
           {"mid_block_scale_factor", "2"},
           {"downsample_padding", "0"},
           {"conv_in_kernel", "1"},
           {"conv_out_kernel", "5"},
           {"center_input_sample", "true"},
           {"attention_type", R"("gated")"},
           {"cross_attention_norm", R"("layer_norm")"},
           {"something_new", "3"}})
    fails(key, value);
  CHECK(unet_config::read(edit.with("something_new", "null")).cross_attention_dim == 40);
  CHECK(unet_config::read(edit.with("num_attention_heads", "4")).num_attention_heads ==
        std::vector<std::int64_t>{4, 4, 4});
  for (const char* text :
       {"", "[]", "{", "null", "{\"in_channels\": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["})
    CHECK_THROWS_AS(unet_config::read(edit.text(text)), bad_file);
  CHECK_THROWS_AS(unet_config::read(path), bad_file);
  CHECK_THROWS_AS(unet_config::read(path / "none.json"), bad_file);
}

TEST_CASE("a UNet's configuration made by hand is checked too") {
  const auto path = case_folder(part, "sd1");
  if (path.empty()) return;
  auto config = unet_config::read(path / "config.json");
  config.num_attention_heads = {8};
  CHECK_THROWS_AS(unet(config, weights_in(path)), bad_option);
  CHECK_THROWS_AS(models::ldm_unet_names(config), bad_option);
}

TEST_CASE("weights that do not belong to a UNet's configuration are refused by name") {
  const auto path = case_folder(part, "sd1");
  if (path.empty()) return;
  auto config = unet_config::read(path / "config.json");
  config.cross_attention_dim = 25;
  const auto narrow = [&] { unet(config, weights_in(path)); };
  CHECK_THROWS_AS(narrow(), bad_file);
  CHECK_THROWS_WITH(narrow(), contains_text("attn2.to_k.weight") && contains_text("[32, 24]"));
  config = unet_config::read(path / "config.json");
  config.transformer_layers_per_block = {2, 2};
  const auto missing = [&] { unet(config, weights_in(path)); };
  CHECK_THROWS_AS(missing(), bad_file);
  CHECK_THROWS_WITH(missing(), contains_text("transformer_blocks.1.norm1.weight"));
}

TEST_CASE("the UNets of Stable Diffusion are those of their published configurations") {
  const auto equal = [](const unet_config& read, const unet_config& built_in) {
    CHECK(read.in_channels == built_in.in_channels);
    CHECK(read.out_channels == built_in.out_channels);
    CHECK(read.block_out_channels == built_in.block_out_channels);
    CHECK(read.down_block_types == built_in.down_block_types);
    CHECK(read.up_block_types == built_in.up_block_types);
    CHECK(read.layers_per_block == built_in.layers_per_block);
    CHECK(read.transformer_layers_per_block == built_in.transformer_layers_per_block);
    CHECK(read.num_attention_heads == built_in.num_attention_heads);
    CHECK(read.cross_attention_dim == built_in.cross_attention_dim);
    CHECK(read.use_linear_projection == built_in.use_linear_projection);
    CHECK(read.norm_num_groups == built_in.norm_num_groups);
    CHECK(read.norm_eps == built_in.norm_eps);
    CHECK(read.flip_sin_to_cos == built_in.flip_sin_to_cos);
    CHECK(read.freq_shift == built_in.freq_shift);
  };
  const scratch_folder folder;
  write_bytes(folder / "1", R"({"_class_name": "UNet2DConditionModel", "_diffusers_version": "0.6.0",
    "act_fn": "silu", "attention_head_dim": 8, "block_out_channels": [320, 640, 1280, 1280],
    "center_input_sample": false, "cross_attention_dim": 768, "down_block_types": ["CrossAttnDownBlock2D",
    "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"], "downsample_padding": 1,
    "flip_sin_to_cos": true, "freq_shift": 0, "in_channels": 4, "layers_per_block": 2,
    "mid_block_scale_factor": 1, "norm_eps": 1e-05, "norm_num_groups": 32, "out_channels": 4, "sample_size": 64,
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"]})");
  equal(unet_config::read(folder / "1"), unet_config::stable_diffusion_1());
  write_bytes(folder / "2", R"({"_class_name": "UNet2DConditionModel", "_diffusers_version": "0.10.0.dev0",
    "act_fn": "silu", "attention_head_dim": [5, 10, 20, 20], "block_out_channels": [320, 640, 1280, 1280],
    "center_input_sample": false, "cross_attention_dim": 1024, "down_block_types": ["CrossAttnDownBlock2D",
    "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"], "downsample_padding": 1,
    "dual_cross_attention": false, "flip_sin_to_cos": true, "freq_shift": 0, "in_channels": 4,
    "layers_per_block": 2, "mid_block_scale_factor": 1, "norm_eps": 1e-05, "norm_num_groups": 32,
    "num_class_embeds": null, "only_cross_attention": false, "out_channels": 4, "sample_size": 96,
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
    "upcast_attention": true, "use_linear_projection": true})");
  const auto second = unet_config::read(folder / "2");
  equal(second, unet_config::stable_diffusion_2());
  CHECK(second.upcast_attention);
}
