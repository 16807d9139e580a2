#pragma once
/// \file
/// The trained networks as the library sees them: a denoiser, its path, and a decoder for latents.

#include "networks.hpp"

#include <common/any_path.hpp>

#include <pushforward/libtorch/denoiser.hpp>

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace mnist {

enum class model_kind {
  ddpm,       ///< pixels, epsilon prediction on the variance preserving path
  flow,       ///< pixels, flow prediction on the rectified path
  latent_ddpm ///< latents of the VAE, epsilon prediction on the variance preserving path
};

std::string to_string(model_kind kind);

/// What the networks were trained on: linear betas, or the rectified flow.
examples::any_path path_of(model_kind kind);

/// One trained model. Read-only once made; refers to nothing.
class digit_model {
public:
  /// Reads the weights from `folder`: ddpm, flow, or latent_ddpm and vae .safetensors.
  /// \param device where the networks run, wherever samples are
  /// \throws pushforward::bad_file
  digit_model(model_kind kind, const std::filesystem::path& folder,
              const c10::Device& device = c10::Device(c10::kCPU));

  model_kind kind() const { return kind_; }
  const pushforward::libtorch::differentiable_denoiser& denoiser() const { return denoiser_; }
  const examples::any_path& path() const { return path_; }
  bool latent() const { return kind_ == model_kind::latent_ddpm; }
  /// Only where `latent()`.
  const pushforward::libtorch::differentiable_decoder& decoder() const { return *decoder_; }
  /// Zeros of the shape of a batch of n samples.
  at::Tensor zeros(std::int64_t n) const;
  std::int64_t parameters() const { return network_->weights().count(); }

private:
  model_kind kind_;
  std::shared_ptr<unet> network_;
  std::shared_ptr<vae> autoencoder_;
  pushforward::libtorch::differentiable_denoiser denoiser_;
  examples::any_path path_;
  std::optional<pushforward::libtorch::differentiable_decoder> decoder_;
};

/// Reads digits, only to judge.
class judge {
public:
  /// Reads judge.safetensors from the folder. \throws pushforward::bad_file
  explicit judge(const std::filesystem::path& folder);
  /// The digit that each image shows, 0 to 9.
  std::vector<int> read(const at::Tensor& images) const;
  /// What it sees in each image, [N, 96].
  at::Tensor features(const at::Tensor& images) const;

private:
  classifier network_;
};

} // namespace mnist
