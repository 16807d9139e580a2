// Networks of libtorch, for docs/getting-started.md.

#include <pushforward/libtorch/denoiser.hpp>
#include <pushforward/libtorch/torchscript.hpp>
#include <pushforward/pushforward.hpp>

#include <ATen/ATen.h>

#include <cstdio>

namespace pf = pushforward;

//! [torchscript]
// A network that Python's torch.jit.save wrote: predicts epsilon, computes in bfloat16 on the CPU.
auto from_file(const char* file) {
  return pf::libtorch::torchscript_denoiser<pf::libtorch::forward_denoiser>(
      file, {.prediction = pf::prediction_type::epsilon, .compute = at::kBFloat16, .device = at::kCPU});
}
//! [torchscript]

int main() {
  try {
    from_file("no-such-file.pt");
    return std::puts("a file that is not there was read"), 1;
  } catch (const pf::bad_file&) {
  }

  //! [denoiser]
  // Any callable from (x, time [N]) to the raw output. Here: clean samples from N(0, 1), in bfloat16.
  const pf::libtorch::differentiable_denoiser net(
      [](const at::Tensor& x, const at::Tensor& time) {
        const at::Tensor s = (time / 1000).reshape({-1, 1}).to(x.scalar_type()), a = 1 - s;
        return a / (a * a + s * s) * x;
      },
      {.prediction = pf::prediction_type::sample, .compute = at::kBFloat16});
  //! [denoiser]

  const pf::libtorch::network network = [&](const at::Tensor& x, const at::Tensor&) { return 0.5 * x; };
  //! [captured_passes]
  const pf::libtorch::forward_denoiser fast(network, {.device = at::kCPU, // or at::Device(at::kCUDA, 0)
                                                      .captured = pf::libtorch::capture_options{}});
  //! [captured_passes]
  if (!at::equal(fast.predict(at::ones({1, 2}), 1.0), at::full({1, 2}, 0.5)))
    return std::puts("a captured pass is another"), 1;

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
