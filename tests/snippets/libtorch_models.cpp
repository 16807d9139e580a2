// Networks of libtorch, for docs/getting-started.md.

#include <pushforward/libtorch/denoiser.hpp>
#include <pushforward/pushforward.hpp>

#include <ATen/ATen.h>

#include <cstdio>

namespace pf = pushforward;

int main() {
  //! [denoiser]
  // Any callable from (x, time [N]) to the raw output. Here: clean samples from N(0, 1), in bfloat16.
  const pf::libtorch::differentiable_denoiser net(
      [](const at::Tensor& x, const at::Tensor& time) {
        const at::Tensor s = (time / 1000).reshape({-1, 1}).to(x.scalar_type()), a = 1 - s;
        return a / (a * a + s * s) * x;
      },
      {.prediction = pf::prediction_type::sample, .compute = at::kBFloat16});
  //! [denoiser]

  //! [run]
  const auto device = at::Device(at::kCPU); // or at::Device(at::kCUDA, 0)
  const at::Tensor y = at::full({2, 3}, 0.5, device), known = at::ones({2, 3}, device);
  const pf::rectified_flow path;
  const auto result = pf::sample(pf::standard_normal(y, {.seed = 1}), pf::model{net, path},
                                 pf::rectified_flow_euler(path), pf::masked<at::Tensor>(y, known),
                                 pf::update{pf::inexact_newton{}, pf::infinity_norm{.rate = {0.5, 0.02}}, 5});
  //! [run]
  const double worst = (result.x - y).abs().max().item<double>();
  std::printf("%.4f\n", worst);
  return worst < 0.1 ? 0 : 1;
}
