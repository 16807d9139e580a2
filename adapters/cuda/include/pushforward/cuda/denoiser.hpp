#pragma once
/// \file
/// Denoisers from functions on device pointers and a stream: an engine's, or kernels of one's own.

#include <pushforward/concepts.hpp>
#include <pushforward/cuda/array.hpp>

#include <cuda_runtime_api.h>

#include <functional>
#include <limits>

namespace pushforward::cuda {

/// A network: writes its raw output for x, of x's shape, to `out`. Both are row-major float32 on the device;
/// what it does must be on the stream, or be waited for by it. It must leave x as it is.
using network =
    std::function<void(const float* x, double time, float* out, const shape& s, cudaStream_t stream)>;
/// The same for a network that also runs on the host's executor.
using network_on_executor =
    std::function<void(const float* x, double time, float* out, const shape& s, const executor& on)>;

struct denoiser_options {
  prediction_type prediction = prediction_type::epsilon;
  /// Machine epsilon of the type that the network computes in: 2^-10 for float16 and TF32, 2^-7 for bfloat16.
  double resolution = static_cast<double>(std::numeric_limits<float>::epsilon());
};

/// A network that is run forward.
class forward_denoiser {
public:
  prediction_type prediction;

  /// \throws bad_option for no network, or a resolution that is not in (0, 1)
  explicit forward_denoiser(network f, const denoiser_options& options = {});
  explicit forward_denoiser(network_on_executor f, const denoiser_options& options = {});

  /// \throws what the network throws; cuda_error where it left a fault of CUDA's; error on the host's
  /// executor where the network takes a stream
  array<float> predict(const array<float>& x, double model_time) const;
  /// By way of float32.
  array<double> predict(const array<double>& x, double model_time) const;
  /// From it the core chooses a probe that rounding does not drown.
  double resolution() const noexcept { return resolution_; }

private:
  network_on_executor network_;
  double resolution_;
};

} // namespace pushforward::cuda
