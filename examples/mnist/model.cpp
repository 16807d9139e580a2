#include "model.hpp"

#include "weights.hpp"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

namespace mnist {

using pushforward::rectified_flow;
using pushforward::variance_preserving;

std::string to_string(model_kind kind) {
  switch (kind) {
  case model_kind::ddpm:
    return "ddpm";
  case model_kind::flow:
    return "flow";
  case model_kind::latent_ddpm:
    return "latent_ddpm";
  }
  return {};
}

examples::any_path path_of(model_kind kind) {
  if (kind == model_kind::flow) return {rectified_flow{}};
  return {variance_preserving::linear()};
}

namespace {

std::shared_ptr<unet> denoising_network(model_kind kind, const std::filesystem::path& folder,
                                        const c10::Device& device) {
  auto network = std::make_shared<unet>(kind == model_kind::latent_ddpm ? latent_unet() : pixel_unet());
  read_weights(folder / (to_string(kind) + ".safetensors"), network->weights());
  network->weights().move_to(device);
  return network;
}

} // namespace

digit_model::digit_model(model_kind kind, const std::filesystem::path& folder, const c10::Device& device)
    : kind_{kind}, network_{denoising_network(kind, folder, device)},
      denoiser_{[n = network_](const at::Tensor& x, const at::Tensor& time) { return (*n)(x, time); },
                {.prediction = kind == model_kind::flow ? pushforward::prediction_type::flow
                                                        : pushforward::prediction_type::epsilon,
                 .device = device}},
      path_{path_of(kind)} {
  if (!latent()) return;
  autoencoder_ = std::make_shared<vae>();
  read_weights(folder / "vae.safetensors", autoencoder_->weights());
  autoencoder_->weights().move_to(device);
  decoder_.emplace([v = autoencoder_](const at::Tensor& z) { return v->decode(z); },
                   [v = autoencoder_](const at::Tensor& image) { return v->encode(image); },
                   pushforward::libtorch::decoder_options{.device = device});
}

at::Tensor digit_model::zeros(std::int64_t n) const {
  return latent() ? at::zeros({n, 4, 8, 8}) : at::zeros({n, 1, 32, 32});
}

judge::judge(const std::filesystem::path& folder) {
  read_weights(folder / "judge.safetensors", network_.weights());
}

std::vector<int> judge::read(const at::Tensor& images) const {
  const c10::NoGradGuard no_grad;
  const at::Tensor best = at::argmax(network_(images), 1).contiguous();
  const auto* data = best.const_data_ptr<std::int64_t>();
  return {data, data + best.numel()};
}

at::Tensor judge::features(const at::Tensor& images) const {
  const c10::NoGradGuard no_grad;
  return network_.features(images);
}

} // namespace mnist
