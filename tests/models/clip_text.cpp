// The text encoder against transformers, in every layout of its parameters.

#include <support/catch.hpp>
#include <support/oracle.hpp>
#include <support/scratch_folder.hpp>

#include <pushforward/error.hpp>
#include <pushforward/libtorch/models/clip_text.hpp>

#include <string>

using namespace pushforward;
using namespace testing_support;
using namespace libtorch::models;

namespace {

constexpr double tolerance = 1e-5; // relative, in the L2 norm, float32

at::Tensor read(const safetensors::file& file, const std::string& name) {
  return libtorch::read_tensor(file, name);
}

void compare(const clip_text& encode, const safetensors::file& expected) {
  int cases = 0;
  for (const auto& [name, view] : expected.tensors()) {
    if (!name.ends_with("ids")) continue;
    const std::string prefix = name.substr(0, name.size() - 3);
    CAPTURE(prefix);
    const at::Tensor ids = read(expected, name);
    CHECK(relative_l2(encode(ids), read(expected, prefix + "last")) < tolerance);
    CHECK(relative_l2(encode(ids.to(at::kInt)), read(expected, prefix + "last")) < tolerance);
    CHECK(relative_l2(encode.penultimate(ids), read(expected, prefix + "penultimate")) < tolerance);
    CHECK(relative_l2(encode.hidden(ids), read(expected, prefix + "hidden")) < tolerance);
    CHECK(relative_l2(encode.pooled(ids), read(expected, prefix + "pooled")) < tolerance);
    if (expected.contains(prefix + "projected"))
      CHECK(relative_l2(encode.projected(ids), read(expected, prefix + "projected")) < tolerance);
    else
      CHECK_THROWS_AS(encode.projected(ids), bad_option);
    ++cases;
  }
  CHECK(cases == 6);
}

/// Of the oracle's models, with the first parameters it wrote.
struct small_text {
  std::filesystem::path folder = std::filesystem::path(ORACLE_FOLDER) / "text_quick_gelu";
  clip_text_config config = clip_text_config::read(folder / "config.json");
  weights parameters{{folder / "model.safetensors"}, {}};
};

} // namespace

TEST_CASE("the text encoder gives what transformers gives, in each layout of its parameters") {
  const auto folder = oracle_folder(ORACLE_FOLDER);
  if (folder.empty()) return;
  const std::string name = GENERATE("text_quick_gelu", "text_gelu", "text_greatest_id");
  CAPTURE(name);
  const auto config = clip_text_config::read(folder / name / "config.json");
  const safetensors::file expected(folder / name / "expected.safetensors");
  const auto load = [&](const std::string& file, naming names) {
    return weights({folder / name / file}, {}, std::move(names));
  };
  SECTION("transformers 5") {
    const auto w = load("model.safetensors", {});
    compare(clip_text(config, w), expected);
    CHECK(w.untaken().empty());
  }
  if (name != "text_gelu") { // the other layouts of it have no projection, or all
    SECTION("transformers 4") { compare(clip_text(config, load("old_keys.safetensors", {})), expected); }
    SECTION("a single file of Stable Diffusion 1") {
      compare(clip_text(config, load("ldm1.safetensors", ldm_clip_text_names())), expected);
    }
  }
  SECTION("OpenCLIP, as in a single file of Stable Diffusion 2") {
    const auto w = load("ldm2.safetensors", open_clip_text_names());
    compare(clip_text(config, w), expected);
    CHECK(w.untaken().empty());
  }
}

TEST_CASE("a text encoder that leaves out the last block gives the penultimate state") {
  const auto folder = oracle_folder(ORACLE_FOLDER);
  if (folder.empty()) return;
  auto config = clip_text_config::read(folder / "text_gelu" / "config.json");
  const safetensors::file expected(folder / "text_gelu" / "expected.safetensors");
  config.num_hidden_layers -= 1;
  const clip_text encode(config, {{folder / "text_gelu" / "ldm2.safetensors"}, {}, open_clip_text_names()});
  CHECK(relative_l2(encode(read(expected, "16.0.ids")), read(expected, "16.0.penultimate")) < tolerance);
}

TEST_CASE("a text encoder is read from the files of a whole CLIP model") {
  const auto folder = oracle_folder(ORACLE_FOLDER);
  if (folder.empty()) return;
  const auto config = clip_text_config::read(folder / "whole" / "config.json");
  CHECK(config.projection_dim == 20);
  compare(clip_text(config, {{folder / "whole" / "model.safetensors"}, {}}),
          safetensors::file(folder / "whole" / "text.safetensors"));
}

TEST_CASE("a text encoder in half precision gives half precision") {
  const auto folder = oracle_folder(ORACLE_FOLDER);
  if (folder.empty()) return;
  const small_text small;
  const clip_text encode(small.config, {{small.folder / "model.safetensors"}, {.type = at::kBFloat16}});
  const safetensors::file expected(small.folder / "expected.safetensors");
  const at::Tensor states = encode(read(expected, "16.0.ids"));
  CHECK(states.scalar_type() == at::kBFloat16);
  CHECK(relative_l2(states, read(expected, "16.0.last")) < 0.03);
}

TEST_CASE("ids that a text encoder cannot take are refused") {
  const auto folder = oracle_folder(ORACLE_FOLDER);
  if (folder.empty()) return;
  const small_text small;
  const clip_text encode(small.config, small.parameters);
  const auto pair = [](std::int64_t id) { return at::tensor({std::int64_t{1}, id}).unsqueeze(0); };
  CHECK_THROWS_WITH(encode(pair(-1)), contains_text("id -1"));
  CHECK_THROWS_WITH(encode(pair(60)), contains_text("id 60"));
  CHECK_THROWS_AS(encode(pair(60)), bad_option);
  CHECK_THROWS_WITH(encode(at::zeros({1, 17}, at::kLong)), contains_text("17 ids are longer than the 16"));
  CHECK_THROWS_AS(encode(at::zeros({1, 17}, at::kLong)), shape_mismatch);
  CHECK_THROWS_AS(encode(at::zeros({16}, at::kLong)), shape_mismatch);
  CHECK_THROWS_AS(encode(at::zeros({0, 16}, at::kLong)), shape_mismatch);
  CHECK_THROWS_AS(encode(at::zeros({1, 16})), bad_option);
  CHECK_THROWS_WITH(encode.pooled(at::zeros({1, 16}, at::kLong)), contains_text("end token (id 59)"));
}

TEST_CASE("a text encoder's parameters must fit its configuration") {
  const auto folder = oracle_folder(ORACLE_FOLDER);
  if (folder.empty()) return;
  const small_text small;
  const auto refused = [&](auto change) {
    auto config = small.config;
    change(config);
    CHECK_THROWS_AS(clip_text(config, small.parameters), bad_file);
  };
  refused([](auto& c) { c.vocab_size = 61; });
  refused([](auto& c) { c.max_position_embeddings = 15; });
  refused([](auto& c) { c.num_hidden_layers = 4; });
  refused([](auto& c) { c.intermediate_size = 64; });
  auto config = small.config;
  config.num_attention_heads = 5;
  CHECK_THROWS_WITH(clip_text(config, small.parameters), contains_text("num_attention_heads"));
  config = small.config;
  config.hidden_act = "relu";
  CHECK_THROWS_AS(clip_text(config, small.parameters), bad_option);
  config = small.config;
  config.layer_norm_eps = INFINITY;
  CHECK_THROWS_WITH(clip_text(config, small.parameters), contains_text("layer_norm_eps"));
}

TEST_CASE("a text encoder's configuration is read under transformers' names and defaults") {
  const scratch_folder folder;
  const auto of = [&](const std::string& text) {
    write_bytes(folder / "config.json", text);
    return clip_text_config::read(folder / "config.json");
  };
  const auto plain = of("{}");
  CHECK(plain.hidden_size == 512);
  CHECK(plain.num_attention_heads == 8);
  CHECK(plain.eos_token_id == 49407);
  CHECK(
      of("{\"text_config\": {\"hidden_size\": 64}, \"projection_dim\": 9, \"hidden_size\": 1}").hidden_size ==
      64);
  CHECK(of("{\"text_config\": {\"projection_dim\": 7}, \"projection_dim\": 9}").projection_dim == 9);
  for (const auto& [text, part] : std::vector<std::pair<std::string, std::string>>{
           {"{\"hidden_size\": \"a\"}", "hidden_size"},
           {"{\"hidden_size\": 1e300}", "hidden_size"},
           {"{\"num_attention_heads\": 7}", "num_attention_heads"},
           {"{\"hidden_act\": \"relu\"}", "hidden_act"},
           {"{\"layer_norm_eps\": 0}", "layer_norm_eps"},
           {"{\"model_type\": \"t5\"}", "model_type"},
           {"{\"text_config\": 3}", "text_config"},
           {"{\"use_attention_mask\": true}", "use_attention_mask"},
           {"[]", "config.json"}}) {
    CAPTURE(text);
    CHECK_THROWS_AS(of(text), bad_file);
    CHECK_THROWS_WITH(of(text), contains_text(part));
  }
}
