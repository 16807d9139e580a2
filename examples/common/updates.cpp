#include "updates.hpp"

#include "command_line.hpp"

#include <pushforward/estimate.hpp>

#include <charconv>
#include <cmath>
#include <cstdio>

namespace examples {

namespace {

const std::map<std::string, step_kind>& step_sizes() {
  static const std::map<std::string, step_kind> all{{"infinity_norm", step_kind::infinity_norm},
                                                    {"constant", step_kind::constant},
                                                    {"spectral", step_kind::spectral}};
  return all;
}

template <class Enum> std::string word_for(const std::map<std::string, Enum>& words, Enum value) {
  for (const auto& [word, meaning] : words)
    if (meaning == value) return word;
  return {};
}

} // namespace

const std::map<std::string, policy_kind>& policies() {
  static const std::map<std::string, policy_kind> all{
      {"inexact_newton", policy_kind::inexact_newton},
      {"forward_mode_newton", policy_kind::forward_mode_newton},
      {"gradient_descent", policy_kind::gradient_descent},
      {"exact_newton", policy_kind::exact_newton},
      {"vae_newton", policy_kind::vae_newton},
      {"posterior_step", policy_kind::posterior_step},
      {"none", policy_kind::none}};
  return all;
}

std::string to_string(policy_kind kind) { return word_for(policies(), kind); }
std::string to_string(step_kind kind) { return word_for(step_sizes(), kind); }

void add_update_options(CLI::App& app, update_options& o, const std::string& sample) {
  const std::string group = "Update";
  add_choice(app, "--policy", o.policy, policies(), "update policy", group);
  add_choice(app, "--step-size", o.step_size, step_sizes(), "step-size rule", group);
  add_number(app, "--K", o.iterations, iteration_counts, "inner iterations a time step")->group(group);
  add_number(app, "--lr", o.lr, rates,
             "rate of the first inner iteration (constant: lambda; spectral: c, below 2)")
      ->group(group);
  add_number(app, "--lr-last", o.lr_last, rates, "rate of the last one; linear in between")->group(group);
  add_probe_option(app, o.probe)->group(group);
  add_number(app, "--cutoff", o.cutoff, shares_below_1, "of exact_newton, on singular values")->group(group);
  add_krylov_option(app, o.krylov)->group(group);
  add_number(app, "--tolerance", o.tolerance, any_number,
             "loss at which a " + sample + " is left alone; negative: never")
      ->group(group);
}

CLI::Option* add_probe_option(CLI::App& app, double& probe) {
  const std::string name = "--probe";
  char standard[32] = "automatic";
  if (probe > 0.0) std::snprintf(standard, sizeof standard, "%g", probe);
  const auto take = [&probe, name](const std::string& word) {
    if (word == "automatic")
      probe = 0.0;
    else if (word == "reference")
      probe = pushforward::reference_probe;
    else if (const auto value = number_of(word); value && (*value == 0.0 || taken_by(probes, *value)))
      probe = *value;
    else
      throw CLI::ValidationError(name, "must be automatic, reference, or a number " + words_for(probes) +
                                           ", not " + shown(word));
  };
  return app
      .add_option_function<std::string>(
          name, take,
          "of the forward differences, in units of x_t: automatic (0.005, more for half types and where an "
          "epsilon prediction is amplified, near noise), reference (0.005, as the published code), or a "
          "number " +
              words_for(probes))
      ->type_name("PROBE [" + std::string(standard) + "]");
}

CLI::Option* add_krylov_option(CLI::App& app, std::size_t& krylov) {
  return add_number(app, "--krylov", krylov, krylov_counts,
                    "products with J a time step of posterior_step, which costs one pass more than that");
}

bool takes_differences(policy_kind kind) {
  return kind == policy_kind::inexact_newton || kind == policy_kind::exact_newton ||
         kind == policy_kind::vae_newton || kind == policy_kind::posterior_step;
}

void check_update_options(const CLI::App& app, const update_options& o) {
  const std::string policy = "with --policy " + to_string(o.policy);
  if (o.policy == policy_kind::none)
    refuse_given(
        app, {"--step-size", "--K", "--lr", "--lr-last", "--probe", "--cutoff", "--krylov", "--tolerance"},
        policy + ", which leaves samples as they are: leave it out, or take another policy");
  if (o.policy == policy_kind::posterior_step)
    refuse_given(app, {"--step-size", "--K", "--lr", "--lr-last"},
                 policy + ", whose length its own curvature gives: leave it out, or take inexact_newton");
  else
    refuse_given(app, {"--krylov"}, policy + ": leave it out, or take posterior_step");
  const bool spectral = o.policy != policy_kind::posterior_step && o.step_size == step_kind::spectral;
  if (spectral)
    refuse_given(app, {"--lr-last"}, "with --step-size spectral, whose c is --lr throughout: leave it out");
  if (spectral && o.policy != policy_kind::none && o.lr >= 2.0)
    throw pushforward::bad_option("--lr is c of --step-size spectral, and must be below 2 there");
  if (o.iterations == 1 && o.lr_last != o.lr)
    refuse_given(app, {"--lr-last"}, "with --K 1, whose one inner iteration takes --lr: leave it out");
  if (!takes_differences(o.policy) && !spectral)
    refuse_given(app, {"--probe"}, policy + ", which takes no forward differences: leave it out");
  if (o.policy != policy_kind::exact_newton)
    refuse_given(app, {"--cutoff"}, policy + ": leave it out, or take exact_newton");
}

nlohmann::ordered_json passes_of(const pushforward::pass_counts& p) {
  return {{"passes", p.forward},
          {"backward_passes", p.backward + p.decoder_backward},
          {"denoiser_backward", p.backward},
          {"decoder_backward", p.decoder_backward},
          {"forward_mode_passes", p.forward_mode},
          {"decoder_passes", p.decoder_forward},
          {"encoder_passes", p.encoder_forward}};
}

namespace detail {

chosen_step step_of(const update_options& o) {
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

forward_policy forward_policy_of(const update_options& o) {
  switch (o.policy) {
  case policy_kind::forward_mode_newton:
    return {pf::forward_mode_newton{}};
  case policy_kind::exact_newton:
    return {pf::exact_newton{.cutoff = o.cutoff, .probe = o.probe}};
  default:
    return {pf::inexact_newton{.probe = o.probe}};
  }
}

} // namespace detail

} // namespace examples
