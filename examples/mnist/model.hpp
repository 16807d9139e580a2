#pragma once
/// \file
/// The trained networks as the library sees them: a denoiser, its path, and a decoder for latents.

#include "networks.hpp"

#include <pushforward/libtorch/denoiser.hpp>
#include <pushforward/paths/rectified_flow.hpp>
#include <pushforward/paths/variance_preserving.hpp>
#include <pushforward/samplers/path_sampler.hpp>

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace mnist {

enum class model_kind {
  ddpm,       ///< pixels, epsilon prediction on the variance preserving path
  flow,       ///< pixels, flow prediction on the rectified path
  latent_ddpm ///< latents of the VAE, epsilon prediction on the variance preserving path
};

std::string to_string(model_kind kind);

/// Either of the two paths, chosen at run time.
class either_path {
public:
  explicit either_path(model_kind kind);

  pushforward::coefficients at(double t) const;
  double model_time(double t) const;
  double time_at(double fraction) const;

  /// The grid of a run, from noise or from the middle, and how much new noise its steps add.
  struct sampling {
    std::size_t steps = 20;
    double eta = 0.0;           ///< DDIM; 0 is deterministic
    bool one_step_beta = false; ///< DDIM with the reference's noise
    double renoise = 0.0;       ///< rectified flow; 0 is Euler's step
    double start = 1.0;
  };
  /// DDIM or Euler. \throws pushforward::bad_option for an option of the other path
  pushforward::path_sampler sampler(const sampling& options) const;

private:
  std::variant<pushforward::variance_preserving, pushforward::rectified_flow> path_;
};

/// One trained model. Read-only once made; refers to nothing.
class digit_model {
public:
  /// Reads the weights from `folder`: ddpm, flow, or latent_ddpm and vae .safetensors.
  /// \throws pushforward::bad_file
  digit_model(model_kind kind, const std::filesystem::path& folder);

  model_kind kind() const { return kind_; }
  const pushforward::libtorch::differentiable_denoiser& denoiser() const { return denoiser_; }
  const either_path& path() const { return path_; }
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
  either_path path_;
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
