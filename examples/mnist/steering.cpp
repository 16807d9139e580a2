#include "steering.hpp"

#include "common.hpp"

#include <pushforward/constraints/decoded.hpp>
#include <pushforward/estimate.hpp>
#include <pushforward/updates/vae_newton.hpp>

#include <ATen/ATen.h>

namespace mnist {

namespace pf = pushforward;

namespace {

/// The constraint on what the denoiser estimates: images, or latents through the decoder.
image_constraint constraint_of(const digit_model& m, const measurement& known, policy_kind policy) {
  if (!m.latent()) {
    if (policy == policy_kind::vae_newton)
      throw pf::bad_option("vae_newton needs the latent model: add --model latent_ddpm");
    return known.constraint();
  }
  if (policy == policy_kind::vae_newton)
    return [c = pf::vae_newton{}.constraint(known.constraint(), m.decoder())](
               const at::Tensor& z, pf::pass_counts& counts) { return c(z, counts); };
  return [c = pf::decoded(known.constraint(), m.decoder(), pf::decoder_vjp{})](
             const at::Tensor& z, pf::pass_counts& counts) { return c(z, counts); };
}

} // namespace

steered steer(const digit_model& m, const measurement& known, const steering_options& o,
              const std::function<bool(double done)>& go_on) {
  const auto sampler = m.path().sampler(o.sampling);
  const auto constraint = constraint_of(m, known, o.policy);
  const auto images = known.guess();

  at::Tensor x = m.zeros(images.size(0));
  if (o.sampling.start < 1.0)
    x = pf::noised(m.path(), m.latent() ? m.decoder().encode(images) : images, sampler.time(0), o.seed,
                   o.first_sample);
  else
    x = pf::standard_normal(x, {o.seed, o.first_sample, 0});

  const auto observe = [&](const pf::progress<at::Tensor>& p) {
    return go_on(examples::share_done(p)) ? pf::verdict::go_on : pf::verdict::stop;
  };

  const usage cost;
  steered result{{}, x, {}, 0.0, 0.0, 0};
  const pf::sample_options options{.seed = o.seed, .first_sample = o.first_sample};
  result.run =
      examples::sampled(x, pf::model(m.denoiser(), m.path()), sampler, constraint, o, options, observe);
  result.digits = result.run.x;
  if (m.latent()) {
    result.digits = m.decoder().decode(result.digits);
    result.start = m.decoder().decode(result.start);
    result.run.passes.decoder_forward += static_cast<std::size_t>(images.size(0));
  }
  result.seconds = cost.seconds();
  result.processor_seconds = cost.processor_seconds();
  result.peak_bytes = cost.peak_bytes();
  return result;
}

} // namespace mnist
