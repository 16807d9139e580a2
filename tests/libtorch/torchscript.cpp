// TorchScript files, made by the tests themselves.

#include <support/catch.hpp>
#include <support/file_faults.hpp>
#include <support/random.hpp>
#include <support/scratch_folder.hpp>

#include <pushforward/libtorch/torchscript.hpp>
#include <pushforward/pushforward.hpp>

#include <ATen/ATen.h>
#include <torch/csrc/jit/api/module.h>

#include <cmath>
#include <string>

using namespace pushforward;
using namespace testing_support;
using libtorch::argument_order;
using libtorch::torchscript_denoiser;

namespace {

at::Tensor random_tensor(at::IntArrayRef sizes, std::uint64_t seed) {
  std::int64_t n = 1;
  for (auto extent : sizes) n *= extent;
  return at::tensor(random_numbers(static_cast<std::size_t>(n), seed), at::kFloat).view(sizes);
}

double distance(const at::Tensor& x, const at::Tensor& y) {
  REQUIRE(x.sizes() == y.sizes());
  return (x - y).abs().max().item<double>();
}

const at::Tensor& weight() {
  static const at::Tensor w = random_tensor({4, 4}, 1);
  return w;
}

/// tanh(x W) + time / 1000, and other methods.
std::filesystem::path saved(const scratch_folder& folder) {
  torch::jit::Module m("small");
  m.register_parameter("w", weight().clone(), false);
  m.register_buffer("index", at::arange(4, at::kLong));
  m.register_attribute("training", c10::BoolType::get(), true);
  m.define(R"(
    def forward(self, x, time):
        return torch.tanh(torch.matmul(x, self.w)) + (time / 1000).to(x.dtype).view(-1, 1)
    def turned(self, time, x):
        return self.forward(x, time)
    def with_default(self, x, time, scale: float = 2.0):
        return scale * self.forward(x, time)
    def mode(self, x, time):
        return x * 0 + float(self.training)
    def indexed(self, x, time):
        return x[:, self.index]
    def decode(self, z):
        return 2 * torch.matmul(z, self.w)
    def encode(self, image):
        return 0.5 * image
    def conditioned(self, x, time, text):
        return x
    def of_number(self, x, time: float):
        return x * time
    def pair(self, x, time):
        return (x, time)
  )");
  m.save((folder / "net.pt").string());
  return folder / "net.pt";
}

at::Tensor wanted(const at::Tensor& x, double time) {
  return at::tanh(at::matmul(x, weight())) + time / 1000;
}

} // namespace

TEST_CASE("a TorchScript denoiser computes what its module does, in either argument order") {
  const scratch_folder folder;
  const auto file = saved(folder);
  const at::Tensor x = random_tensor({3, 4}, 2);
  const auto d = torchscript_denoiser<libtorch::forward_denoiser>(file, {.prediction = prediction_type::v});
  CHECK(d.prediction == prediction_type::v);
  for (int n = 0; n < 3; ++n) // the executor changes its code after the first runs
    CHECK(distance(d.predict(x, 250.0), wanted(x, 250.0)) < 1e-6);
  const auto turned = torchscript_denoiser<libtorch::forward_denoiser>(
      file, {}, {.name = "turned", .order = argument_order::time_x});
  CHECK(distance(turned.predict(x, 250.0), wanted(x, 250.0)) < 1e-6);
  const auto scaled = torchscript_denoiser<libtorch::forward_denoiser>(file, {}, {.name = "with_default"});
  CHECK(distance(scaled.predict(x, 250.0), 2 * wanted(x, 250.0)) < 1e-6);
}

TEST_CASE("a TorchScript denoiser is differentiated backward and forward") {
  const scratch_folder folder;
  const auto d = torchscript_denoiser<libtorch::differentiable_denoiser>(saved(folder));
  const at::Tensor x = random_tensor({3, 4}, 2), v = random_tensor({3, 4}, 3);
  const at::Tensor slope = 1 - at::tanh(at::matmul(x, weight())).square();
  for (int n = 0; n < 4; ++n) {
    CHECK(distance(d.linearize(x, 250.0).vjp(v), at::matmul(slope * v, weight().t())) < 1e-5);
    CHECK(distance(d.jvp(x, 250.0, v), slope * at::matmul(v, weight())) < 1e-5);
  }
}

TEST_CASE("a TorchScript module is run in evaluation mode, its integers left as they are") {
  const scratch_folder folder;
  const auto file = saved(folder);
  const at::Tensor x = random_tensor({3, 4}, 2);
  const auto mode = torchscript_denoiser<libtorch::forward_denoiser>(file, {}, {.name = "mode"});
  CHECK(mode.predict(x, 1.0).equal(at::zeros_like(x)));
  const auto indexed =
      torchscript_denoiser<libtorch::forward_denoiser>(file, {.compute = at::kBFloat16}, {.name = "indexed"});
  CHECK(distance(indexed.predict(x, 1.0), x) < 0.02);
}

TEST_CASE("a TorchScript module is brought to the compute type") {
  const scratch_folder folder;
  const auto file = saved(folder);
  const at::Tensor x = random_tensor({3, 4}, 2);
  const auto compute = GENERATE(values<c10::ScalarType>({at::kBFloat16, at::kHalf, at::kDouble}));
  const auto d = torchscript_denoiser<libtorch::forward_denoiser>(file, {.compute = compute});
  const at::Tensor o = d.predict(x, 250.0);
  CHECK(o.scalar_type() == at::kFloat);
  CHECK(distance(o, wanted(x, 250.0)) < 4 * d.resolution() + 1e-6);
}

TEST_CASE("a TorchScript decoder decodes, encodes and is differentiated") {
  const scratch_folder folder;
  const auto file = saved(folder);
  const auto d = libtorch::torchscript_decoder<libtorch::differentiable_decoder>(file);
  const at::Tensor z = random_tensor({3, 4}, 2), w = random_tensor({3, 4}, 3);
  CHECK(distance(d.decode(z), 2 * at::matmul(z, weight())) < 1e-5);
  CHECK(distance(d.encode(z), 0.5 * z) < 1e-6);
  CHECK(distance(d.linearize_decode(z).vjp(w), 2 * at::matmul(w, weight().t())) < 1e-5);
}

TEST_CASE("a run on a TorchScript denoiser meets its constraint") {
  const scratch_folder folder;
  const auto d =
      torchscript_denoiser<libtorch::forward_denoiser>(saved(folder), {.prediction = prediction_type::flow});
  const at::Tensor y = random_tensor({2, 4}, 5);
  const rectified_flow path;
  const auto result = sample(standard_normal(y, {.seed = 1}), model(d, path), rectified_flow_euler(path),
                             masked<at::Tensor>(y, at::ones_like(y)),
                             update{inexact_newton{}, infinity_norm{.rate = {0.5, 0.02}}, 5});
  CHECK(distance(result.x, y) < 0.2);
}

TEST_CASE("a file that is missing, cut short or of another kind is a bad_file that names it") {
  const scratch_folder folder;
  const auto file = saved(folder);
  CHECK_THROWS_WITH(libtorch::torchscript_network(folder / "none.pt"),
                    contains_text("none.pt") && contains_text("no such file"));
  CHECK_THROWS_AS(libtorch::torchscript_network(folder / "none.pt"), bad_file);
  CHECK_THROWS_AS(libtorch::torchscript_network(folder.path()), bad_file);
  make_fifo(folder / "fifo.pt");
  CHECK_THROWS_WITH(libtorch::torchscript_network(folder / "fifo.pt"),
                    contains_text("fifo.pt: is not a regular file but a FIFO"));
  const std::string whole = read_bytes(file);
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, whole.size() / 3, whole.size() - 30}) {
    CAPTURE(size);
    write_bytes(folder / "cut.pt", whole.substr(0, size));
    CHECK_THROWS_AS(libtorch::torchscript_network(folder / "cut.pt"), bad_file);
    CHECK_THROWS_WITH(libtorch::torchscript_network(folder / "cut.pt"),
                      contains_text("cut.pt") && contains_text("torch.jit.save"));
  }
  write_bytes(folder / "other.pt", std::string(4096, 'x'));
  CHECK_THROWS_AS(libtorch::torchscript_map(folder / "other.pt"), bad_file);
}

TEST_CASE("a method that is not there, or takes or returns other things, is named") {
  const scratch_folder folder;
  const auto file = saved(folder);
  const auto named = [&](const std::string& name) {
    return libtorch::torchscript_network(file, at::kFloat, {}, {.name = name});
  };
  CHECK_THROWS_AS(named("forwards"), bad_option);
  CHECK_THROWS_WITH(named("forwards"), contains_text("no method forwards") && contains_text("turned"));
  CHECK_THROWS_WITH(named("decode"), contains_text("two tensors"));
  CHECK_THROWS_WITH(named("conditioned"), contains_text("two tensors") && contains_text("text"));
  CHECK_THROWS_WITH(named("of_number"), contains_text("two tensors"));
  CHECK_THROWS_WITH(libtorch::torchscript_map(file), contains_text("one tensor"));
  CHECK_THROWS_WITH(named("pair")(at::ones({1, 4}), at::ones({1})),
                    contains_text("pair") && contains_text("not one tensor"));
}
