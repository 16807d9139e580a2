// Error curves of step-size rules: the infinity norm beside lambda = c / mu^2.

#include "masks.hpp"
#include "model.hpp"
#include "picture_arguments.hpp"
#include "room.hpp"
#include "run.hpp"

#include <common/command_line.hpp>
#include <common/console.hpp>
#include <common/drawing.hpp>
#include <common/files.hpp>
#include <common/outputs.hpp>
#include <common/raster.hpp>
#include <common/report.hpp>
#include <common/usage.hpp>

#include <pushforward/constraints/masked.hpp>
#include <pushforward/updates/inexact_newton.hpp>

#include <ATen/ATen.h>

#include <cmath>
#include <cstdio>
#include <iostream>

namespace {

using namespace stable_diffusion;
using namespace pushforward;
using json = nlohmann::ordered_json;

struct arguments {
  model_arguments model;
  picture_arguments picture;
  std::string known = "left";
  run_arguments run;
  std::vector<double> c{0.5, 1.5, 3.0};
  std::size_t krylov = 10;
};

/// lambda = c / mu^2 for any c. `spectral` itself refuses c >= 2 on entry, where the error along the leading
/// eigenvector cannot shrink; that is what the study is to show.
struct any_spectral {
  spectral rule;
  std::vector<double>* radii; ///< mu of each time step goes here

  template <forward_model Model> auto at_step(const Model& m, const estimate<at::Tensor>& at) const {
    try {
      auto here = rule.at_step(m, at);
      const double lambda = tensor_traits<at::Tensor>::values(here.lambda).front();
      radii->push_back(lambda > 0.0 ? std::sqrt(rule.c / lambda) : 0.0);
      return here;
    } catch (const error&) { // of the eigenvalues
      throw not_finite("product with the Jacobian", radii->size(), 0);
    }
  }
};

/// A rule, and what became of its run.
struct studied {
  std::string name;
  json rule;
  std::vector<double>
      curve{}; ///< residual before each inner iteration, and of the result; NaN where it diverged
  std::vector<double> radii{};
  std::string ending = "not run";
  pass_counts passes{}; ///< of a run that diverged: up to its last look at the constraint
  double seconds = 0.0;
  at::Tensor latents{}; ///< none of a run that diverged
};

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

class convergence_study {
public:
  /// \param mask of the image's pixels, which leaves something known
  convergence_study(const arguments& a, const latent_model& m, const at::Tensor& image,
                    const at::Tensor& mask)
      : a_{a}, m_{m}, target_{m.encode(image)}, known_{latent_mask(mask, m.scale()).to(target_.device())},
        constraint_{target_, known_.expand_as(target_).contiguous()}, measured_{known_.sum().item<double>() *
                                                                                static_cast<double>(
                                                                                    target_.size(1))} {
    runs_.push_back({"infinity norm, rate " + number(a.run.update.lr),
                     {{"step_size", "infinity_norm"}, {"rate", a.run.update.lr}}});
    for (const double c : a.c) {
      const std::string factor = number(std::abs(1.0 - c));
      runs_.push_back({"\u03bb = " + number(c) + "/\u03bc\u00b2, |1 - \u03bb\u03bc\u00b2| = " + factor,
                       {{"step_size", "spectral"}, {"c", c}, {"leading_factor", std::abs(1.0 - c)}}});
    }
  }

  /// Runs rule after rule, until Ctrl-C.
  void run() {
    examples::progress_bar bar("convergence");
    for (std::size_t i = 0; i < runs_.size() && !examples::interrupted(); ++i) {
      const auto tell = [&](double share) {
        const auto& curve = runs_[i].curve;
        bar.show(static_cast<double>(i) + share, static_cast<double>(runs_.size()),
                 curve.empty() ? "" : "residual " + number(curve.back()));
      };
      if (i == 0)
        try_rule(runs_[i], infinity_norm{constant_rate(a_.run.update.lr)}, tell);
      else
        try_rule(runs_[i], any_spectral{{a_.c[i - 1], a_.krylov, a_.run.update.probe}, &runs_[i].radii},
                 tell);
    }
  }

  void print() const {
    std::printf("%10s  %10s  %10s  %7s  %8s  rule, ending\n", "first", "least", "last", "passes", "seconds");
    for (const auto& r : runs_) {
      if (!r.curve.empty())
        std::printf("%10.4g  %10.4g  %10.4g  %7zu  %8.1f  ", r.curve.front(),
                    *std::min_element(r.curve.begin(), r.curve.end()), r.curve.back(), r.passes.forward,
                    r.seconds);
      else
        std::printf("%53s", "");
      std::printf("%s: %s\n", r.name.c_str(), r.ending.c_str());
    }
    std::fflush(stdout);
  }

  /// OUT.svg, OUT.png, OUT.json and OUT.html.
  void write(const at::Tensor& image) const {
    const auto named = [&](const char* end) { return examples::with_ending(a_.run.out, end); };
    examples::file_set files;
    const std::string plot = examples::curve_plot("Step-size rules of inexact Newton",
                                                  "inner iteration; the last value is the result's",
                                                  "constraint RMSE in latents", curves(), true);
    json runs = json::array();
    for (const auto& r : runs_)
      runs.push_back({{"name", r.name},
                      {"rule", r.rule},
                      {"ending", r.ending},
                      {"residual", r.curve},
                      {"largest_magnitude_at_each_step", r.radii},
                      {"costs", passes_of(r.passes)},
                      {"seconds", r.seconds}});
    const json settings = settings_of_all();
    files.add(named(".json"), json{{"model", m_.facts()},
                                   {"settings", settings},
                                   {"completed", !examples::interrupted()},
                                   {"residual", "constraint RMSE in latents"},
                                   {"runs", runs}}
                                      .dump(1, ' ', false, json::error_handler_t::replace) +
                                  "\n");
    examples::add_drawing(files, a_.run.out, plot);

    examples::report page;
    page.title = "Convergence of step-size rules";
    page.summary = "The known half of the latent is led to the picture's by inexact Newton. Along an "
                   "eigenvector of J with eigenvalue \u03bc the rule \u03bb multiplies the error by about "
                   "1 - \u03bb\u03bc\u00b2.";
    page.pictures = {{"input", picture_of(image)}};
    for (const auto& r : runs_) {
      if (!r.curve.empty()) page.results.emplace_back(r.name, number(r.curve.back()) + " (" + r.ending + ")");
      page.costs.emplace_back(r.name, examples::counted(r.passes.forward, "pass", "passes") + ", " +
                                          number(r.seconds) + " s");
      if (!r.latents.defined()) continue;
      const at::Tensor result = m_.decode(r.latents);
      if (at::isfinite(result).all().item<bool>()) page.pictures.push_back({r.name, picture_of(result)});
    }
    page.plots = {plot};
    page.settings = rows_of(settings);
    for (auto& row : rows_of(m_.facts())) page.settings.push_back(std::move(row));
    if (examples::interrupted()) page.note = "stopped by the user";
    files.add(named(".html"), examples::html_of(page));
    files.write();
    std::cout << "wrote " << named(".svg").string() << ' ' << named(".png").string() << ' '
              << named(".json").string() << ' ' << named(".html").string() << '\n';
  }

private:
  double residual(const constraint_value<at::Tensor>& v) const {
    return std::sqrt(2.0 * tensor_traits<at::Tensor>::values(v.loss).front() / measured_);
  }

  /// Values that are not finite end the run, not the study.
  template <class StepSize>
  void try_rule(studied& r, const StepSize& step, const std::function<void(double)>& tell) const {
    const auto watched = [&](const at::Tensor& x0, pass_counts& counts) {
      auto value = constraint_(x0);
      r.curve.push_back(residual(value));
      r.passes = counts;
      return value;
    };
    const auto observe = [&](const progress<at::Tensor>& p) {
      tell(examples::share_done(p));
      return examples::interrupted() ? verdict::stop : verdict::go_on;
    };
    const auto& o = a_.run.update;
    const at::Tensor x = standard_normal(at::zeros_like(target_), {a_.run.seed, 0, 0});
    const examples::usage cost;
    try {
      const auto run = m_.with_denoiser([&](const auto& denoiser) {
        return sample(x, model(denoiser, m_.path()), sampler_of(m_.path(), a_.run), watched,
                      update{inexact_newton{.probe = o.probe}, step, o.iterations},
                      sample_options{.seed = a_.run.seed}, observe);
      });
      r.passes = run.passes;
      r.latents = run.x;
      r.curve.push_back(residual(constraint_(run.x)));
      r.ending = run.reason == ending::completed ? "completed" : "stopped by the user";
    } catch (const not_finite& e) {
      r.curve.push_back(NAN);
      r.ending = "diverged in step " + std::to_string(e.step() + 1) + ", iteration " +
                 std::to_string(e.iteration() + 1);
    }
    r.seconds = cost.seconds();
  }

  /// As they are drawn: up to a thousand times the first residual, beyond which a curve would flatten the
  /// others.
  std::vector<examples::curve> curves() const {
    std::vector<examples::curve> all;
    for (const auto& r : runs_) {
      if (r.curve.empty()) continue;
      all.push_back({r.name, r.curve});
      for (double& v : all.back().values)
        if (v > 1e3 * r.curve.front()) v = NAN;
    }
    return all;
  }

  json settings_of_all() const {
    json j{{"picture", examples::name_of(a_.picture.picture)},
           {"width", target_.size(3) * m_.scale()},
           {"height", target_.size(2) * m_.scale()},
           {"known", a_.known},
           {"steps", a_.run.steps},
           {"K", a_.run.update.iterations},
           {"krylov", a_.krylov},
           {"probe", a_.run.update.probe > 0.0 ? json(a_.run.update.probe) : json("automatic")},
           {"seed", a_.run.seed}};
    describe_noise(j, m_.path(), a_.run);
    return j;
  }

  const arguments& a_;
  const latent_model& m_;
  at::Tensor target_, known_;
  masked<at::Tensor> constraint_;
  double measured_; ///< values that are known
  std::vector<studied> runs_;
};

int run(const arguments& a) {
  examples::require_fonts();
  auto inputs = files_of(a.model);
  inputs.push_back({"the picture", a.picture.picture});
  const auto named = [&](const char* end) { return examples::with_ending(a.run.out, end); };
  examples::require_writable({named(".json"), named(".svg"), named(".png"), named(".html")}, inputs);
  const at::Tensor original = image_of(read_picture(a.picture.picture));
  const model_outline outline = outline_of(a.model);
  const picture_size brought =
      fitted_size({original.size(2), original.size(3)}, a.picture.asked_size(), outline.multiple);
  require_servable(outline, a.model, a.run, brought);
  mask_arguments half;
  half.known = a.known;
  const at::Tensor mask = mask_of(half, brought, fitting::crop, {}, outline.multiple, outline.scale);
  require_room(a.model, {brought}, "ask for fewer pixels with --width and --height");
  const latent_model m(a.model, [](const std::string& part) { std::cerr << "loading the " << part << "\n"; });
  const at::Tensor image = fitted(original, a.picture.how, a.picture.asked_size(), m.multiple());
  convergence_study study(a, m, image, mask);
  study.run();
  study.print();
  study.write(image);
  return examples::interrupted() ? examples::interrupted_status : 0;
}

} // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "Compares step-size rules of inexact Newton on a half-known latent of a Stable Diffusion model:\n"
      "the infinity norm beside \u03bb = c/\u03bc\u00b2, \u03bc the largest magnitude of an eigenvalue "
      "of J at each time step\n"
      "(Arnoldi). Writes the error curves (SVG, PNG), a report (HTML) and the numbers (JSON).",
      "pushforward_convergence"};
  app.footer("Examples:\n"
             "  pushforward_convergence --model stable-diffusion-v1-5 --width 512 --height 512 photo.jpg\n"
             "  pushforward_convergence --model sd --c 0.25 0.5 1 1.9 --krylov 30 --K 5 photo.jpg\n\n"
             "A rule with c above 2 multiplies the error along the leading eigenvector by more than 1; a run "
             "that ends\n"
             "in values that are not finite is reported as diverged.");
  arguments a;
  a.run.out = "convergence";
  a.run.update.iterations = 3;
  add_picture_options(app, a.picture, "what is half known");
  const std::string group = "Study", output = "Output";
  app.add_option("--known", a.known, "the half that is known")
      ->capture_default_str()
      ->check(CLI::IsMember({"left", "right", "upper", "lower"}))
      ->group(group);
  using namespace examples;
  add_number(app, "--c", a.c, numbers{.least = rates.least, .most = 1e30},
             "of \u03bb = c/\u03bc\u00b2, one run each")
      ->group(group);
  add_number(app, "--lr", a.run.update.lr, rates, "rate of the infinity norm")->group(group);
  add_number(app, "--krylov", a.krylov, whole_numbers{1, 1000}, "Arnoldi steps for \u03bc")->group(group);
  add_number(app, "--K", a.run.update.iterations, iteration_counts, "inner iterations a time step")
      ->group(group);
  add_probe_option(app, a.run.update.probe)->group(group);
  add_number(app, "--steps", a.run.steps, step_counts, "time steps")->group(group);
  add_noise_options(app, a.run, group);
  add_number(app, "--seed", a.run.seed, any_seed, "of all noise")->group(group);
  examples::add_output_option(app, a.run.out, "writes this name with .svg, .png, .json and .html",
                              {".svg", ".png", ".json", ".html"})
      ->group(output);
  add_model_options(app, a.model);
  return examples::run_with(app, argc, argv, [&] {
    check_model_options(app, a.model);
    check_noise(app, a.run);
    return run(a);
  });
}
