#include <pushforward/cuda/denoiser.hpp>
#include <pushforward/cuda/error.hpp>
#include <pushforward/cuda/kernels.hpp>

#include <string>
#include <utility>

namespace pushforward::cuda {

namespace {

template <class To, class From> array<To> converted(const array<From>& x) {
  array<To> y(x.on(), x.extents());
  kernels::convert(x.on(), x.extents().elements(), x.data(), y.writable());
  return y;
}

network_on_executor on_its_stream(network f) {
  if (!f) return {};
  return [f = std::move(f)](const float* x, double time, float* out, const shape& s, const executor& on) {
    f(x, time, out, s, on.stream());
  };
}

} // namespace

forward_denoiser::forward_denoiser(network f, const denoiser_options& options)
    : forward_denoiser(on_its_stream(std::move(f)), options) {}

forward_denoiser::forward_denoiser(network_on_executor f, const denoiser_options& options)
    : prediction{options.prediction}, network_{std::move(f)}, resolution_{options.resolution} {
  if (!network_) throw bad_option("cuda::forward_denoiser: no network was given");
  if (!(resolution_ > 0.0 && resolution_ < 1.0))
    throw bad_option("cuda::forward_denoiser: resolution is " + pushforward::detail::text_of(resolution_) +
                     ", but must lie in (0, 1): it is the machine epsilon of the network's type");
}

array<float> forward_denoiser::predict(const array<float>& x, double model_time) const {
  array<float> out(x.on(), x.extents());
  const current_device here(x.on());
  network_(x.data(), model_time, out.writable(), x.extents(), x.on());
  if (!x.on().is_host()) require(cudaGetLastError(), "the denoiser's network");
  return out;
}

array<double> forward_denoiser::predict(const array<double>& x, double model_time) const {
  return converted<double>(predict(converted<float>(x), model_time));
}

} // namespace pushforward::cuda
