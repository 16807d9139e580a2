// Full-size models against diffusers', and the memory that loading them takes; no test of ctest's, as it
// needs 18 GB of disk:
//   PYTHONPATH=tests/support python3 tests/models/full_size.py FOLDER
//   for model in sd15_unet sd21_unet vae sd35_medium; do models_diffusion_full FOLDER/$model; done
// One model a run, so that none is loaded into memory that another has left. Exits with 1 where an output
// differs by more than 1e-4 (relative L2), or loading took more than 1.2 times the weights.
#include <pushforward/libtorch/models/autoencoder_kl.hpp>
#include <pushforward/libtorch/models/sd3_transformer.hpp>
#include <pushforward/libtorch/models/unet.hpp>

#include <support/oracle.hpp>
#include <support/resident_memory.hpp>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include <chrono>
#include <filesystem>
#include <iostream>
#include <optional>
#include <string>
#include <utility>

using namespace pushforward;
using namespace pushforward::libtorch;
namespace fs = std::filesystem;

namespace {

struct comparison {
  bool good = true;

  void same(const std::string& what, const at::Tensor& got, const at::Tensor& wanted) {
    const double difference = testing_support::relative_l2(got, wanted);
    std::cout << "  " << what << ": relative L2 difference " << difference << '\n';
    good = good && difference <= 1e-4;
  }
};

/// Loads a network, with the peak of memory that it took.
template <class Load> auto loaded(comparison& v, const fs::path& file, Load load) {
  // libtorch's own pages come in with its first operators; they are not the weights'
  const at::Tensor any = at::ones({64, 64, 3, 3}).contiguous(at::MemoryFormat::ChannelsLast);
  if (!at::isfinite(any).all().item<bool>()) throw error("1 is not finite");
  std::optional<decltype(load())> net;
  const double ratio =
      testing_support::peak_during([&] { net.emplace(load()); }) / static_cast<double>(fs::file_size(file));
  std::cout << "  peak memory of loading: " << ratio << " times the file" << std::endl;
  v.good = v.good && ratio <= 1.2;
  return *std::move(net);
}

template <class F> at::Tensor timed(const char* what, F f) {
  const auto start = std::chrono::steady_clock::now();
  const at::Tensor y = f();
  std::cout << "  " << what << ": "
            << std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() << " s with "
            << at::get_num_threads() << " threads\n";
  return y;
}

} // namespace

int main(int argc, char** argv) try {
  if (argc != 2) throw bad_option("usage: models_diffusion_full FOLDER/MODEL");
  const c10::NoGradGuard no_grad;
  const fs::path path = argv[1], file = path / "diffusion_pytorch_model.safetensors";
  std::cout << path.filename().string() << '\n';
  const safetensors::file expected(path / "io.safetensors");
  const auto tensor = [&](const char* key) { return read_tensor(expected, key); };
  comparison c;
  if (expected.tensors().count("image")) {
    const auto vae = loaded(c, file, [&] {
      return models::autoencoder_kl(models::autoencoder_kl_config::read(path / "config.json"), {{file}, {}});
    });
    c.same("encoder", timed("encoder", [&] { return vae.encode(tensor("image")); }), tensor("latent"));
    c.same("decoder", timed("decoder", [&] { return vae.decode(tensor("z")); }), tensor("pixels"));
  } else if (expected.tensors().count("pooled")) {
    const auto net = loaded(c, file, [&] {
      return models::sd3_transformer(models::sd3_transformer_config::read(path / "config.json"),
                                     {{file}, {}});
    });
    const at::Tensor x = tensor("x"), time = tensor("time");
    const auto of = [&](const char* states) {
      return models::conditioned(net, {tensor(states), tensor("pooled")});
    };
    const auto pass = [&] { return of("states")(x, time); };
    c.same("output", timed("first pass", pass), tensor("y"));
    timed("second pass, its weights laid out", pass);
    c.same("output without T5", timed("pass without T5", [&] { return of("states_without_t5")(x, time); }),
           tensor("y_without_t5"));
  } else {
    const auto net = loaded(c, file, [&] {
      return models::unet(models::unet_config::read(path / "config.json"), {{file}, {}});
    });
    const at::Tensor x = tensor("x"), time = tensor("time"), context = tensor("context");
    c.same("output", timed("forward pass", [&] { return net(x, time, context); }), tensor("y"));
  }
  return c.good ? 0 : 1;
} catch (const std::exception& e) {
  std::cerr << "models_diffusion_full: " << e.what() << '\n';
  return 2;
}
