#include "samples.hpp"

#include "data.hpp"

#include <common/console.hpp>

#include <pushforward/constraints/masked.hpp>
#include <pushforward/libtorch/denoiser.hpp>
#include <pushforward/paths/rectified_flow.hpp>
#include <pushforward/paths/variance_preserving.hpp>
#include <pushforward/sample.hpp>
#include <pushforward/samplers/ddim.hpp>
#include <pushforward/samplers/rectified_flow_euler.hpp>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <vector>

namespace mnist {

at::Tensor plain_samples(const unet& network, pushforward::prediction_type prediction, std::int64_t count,
                         std::int64_t channels, std::int64_t side, std::size_t steps, std::uint64_t seed) {
  namespace pf = pushforward;
  const c10::NoGradGuard no_grad;
  const pf::libtorch::forward_denoiser denoiser(
      [&](const at::Tensor& x, const at::Tensor& time) { return network(x, time); },
      {.prediction = prediction});
  const at::Tensor start =
      pf::standard_normal(at::zeros({count, channels, side, side}), pf::noise_key{seed, 0, 0});
  const pf::masked unconstrained(at::zeros_like(start), at::zeros_like(start));
  const auto run = [&](const auto& path, const auto& sampler) {
    const auto observe = [](const auto&) {
      examples::stop_if_interrupted();
      return pf::verdict::go_on;
    };
    return pf::sample(start, pf::model(denoiser, path), sampler, unconstrained, pf::update{pf::none{}},
                      {.seed = seed}, observe)
        .x;
  };
  if (prediction == pf::prediction_type::flow) {
    const pf::rectified_flow path;
    return run(path, pf::rectified_flow_euler(path, {.steps = steps}));
  }
  const auto path = pf::variance_preserving::linear();
  return run(path, pf::ddim(path, {.steps = steps}));
}

picture square_sheet(const at::Tensor& digits) { return sheet(digits.split(8), 48); }

picture reconstruction_sheet(const vae& autoencoder, const at::Tensor& digits) {
  const c10::NoGradGuard no_grad;
  const at::Tensor back = autoencoder.decode(autoencoder.encode(digits));
  std::vector<at::Tensor> rows;
  for (std::int64_t first = 0; first < digits.size(0); first += 16)
    for (const auto& which : {digits, back})
      rows.push_back(which.slice(0, first, std::min(first + 16, digits.size(0))));
  return sheet(rows, 48);
}

} // namespace mnist
