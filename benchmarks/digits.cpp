// Compares update rules and published baselines on held-out digits, at equal numbers of passes: settings are
// chosen on some digits and measured on others. One line of JSON for each; policies.py makes the tables.
#include "digits.hpp"

#include <choose.hpp>
#include <common/command_line.hpp>
#include <common/console.hpp>

int main(int argc, char** argv) {
  CLI::App app{"Compares ways to steer a denoiser of digits at equal cost.",
               "pushforward_digits_policies_benchmark"};
  using namespace examples;
  std::filesystem::path data = mnist::default_data(), weights = PUSHFORWARD_MNIST_WEIGHTS,
                        out = "digits.jsonl";
  mnist::model_kind kind = mnist::model_kind::ddpm;
  std::int64_t tuned = 100, tested = 500, first = 500;
  policies::options o;
  o.promising = 4.0;
  std::vector<std::string> tasks, methods;
  add_name(app, "--data", data, "digits in MNIST's format, as of the MNIST programs");
  add_name(app, "--weights", weights, "of the networks [the repository's]");
  add_choice<mnist::model_kind>(app, "--model", kind,
                                {{"ddpm", mnist::model_kind::ddpm},
                                 {"flow", mnist::model_kind::flow},
                                 {"latent_ddpm", mnist::model_kind::latent_ddpm}},
                                "which network", "Options");
  app.add_option("--passes", o.passes, "budgets, a backward pass counted twice");
  app.add_option("--tuned-at", o.tuned_at,
                 "budgets at which settings are chosen; others take those of the nearest");
  app.add_option("--tasks", tasks, "upper, left, box, random10, x2, x4, blur_noise, x4_noise [all]");
  app.add_option("--methods", methods, "[all]");
  app.add_option("--tuned", tuned, "of the first held-out digits, on which settings are chosen");
  app.add_option("--tested", tested, "how many are measured");
  app.add_option("--first", first, "the first of them");
  add_name(app, "--out", out, "file of lines; what it holds already is not measured again");
  return run_with(app, argc, argv, [&] {
    o.tasks = {tasks.begin(), tasks.end()};
    o.methods = {methods.begin(), methods.end()};
    if (first < tuned)
      throw pushforward::bad_option("--first lies among the digits of --tuned: take other digits");
    const mnist::digit_model model(kind, weights);
    const mnist::judge judge(weights);
    const policies::digits domain{model, judge};
    const policies::bench bench(model.denoiser(), domain, o);
    const auto some = [&](std::int64_t from, std::int64_t count) {
      auto chosen = mnist::choose_digits(data, from, count);
      return policies::samples{chosen.images, chosen.labels};
    };
    policies::run_into(out, bench, some(0, tuned), some(first, tested), stop_if_interrupted);
    return 0;
  });
}
