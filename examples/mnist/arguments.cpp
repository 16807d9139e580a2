#include "arguments.hpp"

#include "choose.hpp"
#include "common.hpp"
#include "data.hpp"
#include "weights.hpp"

#include <algorithm>
#include <iostream>

namespace mnist {

namespace {

const std::map<std::string, model_kind> models{
    {"ddpm", model_kind::ddpm}, {"flow", model_kind::flow}, {"latent_ddpm", model_kind::latent_ddpm}};

} // namespace

std::vector<examples::input_file> inputs_of(const arguments& a) {
  auto files = digit_files(a.data);
  for (auto& file : weight_files(a.weights)) files.push_back(std::move(file));
  return files;
}

void add_model_options(CLI::App& app, arguments& a) {
  a.weights = std::filesystem::path(PUSHFORWARD_MNIST_FOLDER) / "weights";
  a.data = default_data();
  examples::add_choice(app, "--model", a.model, models, "trained network", "Model and digits");
  const std::string group = "Model and digits";
  examples::add_name(app, "--weights", a.weights,
                     "folder with the networks' safetensors files [the repository's]")
      ->group(group);
  examples::add_name(app, "--data", a.data,
                     "folder with MNIST's files, one of its images files, or a PNG of one digit "
                     "[$PUSHFORWARD_MNIST, else the sample that comes along]")
      ->group(group);
  examples::add_number(app, "--first", a.first, first_digits, "first of the held-out digits that are used")
      ->group(group);
  examples::add_number(app, "--seed", a.steering.seed, examples::any_seed, "of all noise")->group(group);
}

void add_sampling_options(CLI::App& app, arguments& a) {
  using namespace examples;
  auto& s = a.steering.sampling;
  const std::string group = "Sampler";
  add_number(app, "--steps", s.steps, step_counts, "time steps")->group(group);
  add_number(app, "--start", s.start, positive_shares,
             "where to start: 1 from noise, less from the noised guess (image to image)")
      ->group(group);
  add_number(app, "--eta", s.eta, shares, "DDIM's noise (docs/mnist-results.md: 1)")->group(group);
  app.add_flag("--one-step-beta", s.one_step_beta, "DDIM with the reference's noise")->group(group);
  add_number(app, "--renoise", s.renoise, shares, "share of noise drawn anew in a flow step")->group(group);
}

void check_sampling_options(const CLI::App& app, const arguments& a) {
  const auto& s = a.steering.sampling;
  const auto refuse = [&](std::initializer_list<const char*> options, const std::string& why) {
    examples::refuse_given(app, options, why);
  };
  if (a.model == model_kind::flow)
    refuse({"--eta", "--one-step-beta"}, "with --model flow, which has --renoise: leave it out");
  else
    refuse({"--renoise"}, "with --model " + to_string(a.model) + ", which has --eta: leave it out");
  if (s.one_step_beta) refuse({"--eta"}, "with --one-step-beta: leave one of the two out");
  examples::as_option(s.start < 1.0 ? "--steps, --start" : "--steps",
                      [&] { return path_of(a.model).sampler(s); });
  if (s.steps > 1) return;
  const std::string last = "with --steps 1, whose one step ends without noise: leave it out";
  if (s.eta > 0.0) refuse({"--eta"}, last);
  if (s.one_step_beta) refuse({"--one-step-beta"}, last);
  if (s.renoise > 0.0) refuse({"--renoise"}, last);
}

void check_policy(const arguments& a, policy_kind policy) {
  if (policy == policy_kind::vae_newton && a.model != model_kind::latent_ddpm)
    throw pushforward::bad_option("--policy vae_newton needs the latent model: add --model latent_ddpm");
}

void check_steering_options(const CLI::App& app, const arguments& a) {
  check_policy(a, a.steering.policy);
  examples::check_update_options(app, a.steering);
  check_sampling_options(app, a);
}

void add_steering_options(CLI::App& app, arguments& a) {
  examples::add_update_options(app, a.steering, "digit");
  add_sampling_options(app, a);
}

} // namespace mnist
