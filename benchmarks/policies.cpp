// Compares update rules and published baselines on photographs, at equal numbers of passes: settings are
// chosen on some photographs and measured on others. One line of JSON for each; policies.py makes the tables.
#include "policies.hpp"

#include <common/command_line.hpp>
#include <common/console.hpp>
#include <data.hpp>
#include <network.hpp>

#include <pushforward/libtorch/denoiser.hpp>
#include <pushforward/libtorch/torchscript.hpp>

#include <filesystem>

int main(int argc, char** argv) {
  CLI::App app{"Compares ways to steer a denoiser of photographs at equal cost.",
               "pushforward_policies_benchmark"};
  using namespace examples;
  std::filesystem::path weights = PUSHFORWARD_PHOTOGRAPHS_WEIGHTS, photographs, out = "policies.jsonl";
  std::filesystem::path scripted;
  bool grey = false;
  double largest = 10.0, smallest = 0.01;
  std::size_t tuned = 6, tested = 24;
  policies::options o;
  std::vector<std::string> tasks, methods;
  add_name(app, "--weights", weights, "of the denoiser [the repository's]");
  auto* const own =
      add_name(app, "--denoiser", scripted,
               "a TorchScript file in its place: x0 = D(x, sigma), x [N, C, H, W] in [0, 1], sigma [N]");
  app.add_flag("--grey", grey, "grey images, C = 1")->needs(own);
  app.add_option("--largest", largest, "sigma where runs start");
  app.add_option("--smallest", smallest, "sigma of the last step");
  add_name(app, "--photographs", photographs, "folder with training/ and held_out/ (scripts/photographs.sh)")
      ->required();
  app.add_option("--passes", o.passes, "budgets, a backward pass counted twice");
  app.add_option("--tuned-at", o.tuned_at,
                 "budgets at which settings are chosen; others take those of the nearest");
  app.add_option("--tasks", tasks, "block, lines, random10, x4, x4_noise, blur_noise [all]");
  app.add_option("--methods", methods, "[all]");
  app.add_option("--tuned", tuned, "crops of the training photographs, on which settings are chosen");
  app.add_option("--tested", tested, "crops of the held-out photographs, on which they are measured");
  add_name(app, "--out", out, "file of lines; what it holds already is not measured again");
  return run_with(app, argc, argv, [&] {
    o.tasks = {tasks.begin(), tasks.end()};
    o.methods = {methods.begin(), methods.end()};
    using denoiser_type = pushforward::libtorch::differentiable_denoiser;
    const pushforward::libtorch::denoiser_options takes{.prediction = pushforward::prediction_type::sample};
    const auto denoiser = scripted.empty()
                              ? denoiser_type(photographs::read_network(weights), takes)
                              : pushforward::libtorch::torchscript_denoiser<denoiser_type>(scripted, takes);
    const auto crops = [&](const char* folder, std::size_t count) {
      const auto colour = photographs::crops_of(photographs / folder, count, 128);
      return policies::samples{grey ? colour.mean(1, true) : colour};
    };
    const auto chosen_on = crops("training", tuned), measured_on = crops("held_out", tested);
    //! [bench]
    const policies::images domain{pushforward::variance_exploding(largest, smallest)};
    const policies::bench bench(denoiser, domain, o);
    policies::run_into(out, bench, chosen_on, measured_on, stop_if_interrupted);
    //! [bench]
    return 0;
  });
}
