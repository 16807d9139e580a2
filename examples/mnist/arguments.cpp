#include "arguments.hpp"

#include "choose.hpp"
#include "common.hpp"

#include <algorithm>
#include <iostream>

namespace mnist {

const std::map<std::string, policy_kind>& policies() {
  static const std::map<std::string, policy_kind> all{
      {"inexact_newton", policy_kind::inexact_newton},
      {"forward_mode_newton", policy_kind::forward_mode_newton},
      {"gradient_descent", policy_kind::gradient_descent},
      {"exact_newton", policy_kind::exact_newton},
      {"vae_newton", policy_kind::vae_newton},
      {"none", policy_kind::none}};
  return all;
}

namespace {

template <class Enum>
void add_choice(CLI::App& app, const std::string& name, Enum& value, const std::map<std::string, Enum>& words,
                const std::string& help, const std::string& group) {
  std::string list, standard;
  for (const auto& [word, meaning] : words) {
    list += (list.empty() ? "" : ", ") + word;
    if (meaning == value) standard = word;
  }
  app.add_option_function<std::string>(
         name,
         [&value, &words, name, list](const std::string& word) {
           const auto found = words.find(word);
           if (found == words.end()) throw CLI::ValidationError(name, word + " is not one of " + list);
           value = found->second;
         },
         help + ": " + list)
      ->type_name("WORD [" + standard + "]")
      ->group(group);
}

const std::map<std::string, model_kind> models{
    {"ddpm", model_kind::ddpm}, {"flow", model_kind::flow}, {"latent_ddpm", model_kind::latent_ddpm}};
const std::map<std::string, step_kind> step_sizes{{"infinity_norm", step_kind::infinity_norm},
                                                  {"constant", step_kind::constant},
                                                  {"spectral", step_kind::spectral}};

} // namespace

void add_model_options(CLI::App& app, arguments& a) {
  a.weights = std::filesystem::path(PUSHFORWARD_MNIST_FOLDER) / "weights";
  a.data = default_data();
  add_choice(app, "--model", a.model, models, "trained network", "Model and digits");
  app.add_option("--weights", a.weights, "folder with the networks' safetensors files [the repository's]")
      ->group("Model and digits");
  app.add_option("--data", a.data,
                 "folder with MNIST's files, one of its images files, or a PNG of one digit "
                 "[$PUSHFORWARD_MNIST, else the sample that comes along]")
      ->group("Model and digits");
  app.add_option("--first", a.first, "first of the held-out digits that are used")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber)
      ->group("Model and digits");
  app.add_option("--seed", a.steering.seed, "of all noise")->capture_default_str()->group("Model and digits");
}

void add_sampling_options(CLI::App& app, arguments& a) {
  auto& s = a.steering.sampling;
  const std::string group = "Sampler";
  app.add_option("--steps", s.steps, "time steps")->capture_default_str()->group(group);
  app.add_option("--start", s.start,
                 "where to start: 1 from noise, less from the noised guess (image to image)")
      ->capture_default_str()
      ->group(group);
  app.add_option("--eta", s.eta, "DDIM's noise, 0 to 1")->capture_default_str()->group(group);
  app.add_flag("--one-step-beta", s.one_step_beta, "DDIM with the reference's noise")->group(group);
  app.add_option("--renoise", s.renoise, "share of noise drawn anew in a flow step, 0 to 1")
      ->capture_default_str()
      ->group(group);
}

void add_steering_options(CLI::App& app, arguments& a) {
  auto& s = a.steering;
  const std::string group = "Update";
  add_choice(app, "--policy", s.policy, policies(), "update policy", group);
  add_choice(app, "--step-size", s.step_size, step_sizes, "step-size rule", group);
  app.add_option("--K", s.iterations, "inner iterations a time step")->capture_default_str()->group(group);
  app.add_option("--lr", s.lr, "rate of the first inner iteration (constant: lambda; spectral: c)")
      ->capture_default_str()
      ->group(group);
  app.add_option("--lr-last", s.lr_last, "rate of the last one; linear in between")
      ->capture_default_str()
      ->group(group);
  app.add_option("--probe", s.probe, "of the forward differences; 0: automatic")
      ->capture_default_str()
      ->group(group);
  app.add_option("--cutoff", s.cutoff, "of exact_newton, on singular values")
      ->capture_default_str()
      ->group(group);
  app.add_option("--tolerance", s.tolerance, "loss at which a digit is left alone; negative: never")
      ->capture_default_str()
      ->group(group);
  add_sampling_options(app, a);
}

} // namespace mnist
