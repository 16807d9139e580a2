// Eigenvalues of the Jacobian of the clean estimate, and of its parts, over time.

#include "arguments.hpp"
#include "choose.hpp"
#include "jacobian.hpp"

#include <common/outputs.hpp>
#include <common/raster.hpp>
#include <common/spectrum.hpp>

#include <algorithm>

int main(int argc, char** argv) {
  CLI::App app{
      "Eigenvalues of largest magnitude of J = d x0 / d x_t, J^T, and the symmetric and the skew part of\n"
      "J, at several times, by Arnoldi's iteration. Writes a plot (SVG, PNG) and all eigenvalues (JSON).",
      "pushforward_mnist_spectrum"};
  app.footer("Examples:\n"
             "  pushforward_mnist_spectrum\n"
             "  pushforward_mnist_spectrum --times 100 500 900 --krylov 30\n"
             "  pushforward_mnist_spectrum --model flow --times 0.1 0.5 0.9");
  mnist::arguments a;
  a.out = "spectrum";
  std::vector<double> times;
  std::size_t krylov = 10;
  add_model_options(app, a);
  examples::add_number(app, "--times", times, examples::not_negative,
                       "times t; sigma for the flow model [ten from 50 to 950, or 0.05 to 0.95]")
      ->default_str("");
  examples::add_number(app, "--krylov", krylov, examples::whole_numbers{1, 1000}, "Arnoldi steps");
  examples::add_output_option(app, a.out, "writes this name with .svg, .png and .json",
                              {".svg", ".png", ".json"});
  return mnist::run_with(app, argc, argv, [&] {
    examples::require_fonts();
    examples::require_writable(examples::spectra_files(a.out), inputs_of(a));
    for (const double t : times)
      examples::as_option("--times", [&] { return mnist::path_of(a.model).at(t); });
    const mnist::digit_model model(a.model, a.weights);
    const auto digits = mnist::choose_digits(a.data, a.first, 1);
    if (times.empty())
      for (int i = 0; i < 10; ++i)
        times.push_back(a.model == mnist::model_kind::flow ? 0.05 + 0.1 * i : 50.0 + 100.0 * i);
    std::sort(times.begin(), times.end());
    const auto all = examples::spectra(times, [&](double t, const std::string& of, const auto& tell) {
      return mnist::spectrum_at(model, digits.images, t, of, krylov, a.steering.seed, tell);
    });
    return examples::write_spectra(
        all, {{"model", to_string(a.model)}, {"digit", digits.first}, {"seed", a.steering.seed}}, a.out);
  });
}
