#pragma once
/// \file
/// Photographs in the latents of a checkpoint as a domain of `policies::bench`: Stable Diffusion 1.x and 2.x,
/// flows, Stable Diffusion 3.

#include "in_latents.hpp"
#include "policies.hpp"

#include <model.hpp>
#include <pictures.hpp>

namespace policies {

/// Photographs [N, 3, H, W] in [-1, 1]. Masks are of latents, as `pushforward_inpaint` has them; what is
/// measured in pixels is pulled back by the decoder.
struct latents {
  const stable_diffusion::latent_model& model;
  examples::any_path path = model.path();
  std::vector<double> rates{1.0, 0.5, 0.2};
  double last_rate = 0.1;
  inline static const std::vector<std::string> task_names{"half", "box", "x4", "x4_noise", "blur_noise"};

  bool is_flow() const { return path.is_flow(); }

  /// `renoise` is DDIM's eta, or the share of the noise that a step of the flow draws anew.
  pf::path_sampler sampler(std::size_t steps, double renoise) const {
    if (is_flow()) return path.sampler({.steps = steps, .renoise = renoise});
    return path.sampler({.steps = steps, .eta = renoise});
  }
  std::vector<double> times(std::size_t steps) const {
    const auto grid = sampler(steps, 0.0);
    std::vector<double> all;
    for (std::size_t i = 0; i <= steps; ++i) all.push_back(grid.time(i));
    return all;
  }
  Tensor like(const samples& s) const {
    return model.latents(s.images.size(0), s.images.size(2), s.images.size(3));
  }

  template <class Wanted, class F>
  void each_task(const samples& s, std::uint64_t seed, const Wanted& wanted, F f) const {
    at::manual_seed(seed);
    const Tensor y = s.images.to(like(s).device());
    const Tensor noise = 0.05 * at::randn_like(s.images).to(y.device());
    const auto height = y.size(2), width = y.size(3), scale = model.scale();
    const auto masked = [&](const char* name, const auto& hide) {
      if (!wanted(name)) return;
      Tensor mask = at::ones_like(s.images.narrow(0, 0, 1).narrow(1, 0, 1));
      hide(mask);
      const Tensor known = stable_diffusion::latent_mask(mask, scale).to(y.device());
      const Tensor target = model.encode(y * mask.to(y.device()));
      f(name, pf::masked<Tensor>(target, known.expand_as(target).contiguous()), 0.0);
    };
    masked("half", [&](Tensor& m) { m.narrow(3, width / 2, width - width / 2).zero_(); });
    masked("box",
           [&](Tensor& m) { m.narrow(2, height / 4, height / 2).narrow(3, width / 4, width / 2).zero_(); });
    const auto measured = [&](const char* name, const auto& a, double level) {
      if (!wanted(name)) return;
      Tensor seen = a.apply(y);
      if (level > 0.0) seen = seen + noise.narrow(2, 0, seen.size(2)).narrow(3, 0, seen.size(3));
      f(name, in_latents(level > 0.0 ? pf::linear(a, seen, level) : pf::linear(a, seen), model.vae()), level);
    };
    measured("x4", pf::averaging(y, 4), 0.0);
    measured("x4_noise", pf::averaging(y, 4), 0.05);
    measured("blur_noise", pf::gaussian_blur(y, 2.0, 6), 0.05);
  }

  json scores(const Tensor& z, const samples& truth, const std::string&) const {
    const Tensor image = (model.decode(z) + 1.0) / 2.0, real = (truth.images + 1.0) / 2.0;
    return {{"psnr", psnr(image, real)}, {"ssim", ssim(image, real)}};
  }
  /// By which a setting is chosen, in dB.
  double merit(const json& scores) const { return mean(scores.at("psnr")); }
};

} // namespace policies
