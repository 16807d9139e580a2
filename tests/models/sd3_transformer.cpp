// The transformer of Stable Diffusion 3 against diffusers'.
#include <pushforward/guidance.hpp>
#include <pushforward/libtorch/models/branching.hpp>
#include <pushforward/libtorch/models/sd3_transformer.hpp>

#include "cases.hpp"

#include <ATen/record_function.h>

#include <algorithm>
#include <memory>
#include <string>

using namespace pushforward;
using namespace pushforward::libtorch;
using models::sd3_condition;
using models::sd3_transformer;
using models::sd3_transformer_config;
using namespace testing_support;

namespace {

const char* const part = "sd3";
constexpr std::size_t cases = 10;

sd3_transformer load(const fs::path& folder, c10::ScalarType type = at::kFloat) {
  return {sd3_transformer_config::read(folder / "config.json"), weights_in(folder, type)};
}

sd3_condition condition_of(const io& in) { return {in["states"], in["pooled"]}; }

/// The network of x alone.
pushforward::libtorch::map of_x(const sd3_transformer& net, const io& in) {
  return [net, time = in["time"], condition = condition_of(in)](const at::Tensor& x) {
    return net(x, time, condition);
  };
}

/// Those that have the original layout, too; f gets its weights, named from its top.
template <class F> void for_each_original(F f) {
  std::size_t found = 0;
  for_each_case(part, cases, [&](const fs::path& path) {
    if (!fs::exists(path / "original.safetensors")) return;
    ++found;
    f(path, models::weights({path / "original.safetensors"}, {at::kFloat, test_device()}));
  });
  CHECK((found == 2 || cases_of(part).empty()));
}

} // namespace

TEST_CASE("a transformer's output and vjp are diffusers'", "[device]") {
  for_each_case(part, cases, [](const fs::path& path) {
    const io in(path / "io.safetensors");
    const auto w = weights_in(path);
    const sd3_transformer net(sd3_transformer_config::read(path / "config.json"), w);
    CHECK(w.untaken().empty());
    CHECK(relative_l2(of_x(net, in)(in["x"]), in["y"]) < 1e-5);
    const auto [y, g] = vjp(of_x(net, in), in["x"], in["w"]);
    CHECK(relative_l2(y, in["y"]) < 1e-5);
    CHECK(relative_l2(g, in["vjp"]) < 1e-4);
  });
}

TEST_CASE("a transformer's jvp is diffusers'", "[device]") {
  for_each_case(part, cases, [](const fs::path& path) {
    const io in(path / "io.safetensors");
    CHECK(relative_l2(jvp(of_x(load(path), in), in["x"], in["v"]), in["jv"]) < 1e-4);
  });
}

TEST_CASE("a transformer's output in half types is diffusers' to their rounding", "[device]") {
  for_each_case(part, cases, [](const fs::path& path) {
    const io in(path / "io.safetensors");
    CHECK(relative_l2(of_x(load(path, at::kBFloat16), in)(in["x"]), in["y"]) < 0.05);
    CHECK(relative_l2(of_x(load(path, at::kHalf), in)(in["x"]), in["y"]) < 0.01);
  });
}

TEST_CASE("a transformer in the original layout is the same, and tells its configuration", "[device]") {
  for_each_original([](const fs::path& path, const models::weights& original) {
    const auto config = sd3_transformer_config::read(path / "config.json");
    const auto told = sd3_transformer_config::told_by(original.below("model.diffusion_model."));
    CHECK(told.in_channels == config.in_channels);
    CHECK(told.out_channels == config.out_channels);
    CHECK(told.patch_size == config.patch_size);
    CHECK(told.num_layers == config.num_layers);
    CHECK(told.attention_head_dim == config.attention_head_dim);
    CHECK(told.num_attention_heads == config.num_attention_heads);
    CHECK(told.joint_attention_dim == config.joint_attention_dim);
    CHECK(told.pooled_projection_dim == config.pooled_projection_dim);
    CHECK(told.pos_embed_max_size == config.pos_embed_max_size);
    CHECK(told.dual_attention_layers == config.dual_attention_layers);
    CHECK(told.qk_norm == config.qk_norm);

    const auto w = original.named(models::original_sd3_transformer_names(config));
    const sd3_transformer net(config, w);
    CHECK(w.untaken().empty());
    const io in(path / "io.safetensors");
    CHECK(relative_l2(of_x(net, in)(in["x"]), in["y"]) < 1e-5);
  });
}

TEST_CASE("a transformer leaves its inputs as they are, and gives the same whatever came before",
          "[device]") {
  const auto path = case_folder(part, "medium_3_5");
  if (path.empty()) return;
  const auto net = load(path);
  const io in(path / "io.safetensors");
  const at::Tensor x = in["x"], time = in["time"];
  const auto condition = condition_of(in);
  const at::Tensor y = net(x, time, condition);
  CHECK_FALSE(y.requires_grad());
  CHECK(at::equal(x, in["x"]));
  CHECK(at::equal(condition.states, in["states"]));
  CHECK(at::equal(condition.pooled, in["pooled"]));
  const at::Tensor smaller = x.narrow(3, 0, 4); // the weights are now in oneDNN's layout for another size
  CHECK(relative_l2(net(smaller, time, condition), load(path)(smaller, time, condition)) < 1e-6);
  CHECK(relative_l2(vjp(of_x(net, in), x, in["w"]).second, in["vjp"]) < 1e-4); // and now in their own
  CHECK(relative_l2(net(x, time, condition), y) < 1e-6);
}

TEST_CASE("one time and one text stand for the whole batch of a transformer", "[device]") {
  const auto path = case_folder(part, "medium_3_5");
  if (path.empty()) return;
  const auto net = load(path);
  const io in(path / "io.safetensors");
  const at::Tensor x = in["x"], time = in["time"].narrow(0, 0, 1);
  const sd3_condition one{in["states"].narrow(0, 0, 1), in["pooled"].narrow(0, 0, 1)};
  const at::Tensor y = net(x, time, one);
  CHECK(relative_l2(y, net(x, time.expand({2}),
                           {one.states.expand({2, -1, -1}), one.pooled.expand({2, -1})})) < 1e-5);
  CHECK(relative_l2(y.narrow(0, 1, 1), net(x.narrow(0, 1, 1), time, one)) < 1e-5);
}

TEST_CASE("equal tokens at a text's end are taken as one that counts for all", "[device]") {
  for_each_case(part, cases, [](const fs::path& path) {
    const io in(path / "io.safetensors");
    const auto net = load(path);
    const at::Tensor x = in["x"], time = in["time"], w = in["w"], v = in["v"];
    sd3_condition all = condition_of(in);
    const auto n = all.states.size(0), length = all.states.size(1), width = all.states.size(2);
    // ends as where T5 is left out, one sample's a token earlier; the other's is zero in part
    all.states.narrow(1, length - 1, 1).narrow(2, 0, width / 2).zero_();
    all.states = at::cat({all.states, at::zeros({n, 6, width}, all.states.options())}, 1);
    all.states[0].narrow(0, length - 1, 1).zero_();

    const auto fewer = models::merged(all);
    const bool alone = n == 1;
    CHECK(fewer.states.size(1) == length + (alone ? 0 : 1));
    CHECK(fewer.last_counts == (alone ? 7 : 6));
    const auto again = models::merged(fewer);
    CHECK(again.states.size(1) == fewer.states.size(1));
    CHECK(again.last_counts == fewer.last_counts);

    const auto under = [&](const sd3_condition& c) -> pushforward::libtorch::map {
      return [&net, time, c](const at::Tensor& a) { return net(a, time, c); };
    };
    const auto [y, g] = vjp(under(all), x, w);
    const at::Tensor jv = jvp(under(all), x, v);
    CHECK(relative_l2(under(fewer)(x), y) < 1e-5);
    const auto [y_fewer, g_fewer] = vjp(under(fewer), x, w);
    CHECK(relative_l2(y_fewer, y) < 1e-5);
    CHECK(relative_l2(g_fewer, g) < 1e-4);
    CHECK(relative_l2(jvp(under(fewer), x, v), jv) < 1e-4);
    // derivatives by the text are of each token
    const at::Tensor states = all.states.detach().requires_grad_(true);
    CHECK(models::merged({states, all.pooled}).last_counts == 1);
    // half of them merged, and then the rest
    const sd3_condition half{all.states.narrow(1, 0, all.states.size(1) - 2), all.pooled, 3};
    CHECK(relative_l2(under(half)(x), y) < 1e-5);
    CHECK(models::merged(half).last_counts == fewer.last_counts);
    // what only looks like it is not
    CHECK(relative_l2(under({fewer.states, all.pooled, 1})(x), y) > 1e-4);
  });
}

TEST_CASE("a transformer under a condition takes equal tokens at its end as one", "[device]") {
  const auto path = case_folder(part, "medium_3_5");
  if (path.empty()) return;
  const auto net = load(path);
  const io in(path / "io.safetensors");
  const at::Tensor x = in["x"], time = in["time"];
  const auto ending = [&](std::int64_t sample, std::int64_t zeros) { // as many tokens and 6 more
    const at::Tensor states = in["states"].narrow(0, sample, 1);
    const auto length = states.size(1);
    return sd3_condition{at::cat({states.narrow(1, 0, length - (zeros - 6)),
                                  at::zeros({1, zeros, states.size(2)}, states.options())},
                                 1),
                         in["pooled"].narrow(0, sample, 1)};
  };
  const auto one = ending(0, 7), other = ending(1, 8);
  const auto length = one.states.size(1);
  const auto tokens = x.size(2) * x.size(3) / 4;
  // the most queries of an attention while `f` runs
  const auto most_queries = [](const auto& f) {
    static std::int64_t most;
    most = 0;
    const auto handle = at::addThreadLocalCallback(
        at::RecordFunctionCallback([](const at::RecordFunction& r) -> std::unique_ptr<at::ObserverContext> {
          if (std::string(r.name()) == "aten::scaled_dot_product_attention")
            most = std::max(most, r.inputs()[0].toTensor().size(2));
          return nullptr;
        }).needsInputs(true));
    f();
    at::removeCallback(handle);
    return most;
  };
  const auto conditioned = models::conditioned(net, one);
  CHECK(relative_l2(conditioned(x, time), net(x, time, one)) < 1e-5);
  CHECK(most_queries([&] { net(x, time, one); }) == tokens + length);
  CHECK(most_queries([&] { conditioned(x, time); }) == tokens + length - 6);

  const auto branches = models::branching(net, one, other, {.prediction = prediction_type::flow});
  const at::Tensor some = x.narrow(0, 0, 1), t = at::full({1}, 261.5);
  const auto both = at::cat({some, some});
  CHECK(relative_l2(branches.predict_branches(both, 261.5),
                    at::cat({net(some, t, one), net(some, t, other)})) < 1e-5);
  CHECK(most_queries([&] { branches.predict_branches(both, 261.5); }) == tokens + length - 6);
  CHECK_THROWS_AS(models::branching(net, models::merged(one), one), shape_mismatch);
  CHECK_THROWS_WITH(models::branching(net, {one.states, one.pooled, 2}, one), contains_text("2 and 1 times"));
}

TEST_CASE("a transformer refuses inputs that do not fit") {
  const auto path = case_folder(part, "medium");
  if (path.empty()) return;
  const auto net = load(path);
  const auto x = at::randn({1, 4, 8, 8}), time = at::ones({1}), states = at::randn({1, 5, 24}),
             pooled = at::randn({1, 20});
  const auto fails = [&](const at::Tensor& a, const at::Tensor& t, const sd3_condition& c, const char* text) {
    CHECK_THROWS_AS(net(a, t, c), shape_mismatch);
    CHECK_THROWS_WITH(net(a, t, c), contains_text(text));
  };
  const sd3_condition good{states, pooled};
  CHECK_NOTHROW(net(x, time, good));
  fails(at::randn({1, 3, 8, 8}), time, good, "[1, 3, 8, 8]");
  fails(at::randn({4, 8, 8}), time, good, "[4, 8, 8]");
  fails(at::randn({1, 4, 0, 8}), time, good, "[1, 4, 0, 8]");
  fails(at::randn({1, 4, 7, 8}), time, good, "multiples of 2");
  fails(at::randn({1, 4, 8, 9}), time, good, "multiples of 2");
  fails(at::randn({1, 4, 14, 8}), time, good, "at most 12");
  fails(at::randn({1, 4, 8, 14}), time, good, "at most 12");
  fails(x, at::ones({2}), good, "the time is [2]");
  fails(x, at::ones({}), good, "the time is []");
  fails(x, time, {at::randn({1, 5, 25}), pooled}, "[1, 5, 25]");
  fails(x, time, {at::randn({2, 5, 24}), pooled}, "[2, 5, 24]");
  fails(x, time, {at::randn({1, 0, 24}), pooled}, "[1, 0, 24]");
  fails(x, time, {at::randn({5, 24}), pooled}, "[5, 24]");
  fails(x, time, {states, at::randn({1, 21})}, "[1, 21]");
  fails(x, time, {states, at::randn({2, 20})}, "[2, 20]");
  fails(x, time, {states, at::randn({20})}, "[20]");
  for (const std::int64_t count : {0, -1, 1 << 20}) {
    CHECK_THROWS_AS(net(x, time, {states, pooled, count}), bad_option);
    CHECK_THROWS_WITH(net(x, time, {states, pooled, count}), contains_text(std::to_string(count)));
  }
  CHECK_THROWS_AS(models::merged({at::randn({5, 24}), pooled}), shape_mismatch);
  CHECK_THROWS_AS(models::merged({at::randn({1, 0, 24}), pooled}), shape_mismatch);
  CHECK_THROWS_AS(models::conditioned(net, {at::randn({1, 5, 25}), pooled}), shape_mismatch);
  CHECK_THROWS_AS(models::branching(net, good, {at::randn({1, 6, 24}), pooled}), shape_mismatch);
  CHECK_THROWS_AS(models::branching(net, good, {states, at::randn({1, 21})}), shape_mismatch);
}

TEST_CASE("guidance of a transformer is o_uncond + g (o_cond - o_uncond)", "[device]") {
  const auto path = case_folder(part, "medium_3_5");
  if (path.empty()) return;
  const auto net = load(path);
  const io in(path / "io.safetensors");
  const at::Tensor x = in["x"], w = in["w"]; // a batch of 2
  const sd3_condition empty{in["states"].narrow(0, 1, 1), in["pooled"].narrow(0, 1, 1)};
  const double g = 4.5, time = 261.5;
  const at::Tensor times = at::full({2}, time);
  // one condition for all, and one for each sample
  for (const auto& condition : {sd3_condition{in["states"].narrow(0, 0, 1), in["pooled"].narrow(0, 0, 1)},
                                sd3_condition{in["states"] + 1.0, in["pooled"] - 1.0}}) {
    const auto by_hand = [&](const at::Tensor& input) {
      const at::Tensor o_cond = net(input, times, condition), o_uncond = net(input, times, empty);
      return o_uncond + g * (o_cond - o_uncond);
    };
    const auto branches = models::branching(net, condition, empty, {.prediction = prediction_type::flow});
    const classifier_free_guidance guided(branches, g, guidance_convention::usual);
    CHECK(guided.prediction == prediction_type::flow);
    CHECK(relative_l2(guided.predict(x, time), by_hand(x)) < 1e-5);
    const auto [y, pulled] = vjp(by_hand, x, w);
    const auto linear = guided.linearize(x, time);
    CHECK(relative_l2(linear.value, y) < 1e-5);
    CHECK(relative_l2(linear.vjp(w), pulled) < 1e-4);
  }
}

TEST_CASE("what is wrong with a transformer's configuration is said with its key") {
  const auto path = case_folder(part, "medium_3_5");
  if (path.empty()) return;
  const config_editor edit(path / "config.json");
  const auto fails = [&](const char* key, const char* value) {
    INFO(key << ": " << value);
    const auto read = [&] { sd3_transformer_config::read(edit.with(key, value)); };
    CHECK_THROWS_AS(read(), bad_file);
    CHECK_THROWS_WITH(read(), contains_text(key) && contains_text("config.json"));
  };
  for (const auto& [key, value] :
       std::vector<std::pair<const char*, const char*>>{{"_class_name", R"("FluxTransformer2DModel")"},
                                                        {"in_channels", "0"},
                                                        {"in_channels", R"("4")"},
                                                        {"out_channels", "-1"},
                                                        {"patch_size", "0"},
                                                        {"patch_size", "2.5"},
                                                        {"num_layers", "0"},
                                                        {"num_layers", "100000"},
                                                        {"attention_head_dim", "0"},
                                                        {"num_attention_heads", "99999999"},
                                                        {"joint_attention_dim", "[24]"},
                                                        {"caption_projection_dim", "48"},
                                                        {"pooled_projection_dim", "0"},
                                                        {"pos_embed_max_size", "0"},
                                                        {"dual_attention_layers", "[0, 3]"},
                                                        {"dual_attention_layers", "[-1]"},
                                                        {"dual_attention_layers", "2"},
                                                        {"qk_norm", R"("layer_norm")"},
                                                        {"qk_norm", "true"},
                                                        {"something_new", "3"}})
    fails(key, value);
  CHECK(sd3_transformer_config::read(edit.with("pos_embed_max_size", "null")).pos_embed_max_size == 96);
  CHECK_FALSE(sd3_transformer_config::read(edit.with("qk_norm", "null")).qk_norm);
  for (const char* text : {"", "[]", "{", "null"})
    CHECK_THROWS_AS(sd3_transformer_config::read(edit.text(text)), bad_file);
}

TEST_CASE("a transformer's configuration made by hand is checked too") {
  sd3_transformer_config c;
  c.dual_attention_layers = {24};
  CHECK_THROWS_AS(models::original_sd3_transformer_names(c), bad_option);
  c = {};
  c.patch_size = 0;
  CHECK_THROWS_AS(models::original_sd3_transformer_names(c), bad_option);
}

TEST_CASE("parameters that do not fit a transformer are refused by name") {
  const auto path = case_folder(part, "medium");
  if (path.empty()) return;
  const auto with = [&](auto change) {
    auto c = sd3_transformer_config::read(path / "config.json");
    change(c);
    return [c, path] { sd3_transformer(c, weights_in(path)); };
  };
  CHECK_THROWS_WITH(with([](auto& c) { c.pos_embed_max_size = 7; })(), contains_text("pos_embed.pos_embed"));
  CHECK_THROWS_WITH(with([](auto& c) { c.num_layers = 3; })(),
                    contains_text("transformer_blocks.1.norm1_context"));
  CHECK_THROWS_WITH(with([](auto& c) { c.qk_norm = true; })(), contains_text("norm_q"));
  CHECK_THROWS_WITH(with([](auto& c) { c.pooled_projection_dim = 21; })(), contains_text("text_embedder"));
}

TEST_CASE("files that hold no transformer of Stable Diffusion 3 say so") {
  const auto path = case_folder(part, "medium");
  if (path.empty()) return;
  CHECK_THROWS_AS(sd3_transformer_config::told_by(weights_in(path)), bad_file); // names of another layout
}

TEST_CASE("the configurations of the published transformers are those of their files") {
  const auto equal = [](const sd3_transformer_config& a, const sd3_transformer_config& b) {
    CHECK(a.in_channels == b.in_channels);
    CHECK(a.out_channels == b.out_channels);
    CHECK(a.patch_size == b.patch_size);
    CHECK(a.num_layers == b.num_layers);
    CHECK(a.attention_head_dim == b.attention_head_dim);
    CHECK(a.num_attention_heads == b.num_attention_heads);
    CHECK(a.joint_attention_dim == b.joint_attention_dim);
    CHECK(a.pooled_projection_dim == b.pooled_projection_dim);
    CHECK(a.pos_embed_max_size == b.pos_embed_max_size);
    CHECK(a.dual_attention_layers == b.dual_attention_layers);
    CHECK(a.qk_norm == b.qk_norm);
  };
  const scratch_folder folder;
  const std::string rest = R"("_class_name": "SD3Transformer2DModel", "_diffusers_version": "0.31.0.dev0",
    "attention_head_dim": 64, "in_channels": 16, "joint_attention_dim": 4096, "out_channels": 16, "patch_size": 2,
    "pooled_projection_dim": 2048, "sample_size": 128, )";
  const auto read = [&](const std::string& own) {
    write_bytes(folder / "config.json", "{" + rest + own + "}");
    return sd3_transformer_config::read(folder / "config.json");
  };
  equal(read(R"("caption_projection_dim": 1536, "num_attention_heads": 24, "num_layers": 24,
    "pos_embed_max_size": 192)"),
        sd3_transformer_config::stable_diffusion_3_medium());
  equal(read(R"("caption_projection_dim": 1536, "num_attention_heads": 24, "num_layers": 24,
    "pos_embed_max_size": 384, "qk_norm": "rms_norm",
    "dual_attention_layers": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])"),
        sd3_transformer_config::stable_diffusion_3_5_medium());
  equal(read(R"("caption_projection_dim": 2432, "num_attention_heads": 38, "num_layers": 38,
    "pos_embed_max_size": 192, "qk_norm": "rms_norm", "dual_attention_layers": [])"),
        sd3_transformer_config::stable_diffusion_3_5_large());
}
