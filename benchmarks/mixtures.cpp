// Compares update rules and published baselines where the truth is known: energy distance of samples to those
// of the exact posterior of a Gaussian mixture, at equal numbers of passes. One line of JSON for each;
// policies.py makes the tables.
#include "mixtures.hpp"
#include "policies_program.hpp"

#include <pushforward/libtorch/denoiser.hpp>

int main(int argc, char** argv) {
  CLI::App app{"Compares ways to steer the denoiser of a Gaussian mixture at equal cost.",
               "pushforward_mixtures_policies_benchmark"};
  using namespace examples;
  std::filesystem::path out = "mixtures.jsonl";
  std::int64_t truths = 16, samples = 250;
  policies::options o;
  o.promising = 20.0;
  add_number(app, "--truths", truths, whole_numbers{1, 10'000}, "how many measurements");
  add_number(app, "--samples", samples, policies::image_counts, "of each posterior");
  policies::add_bench_options(app, o, out, policies::mixture::task_names);
  return run_with(app, argc, argv, [&] {
    require_writable({out});
    const policies::mixture domain(samples);
    const pushforward::libtorch::differentiable_denoiser denoiser(
        [&](const at::Tensor& x, const at::Tensor& sigma) { return domain(x, sigma); },
        {.prediction = pushforward::prediction_type::sample, .compute = at::kDouble});
    const policies::bench bench(denoiser, domain, o);
    return policies::run_until_interrupted(app, out, {{"domain", "mixtures"}, {"samples", samples}}, bench,
                                           domain.draw(truths, 100), domain.draw(truths, 200));
  });
}
