// Completes handwritten digits of which the upper half is known, on a GPU without libtorch: with the
// posterior step and with inexact Newton.

#include "network.hpp"

#include <pushforward/cuda/tensor.hpp>
#include <pushforward/pushforward.hpp>
#include <pushforward/safetensors/file.hpp>

#include <CLI/CLI.hpp>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace {

using digits::batch;
using pushforward::cuda::executor;
using traits = pushforward::tensor_traits<batch>;

constexpr std::size_t side = 32;

struct options {
  std::filesystem::path weights = PUSHFORWARD_DIGITS_WEIGHTS;
  std::filesystem::path out;
  bool host = false;
  std::size_t samples = 4;
  std::size_t steps = 20;
  std::size_t iterations = 5;
  std::uint64_t seed = 1;
};

/// 1 in the upper half, 0 below it.
batch upper_half(const batch& like) {
  std::vector<double> mask(like.extents().elements());
  for (std::size_t i = 0; i < mask.size(); ++i) mask[i] = i / side % side < side / 2 ? 1.0 : 0.0;
  return traits::from_elements(like, like.extents(), mask);
}

/// The first digit of each batch, side by side, in characters: two rows of pixels a line.
void draw(const std::vector<batch>& batches) {
  const std::string shades = " .:-=+*#%@";
  std::vector<std::vector<float>> pixels;
  for (const auto& b : batches) pixels.push_back(b.to_host());
  for (std::size_t row = 0; row < side; row += 2) {
    std::string line;
    for (const auto& p : pixels) {
      for (std::size_t column = 0; column < side; ++column) {
        const float ink = (p[row * side + column] + p[(row + 1) * side + column]) / 4.0F + 0.5F;
        const float shade = std::round(ink * static_cast<float>(shades.size() - 1));
        line += shades[static_cast<std::size_t>(std::min(std::max(shade, 0.0F), 9.0F))];
      }
      line += "  ";
    }
    std::puts(line.c_str());
  }
}

void run(const options& o) {
  using namespace pushforward;
  const executor on = o.host ? executor::host() : executor::on_device();
  const digits::unet network(o.weights, on);
  const auto denoiser = digits::denoiser_of(network);
  const rectified_flow path;
  const auto sampler = rectified_flow_euler(path, {.steps = o.steps});
  const batch like(on, {o.samples, 1, side, side});
  const sample_options without_checks{.check = finite_check::off};

  // the truth: digits as the network draws them
  const batch truth =
      sample(standard_normal(like, {.seed = o.seed}), model{denoiser, path}, sampler,
             masked<batch>(traits::zeros(like), upper_half(like)), update{none{}}, without_checks)
          .x;
  const masked<batch> known(truth, upper_half(like));

  const auto steered = [&](const char* name, const auto& rule) {
    const auto before = on.done();
    const auto began = std::chrono::steady_clock::now();
    auto result = sample(standard_normal(like, {.seed = o.seed + 1}), model{denoiser, path}, sampler, known,
                         rule, without_checks);
    on.synchronise();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    double worst = 0.0;
    for (double d : traits::values(traits::max_abs(
             traits::multiply(traits::combine(1.0, result.x, -1.0, truth), upper_half(like)))))
      worst = std::max(worst, d);
    std::printf("%-16s %4zu passes a digit, %.3f s, %zu launches; off what is known by at most %.4f\n", name,
                result.passes.forward / o.samples, took.count(), on.done().launches - before.launches, worst);
    return std::move(result.x);
  };
  const batch posterior = steered("posterior step", posterior_step{});
  const batch newton = steered("inexact Newton", update{inexact_newton{}, infinity_norm{}, o.iterations});
  std::puts("\ntruth, posterior step, inexact Newton:");
  draw({truth, posterior, newton});

  if (o.out.empty()) return;
  std::vector<std::vector<float>> values;
  std::vector<safetensors::named_tensor> tensors;
  for (const auto* b : {&truth, &posterior, &newton}) values.push_back(b->to_host());
  const char* names[] = {"truth", "posterior_step", "inexact_newton"};
  for (std::size_t i = 0; i < values.size(); ++i)
    tensors.push_back({names[i],
                       {safetensors::dtype::f32,
                        {static_cast<std::int64_t>(o.samples), 1, side, side},
                        std::as_bytes(std::span(values[i]))}});
  safetensors::write(o.out, tensors);
}

} // namespace

int main(int argc, char** argv) {
  options o;
  CLI::App app("Completes handwritten digits of which the upper half is known, on a CUDA device");
  app.add_flag("--host", o.host, "on the host's executor in place of a device: slow, for trying it");
  app.add_option("--weights", o.weights, "the network: flow.safetensors of examples/mnist")
      ->capture_default_str();
  app.add_option("--samples", o.samples, "digits")->check(CLI::Range(1, 4096))->capture_default_str();
  app.add_option("--steps", o.steps, "time steps")->check(CLI::Range(1, 1000))->capture_default_str();
  app.add_option("--K", o.iterations, "inner iterations of inexact Newton a time step")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  app.add_option("--seed", o.seed, "of the noise")->capture_default_str();
  app.add_option("--out", o.out, "a .safetensors file for the digits");
  CLI11_PARSE(app, argc, argv);
  try {
    run(o);
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "pushforward_cuda_digits: %s\n", e.what());
    return 1;
  }
}
