#pragma once
/// \file
/// Denoisers and decoders from callables on `at::Tensor`.

#include <pushforward/concepts.hpp>
#include <pushforward/libtorch/captured.hpp>
#include <pushforward/libtorch/tensor.hpp>

#include <ATen/core/Tensor.h>

#include <functional>
#include <optional>
#include <utility>

namespace pushforward::libtorch {

/// A `network` that takes the time of the whole batch as a number.
using network_of_number = std::function<at::Tensor(const at::Tensor& x, double time)>;

struct denoiser_options {
  prediction_type prediction = prediction_type::epsilon;
  c10::ScalarType compute = c10::ScalarType::Float; ///< type the network is fed and computes in
  std::optional<c10::Device> device{};              ///< where the network lives; x's own device if absent
  /// Passes are `captured`, of a network that takes its time as a tensor.
  std::optional<capture_options> captured{};
};

/// A network that is only run forward: no gradient is ever recorded.
class forward_denoiser {
public:
  prediction_type prediction;

  /// \throws bad_option for no network, or a compute type other than float64, float32, bfloat16 and float16
  explicit forward_denoiser(network f, denoiser_options options = {});
  explicit forward_denoiser(network_of_number f, denoiser_options options = {});

  /// Output in x's type, on x's device.
  /// \throws error where the network returns no tensor; and what it throws
  at::Tensor predict(const at::Tensor& x, double model_time) const;
  /// Machine epsilon of the compute type, from which the core chooses a probe that rounding does not drown.
  double resolution() const;

protected:
  at::Tensor run(const at::Tensor& x, double model_time) const;

private:
  void check() const;

  network_of_number network_;
  denoiser_options options_;
};

/// A network that autograd can differentiate.
class differentiable_denoiser : public forward_denoiser {
public:
  using forward_denoiser::forward_denoiser;

  /// The output, and w -> J_o^T w by autograd. The graph lives until the first call, which may be the only
  /// one, or until the closure is destroyed. Parameters that want a gradient make the graph larger: turn that
  /// off with requires_grad_(false).
  /// \throws error where autograd did not record the network, and on a second call of the closure
  linearization<at::Tensor> linearize(const at::Tensor& x, double model_time) const;

  /// J_o v by forward-mode differentiation. Threads wait for each other here: libtorch has one level of it
  /// for all.
  /// \throws error where an operation of the network has no forward-mode derivative
  at::Tensor jvp(const at::Tensor& x, double model_time, const at::Tensor& v) const;
};

/// A map of tensors.
using map = std::function<at::Tensor(const at::Tensor&)>;

struct decoder_options {
  c10::ScalarType compute = c10::ScalarType::Float; ///< type both are fed and compute in
  std::optional<c10::Device> device = std::nullopt; ///< where both live; the latent's own device if absent
};

/// A decoder with its encoder, run forward only: enough for `encoder_difference`.
class forward_decoder {
public:
  /// \param decode latents -> images, called with latents in the compute type
  /// \param encode images -> means of the latents; may be absent where nothing encodes
  /// \throws bad_option for no decoder, or a compute type other than those of a denoiser
  explicit forward_decoder(map decode, map encode = {}, decoder_options options = {});

  at::Tensor decode(const at::Tensor& z) const;
  /// \throws error where there is no encoder
  at::Tensor encode(const at::Tensor& image) const;

protected:
  at::Tensor run(const map& f, const char* what, const at::Tensor& x) const;
  map decode_;

private:
  map encode_;
  decoder_options options_;
};

/// A decoder that autograd can differentiate.
class differentiable_decoder : public forward_decoder {
public:
  using forward_decoder::forward_decoder;

  /// The images, and w -> J_D^T w by autograd, as `differentiable_denoiser::linearize` does it.
  linearization<at::Tensor> linearize_decode(const at::Tensor& z) const;
};

} // namespace pushforward::libtorch
