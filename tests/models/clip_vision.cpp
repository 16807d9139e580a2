// The vision encoder, what prepares its images and what style constraints make of its tokens, against
// transformers, Pillow and numpy.

#include <support/catch.hpp>
#include <support/oracle.hpp>
#include <support/scratch_folder.hpp>

#include <pushforward/error.hpp>
#include <pushforward/libtorch/models/clip_vision.hpp>

#include <torch/csrc/autograd/autograd.h>

#include <functional>
#include <string>

using namespace pushforward;
using namespace testing_support;
using namespace libtorch::models;

namespace {

constexpr double tolerance = 1e-5, vjp_tolerance = 1e-4; // relative, in the L2 norm, float32

at::Tensor read(const safetensors::file& file, const std::string& name) {
  return libtorch::read_tensor(file, name);
}

at::Tensor vjp(const std::function<at::Tensor(const at::Tensor&)>& f, const at::Tensor& x,
               const at::Tensor& w) {
  const at::Tensor input = x.clone().requires_grad_(true);
  return torch::autograd::grad({f(input)}, {input}, {w}).front();
}

void compare(const clip_vision& encode, const safetensors::file& expected) {
  const at::Tensor pixels = read(expected, "pixels");
  CHECK(relative_l2(encode(pixels), read(expected, "last")) < tolerance);
  CHECK(relative_l2(encode.pooled(pixels), read(expected, "pooled")) < tolerance);
  if (expected.contains("projected"))
    CHECK(relative_l2(encode.projected(pixels), read(expected, "projected")) < tolerance);
  else
    CHECK_THROWS_AS(encode.projected(pixels), bad_option);
  int blocks = 0;
  for (std::int64_t block = 0; block < encode.config().num_hidden_layers; ++block) {
    const std::string name = "tokens." + std::to_string(block);
    if (!expected.contains(name)) continue;
    CAPTURE(name);
    const auto tokens = [&](const at::Tensor& x) { return encode.tokens_after(x, block); };
    CHECK(relative_l2(tokens(pixels), read(expected, name)) < tolerance);
    CHECK(relative_l2(vjp(tokens, pixels, read(expected, name + ".w")), read(expected, name + ".vjp")) <
          vjp_tolerance);
    ++blocks;
  }
  CHECK(blocks > 0);
}

void compare_gram(const clip_vision& encode, const safetensors::file& expected) {
  const auto style = [&](const at::Tensor& image) {
    return gram(patch_tokens(encode.tokens_after(clip_pixels(image, encode.config().image_size), 2)));
  };
  for (int i = 0; i < 3; ++i) {
    const std::string name = "image." + std::to_string(i);
    CAPTURE(name);
    const at::Tensor image = read(expected, name);
    CHECK(relative_l2(style(image), read(expected, name + ".gram")) < tolerance);
    CHECK(relative_l2(vjp(style, image, read(expected, name + ".w")), read(expected, name + ".vjp")) <
          vjp_tolerance);
  }
}

} // namespace

TEST_CASE("the vision encoder gives what transformers gives, forward and backward, in each layout of its "
          "parameters") {
  const auto folder = oracle_folder(ORACLE_FOLDER);
  if (folder.empty()) return;
  const std::string name = GENERATE("vision_quick_gelu", "vision_gelu");
  CAPTURE(name);
  const auto config = clip_vision_config::read(folder / name / "config.json");
  const safetensors::file expected(folder / name / "expected.safetensors");
  SECTION("transformers 5") {
    const weights w({folder / name / "model.safetensors"}, {});
    const clip_vision encode(config, w);
    compare(encode, expected);
    compare_gram(encode, expected);
    CHECK(w.untaken().empty());
  }
  if (name == "vision_quick_gelu") {
    SECTION("transformers 4") {
      compare(clip_vision(config, {{folder / name / "old_keys.safetensors"}, {}}), expected);
    }
  } else {
    SECTION("OpenAI") {
      const weights w({folder / name / "openai.safetensors"}, {}, open_clip_vision_names());
      compare(clip_vision(config, w), expected);
      CHECK(w.untaken().empty());
    }
  }
}

TEST_CASE("a vision encoder is read from the files of a whole CLIP model") {
  const auto folder = oracle_folder(ORACLE_FOLDER);
  if (folder.empty()) return;
  const auto config = clip_vision_config::read(folder / "whole" / "config.json");
  CHECK(config.projection_dim == 20);
  compare(clip_vision(config, {{folder / "whole" / "model.safetensors"}, {}}),
          safetensors::file(folder / "whole" / "vision.safetensors"));
}

TEST_CASE("images are brought to CLIP's size and scale as Pillow does it") {
  const auto folder = oracle_folder(ORACLE_FOLDER);
  if (folder.empty()) return;
  const safetensors::file expected(folder / "vision_gelu" / "expected.safetensors");
  for (int i = 0; i < 3; ++i) {
    const std::string name = "image." + std::to_string(i);
    CAPTURE(name);
    CHECK(relative_l2(clip_pixels(read(expected, name), 16), read(expected, name + ".pixels")) < 1e-6);
  }
}

TEST_CASE("images keep float64 and are computed in float32 otherwise") {
  const at::Tensor image = at::linspace(-1, 1, 3 * 20 * 30, at::kDouble).view({1, 3, 20, 30});
  CHECK(clip_pixels(image).sizes() == at::IntArrayRef{1, 3, 224, 224});
  CHECK(clip_pixels(image).scalar_type() == at::kDouble);
  CHECK(clip_pixels(image.to(at::kHalf)).scalar_type() == at::kFloat);
}

TEST_CASE("images and tokens of the wrong shape are refused") {
  CHECK_THROWS_AS(clip_pixels(at::zeros({1, 4, 8, 8})), shape_mismatch);
  CHECK_THROWS_AS(clip_pixels(at::zeros({3, 8, 8})), shape_mismatch);
  CHECK_THROWS_AS(clip_pixels(at::zeros({1, 3, 0, 8})), shape_mismatch);
  CHECK_THROWS_AS(clip_pixels(at::zeros({1, 3, 8, 8}, at::kByte)), bad_option);
  CHECK_THROWS_AS(clip_pixels(at::zeros({1, 3, 8, 8}), 0), bad_option);
  CHECK_THROWS_AS(gram(at::zeros({4, 4})), shape_mismatch);
  CHECK_THROWS_AS(patch_tokens(at::zeros({1, 1, 4})), shape_mismatch);
  const auto folder = oracle_folder(ORACLE_FOLDER);
  if (folder.empty()) return;
  const auto config = clip_vision_config::read(folder / "vision_gelu" / "config.json");
  const clip_vision encode(config, {{folder / "vision_gelu" / "model.safetensors"}, {}});
  CHECK_THROWS_WITH(encode(at::zeros({1, 4, 16, 16})), contains_text("[N, 3, 16, 16], not [1, 4, 16, 16]"));
  CHECK_THROWS_AS(encode(at::zeros({1, 3, 16, 15})), shape_mismatch);
  CHECK_THROWS_AS(encode(at::zeros({3, 16, 16})), shape_mismatch);
  CHECK_THROWS_WITH(encode.tokens_after(at::zeros({1, 3, 16, 16}), 4),
                    contains_text("residual block 4; they are 0 to 3"));
  CHECK_THROWS_AS(encode.tokens_after(at::zeros({1, 3, 16, 16}), -1), bad_option);
}

TEST_CASE("a vision encoder's configuration is read under transformers' names and defaults") {
  const scratch_folder folder;
  const auto of = [&](const std::string& text) {
    write_bytes(folder / "config.json", text);
    return clip_vision_config::read(folder / "config.json");
  };
  CHECK(of("{}").patch_size == 32);
  CHECK(of("{}").projection_dim == 512);
  CHECK(of("{\"vision_config\": {\"patch_size\": 16}, \"projection_dim\": 9}").patch_size == 16);
  for (const auto& [text, part] : std::vector<std::pair<std::string, std::string>>{
           {"{\"patch_size\": 15}", "patch_size"},
           {"{\"image_size\": 0}", "image_size"},
           {"{\"num_channels\": null, \"hidden_act\": 3}", "hidden_act"},
           {"{\"model_type\": \"clip_text_model\"}", "model_type"}}) {
    CAPTURE(text);
    CHECK_THROWS_AS(of(text), bad_file);
    CHECK_THROWS_WITH(of(text), contains_text(part));
  }
}
