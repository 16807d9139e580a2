// The networks' shapes, and their weights from and to files.

#include <support/catch.hpp>
#include <support/scratch_folder.hpp>

#include <networks.hpp>
#include <weights.hpp>

#include <pushforward/error.hpp>
#include <pushforward/libtorch/safetensors.hpp>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

using namespace mnist;
using namespace testing_support;
using pushforward::bad_file;

namespace {

/// The tensors of a network, to be changed and written.
auto list_of(const parameters& weights) {
  std::vector<std::pair<std::string, at::Tensor>> list;
  for (const auto& [name, value] : weights.all()) list.emplace_back(name, value.clone());
  return list;
}

const auto says = contains_text;

} // namespace

TEST_CASE("the networks keep the shapes they are documented with") {
  const c10::NoGradGuard no_grad;
  at::manual_seed(1);
  const at::Tensor time = at::tensor({1.0, 500.0, 1000.0}, at::kFloat);
  CHECK(unet(pixel_unet())(at::randn({3, 1, 32, 32}), time).sizes() == at::IntArrayRef{3, 1, 32, 32});
  CHECK(unet(latent_unet())(at::randn({3, 4, 8, 8}), time).sizes() == at::IntArrayRef{3, 4, 8, 8});
  const vae coder;
  CHECK(coder.encode(at::randn({3, 1, 32, 32})).sizes() == at::IntArrayRef{3, 4, 8, 8});
  CHECK(coder.decode(at::randn({3, 4, 8, 8})).sizes() == at::IntArrayRef{3, 1, 32, 32});
  CHECK(classifier()(at::randn({3, 1, 32, 32})).sizes() == at::IntArrayRef{3, 10});
}

TEST_CASE("a network does for a batch what it does for each of its samples") {
  const c10::NoGradGuard no_grad;
  at::manual_seed(2);
  unet network(pixel_unet());
  for (auto& [name, value] : network.weights().all()) value.add_(at::randn_like(value), 0.02);
  const at::Tensor x = at::randn({3, 1, 32, 32}), time = at::tensor({1.0, 500.0, 1000.0}, at::kFloat);
  const at::Tensor batch = network(x, time);
  for (std::int64_t i = 0; i < 3; ++i)
    CHECK(at::allclose(network(x.slice(0, i, i + 1), time.slice(0, i, i + 1)), batch.slice(0, i, i + 1), 1e-4,
                       1e-5));
  CHECK_FALSE(at::allclose(network(x, time.flip(0)), batch, 1e-3, 1e-3)); // time matters
}

TEST_CASE("the latents of the VAE are its means, shifted and scaled") {
  const c10::NoGradGuard no_grad;
  vae coder;
  for (auto& [name, value] : coder.weights().all()) {
    if (name == "latent.shift") value.fill_(0.25);
    if (name == "latent.scale") value.fill_(3.0);
  }
  const at::Tensor x = at::randn({2, 1, 32, 32}), mean = coder.moments(x).first;
  CHECK(at::allclose(coder.encode(x), (mean - 0.25) * 3.0));
  CHECK(at::allclose(coder.decode(coder.encode(x)), coder.decode_unscaled(mean), 1e-4, 1e-5));
}

TEST_CASE("weights come back, as they are or rounded to float16") {
  const c10::NoGradGuard no_grad;
  const scratch_folder folder;
  const bool half = GENERATE(true, false);
  const classifier written;
  write_text(folder / "new/w.safetensors", serialize_weights(written.weights(), {{"task", "judge"}}, half));
  classifier read;
  read_weights(folder / "new/w.safetensors", read.weights());
  for (const auto& [name, value] : written.weights().all()) {
    const auto expected = half ? value.to(at::kHalf).to(at::kFloat) : value;
    CHECK(read.weights()[name].equal(expected));
  }
  CHECK(pushforward::safetensors::file(folder / "new/w.safetensors").metadata().at("task") == "judge");
}

TEST_CASE("weights that do not fit the network are refused, naming file and tensor") {
  const c10::NoGradGuard no_grad;
  const scratch_folder folder;
  const auto path = folder / "w.safetensors";
  const classifier network;
  const auto read = [&] {
    classifier other;
    read_weights(path, other.weights());
  };
  const auto write = [&](const auto& list) { pushforward::libtorch::write_tensors(path, list); };
  auto list = list_of(network.weights());
  write(list);
  CHECK_NOTHROW(read());

  list[3].first = "conv2.offset";
  write(list);
  CHECK_THROWS_WITH(read(), says("w.safetensors") && says(network.weights().all()[3].first));

  list = list_of(network.weights());
  list[0].second = list[0].second.transpose(2, 3).reshape({32, 9, 1, 1});
  write(list);
  CHECK_THROWS_WITH(read(), says(list[0].first) && says("[32, 9, 1, 1]") && says("[32, 1, 3, 3]"));

  list = list_of(network.weights());
  list[0].second = list[0].second.to(at::kLong);
  write(list);
  CHECK_THROWS_WITH(read(), says(list[0].first));

  list = list_of(network.weights());
  list[0].second.view({-1})[7] = std::numeric_limits<float>::quiet_NaN();
  write(list);
  CHECK_THROWS_WITH(read(), says(list[0].first) && says("not finite"));

  list = list_of(network.weights());
  list.pop_back();
  write(list);
  CHECK_THROWS_WITH(read(), says("tensors, but the network has"));

  write(list_of(vae().weights()));
  CHECK_THROWS_WITH(read(), says("belongs to another network"));
  CHECK_THROWS_AS(read_weights(folder / "none", classifier().weights()), bad_file);
}
