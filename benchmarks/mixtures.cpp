// Compares update rules and published baselines where the truth is known: energy distance of samples to those
// of the exact posterior of a Gaussian mixture, at equal numbers of passes. One line of JSON for each;
// policies.py makes the tables.
#include "mixtures.hpp"

#include <common/command_line.hpp>
#include <common/console.hpp>

#include <pushforward/libtorch/denoiser.hpp>

int main(int argc, char** argv) {
  CLI::App app{"Compares ways to steer the denoiser of a Gaussian mixture at equal cost.",
               "pushforward_mixtures_policies_benchmark"};
  using namespace examples;
  std::filesystem::path out = "mixtures.jsonl";
  std::int64_t truths = 16, repeated = 250;
  policies::options o;
  o.promising = 20.0;
  std::vector<std::string> tasks, methods;
  app.add_option("--passes", o.passes, "budgets, a backward pass counted twice");
  app.add_option("--tuned-at", o.tuned_at,
                 "budgets at which settings are chosen; others take those of the nearest");
  app.add_option("--tasks", tasks, "half, x2, x2_noise [all]");
  app.add_option("--methods", methods, "[all]");
  app.add_option("--truths", truths, "how many measurements");
  app.add_option("--samples", repeated, "of each posterior");
  add_name(app, "--out", out, "file of lines; what it holds already is not measured again");
  return run_with(app, argc, argv, [&] {
    o.tasks = {tasks.begin(), tasks.end()};
    o.methods = {methods.begin(), methods.end()};
    const policies::mixture domain;
    const pushforward::libtorch::differentiable_denoiser denoiser(
        [&](const at::Tensor& x, const at::Tensor& sigma) { return domain(x, sigma); },
        {.prediction = pushforward::prediction_type::sample, .compute = at::kDouble});
    const policies::bench bench(denoiser, domain, o);
    policies::run_into(out, bench, domain.draw(truths, repeated, 100), domain.draw(truths, repeated, 200),
                       stop_if_interrupted);
    return 0;
  });
}
