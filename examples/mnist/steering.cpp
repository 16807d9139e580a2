#include "steering.hpp"

#include "common.hpp"

#include <pushforward/constraints/decoded.hpp>
#include <pushforward/estimate.hpp>
#include <pushforward/step_sizes.hpp>
#include <pushforward/updates/exact_newton.hpp>
#include <pushforward/updates/gradient_descent.hpp>
#include <pushforward/updates/inexact_newton.hpp>
#include <pushforward/updates/none.hpp>
#include <pushforward/updates/vae_newton.hpp>

#include <ATen/ATen.h>

#include <variant>

namespace mnist {

namespace pf = pushforward;
using traits = pf::tensor_traits<at::Tensor>;

std::string to_string(policy_kind kind) {
  switch (kind) {
  case policy_kind::inexact_newton:
    return "inexact_newton";
  case policy_kind::forward_mode_newton:
    return "forward_mode_newton";
  case policy_kind::gradient_descent:
    return "gradient_descent";
  case policy_kind::exact_newton:
    return "exact_newton";
  case policy_kind::vae_newton:
    return "vae_newton";
  case policy_kind::none:
    return "none";
  }
  return {};
}

std::string to_string(step_kind kind) {
  switch (kind) {
  case step_kind::infinity_norm:
    return "infinity_norm";
  case step_kind::constant:
    return "constant";
  case step_kind::spectral:
    return "spectral";
  }
  return {};
}

namespace {

/// A policy without backward passes through the denoiser.
struct forward_policy {
  std::variant<pf::inexact_newton, pf::forward_mode_newton, pf::exact_newton, pf::vae_newton> chosen;

  void check() const {
    std::visit(
        [](const auto& p) {
          if constexpr (requires { p.check(); }) p.check();
        },
        chosen);
  }

  template <pf::forward_mode_model Model>
  at::Tensor direction(const Model& m, const pf::estimate<at::Tensor>& at, const at::Tensor& error) const {
    return std::visit([&](const auto& p) { return p.direction(m, at, error); }, chosen);
  }
};

struct chosen_step {
  std::variant<pf::infinity_norm, pf::constant_step, pf::spectral> chosen;

  void check() const {
    std::visit([](const auto& s) { s.check(); }, chosen);
  }

  struct rule {
    std::function<traits::per_sample(const at::Tensor&, std::size_t, std::size_t)> at;
    traits::per_sample scale(const at::Tensor& direction, std::size_t k, std::size_t iterations) const {
      return at(direction, k, iterations);
    }
  };

  template <pf::forward_model Model> rule at_step(const Model& m, const pf::estimate<at::Tensor>& at) const {
    return std::visit(
        [&](const auto& s) {
          return rule{[here = s.at_step(m, at)](const at::Tensor& d, std::size_t k, std::size_t n) {
            return here.scale(d, k, n);
          }};
        },
        chosen);
  }
};

chosen_step step_of(const steering_options& o) {
  const pf::linear_decay rate{o.lr, o.lr_last};
  switch (o.step_size) {
  case step_kind::constant:
    return {pf::constant_step{rate}};
  case step_kind::spectral:
    return {pf::spectral{.c = o.lr, .probe = o.probe}};
  case step_kind::infinity_norm:
    break;
  }
  return {pf::infinity_norm{rate}};
}

forward_policy policy_of(const steering_options& o) {
  switch (o.policy) {
  case policy_kind::forward_mode_newton:
    return {pf::forward_mode_newton{}};
  case policy_kind::exact_newton:
    return {pf::exact_newton{.cutoff = o.cutoff, .probe = o.probe}};
  case policy_kind::vae_newton:
    return {pf::vae_newton{.probe = o.probe}};
  default:
    return {pf::inexact_newton{.probe = o.probe}};
  }
}

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
    const double inner = static_cast<double>(p.iterations + 1);
    const double part = p.when == pf::moment::estimated  ? 1.0 / inner
                        : p.when == pf::moment::iterated ? (static_cast<double>(p.iteration) + 2.0) / inner
                                                         : 1.0;
    const double done = (static_cast<double>(p.step) + part) / static_cast<double>(p.steps);
    return go_on(done) ? pf::verdict::go_on : pf::verdict::stop;
  };

  const usage cost;
  steered result{{}, x, {}, 0.0, 0.0, 0};
  const pf::sample_options options{.seed = o.seed, .first_sample = o.first_sample};
  const pf::model model(m.denoiser(), m.path());
  const auto run = [&](auto policy) {
    const pf::update u{policy, step_of(o), o.iterations, o.tolerance};
    return pf::sample(x, model, sampler, constraint, u, options, observe);
  };
  if (o.policy == policy_kind::none)
    result.run = run(pf::none{});
  else if (o.policy == policy_kind::gradient_descent)
    result.run = run(pf::gradient_descent{});
  else
    result.run = run(policy_of(o));
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
