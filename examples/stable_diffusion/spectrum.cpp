// Eigenvalues of the Jacobian of the clean estimate, and of its parts, over time.

#include "model.hpp"
#include "subject.hpp"

#include <common/command_line.hpp>
#include <common/files.hpp>
#include <common/outputs.hpp>
#include <common/raster.hpp>
#include <common/spectrum.hpp>
#include <common/updates.hpp>

#include <pushforward/estimate.hpp>

#include <ATen/ATen.h>

#include <iostream>
#include <optional>

namespace {

using namespace stable_diffusion;
using namespace pushforward;

enum class start_kind { clean_estimate, noise };

struct arguments {
  model_arguments model;
  subject_arguments subject;
  std::vector<double> times{}; ///< unless given nine, seven, five and three tenths of the noisiest
  std::size_t krylov = 10;
  start_kind from = start_kind::clean_estimate;
  double probe = 0.0;
  std::filesystem::path out = "spectrum";
};

int run(arguments a) {
  examples::require_fonts();
  examples::require_writable(examples::spectra_files(a.out), inputs_of(a.model, a.subject));
  const subject what(a.subject);
  const model_outline outline = outline_of(a.model);
  if (a.times.empty())
    for (const double share : {0.9, 0.7, 0.5, 0.3}) a.times.push_back(share * outline.path.last());
  what.require_servable(outline, a.times, "--times");
  what.require_room(a.model);
  const latent_model m(a.model, [](const std::string& part) { std::cerr << "loading the " << part << "\n"; });
  const at::Tensor clean = what.latent(m);
  const auto all = m.with_denoiser([&](const auto& denoiser) {
    pass_counts counts;
    const estimator<at::Tensor, std::remove_cvref_t<decltype(denoiser)>, examples::any_path> e(
        model(denoiser, m.path()), counts);
    std::optional<estimate<at::Tensor>> at;
    return examples::spectra(a.times, [&](double t, const std::string& of, const auto& tell) {
      if (!at || at->t != t) {
        at = e.evaluate(what.noised(m, clean, t), t);
        if (!at::isfinite(at->x0).all().item<bool>()) throw not_finite("clean estimate", 0, 0);
      }
      const at::Tensor start =
          a.from == start_kind::noise ? standard_normal(clean, {a.subject.seed, 0, 1}) : at->x0;
      return examples::spectrum_of(e, *at, start, of, a.krylov, a.probe, tell);
    });
  });
  return examples::write_spectra(
      all,
      {{"model", m.facts()},
       {"at", what.name()},
       {"arnoldi_starts_from", a.from == start_kind::noise ? "noise" : "x0"},
       {"probe", a.probe > 0.0 ? nlohmann::ordered_json(a.probe) : nlohmann::ordered_json("automatic")},
       {"seed", a.subject.seed}},
      a.out);
}

} // namespace

int main(int argc, char** argv) {
  CLI::App app{"Eigenvalues of largest magnitude of J = d x0 / d x_t of a Stable Diffusion model, "
               "of J^T, and\n"
               "of the symmetric and the skew part of J, by Arnoldi's iteration. Writes a plot (SVG, PNG) "
               "and all\n"
               "eigenvalues (JSON).",
               "pushforward_spectrum"};
  app.footer(
      "Examples:\n"
      "  pushforward_spectrum --model stable-diffusion-v1-5 photo.jpg\n"
      "  pushforward_spectrum --model sd --krylov 30 --from noise --times 900 500 --prompt \"a cat\"\n\n"
      "Graikos et al. (2025) report these largest magnitudes for Stable Diffusion 1.5, empty prompt:\n"
      "    t       J   (J + J^T)/2   (J - J^T)/2\n"
      "  900   16.85         16.44          2.67\n"
      "  700    8.45          8.65          3.35\n"
      "  500    7.88          9.00          2.51\n"
      "  300    4.98          6.52          1.22");
  arguments a;
  add_subject_options(app, a.subject);
  const std::string group = "Spectrum", output = "Output";
  examples::add_number(
      app, "--times", a.times, examples::not_negative,
      "times t, noise at the greatest: 1000, or 1 of a flow [900 700 500 300, or 0.9 0.7 0.5 0.3]")
      ->group(group);
  examples::add_number(app, "--krylov", a.krylov, examples::whole_numbers{1, 1000}, "Arnoldi steps")
      ->group(group);
  examples::add_choice<start_kind>(app, "--from", a.from,
                                   {{"x0", start_kind::clean_estimate}, {"noise", start_kind::noise}},
                                   "where Arnoldi starts", group);
  examples::add_probe_option(app, a.probe)->group(group);
  examples::add_output_option(app, a.out, "writes this name with .svg, .png and .json",
                              {".svg", ".png", ".json"})
      ->group(output);
  add_model_options(app, a.model);
  return examples::run_with(app, argc, argv, [&] {
    check_model_options(app, a.model);
    check_subject_options(app, a.subject, a.from == start_kind::noise);
    require_felt(a.probe, a.model.unet.type, "--probe", "--dtype");
    return run(a);
  });
}
