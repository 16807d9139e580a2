// The example's network and runs on pushforward::cuda, beside the same on libtorch.

#include <support/catch.hpp>
#include <support/cuda_backend.hpp>
#include <support/program.hpp>
#include <support/random.hpp>

#include <model.hpp>
#include <network.hpp>

#include <pushforward/libtorch/tensor.hpp>
#include <pushforward/pushforward.hpp>
#include <pushforward/safetensors/file.hpp>

#include <ATen/ATen.h>

#include <cmath>
#include <filesystem>
#include <vector>

using namespace testing_support;
using namespace pushforward;

namespace {

const std::filesystem::path weights = WEIGHTS_FOLDER;

const digits::unet& network() {
  static const digits::unet made(weights / "flow.safetensors", test_executor());
  return made;
}
const mnist::digit_model& on_libtorch() {
  static const mnist::digit_model made(mnist::model_kind::flow, weights);
  return made;
}

using ours = cuda::array<float>;

ours made(const shape& s, const std::vector<double>& values) { return cuda_float::make(s, values); }
template <class T> std::vector<double> elements(const T& x) { return tensor_traits<T>::elements(x); }

/// Relative L2 distance.
double distance(const std::vector<double>& is, const std::vector<double>& wanted) {
  REQUIRE(is.size() == wanted.size());
  double difference = 0.0, size = 0.0;
  for (std::size_t i = 0; i < is.size(); ++i) {
    difference += (is[i] - wanted[i]) * (is[i] - wanted[i]);
    size += wanted[i] * wanted[i];
  }
  return std::sqrt(difference / size);
}

} // namespace

TEST_CASE("the example's network gives what libtorch's does", "[device]") {
  const shape s{2, 1, 32, 32};
  const auto values = random_numbers(s.elements(), 1);
  const auto net = digits::denoiser_of(network());
  for (const double time : {1000.0, 437.5, 20.0}) {
    const auto is = elements(net.predict(made(s, values), time));
    const auto wanted = elements(on_libtorch().denoiser().predict(
        tensor_traits<at::Tensor>::from_elements(at::empty({0}), s, values), time));
    CHECK(distance(is, wanted) < 1e-5);
  }
}

TEST_CASE("samples of the example's network do not see each other", "[device]") {
  const shape s{2, 1, 32, 32};
  const ours x = made(s, random_numbers(s.elements(), 1));
  const auto both = network()(x, 300.0);
  for (std::size_t j = 0; j < 2; ++j)
    CHECK(network()(x.samples(j, 1), 300.0).to_host() == both.samples(j, 1).to_host());
}

// The forward difference multiplies what rounding leaves by 1 / probe = 200, in each product with J.
TEST_CASE("a steered run on cuda's arrays gives libtorch's digits", "[device]") {
  const shape s{1, 1, 32, 32};
  std::vector<double> mask(s.elements());
  for (std::size_t i = 0; i < mask.size(); ++i) mask[i] = i < mask.size() / 2 ? 1.0 : 0.0;
  const rectified_flow path;
  const auto sampler = rectified_flow_euler(path, {.steps = 3});
  const auto run = [&](const auto& like, const auto& net, const std::vector<double>& of_y, const auto& rule,
                       std::uint64_t seed) {
    using T = std::remove_cvref_t<decltype(like)>;
    const auto placed = [&](const std::vector<double>& v) {
      return tensor_traits<T>::from_elements(like, s, v);
    };
    const masked<T> known(placed(of_y), placed(mask));
    return elements(
        sample(placed(random_numbers(s.elements(), seed)), model{net, path}, sampler, known, rule).x);
  };
  const at::Tensor there = at::empty({0}, at::kFloat);
  const ours here(test_executor(), {1});
  const auto net = digits::denoiser_of(network());
  const auto y = run(there, on_libtorch().denoiser(), mask, update{none{}}, 1); // a digit
  CHECK(distance(run(here, net, mask, update{none{}}, 1), y) < 1e-5);
  const auto same = [&](const auto& rule) {
    const double d = distance(run(here, net, y, rule, 2), run(there, on_libtorch().denoiser(), y, rule, 2));
    CHECK(d < 5e-3);
  };
  same(posterior_step{});
  same(update{inexact_newton{}, infinity_norm{}, 2});
}

TEST_CASE("weights of another network, and files that are none, are refused") {
  const auto on = cuda::executor::host();
  CHECK_THROWS_WITH(digits::unet(weights / "ddpm_that_is_not_there.safetensors", on),
                    contains_text("ddpm_that"));
  CHECK_THROWS_AS(digits::unet(weights / "vae.safetensors", on), bad_file);
  CHECK_THROWS_AS(digits::unet(weights / "latent_ddpm.safetensors", on), bad_file);
}

TEST_CASE("the example's program completes digits on the host's executor, and writes them") {
  const scratch_folder folder;
  const auto out = folder / "digits.safetensors";
  const auto done =
      run_program(folder, DIGITS_PROGRAM,
                  {"--host", "--samples", "1", "--steps", "2", "--K", "1", "--out", out.string()});
  INFO(done.said);
  CHECK(done.status == 0);
  CHECK_THAT(done.said, contains_text("posterior step      4 passes a digit") &&
                            contains_text("inexact Newton      6 passes a digit"));
  const safetensors::file file(out);
  for (const char* name : {"truth", "posterior_step", "inexact_newton"})
    CHECK(file.at(name).shape == std::vector<std::int64_t>{1, 1, 32, 32});
}

TEST_CASE("where there is no device the example's program says so, and how to go on") {
  if (cuda::device_count() > 0) return;
  const scratch_folder folder;
  const auto done = run_program(folder, DIGITS_PROGRAM, {});
  CHECK(done.status == 1);
  CHECK_THAT(done.said, contains_text("NVIDIA GPU"));
}
