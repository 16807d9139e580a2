#pragma once
/// \file
/// An update policy, its step size and its inner loop, chosen at run time.

#include "any_constraint.hpp"

#include <pushforward/libtorch/tensor.hpp>
#include <pushforward/sample.hpp>
#include <pushforward/step_sizes.hpp>
#include <pushforward/updates/exact_newton.hpp>
#include <pushforward/updates/gradient_descent.hpp>
#include <pushforward/updates/inexact_newton.hpp>
#include <pushforward/updates/none.hpp>
#include <pushforward/updates/posterior_step.hpp>

#include <ATen/core/Tensor.h>

#include <nlohmann/json.hpp>

#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <variant>

namespace CLI {
class App;
class Option;
} // namespace CLI

namespace examples {

enum class policy_kind {
  inexact_newton,
  forward_mode_newton,
  gradient_descent,
  exact_newton,
  vae_newton, ///< inexact Newton with pixel errors pulled back by the encoder's difference
  posterior_step,
  none
};
enum class step_kind { infinity_norm, constant, spectral };

/// Words for the policies, as on the command line.
const std::map<std::string, policy_kind>& policies();
std::string to_string(policy_kind kind);
std::string to_string(step_kind kind);

struct update_options {
  policy_kind policy = policy_kind::inexact_newton;
  step_kind step_size = step_kind::infinity_norm;
  std::size_t iterations = 5; ///< K
  double lr = 0.5;            ///< rate of the infinity norm, lambda of constant, c of spectral
  double lr_last = 0.02;      ///< at the last inner iteration; spectral has one c
  double probe = 0.0;         ///< of the forward differences; 0 is automatic
  double cutoff = 0.5;        ///< of exact Newton
  std::size_t krylov = 1;     ///< m of the posterior step
  double tolerance = -1.0;
};

/// --policy, --step-size, --K, --lr, --lr-last, --probe, --cutoff, --krylov, --tolerance.
/// \param sample what one sample of a batch is, for the help: "digit"
void add_update_options(CLI::App& app, update_options& o, const std::string& sample);

/// --probe: "automatic" (or 0), "reference" or one of `probes`. \param probe has the default when called
CLI::Option* add_probe_option(CLI::App& app, double& probe);
/// --krylov, of the posterior step.
CLI::Option* add_krylov_option(CLI::App& app, std::size_t& krylov);

/// Whether a policy has a probe.
bool takes_differences(policy_kind kind);

/// Refuses those of the options that were given and would do nothing, and a c that `spectral` does not take.
/// \throws pushforward::bad_option
void check_update_options(const CLI::App& app, const update_options& o);

/// Every pass of a run, by network.
nlohmann::ordered_json passes_of(const pushforward::pass_counts& p);

/// Share of a run that is done, from 0 to 1.
template <class T> double share_done(const pushforward::progress<T>& p) {
  const double inner = static_cast<double>(p.iterations + 1);
  const double part = p.when == pushforward::moment::estimated ? 1.0 / inner
                      : p.when == pushforward::moment::iterated
                          ? (static_cast<double>(p.iteration) + 2.0) / inner
                          : 1.0;
  return (static_cast<double>(p.step) + part) / static_cast<double>(p.steps);
}

namespace detail {

namespace pf = pushforward;
using traits = pf::tensor_traits<at::Tensor>;

/// A policy without backward passes through the denoiser.
struct forward_policy {
  std::variant<pf::inexact_newton, pf::forward_mode_newton, pf::exact_newton> chosen;

  void check() const {
    std::visit(
        [](const auto& p) {
          if constexpr (requires { p.check(); }) p.check();
        },
        chosen);
  }

  template <pf::forward_model Model>
  at::Tensor direction(const Model& m, const pf::estimate<at::Tensor>& at, const at::Tensor& error) const {
    return std::visit(
        [&](const auto& p) -> at::Tensor {
          if constexpr (requires { p.direction(m, at, error); })
            return p.direction(m, at, error);
          else
            throw pf::bad_option("forward_mode_newton does not work under guidance: take inexact_newton");
        },
        chosen);
  }
};

/// One of the step-size rules.
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

chosen_step step_of(const update_options& o);
forward_policy forward_policy_of(const update_options& o);

} // namespace detail

/// `pushforward::sample` with the policy and step size that were chosen; vae_newton is inexact Newton, its
/// pullback being the constraint's business. \throws what `sample` throws
template <class Denoiser, class Path, class Sampler, class Observer>
pushforward::sample_result<at::Tensor>
sampled(at::Tensor x, const pushforward::model<Denoiser, Path>& m, const Sampler& sampler,
        const any_constraint& c, const update_options& o, const pushforward::sample_options& options,
        Observer&& observe) {
  const auto run = [&](auto policy) {
    return pushforward::sample(std::move(x), m, sampler, c,
                               pushforward::update{policy, detail::step_of(o), o.iterations, o.tolerance},
                               options, observe);
  };
  switch (o.policy) {
  case policy_kind::none:
    return run(pushforward::none{});
  case policy_kind::gradient_descent:
    return run(pushforward::gradient_descent{});
  case policy_kind::posterior_step:
    return c.with_problem([&](const auto& constraint) {
      return pushforward::sample(
          std::move(x), m, sampler, constraint,
          pushforward::posterior_step{.krylov = o.krylov, .probe = o.probe, .tolerance = o.tolerance},
          options, observe);
    });
  default:
    return run(detail::forward_policy_of(o));
  }
}

} // namespace examples
