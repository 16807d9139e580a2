// The weights that are shipped.

#include <support/catch.hpp>

#include <network.hpp>

#include <pushforward/safetensors/file.hpp>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <c10/core/GradMode.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <utility>

namespace {

double psnr(const at::Tensor& x, const at::Tensor& clean) {
  return -10.0 * std::log10((x.clamp(0.0, 1.0) - clean).square().mean().item<double>());
}

/// Dead leaves, [1, 3, side, side] in [0, 1]: discs of all sizes and colours, each over those before, lit
/// from one side. They have the edges, the flat places and the spectrum of photographs.
at::Tensor dead_leaves(std::int64_t side) {
  auto chance = at::make_generator<at::CPUGeneratorImpl>(5);
  constexpr std::int64_t count = 500;
  const at::Tensor u = at::rand({count, 8}, chance, at::kDouble);
  const at::Tensor place = at::arange(side, at::kDouble);
  at::Tensor image = at::full({3, side, side}, 0.5, at::kDouble);
  for (std::int64_t i = 0; i < count; ++i) {
    const auto v = [&](std::int64_t k) { return u[i][k].item<double>(); };
    const double radius = 5.0 / std::sqrt(1.0 - 0.98 * v(0)); // 5 to 35, by a density of radius^-3
    const at::Tensor y = place.view({side, 1}) - v(1) * static_cast<double>(side);
    const at::Tensor x = place.view({1, side}) - v(2) * static_cast<double>(side);
    const at::Tensor cover = at::sigmoid(3.0 * (radius - at::sqrt(y.square() + x.square())));
    const at::Tensor light = (0.6 * v(6) - 0.3) * (x + y) / (2.0 * radius);
    const at::Tensor colour = u[i].narrow(0, 3, 3).view({3, 1, 1}) * 0.3 + 0.6 * v(7) + 0.05;
    image = image + cover * (colour + light - image);
  }
  return image.clamp(0.0, 1.0).to(at::kFloat).unsqueeze(0);
}

/// A Gaussian blur, as if the image went on from its other end.
at::Tensor blurred(const at::Tensor& x, double width) {
  const at::Tensor f = at::fft_fftfreq(x.size(3), 1.0, at::TensorOptions(at::kFloat)).square();
  const double a = 2.0 * M_PI * M_PI * width * width;
  const at::Tensor transfer = at::exp(-a * (f.view({-1, 1}) + f.view({1, -1})));
  return at::real(at::fft_ifft2(at::fft_fft2(x) * transfer));
}

} // namespace

TEST_CASE("the shipped denoiser of photographs beats the best blur at every noise level") {
  const c10::NoGradGuard no_grad;
  const auto n = photographs::read_network(WEIGHTS_FOLDER "/denoiser.safetensors");
  const at::Tensor clean = dead_leaves(96);
  auto chance = at::make_generator<at::CPUGeneratorImpl>(6);
  for (const auto& [level, better] :
       {std::pair(5.0, 3.0), {25.0, 3.0}, {50.0, 2.0}, {100.0, 1.0}, {255.0, 0.5}}) {
    const double sigma = level / 255.0;
    const at::Tensor x = clean + sigma * at::randn(clean.sizes(), chance, at::kFloat);
    double blur = psnr(x, clean); // the best, chosen with the clean image in sight
    for (double width = 0.2; width < 20.0; width *= 1.2)
      blur = std::max(blur, psnr(blurred(x, width), clean));
    const double ours = psnr(n(x, at::full({1}, sigma)), clean);
    CAPTURE(level, blur, ours);
    CHECK(ours > blur + better);
  }
}

TEST_CASE("the shipped denoiser's file says how it was trained") {
  const pushforward::safetensors::file file(WEIGHTS_FOLDER "/denoiser.safetensors");
  const auto& facts = file.metadata();
  CHECK(nlohmann::json::parse(facts.at("training"))["step"] == 81646);
  CHECK(facts.at("photographs").rfind("106 photographs", 0) == 0);
}
