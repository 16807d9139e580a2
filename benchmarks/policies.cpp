// Compares update rules and published baselines on photographs, at equal numbers of passes: settings are
// chosen on some photographs and measured on others. One line of JSON for each; policies.py makes the tables.
#include "policies.hpp"

#include <common/command_line.hpp>
#include <data.hpp>
#include <network.hpp>

#include <pushforward/libtorch/denoiser.hpp>

#include <filesystem>
#include <fstream>
#include <iostream>

int main(int argc, char** argv) {
  CLI::App app{"Compares ways to steer a denoiser of photographs at equal cost.",
               "pushforward_policies_benchmark"};
  using namespace examples;
  std::filesystem::path weights = PUSHFORWARD_PHOTOGRAPHS_WEIGHTS, photographs, out = "policies.jsonl";
  std::size_t tuned = 6, tested = 24;
  policies::options o;
  std::vector<std::string> tasks, methods;
  add_name(app, "--weights", weights, "of the denoiser [the repository's]");
  add_name(app, "--photographs", photographs, "folder with training/ and held_out/ (scripts/photographs.sh)")
      ->required();
  app.add_option("--passes", o.passes, "budgets, a backward pass counted twice");
  app.add_option("--tasks", tasks, "block, lines, random10, x4, x4_noise, blur_noise [all]");
  app.add_option("--methods", methods, "[all]");
  app.add_option("--tuned", tuned, "crops of the training photographs, on which settings are chosen");
  app.add_option("--tested", tested, "crops of the held-out photographs, on which they are measured");
  add_name(app, "--out", out, "file of lines");
  return run_with(app, argc, argv, [&] {
    o.tasks = {tasks.begin(), tasks.end()};
    o.methods = {methods.begin(), methods.end()};
    const pushforward::libtorch::differentiable_denoiser denoiser(
        photographs::read_network(weights), {.prediction = pushforward::prediction_type::sample});
    const policies::bench bench(denoiser, o);
    std::ofstream lines(out, std::ios::app);
    bench.run(photographs::crops_of(photographs / "training", tuned, 128),
              photographs::crops_of(photographs / "held_out", tested, 128), [&](const policies::json& line) {
                lines << line.dump() << std::endl;
                std::cout << line["role"].get<std::string>() << ' ' << line["task"].get<std::string>() << ' '
                          << line["method"].get<std::string>() << " (" << line["setting"].get<std::string>()
                          << "): " << policies::outcome::mean(line["psnr"]) << " dB, " << line["passes"]
                          << " passes\n";
              });
    return 0;
  });
}
