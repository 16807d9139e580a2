#include "model.hpp"

#include "weights.hpp"

#include <pushforward/samplers/ddim.hpp>
#include <pushforward/samplers/rectified_flow_euler.hpp>

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

namespace {

std::variant<variance_preserving, rectified_flow> path_of(model_kind kind) {
  if (kind == model_kind::flow) return rectified_flow{};
  return variance_preserving::linear();
}

std::shared_ptr<unet> denoising_network(model_kind kind, const std::filesystem::path& folder) {
  auto network = std::make_shared<unet>(kind == model_kind::latent_ddpm ? latent_unet() : pixel_unet());
  read_weights(folder / (to_string(kind) + ".safetensors"), network->weights());
  return network;
}

} // namespace

either_path::either_path(model_kind kind) : path_{path_of(kind)} {}

pushforward::coefficients either_path::at(double t) const {
  return std::visit([&](const auto& p) { return p.at(t); }, path_);
}

double either_path::model_time(double t) const {
  return std::visit([&](const auto& p) { return p.model_time(t); }, path_);
}

double either_path::time_at(double fraction) const {
  return std::visit([&](const auto& p) { return p.time_at(fraction); }, path_);
}

pushforward::path_sampler either_path::sampler(const sampling& o) const {
  if (const auto* p = std::get_if<variance_preserving>(&path_)) {
    if (o.renoise != 0.0)
      throw pushforward::bad_option("renoise is an option of the flow model; the DDPM models have eta");
    return pushforward::ddim(
        *p,
        {o.steps, o.eta,
         o.one_step_beta ? pushforward::ddim_noise::one_step_beta : pushforward::ddim_noise::eta, o.start});
  }
  if (o.eta != 0.0 || o.one_step_beta)
    throw pushforward::bad_option("eta and one-step-beta are options of the DDPM models; flow has renoise");
  return pushforward::rectified_flow_euler(std::get<rectified_flow>(path_), {o.steps, o.renoise, o.start});
}

digit_model::digit_model(model_kind kind, const std::filesystem::path& folder)
    : kind_{kind}, network_{denoising_network(kind, folder)},
      denoiser_{[n = network_](const at::Tensor& x, const at::Tensor& time) { return (*n)(x, time); },
                {kind == model_kind::flow ? pushforward::prediction_type::flow
                                          : pushforward::prediction_type::epsilon}},
      path_{kind} {
  if (!latent()) return;
  autoencoder_ = std::make_shared<vae>();
  read_weights(folder / "vae.safetensors", autoencoder_->weights());
  decoder_.emplace([v = autoencoder_](const at::Tensor& z) { return v->decode(z); },
                   [v = autoencoder_](const at::Tensor& image) { return v->encode(image); });
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
