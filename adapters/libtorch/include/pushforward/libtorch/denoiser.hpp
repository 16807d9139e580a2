#pragma once
/// \file
/// Denoisers and decoders from callables on `at::Tensor`.

#include <pushforward/concepts.hpp>
#include <pushforward/libtorch/tensor.hpp>

#include <ATen/core/Tensor.h>

#include <functional>
#include <optional>
#include <utility>

namespace pushforward::libtorch {

/// A network: (x, time [N]) -> raw output of x's shape. Called with x in the compute type.
using network = std::function<at::Tensor(const at::Tensor& x, const at::Tensor& time)>;

struct denoiser_options {
  prediction_type prediction = prediction_type::epsilon;
  c10::ScalarType compute = c10::ScalarType::Float; ///< type the network is fed and computes in
  std::optional<c10::Device> device{};              ///< where the network lives; x's own device if absent
};

/// A network that is only run forward: no gradient is ever recorded.
class forward_denoiser {
public:
  prediction_type prediction;

  /// \throws bad_option for no network, or a compute type other than float64, float32, bfloat16 and float16
  explicit forward_denoiser(network f, denoiser_options options = {});

  /// Output in x's type, on x's device.
  at::Tensor predict(const at::Tensor& x, double model_time) const;
  /// Machine epsilon of the compute type.
  double resolution() const;

protected:
  at::Tensor run(const at::Tensor& x, double model_time) const;

private:
  network network_;
  denoiser_options options_;
};

/// A network that autograd can differentiate.
class differentiable_denoiser : public forward_denoiser {
public:
  using forward_denoiser::forward_denoiser;

  /// The output, and w -> J_o^T w by autograd. The graph lives until the first call or until the closure is
  /// destroyed.
  linearization<at::Tensor> linearize(const at::Tensor& x, double model_time) const;

  /// J_o v by forward-mode differentiation.
  /// \throws error where an operation of the network has no forward-mode derivative
  at::Tensor jvp(const at::Tensor& x, double model_time, const at::Tensor& v) const;
};

/// A map of tensors.
using map = std::function<at::Tensor(const at::Tensor&)>;

/// A decoder with its encoder, run forward only: enough for `encoder_difference`.
class forward_decoder {
public:
  /// \param decode latents -> images, \param encode images -> means of the latents
  forward_decoder(map decode, map encode) : decode_{std::move(decode)}, encode_{std::move(encode)} {}

  at::Tensor decode(const at::Tensor& z) const;
  at::Tensor encode(const at::Tensor& image) const;

protected:
  map decode_;
  map encode_;
};

/// A decoder that autograd can differentiate.
class differentiable_decoder : public forward_decoder {
public:
  using forward_decoder::forward_decoder;

  /// The images, and w -> J_D^T w. The graph lives until the first call or until the closure is destroyed.
  linearization<at::Tensor> linearize_decode(const at::Tensor& z) const;
};

} // namespace pushforward::libtorch
