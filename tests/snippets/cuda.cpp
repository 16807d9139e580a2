// pushforward::cuda with an engine of one's own, for docs/cuda.md. Without a device it runs on the host's
// executor.

#include <pushforward/cuda/denoiser.hpp>
#include <pushforward/cuda/error.hpp>
#include <pushforward/cuda/kernels.hpp>
#include <pushforward/cuda/tensor.hpp>
#include <pushforward/pushforward.hpp>

#include <cmath>
#include <cstdio>
#include <vector>

namespace pf = pushforward;

namespace {

/// Stands for an engine: samples of N(0, 1), whose clean estimate is a x / (a^2 + s^2).
struct engine {
  void run(const float* x, double time, float* out, std::size_t samples, std::size_t elements,
           cudaStream_t stream) const {
    run_on(pf::cuda::executor::on_stream(stream), x, time, out, samples, elements);
  }
  void run_on(const pf::cuda::executor& on, const float* x, double time, float* out, std::size_t samples,
              std::size_t elements) const {
    const double s = time / 1000, a = 1 - s;
    pf::cuda::kernels::scale(on, {samples, elements}, {a / (a * a + s * s)}, x, out);
  }
};

using result_type = pf::sample_result<pf::cuda::array<float>>;

result_type on_device(const engine& my_engine, const std::vector<float>& measured,
                      const std::vector<float>& mask) {
  //! [engine]
  using tensor = pf::cuda::array<float>;
  const auto on = pf::cuda::executor::on_device(); // or on_stream(your stream)

  const pf::cuda::forward_denoiser net(
      [&](const float* x, double time, float* out, const pf::shape& s, cudaStream_t stream) {
        my_engine.run(x, time, out, s.samples(), s.sample_elements(), stream); // device pointers, row-major
      },
      {.prediction = pf::prediction_type::sample});

  const tensor y(on, {2, 3}, measured), known(on, {2, 3}, mask); // from the host
  const pf::rectified_flow path;
  auto result =
      pf::sample(pf::standard_normal(y, {.seed = 1}), pf::model{net, path}, pf::rectified_flow_euler(path),
                 pf::masked<tensor>(y, known), pf::posterior_step{}, {.check = pf::finite_check::off});
  const float* on_the_device = result.x.data();       // for what comes next on the stream
  const std::vector<float> here = result.x.to_host(); // waits for it
  //! [engine]
  std::printf("%p holds %zu numbers\n", static_cast<const void*>(on_the_device), here.size());
  return result;
}

result_type on_host(const engine& my_engine, const std::vector<float>& measured,
                    const std::vector<float>& mask) {
  //! [host]
  using tensor = pf::cuda::array<float>;
  const auto on = pf::cuda::executor::host();
  const pf::cuda::forward_denoiser net(
      [&](const float* x, double time, float* out, const pf::shape& s, const pf::cuda::executor& at) {
        my_engine.run_on(at, x, time, out, s.samples(), s.sample_elements());
      },
      {.prediction = pf::prediction_type::sample});
  //! [host]
  const tensor y(on, {2, 3}, measured), known(on, {2, 3}, mask);
  const pf::rectified_flow path;
  return pf::sample(pf::standard_normal(y, {.seed = 1}), pf::model{net, path}, pf::rectified_flow_euler(path),
                    pf::masked<tensor>(y, known), pf::posterior_step{}, {.check = pf::finite_check::off});
}

} // namespace

int main() {
  const engine my_engine;
  const std::vector<float> measured{1, 1, 0, -1, -1, 0}, mask{1, 1, 0, 1, 1, 0};
  const auto result = pf::cuda::device_count() > 0 ? on_device(my_engine, measured, mask)
                                                   : on_host(my_engine, measured, mask);
  const auto x = result.x.to_host();
  for (std::size_t i : {0U, 1U, 3U, 4U})
    if (!(std::abs(x[i] - measured[i]) < 0.01F)) return std::puts("off the target"), 1;
  return result.passes.forward == 80 ? 0 : 1;
}
