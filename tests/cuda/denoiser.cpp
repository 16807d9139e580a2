// Denoisers from functions on pointers.

#include <support/catch.hpp>
#include <support/cuda_device.hpp>
#include <support/random.hpp>

#include <pushforward/cuda/denoiser.hpp>
#include <pushforward/cuda/kernels.hpp>
#include <pushforward/cuda/tensor.hpp>

#include <cmath>
#include <vector>

using namespace pushforward;
using namespace pushforward::cuda;
using testing_support::contains_text;
using testing_support::random_numbers;
using testing_support::test_executor;

static_assert(denoiser<forward_denoiser, array<float>>);
static_assert(denoiser<forward_denoiser, array<double>>);

namespace {

/// time x, by a kernel.
void times_time(const float* x, double time, float* out, const shape& s, const executor& on) {
  kernels::scale(on, {s.samples(), s.sample_elements()}, {time}, x, out);
}

template <class Real> array<Real> made(const std::vector<double>& values) {
  const array<Real> like(test_executor(), {1});
  return tensor_traits<array<Real>>::from_elements(like, {2, values.size() / 2}, values);
}

} // namespace

TEST_CASE("a denoiser's network writes its output for x, time and shape", "[device]") {
  const forward_denoiser net(times_time, {.prediction = prediction_type::flow});
  const auto x = made<float>({1, 2, 3, 4});
  const auto o = net.predict(x, 3.0);
  CHECK(net.prediction == prediction_type::flow);
  CHECK(o.extents() == shape{2, 2});
  CHECK(o.to_host() == std::vector<float>{3, 6, 9, 12});
  CHECK(x.to_host() == std::vector<float>{1, 2, 3, 4});
}

TEST_CASE("a batch in float64 goes through float32", "[device]") {
  const forward_denoiser net(times_time);
  const auto values = random_numbers(6, 1);
  const auto o = net.predict(made<double>(values), 3.0).to_host();
  for (std::size_t i = 0; i < 6; ++i)
    CHECK(o[i] == static_cast<double>(3.0F * static_cast<float>(values[i])));
}

TEST_CASE("the resolution is float32's unless said otherwise, and must be one") {
  CHECK(forward_denoiser(times_time).resolution() == std::ldexp(1.0, -23));
  CHECK(forward_denoiser(times_time, {.resolution = std::ldexp(1.0, -10)}).resolution() ==
        std::ldexp(1.0, -10));
  for (double bad : {0.0, -1.0, 1.0, std::nan("")})
    CHECK_THROWS_AS(forward_denoiser(times_time, {.resolution = bad}), bad_option);
}

TEST_CASE("no network is refused when the denoiser is made") {
  CHECK_THROWS_WITH(forward_denoiser(network{}), contains_text("no network"));
  CHECK_THROWS_WITH(forward_denoiser(network_on_executor{}), contains_text("no network"));
}

TEST_CASE("a network that takes a stream is refused on the host's executor") {
  const forward_denoiser net([](const float*, double, float*, const shape&, cudaStream_t) {});
  const array<float> x(executor::host(), {1, 2});
  CHECK_THROWS_WITH(net.predict(x, 0.0), contains_text("executor::on_device()"));
}

TEST_CASE("a network gets the stream of its batch", "[device]") {
  if (test_executor().is_host()) return;
  cudaStream_t seen = nullptr;
  const forward_denoiser net([&](const float* x, double, float* out, const shape& s, cudaStream_t stream) {
    seen = stream;
    cudaMemcpyAsync(out, x, s.elements() * sizeof(float), cudaMemcpyDeviceToDevice, stream);
  });
  CHECK(net.predict(made<float>({1, 2, 3, 4}), 0.0).to_host() == std::vector<float>{1, 2, 3, 4});
  CHECK(seen == test_executor().stream());
}

TEST_CASE("a fault of CUDA's in a network is the denoiser's error", "[device]") {
  if (test_executor().is_host()) return;
  const forward_denoiser net(
      [](const float*, double, float*, const shape&, cudaStream_t) { cudaSetDevice(-1); });
  CHECK_THROWS_WITH(net.predict(made<float>({1, 2, 3, 4}), 0.0),
                    contains_text("the denoiser's network failed"));
  CHECK_NOTHROW(forward_denoiser(times_time).predict(made<float>({1, 2, 3, 4}), 0.0));
}
