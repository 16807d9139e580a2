#include "steering.hpp"

#include "common.hpp"

#include <pushforward/constraints/decoded.hpp>
#include <pushforward/estimate.hpp>
#include <pushforward/updates/vae_newton.hpp>

#include <ATen/ATen.h>

#include <type_traits>
#include <variant>

namespace mnist {

namespace pf = pushforward;

namespace {

/// The constraint on what the denoiser estimates: images, or latents through the decoder.
examples::any_constraint constraint_of(const digit_model& m, const measurement& known, policy_kind policy) {
  const bool through_encoder = policy == policy_kind::vae_newton;
  if (through_encoder && !m.latent())
    throw pf::bad_option("vae_newton needs the latent model: add --model latent_ddpm");
  return std::visit(
      [&](const auto& c) -> examples::any_constraint {
        if constexpr (std::is_same_v<decltype(c), const std::monostate&>)
          throw pf::error("nothing was measured");
        else if (through_encoder)
          return pf::vae_newton{}.constraint(c, m.decoder());
        else if (m.latent())
          return pf::decoded(c, m.decoder(), pf::decoder_vjp{});
        else
          return c;
      },
      known.constraint());
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
