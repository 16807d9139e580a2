// T5's encoder against transformers, in every layout of its parameters.

#include "cases.hpp"

#include <support/resident_memory.hpp>

#include <pushforward/libtorch/models/t5_encoder.hpp>

#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

using namespace pushforward;
using namespace testing_support;
using namespace libtorch::models;

namespace {

constexpr double tolerance = 1e-5; // relative, in the L2 norm, float32

at::Tensor read(const safetensors::file& file, const std::string& name) {
  return libtorch::read_tensor(file, name);
}

/// Of the oracle's models.
struct small_t5 {
  std::filesystem::path folder;
  t5_config config;

  explicit small_t5(const std::string& name = "usual")
      : folder{cases_of(name)}, config{t5_config::read(folder / "config.json")} {}

  weights parameters(c10::ScalarType type = at::kFloat) const {
    return {{folder / "model.safetensors"}, {type, test_device()}};
  }
  safetensors::file expected() const { return safetensors::file(folder / "expected.safetensors"); }
};

void compare(const t5_encoder& encode, const safetensors::file& expected) {
  int cases = 0;
  for (const auto& [name, view] : expected.tensors()) {
    if (!name.ends_with("ids")) continue;
    CAPTURE(name);
    const at::Tensor ids = read(expected, name),
                     last = read(expected, name.substr(0, name.size() - 3) + "last");
    CHECK(relative_l2(encode(ids), last) < tolerance);
    CHECK(relative_l2(encode(ids.to(at::kInt)), last) < tolerance);
    ++cases;
  }
  CHECK(cases >= 3);
}

/// The small model's parameters with the last product of each feed-forward layer made `factor` times as
/// large.
weights with_larger_products(const small_t5& small, double factor, c10::ScalarType type) {
  const auto file = std::make_shared<safetensors::file>(small.folder / "model.safetensors");
  return {[file, factor](const std::string& name, const std::vector<std::int64_t>&) {
            return read(*file, name) * (name.ends_with("wo.weight") ? factor : 1.0);
          },
          {type, test_device()}};
}

} // namespace

TEST_CASE("T5's encoder gives what transformers gives, in each layout of its parameters", "[device]") {
  const std::string name = GENERATE("usual", "narrow", "wide");
  CAPTURE(name);
  const small_t5 small(name);
  const auto load = [&](const std::string& file, naming names) {
    return weights({small.folder / file}, {at::kFloat, test_device()}, std::move(names));
  };
  SECTION("transformers") {
    const auto w = load("model.safetensors", {});
    compare(t5_encoder(small.config, w), small.expected());
    CHECK(w.untaken().empty());
  }
  SECTION("the embedding under its other name") {
    const auto w = load("other_embedding.safetensors", {});
    compare(t5_encoder(small.config, w), small.expected());
    CHECK(w.untaken().empty());
  }
  SECTION("a single file of Stable Diffusion 3") {
    const auto w = load("single.safetensors", sd3_t5_names());
    compare(t5_encoder(small.config, w), small.expected());
    CHECK(w.untaken().empty());
  }
}

TEST_CASE("T5's encoder taken layer by layer gives the same to the bit", "[device]") {
  const small_t5 small(GENERATE("usual", "narrow", "wide"));
  const auto type = GENERATE(at::kFloat, at::kBFloat16, at::kHalf);
  const auto w = small.parameters(type);
  const at::Tensor ids = read(small.expected(), "40.ids");
  CHECK(at::equal(t5_encode_layer_by_layer(small.config, w, ids), t5_encoder(small.config, w)(ids)));
  CHECK(w.untaken().empty());
  CHECK_THROWS_AS(t5_encode_layer_by_layer(small.config, w, ids + 60), bad_option);
  auto config = small.config;
  config.num_layers += 1;
  CHECK_THROWS_AS(t5_encode_layer_by_layer(config, w, ids), bad_file);
  config.num_layers = 0;
  CHECK_THROWS_AS(t5_encode_layer_by_layer(config, w, ids), bad_option);
}

TEST_CASE("T5's encoder taken layer by layer never holds all its weights") {
  const t5_config config{
      .vocab_size = 100, .d_model = 512, .d_kv = 64, .d_ff = 1024, .num_layers = 12, .num_heads = 8};
  const weights w([](const std::string&, const std::vector<std::int64_t>& shape) { return at::zeros(shape); },
                  {});
  const at::Tensor ids = at::zeros({1, 4}, at::kLong);
  t5_encode_layer_by_layer(config, w, ids); // what libtorch keeps for itself is there after one call
  const double one_layer = 4.0 * (4 * 512 * 512 + 3 * 512 * 1024); // bytes
  CHECK(peak_during([&] { t5_encode_layer_by_layer(config, w, ids); }) < 4 * one_layer);
  CHECK(peak_during([&] { const t5_encoder whole(config, w); }) > 11 * one_layer);
}

TEST_CASE("T5's padding is attended", "[device]") {
  const small_t5 small;
  const t5_encoder encode(small.config, small.parameters());
  const at::Tensor ids = read(small.expected(), "7.ids").narrow(0, 0, 1);
  const at::Tensor longer = at::constant_pad_nd(ids, {0, 3}, 0);
  CHECK(relative_l2(encode(longer).narrow(1, 0, 7), encode(ids)) > 0.01);
}

TEST_CASE("T5's encoder in half precision gives half precision", "[device]") {
  const small_t5 small(GENERATE("usual", "narrow", "wide"));
  const auto [type, close] =
      GENERATE(table<c10::ScalarType, double>({{at::kBFloat16, 0.03}, {at::kHalf, 0.004}}));
  const at::Tensor states =
      t5_encoder(small.config, small.parameters(type))(read(small.expected(), "40.ids"));
  CHECK(states.scalar_type() == type);
  CHECK(relative_l2(states, read(small.expected(), "40.last")) < close);
}

TEST_CASE("T5's states may be greater than float16 holds", "[device]") {
  const small_t5 small;
  constexpr double factor = 1e5;
  const at::Tensor ids = read(small.expected(), "40.ids");
  const at::Tensor states = t5_encoder(small.config, with_larger_products(small, factor, at::kHalf))(ids);
  const t5_encoder in_float(small.config, with_larger_products(small, factor, at::kFloat));
  CHECK(relative_l2(states, in_float(ids)) < 0.01);
}

TEST_CASE("T5's encoder in float64 gives float64") {
  const small_t5 small;
  const at::Tensor states =
      t5_encoder(small.config, small.parameters(at::kDouble))(read(small.expected(), "40.ids"));
  CHECK(states.scalar_type() == at::kDouble);
  CHECK(relative_l2(states, read(small.expected(), "40.last")) < tolerance);
}

TEST_CASE("names and shapes tell T5's configuration") {
  const std::string name = GENERATE("usual", "narrow", "wide");
  const small_t5 small(name);
  const auto told = GENERATE(0, 1, 2);
  const auto config =
      t5_config::told_by(told == 0   ? small.parameters()
                         : told == 1 ? weights({small.folder / "other_embedding.safetensors"}, {})
                                     : weights({small.folder / "single.safetensors"}, {}, sd3_t5_names()));
  CHECK(config.vocab_size == small.config.vocab_size);
  CHECK(config.d_model == small.config.d_model);
  CHECK(config.d_kv == small.config.d_kv);
  CHECK(config.d_ff == small.config.d_ff);
  CHECK(config.num_layers == small.config.num_layers);
  CHECK(config.num_heads == small.config.num_heads);
  CHECK(config.relative_attention_num_buckets == small.config.relative_attention_num_buckets);
  CHECK(config.relative_attention_max_distance == 128);
  CHECK(config.layer_norm_epsilon == 1e-6);
}

TEST_CASE("parameters of other networks tell no T5") {
  const scratch_folder folder;
  const auto told = [&](const std::vector<std::pair<std::string, std::vector<std::int64_t>>>& changes) {
    const std::string first = "encoder.block.0.layer.";
    std::map<std::string, at::Tensor> tensors{
        {"shared.weight", at::zeros({9, 8})},
        {first + "0.SelfAttention.relative_attention_bias.weight", at::zeros({8, 2})},
        {first + "0.SelfAttention.q.weight", at::zeros({6, 8})},
        {first + "1.DenseReluDense.wi_0.weight", at::zeros({7, 8})}};
    for (const auto& [name, shape] : changes) tensors[name] = at::zeros(shape);
    const auto path = folder / "w.safetensors";
    libtorch::write_tensors(path, {tensors.begin(), tensors.end()});
    return t5_config::told_by(weights({path}, {}));
  };
  CHECK(told({}).d_kv == 3);
  for (const auto& [name, shape, part] :
       std::vector<std::tuple<std::string, std::vector<std::int64_t>, std::string>>{
           {"encoder.block.0.layer.1.DenseReluDense.wi.weight", {7, 8}, "not gated"},
           {"shared.weight", {9}, "shared.weight is not a matrix"},
           {"shared.weight", {9, 0}, "shared.weight is not a matrix"},
           {"encoder.block.0.layer.0.SelfAttention.q.weight", {7, 8}, "7 wide"},
           {"encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", {3, 2}, "3 buckets"},
           {"encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
            {512, 2},
            "512 buckets"}}) {
    CAPTURE(name, part);
    CHECK_THROWS_AS(told({{name, shape}}), bad_file);
    CHECK_THROWS_WITH(told({{name, shape}}), contains_text(part));
  }
}

TEST_CASE("ids that T5's encoder cannot take are refused") {
  const small_t5 small;
  const t5_encoder encode(small.config, small.parameters());
  const auto pair = [](std::int64_t id) { return at::tensor({std::int64_t{1}, id}).unsqueeze(0); };
  CHECK_THROWS_WITH(encode(pair(-1)), contains_text("t5_encoder: id -1"));
  CHECK_THROWS_WITH(encode(pair(60)), contains_text("id 60"));
  CHECK_THROWS_AS(encode(pair(60)), bad_option);
  CHECK_THROWS_AS(encode(at::zeros({16}, at::kLong)), shape_mismatch);
  CHECK_THROWS_AS(encode(at::zeros({0, 16}, at::kLong)), shape_mismatch);
  CHECK_THROWS_AS(encode(at::zeros({1, 0}, at::kLong)), shape_mismatch);
  CHECK_THROWS_AS(encode(at::zeros({1, 16})), bad_option);
}

TEST_CASE("T5's parameters must fit its configuration") {
  const small_t5 small;
  const auto refused = [&](auto change) {
    auto config = small.config;
    change(config);
    CHECK_THROWS_AS(t5_encoder(config, small.parameters()), bad_file);
  };
  refused([](auto& c) { c.vocab_size = 61; });
  refused([](auto& c) { c.d_model = 31; });
  refused([](auto& c) { c.d_kv = 9; });
  refused([](auto& c) { c.d_ff = 64; });
  refused([](auto& c) { c.num_layers = 4; });
  refused([](auto& c) { c.num_heads = 5; });
  refused([](auto& c) { c.relative_attention_num_buckets = 16; });
  const auto contradicts = [&](auto change, const std::string& field) {
    auto config = small.config;
    change(config);
    CHECK_THROWS_AS(t5_encoder(config, small.parameters()), bad_option);
    CHECK_THROWS_WITH(t5_encoder(config, small.parameters()), contains_text(field));
  };
  contradicts([](auto& c) { c.vocab_size = 0; }, "vocab_size");
  contradicts([](auto& c) { c.d_model = 0; }, "d_model");
  contradicts([](auto& c) { c.d_kv = -1; }, "d_kv");
  contradicts([](auto& c) { c.d_ff = 0; }, "d_ff");
  contradicts([](auto& c) { c.num_layers = 0; }, "num_layers");
  contradicts([](auto& c) { c.num_heads = 0; }, "num_heads");
  contradicts([](auto& c) { c.relative_attention_num_buckets = 3; }, "relative_attention_num_buckets");
  contradicts([](auto& c) { c.relative_attention_max_distance = 8; }, "relative_attention_max_distance");
  contradicts([](auto& c) { c.layer_norm_epsilon = std::numeric_limits<double>::infinity(); },
              "layer_norm_epsilon");
}

TEST_CASE("T5 weights that are stored with scales are refused") {
  const small_t5 small;
  const scratch_folder folder;
  const std::string key = GENERATE("scaled_fp8", "encoder.block.0.layer.0.SelfAttention.q.scale_weight");
  libtorch::write_tensors(folder / "scales.safetensors", {{key, at::ones({1})}});
  const weights w({small.folder / "model.safetensors", folder / "scales.safetensors"}, {});
  CHECK_THROWS_AS(t5_encoder(small.config, w), bad_file);
  CHECK_THROWS_WITH(t5_encoder(small.config, w), contains_text("scaled_fp8"));
}

TEST_CASE("T5's configuration is read under transformers' names and defaults") {
  const scratch_folder folder;
  const auto of = [&](const std::string& text) {
    write_bytes(folder / "config.json", text);
    return t5_config::read(folder / "config.json");
  };
  const std::string gated = "{\"feed_forward_proj\": \"gated-gelu\"";
  const auto plain = of(gated + "}");
  CHECK(plain.vocab_size == 32128);
  CHECK(plain.d_model == 512);
  CHECK(plain.d_kv == 64);
  CHECK(plain.d_ff == 2048);
  CHECK(plain.num_layers == 6);
  CHECK(plain.num_heads == 8);
  CHECK(plain.relative_attention_num_buckets == 32);
  CHECK(plain.relative_attention_max_distance == 128);
  CHECK(plain.layer_norm_epsilon == 1e-6);
  CHECK(of(gated + ", \"model_type\": \"t5\", \"dense_act_fn\": \"gelu_new\", \"is_gated_act\": true, "
                   "\"relative_attention_max_distance\": 9}")
            .relative_attention_max_distance == 9);
  CHECK_THROWS_WITH(of("{}"), contains_text("\"feed_forward_proj\" (absent)"));
  CHECK_THROWS_AS(of("[]"), bad_file);
  for (const auto& [key, value] :
       std::vector<std::pair<std::string, std::string>>{{"feed_forward_proj", "\"relu\""},
                                                        {"feed_forward_proj", "\"gated-silu\""},
                                                        {"feed_forward_proj", "3"},
                                                        {"dense_act_fn", "\"relu\""},
                                                        {"is_gated_act", "false"},
                                                        {"is_decoder", "true"},
                                                        {"model_type", "\"umt5\""},
                                                        {"vocab_size", "0"},
                                                        {"vocab_size", "\"a\""},
                                                        {"d_model", "1e300"},
                                                        {"d_kv", "0"},
                                                        {"d_ff", "1.5"},
                                                        {"num_layers", "257"},
                                                        {"num_heads", "-1"},
                                                        {"relative_attention_num_buckets", "3"},
                                                        {"relative_attention_max_distance", "8"},
                                                        {"layer_norm_epsilon", "0"}}) {
    CAPTURE(key, value);
    const std::string text = gated + ", \"" + key + "\": " + value + "}"; // of two values the last counts
    CHECK_THROWS_AS(of(text), bad_file);
    CHECK_THROWS_WITH(of(text), contains_text("\"" + key + "\""));
  }
}
