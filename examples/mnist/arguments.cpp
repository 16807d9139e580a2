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
  app.add_option("--eta", s.eta, "DDIM's noise, 0 to 1 (docs/mnist-results.md: 1)")
      ->capture_default_str()
      ->group(group);
  app.add_flag("--one-step-beta", s.one_step_beta, "DDIM with the reference's noise")->group(group);
  app.add_option("--renoise", s.renoise, "share of noise drawn anew in a flow step, 0 to 1")
      ->capture_default_str()
      ->group(group);
}

void add_steering_options(CLI::App& app, arguments& a) {
  examples::add_update_options(app, a.steering, "digit");
  add_sampling_options(app, a);
}

} // namespace mnist
