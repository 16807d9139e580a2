// Compares update rules and published baselines on held-out digits, at equal numbers of passes: settings are
// chosen on some digits and measured on others. One line of JSON for each; policies.py makes the tables.
#include "digits.hpp"
#include "policies_program.hpp"

#include <choose.hpp>
#include <data.hpp>
#include <weights.hpp>

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
  std::string device = "cpu";
  policies::add_device_option(app, device);
  add_name(app, "--data", data, "digits in MNIST's format, as of the MNIST programs");
  add_name(app, "--weights", weights, "of the networks [the repository's]");
  add_choice<mnist::model_kind>(app, "--model", kind,
                                {{"ddpm", mnist::model_kind::ddpm},
                                 {"flow", mnist::model_kind::flow},
                                 {"latent_ddpm", mnist::model_kind::latent_ddpm}},
                                "which network", "Options");
  add_number(app, "--tuned", tuned, policies::image_counts,
             "of the first held-out digits, on which settings are chosen");
  add_number(app, "--tested", tested, policies::image_counts, "how many are measured");
  add_number(app, "--first", first, policies::image_counts, "the first of them");
  o.diverse = 100;
  add_number(app, "--diverse", o.diverse, examples::whole_numbers{0, 100'000},
             "so many of them are restored twice more: how far do samples differ? 0 for none");
  policies::add_bench_options(app, o, out, policies::digits::task_names);
  return run_with(app, argc, argv, [&] {
    if (first < tuned)
      throw pushforward::bad_option("--first lies among the digits of --tuned: take other digits");
    const auto networks = mnist::weight_files(weights);
    auto inputs = mnist::digit_files(data);
    inputs.insert(inputs.end(), networks.begin(), networks.end());
    require_writable({out}, inputs);
    const mnist::digit_model model(kind, weights, device_named(device));
    const mnist::judge judge(weights);
    const policies::digits domain{model, judge};
    const policies::bench bench(model.denoiser(), domain, o);
    const auto chosen_on = mnist::choose_digits(data, 0, tuned);
    const auto measured_on = mnist::choose_digits(data, first, tested);
    const policies::json of{{"domain", "digits"},
                            {"model", mnist::to_string(kind)},
                            {"weights", policies::checksum(networks)},
                            {"digits", mnist::checksum(at::cat({chosen_on.images, measured_on.images}))}};
    return policies::run_until_interrupted(app, out, of, bench, {chosen_on.images, chosen_on.labels},
                                           {measured_on.images, measured_on.labels});
  });
}
