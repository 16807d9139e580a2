#pragma once
/// \file
/// The digits of the MNIST example as a domain of `policies::bench`: in pixels, on either path, or in
/// latents.

#include "distances.hpp"
#include "in_latents.hpp"
#include "policies.hpp"

#include <model.hpp>

namespace policies {

/// Digits [N, 1, 32, 32] in [-1, 1] with their labels.
struct digits {
  const mnist::digit_model& model;
  const mnist::judge& judge;
  examples::any_path path = model.path();
  std::vector<double> rates{2.0, 1.0, 0.5, 0.2};
  double last_rate = 0.02;
  inline static const std::vector<std::string> task_names{"upper", "left", "box",        "random10",
                                                          "x2",    "x4",   "blur_noise", "x4_noise"};

  bool is_flow() const { return model.kind() == mnist::model_kind::flow; }

  /// `renoise` is DDIM's eta, or the share of the noise that a step of the flow draws anew.
  pf::path_sampler sampler(std::size_t steps, double renoise) const {
    if (is_flow()) return path.sampler({.steps = steps, .renoise = renoise});
    return path.sampler({.steps = steps, .eta = renoise});
  }
  std::vector<double> times(std::size_t steps) const { return pf::time_grid(path, {steps}); }
  Tensor like(const samples& s) const { return model.zeros(s.images.size(0)); }

  template <class Wanted, class F>
  void each_task(const samples& s, std::uint64_t seed, const Wanted& wanted, F f) const {
    at::manual_seed(seed);
    const Tensor& y = s.images;
    const auto n = y.size(2);
    const Tensor noise = 0.05 * at::randn_like(y);
    const Tensor share = (at::rand_like(y) < 0.1).to(at::kFloat);
    const auto known = [&](auto hide) {
      Tensor mask = at::ones_like(y);
      hide(mask);
      return mask;
    };
    const auto ask = [&](const char* name, const auto& make, double level) {
      if (!wanted(name)) return;
      if (model.latent())
        f(name, in_latents(make(), model.decoder()), level);
      else
        f(name, make(), level);
    };
    const auto masked = [&](const char* name, const Tensor& mask) {
      ask(
          name, [&] { return pf::masked<Tensor>(y, mask); }, 0.0);
    };
    masked("upper", known([&](Tensor& m) { m.narrow(2, n / 2, n / 2).zero_(); }));
    masked("left", known([&](Tensor& m) { m.narrow(3, n / 2, n / 2).zero_(); }));
    masked("box", known([&](Tensor& m) { m.narrow(2, n / 4, n / 2).narrow(3, n / 4, n / 2).zero_(); }));
    masked("random10", share);
    const auto measured = [&](const char* name, const auto& a, double level) {
      const Tensor clean = a.apply(y);
      const Tensor seen =
          level > 0.0 ? clean + noise.narrow(2, 0, clean.size(2)).narrow(3, 0, clean.size(3)) : clean;
      ask(
          name, [&] { return level > 0.0 ? pf::linear(a, seen, level) : pf::linear(a, seen); }, level);
    };
    measured("x2", pf::averaging(y, 2), 0.0);
    measured("x4", pf::averaging(y, 4), 0.0);
    measured("blur_noise", pf::gaussian_blur(y, 2.0, 6), 0.05);
    measured("x4_noise", pf::averaging(y, 4), 0.05);
  }

  Tensor image(const Tensor& x) const {
    return (model.latent() ? model.decoder().decode(x) : x).clamp(-1.0, 1.0);
  }
  /// In the judge's features.
  std::vector<double> distance(const Tensor& a, const Tensor& b) const {
    const Tensor d = (judge.features(image(a)) - judge.features(image(b))).to(at::kDouble);
    const Tensor norms = d.square().sum(1).sqrt().contiguous();
    return {norms.const_data_ptr<double>(), norms.const_data_ptr<double>() + norms.numel()};
  }

  json scores(const Tensor& x, const samples& truth, const std::string&) const {
    const Tensor image = this->image(x);
    const auto read = judge.read(image);
    std::vector<int> kept;
    for (std::size_t i = 0; i < read.size(); ++i) kept.push_back(read[i] == truth.labels[i] ? 1 : 0);
    const Tensor seen = judge.features(image), real = judge.features(truth.images);
    return {{"psnr", psnr((image + 1.0) / 2.0, (truth.images + 1.0) / 2.0)},
            {"kept", kept},
            {"frechet", frechet_distance(seen, real)},
            {"energy", energy_distance(seen, real)}};
  }
  /// Labels kept in per cent and PSNR in dB, added up: the first alone is too coarse to choose by.
  double merit(const json& scores) const { return 100.0 * mean(scores.at("kept")) + mean(scores.at("psnr")); }
};

} // namespace policies
