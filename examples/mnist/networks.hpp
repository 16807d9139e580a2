#pragma once
/// \file
/// The small networks of the MNIST example. Each is a bag of named tensors and a function of them, so that
/// loading, training, averaging and writing all see the same list.

#include <common/parameters.hpp>

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace mnist {

using examples::parameters;

/// A UNet with three levels (pixels, after a space-to-depth by 2) or two (latents). Time enters each residual
/// block as a scale and a shift.
struct unet_config {
  std::int64_t channels = 1;        ///< of the sample
  std::int64_t patch = 2;           ///< space-to-depth
  std::vector<std::int64_t> widths; ///< of the levels, finest first
  std::int64_t time_width = 128;
};

unet_config pixel_unet();
unet_config latent_unet();

class unet {
public:
  /// Randomly initialised from torch's generator.
  explicit unet(unet_config config);

  /// x [N, C, H, W], time [N] -> output of x's shape.
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& time) const;

  parameters& weights() { return weights_; }
  const parameters& weights() const { return weights_; }

private:
  at::Tensor block(const std::string& name, const at::Tensor& x, const at::Tensor& time) const;
  at::Tensor attention(const std::string& name, const at::Tensor& x) const;

  unet_config config_;
  parameters weights_;
};

/// Autoencoder of 1 x 32 x 32 digits to 4 x 8 x 8 latents.
class vae {
public:
  vae();
  /// Mean and log-variance of the latent, before scaling.
  std::pair<at::Tensor, at::Tensor> moments(const at::Tensor& image) const;
  /// (mean - shift) * scale: the latents that the latent network sees.
  at::Tensor encode(const at::Tensor& image) const;
  at::Tensor decode(const at::Tensor& latent) const;
  at::Tensor decode_unscaled(const at::Tensor& latent) const;

  parameters& weights() { return weights_; }
  const parameters& weights() const { return weights_; }

private:
  at::Tensor block(const std::string& name, const at::Tensor& x) const;
  parameters weights_;
};

/// Tells digits; only to judge. 1 x 32 x 32 -> 10 logits.
class classifier {
public:
  classifier();
  /// dropout > 0 only while training.
  at::Tensor operator()(const at::Tensor& image, double dropout = 0.0) const;
  /// [N, 96], of which the logits are a linear function.
  at::Tensor features(const at::Tensor& image) const;

  parameters& weights() { return weights_; }
  const parameters& weights() const { return weights_; }

private:
  parameters weights_;
};

} // namespace mnist
