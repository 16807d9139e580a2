// The style constraint against transformers and autograd.

#include <support/catch.hpp>
#include <support/oracle.hpp>
#include <support/scratch_folder.hpp>

#include <style_constraint.hpp>

#include <pushforward/constraints/decoded.hpp>
#include <pushforward/error.hpp>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <filesystem>
#include <string>

using namespace pushforward;
using namespace testing_support;
using namespace stable_diffusion;
namespace fs = std::filesystem;
using traits = tensor_traits<at::Tensor>;

namespace {

constexpr double tolerance = 1e-4; // relative, float32

struct oracle_case {
  safetensors::file file;
  style_constraint constraint;

  oracle_case(const fs::path& folder, std::int64_t block)
      : file{folder / ("block." + std::to_string(block) + ".safetensors")},
        constraint{read_clip(folder, c10::Device(c10::kCPU)), block, (*this)["picture"]} {}

  at::Tensor operator[](const char* name) const { return libtorch::read_tensor(file, name); }
};

at::Tensor loss_of(const constraint_value<at::Tensor>& v) { return at::tensor(traits::values(v.loss)); }

} // namespace

TEST_CASE("loss and error of a style are those of transformers and autograd, with gradients off outside") {
  const auto folder = oracle_folder(ORACLE_FOLDER);
  if (folder.empty()) return;
  const std::string name = GENERATE("alone", "whole");
  const std::int64_t block = GENERATE(0, 2);
  CAPTURE(name, block);
  const oracle_case o(folder / name, block);
  const c10::NoGradGuard no_grad;
  const auto value = o.constraint(o["images"]);
  CHECK(relative_l2(loss_of(value), o["loss"]) < tolerance);
  CHECK(relative_l2(value.error, o["error"]) < tolerance);
  CHECK(!value.error.requires_grad());
  CHECK(relative_l2(o.constraint.distance(o["images"]), o["loss"]) < tolerance);
  CHECK(std::abs(o.constraint.size() / o["size"].item<double>() - 1.0) < tolerance);
  CHECK(relative_l2(o.constraint.picture(), o["resized picture"]) < 1e-6);
}

TEST_CASE("half the square of a style's distance has the error that lowers it, and moves by its own length") {
  const auto folder = oracle_folder(ORACLE_FOLDER);
  if (folder.empty()) return;
  const oracle_case o(folder / "alone", 2);
  const style_constraint half(read_clip(folder / "alone", c10::Device(c10::kCPU)), 2, o["picture"],
                              style_loss::half_square);
  const auto norm = o.constraint(o["images"]), value = half(o["images"]);
  const at::Tensor d = loss_of(norm);
  CHECK(relative_l2(loss_of(value), 0.5 * d * d) < tolerance);
  CHECK(relative_l2(value.error, norm.error * d.to(at::kFloat).view({-1, 1, 1, 1})) < tolerance);
  const auto alone = half(half.picture());
  CHECK(traits::values(alone.loss).front() == 0.0);
  CHECK(at::equal(alone.error, at::zeros_like(alone.error)));
}

TEST_CASE("samples of a style's batch do not see each other, and every evaluation of CLIP is counted") {
  const auto folder = oracle_folder(ORACLE_FOLDER);
  if (folder.empty()) return;
  const oracle_case o(folder / "alone", 2);
  const at::Tensor images = o["images"];
  const auto copy = o.constraint; // as a loop would keep it
  const auto both = copy(images);
  for (const std::int64_t i : {0, 1}) {
    const auto one = copy(images.narrow(0, i, 1));
    CHECK(relative_l2(one.error, both.error.narrow(0, i, 1)) < 1e-5);
    CHECK(relative_l2(loss_of(one), loss_of(both).narrow(0, i, 1)) < 1e-6);
  }
  CHECK(o.constraint.passes().forward == 4);
  CHECK(o.constraint.passes().backward == 4);
}

TEST_CASE("an image in the very style has a loss and an error of 0") {
  const auto folder = oracle_folder(ORACLE_FOLDER);
  if (folder.empty()) return;
  const oracle_case o(folder / "alone", 2);
  const auto alone = o.constraint(o.constraint.picture());
  CHECK(traits::values(alone.loss).front() == 0.0);
  CHECK(at::equal(alone.error, at::zeros_like(alone.error)));
}

TEST_CASE("a step along the error lowers the distance to the style, pulled back through a decoder too") {
  const auto folder = oracle_folder(ORACLE_FOLDER);
  if (folder.empty()) return;
  const oracle_case o(folder / "whole", 2);
  const libtorch::differentiable_decoder half([](const at::Tensor& z) { return 0.5 * z; });
  const auto pulled = decoded(o.constraint, half, decoder_vjp{});
  pass_counts counts;
  const at::Tensor z = 2.0 * o["images"];
  const auto value = pulled(z, counts);
  CHECK(relative_l2(value.error, 0.5 * o["error"]) < tolerance);
  const at::Tensor step = 1e-3 * value.error / value.error.abs().amax({1, 2, 3}, true);
  const at::Tensor after = loss_of(pulled(z + step, counts)), before = loss_of(value);
  CHECK((after - before).max().item<double>() < 0.0);
  CHECK(counts.decoder_backward == 4);
}

TEST_CASE("a folder that is no CLIP encoder and a block that is not there are refused") {
  const scratch_folder empty;
  CHECK_THROWS_WITH(read_clip(empty.path(), c10::Device(c10::kCPU)), contains_text("model.safetensors"));
  write_bytes(empty / "config.json", "{}");
  write_bytes(empty / "pytorch_model.bin", "pickle");
  CHECK_THROWS_AS(read_clip(empty.path(), c10::Device(c10::kCPU)), bad_file);
  const auto folder = oracle_folder(ORACLE_FOLDER);
  if (folder.empty()) return;
  const auto clip = read_clip(folder / "alone", c10::Device(c10::kCPU));
  CHECK_THROWS_WITH(style_constraint(clip, 4, at::zeros({1, 3, 32, 32})), contains_text("residual block 4"));
}
