#include "run.hpp"

#include "pictures.hpp"

#include <common/animation.hpp>
#include <common/command_line.hpp>
#include <common/console.hpp>
#include <common/drawing.hpp>
#include <common/files.hpp>
#include <common/outputs.hpp>
#include <common/png.hpp>
#include <common/usage.hpp>

#include <pushforward/constraints/decoded.hpp>
#include <pushforward/error.hpp>
#include <pushforward/estimate.hpp>
#include <pushforward/libtorch/safetensors.hpp>

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <system_error>

namespace stable_diffusion {

namespace fs = std::filesystem;
using json = nlohmann::ordered_json;
using namespace pushforward;
using traits = tensor_traits<at::Tensor>;

namespace {

/// Four digits.
std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

/// A value of a flat object as a reader wants to see it.
std::string shown(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_float()) return number(value.get<double>());
  if (!value.is_array()) return value.dump();
  std::string list;
  for (const auto& v : value) list += (list.empty() ? "" : ", ") + shown(v);
  return list;
}

json settings_of(const latent_model& m, const task& t, const run_arguments& a) {
  const auto& u = a.update;
  json j = t.settings;
  j["policy"] = to_string(u.policy);
  if (u.policy != examples::policy_kind::none) {
    if (u.policy == examples::policy_kind::posterior_step) {
      j["krylov"] = u.krylov;
    } else {
      j["step_size"] = to_string(u.step_size);
      j["K"] = u.iterations;
      j["lr"] = u.lr;
      if (u.step_size != examples::step_kind::spectral) j["lr_last"] = u.lr_last;
    }
    if (u.tolerance >= 0.0) j["tolerance"] = u.tolerance;
    j["probe"] = u.probe > 0.0 ? json(u.probe) : json("automatic");
    if (u.policy == examples::policy_kind::exact_newton) j["cutoff"] = u.cutoff;
  }
  j["steps"] = a.steps;
  j["start"] = a.start;
  describe_noise(j, m.path(), a);
  j["seed"] = a.seed;
  j["batch"] = a.batch;
  return j;
}

json costs_of(const steered& s) {
  json j = passes_of(s.run.passes);
  j["seconds"] = s.seconds;
  j["processor_seconds"] = s.processor_seconds;
  j["peak_bytes_above_the_loaded_model"] = s.peak_bytes;
  return j;
}

json iterations_of(const task& t, const sample_result<at::Tensor>& run) {
  json all = json::array();
  for (const auto& r : run.trace) {
    json one{{"step", r.step}, {"iteration", r.iteration}, {"t", r.t}, {"loss", r.loss}};
    if (t.measured > 0.0) {
      json residual = json::array();
      for (const double loss : r.loss) residual.push_back(std::sqrt(2.0 * loss / t.measured));
      one["residual"] = residual;
    }
    all.push_back(one);
  }
  return all;
}

fs::path picture_name(const run_arguments& a, std::size_t i, std::size_t count) {
  return examples::with_ending(a.out, count == 1 ? ".png" : "-" + std::to_string(i) + ".png");
}

/// x at the first time of the grid.
at::Tensor start_of(const latent_model& m, const task& t, const run_arguments& a, double time) {
  if (!a.latents.empty()) return read_start(a.latents, t.like);
  if (a.start < 1.0) return noised(m.path(), t.guess, time, a.seed);
  return standard_normal(t.like, {a.seed, 0, 0});
}

void refuse_large_jacobian(std::int64_t n, const run_arguments& a) {
  if (a.update.policy == examples::policy_kind::exact_newton && n > 4096)
    throw bad_option("--policy exact_newton needs the dense Jacobian, of " + std::to_string(n) + " x " +
                     std::to_string(n) +
                     " numbers and as many passes, in every inner iteration: it is "
                     "for latents of up to 4096 numbers");
}

/// Says which files of other runs under the same name are there beside those of this one, which are not to be
/// taken for its results.
void tell_older_files(const run_arguments& a, const std::vector<fs::path>& written) {
  std::vector<fs::path> others;
  for (const char* ending : {".png", "-frames.png", ".safetensors"})
    others.push_back(examples::with_ending(a.out, ending));
  for (std::size_t i = 0; i < 1000; ++i) others.push_back(picture_name(a, i, 2));
  std::string list;
  std::error_code none;
  for (const auto& path : others)
    if (std::find(written.begin(), written.end(), path) == written.end() && fs::exists(path, none))
      list += ' ' + path.string();
  if (!list.empty()) std::cout << "not of this run, but there:" << list << '\n';
}

} // namespace

std::vector<fs::path> outputs_of(const run_arguments& a) {
  std::vector<fs::path> files;
  const auto count = static_cast<std::size_t>(a.batch);
  for (std::size_t i = 0; i < count; ++i) files.push_back(picture_name(a, i, count));
  for (const char* ending : {".json", ".html"}) files.push_back(examples::with_ending(a.out, ending));
  if (a.frames) files.push_back(examples::with_ending(a.out, "-frames.png"));
  if (a.save_latents) files.push_back(examples::with_ending(a.out, ".safetensors"));
  return files;
}

void require_files(const run_arguments& a, const model_arguments& m,
                   std::vector<examples::input_file> inputs) {
  for (auto& file : files_of(m)) inputs.push_back(std::move(file));
  inputs.push_back({"the latents", a.latents});
  examples::require_writable(outputs_of(a), inputs);
  if (!a.latents.empty()) safetensors::file{a.latents};
}

void require_start(const fs::path& path, const std::vector<std::int64_t>& shape) {
  if (path.empty()) return;
  const safetensors::file file(path);
  if (!file.contains("start"))
    throw bad_option("--latents: " + path.string() +
                     " has no tensor `start`: take the file that another run wrote under --save-latents");
  const auto& stored = file.at("start").shape;
  if (stored != shape)
    throw bad_option("--latents: `start` in " + path.string() + " is " + c10::str(at::IntArrayRef(stored)) +
                     ", but this run's latents are " + c10::str(at::IntArrayRef(shape)));
  const at::Tensor start = libtorch::read_tensor(file, "start");
  if (!at::isFloatingType(start.scalar_type()) || !at::isfinite(start).all().item<bool>())
    throw bad_option("--latents: `start` in " + path.string() +
                     " must hold finite numbers of a floating type: take the file of another run");
}

at::Tensor read_start(const fs::path& path, const at::Tensor& like) {
  require_start(path, like.sizes().vec());
  return libtorch::read_tensor(safetensors::file(path), "start").to(like.options());
}

void describe_noise(json& settings, const examples::any_path& path, const run_arguments& a) {
  if (path.is_flow())
    settings["renoise"] = a.renoise;
  else
    settings["eta"] = a.eta ? json(*a.eta) : json("one-step beta");
}

void require_size(const model_outline& o, const picture_size& size, const std::string& options) {
  if (o.largest > 0 && std::max(size.height, size.width) > o.largest)
    throw bad_option(options + ": this model takes pictures of sides up to " + std::to_string(o.largest) +
                     " pixels, not " + std::to_string(size.height) + " x " + std::to_string(size.width));
}

void require_servable(const model_outline& o, const model_arguments& m, const run_arguments& a,
                      const picture_size& size) {
  if (o.path.is_flow() && a.eta)
    throw bad_option("--eta has no effect on a flow, which has --renoise: leave it out");
  if (!o.path.is_flow() && a.renoise > 0.0)
    throw bad_option("--renoise has no effect on a diffusion model, which has --eta: leave it out");
  sampler_of(o.path, a);
  require_size(o, size);
  const auto height = size.height / o.scale, width = size.width / o.scale;
  require_start(a.latents, {a.batch, o.channels, height, width});
  refuse_large_jacobian(o.channels * height * width, a);
  if (a.update.policy == examples::policy_kind::forward_mode_newton && is_guided(m))
    throw bad_option("--policy forward_mode_newton does not work under guidance: take inexact_newton, or "
                     "pass --guidance 1");
  if (examples::takes_differences(a.update.policy) ||
      (a.update.policy != examples::policy_kind::none && a.update.step_size == examples::step_kind::spectral))
    require_felt(a.update.probe, m.unet.type, "--probe", "--dtype");
}

void run_arguments::set_rates(const CLI::App& app, double first, double last) {
  if (app.count("--lr") == 0)
    update.lr = first;
  else if (first == last)
    last = update.lr;
  if (app.count("--lr-last") == 0) update.lr_last = std::min(last, update.lr);
}

void add_noise_options(CLI::App& app, run_arguments& a, const std::string& group) {
  using namespace examples;
  add_number(app, "--eta", a.eta, shares, "DDIM's noise [the reference's one-step-beta noise]")->group(group);
  add_number(app, "--renoise", a.renoise, shares, "of a flow: the share of noise that a step draws anew")
      ->group(group);
}

void add_run_options(CLI::App& app, run_arguments& a) {
  using namespace examples;
  add_update_options(app, a.update, "sample");
  const std::string sampler = "Sampler", output = "Output";
  add_number(app, "--steps", a.steps, step_counts, "time steps")->group(sampler);
  add_number(app, "--start", a.start, positive_shares,
             "where to start: 1 from noise, less from the noised input (image to image)")
      ->group(sampler);
  add_noise_options(app, a, sampler);
  add_number(app, "--seed", a.seed, any_seed, "of all noise")->group(sampler);
  add_number(app, "--batch", a.batch, whole_numbers{1, 1000}, "samples at once")->group(sampler);
  add_name(app, "--latents", a.latents,
           "starts from the tensor `start` of this .safetensors file, in place of noise of the seed")
      ->group(sampler);
  examples::add_output_option(app, a.out, "writes this name with .png, .json (trace) and .html (report)",
                              {".png", ".json", ".html", ".safetensors"})
      ->group(output);
  app.add_flag("--frames", a.frames,
               "also the first sample's estimate at each time step, as an animated PNG; a decoder pass each")
      ->group(output);
  app.add_flag("--save-latents", a.save_latents,
               "also the latents, at the start and at the end, as .safetensors")
      ->group(output);
}

void check_noise(const CLI::App& app, const run_arguments& a) {
  const std::string last = "with --steps 1, whose one step ends without noise: leave it out";
  if (a.steps == 1 && a.eta.value_or(0.0) > 0.0) examples::refuse_given(app, {"--eta"}, last);
  if (a.steps == 1 && a.renoise > 0.0) examples::refuse_given(app, {"--renoise"}, last);
}

void check_run_options(const CLI::App& app, const run_arguments& a) {
  examples::check_update_options(app, a.update);
  check_noise(app, a);
  if (!a.latents.empty() && (a.eta == 0.0 || a.steps == 1))
    examples::refuse_given(app, {"--seed"},
                           "with --latents and steps without noise, as nothing is drawn: leave it out");
}

path_sampler sampler_of(const examples::any_path& path, const run_arguments& a,
                        const std::string& steps_option) {
  return examples::as_option(a.start < 1.0 ? steps_option + ", --start" : steps_option, [&] {
    if (path.is_flow()) return path.sampler({.steps = a.steps, .renoise = a.renoise, .start = a.start});
    return path.sampler(
        {.steps = a.steps, .eta = a.eta.value_or(0.0), .one_step_beta = !a.eta, .start = a.start});
  });
}

void pullback_arguments::describe(json& settings) const {
  settings["pullback"] = kind == pullback_kind::encoder ? "encoder difference" : "decoder vjp";
  if (kind == pullback_kind::encoder) settings["encoder_probe"] = probe;
}

void add_pullback_options(CLI::App& app, pullback_arguments& a, const std::string& group,
                          const std::string& note) {
  examples::add_choice<pullback_kind>(
      app, "--pullback", a.kind, {{"decoder", pullback_kind::decoder}, {"encoder", pullback_kind::encoder}},
      "how pixel errors become latent errors: by the decoder's backward pass, or by the encoder's "
      "difference" +
          note,
      group);
  examples::add_number(app, "--encoder-probe", a.probe, image_probes,
                       "of the encoder's difference, of a range of 2; unless given, more for half types")
      ->group(group);
}

void choose_pullback(const CLI::App& app, pullback_arguments& a, examples::policy_kind policy,
                     c10::ScalarType type) {
  if (policy == examples::policy_kind::none)
    examples::refuse_given(
        app, {"--pullback", "--encoder-probe"},
        "with --policy none, which looks at no error: leave it out, or take another policy");
  if (policy == examples::policy_kind::vae_newton) {
    if (a.kind == pullback_kind::decoder)
      examples::refuse_given(app, {"--pullback"},
                             "as decoder with --policy vae_newton, whose pullback is the encoder's: leave it "
                             "out, or take inexact_newton");
    a.kind = pullback_kind::encoder;
  }
  if (a.kind == pullback_kind::encoder && policy == examples::policy_kind::posterior_step)
    examples::refuse_given(
        app, {"--krylov"},
        "with --pullback encoder, whose error is no gradient, so that one product is taken: "
        "leave it out, or take --pullback decoder");
  if (a.kind == pullback_kind::decoder)
    examples::refuse_given(app, {"--encoder-probe"},
                           "with the decoder's pullback: leave it out, or pass --pullback encoder");
  else if (examples::given(app, "--encoder-probe"))
    require_felt(a.probe, type, "--encoder-probe", "--vae-dtype");
  else
    a.probe = automatic_probe(resolution_of(type));
}

steered steer(const latent_model& m, const task& t, const run_arguments& a) {
  refuse_large_jacobian(t.like[0].numel(), a);
  const auto sampler = sampler_of(m.path(), a);
  const at::Tensor x = start_of(m, t, a, sampler.time(0));
  steered s{{}, x, {}, {}, {}};
  double spent_on_frames = 0.0;
  examples::progress_bar bar(t.name + ", " + to_string(a.update.policy));
  const auto observe = [&](const progress<at::Tensor>& p) {
    std::string state;
    if (p.constraint) {
      const double loss = traits::values(p.constraint->loss).front();
      state = t.measured > 0.0 ? "residual " + number(std::sqrt(2.0 * loss / t.measured))
                               : "loss " + number(loss);
    }
    if (a.frames && p.when == moment::stepped) {
      const examples::usage cost;
      s.frames.push_back(picture_of(m.decode(p.at.x0.narrow(0, 0, 1))));
      spent_on_frames += cost.seconds();
    }
    bar.show(examples::share_done(p), 1.0, state);
    return examples::interrupted() ? verdict::stop : verdict::go_on;
  };
  const examples::usage cost;
  s.run = m.with_denoiser([&](const auto& denoiser) {
    return examples::sampled(x, model(denoiser, m.path()), sampler, t.constraint, a.update,
                             sample_options{.seed = a.seed}, observe);
  });
  s.latents = s.run.x;
  s.images = m.decode(s.latents);
  s.run.passes.decoder_forward += static_cast<std::size_t>(s.images.size(0));
  s.seconds = cost.seconds() - spent_on_frames;
  s.processor_seconds = cost.processor_seconds();
  s.peak_bytes = cost.peak_bytes();
  if (!at::isfinite(s.images).all().item<bool>())
    throw error(
        "the decoded picture holds values that are not finite: try --vae-dtype float32, or another --vae");
  return s;
}

std::vector<double> residuals(const task& t, const sample_result<at::Tensor>& run) {
  std::vector<double> curve;
  for (const auto& r : run.trace) {
    double sum = 0.0;
    for (const double loss : r.loss) sum += t.measured > 0.0 ? std::sqrt(2.0 * loss / t.measured) : loss;
    curve.push_back(sum / static_cast<double>(r.loss.size()));
  }
  return curve;
}

examples::report::table rows_of(const json& flat) {
  examples::report::table rows;
  for (const auto& [key, value] : flat.items()) {
    std::string words = key;
    std::replace(words.begin(), words.end(), '_', ' ');
    rows.emplace_back(words, shown(value));
  }
  return rows;
}

int write_results(const latent_model& m, const task& t, const run_arguments& a, const steered& s,
                  const findings& f) {
  const auto named = [&](const std::string& end) { return examples::with_ending(a.out, end); };
  examples::file_set files;

  const bool completed = s.run.reason == ending::completed;
  const std::string stopped =
      "stopped by the user in step " + std::to_string(s.run.steps + 1) + " of " + std::to_string(a.steps);
  examples::report page;
  page.title = t.title;
  page.pictures = f.inputs;
  for (std::size_t i = 0; i < f.pictures.size(); ++i) {
    const auto picture = picture_of(f.pictures[i].unsqueeze(0));
    const std::string which = f.pictures.size() == 1 ? "" : "-" + std::to_string(i);
    files.add(picture_name(a, i, f.pictures.size()), examples::png_bytes(picture));
    page.pictures.push_back({which.empty() ? "result" : "result " + std::to_string(i), picture});
  }
  const json settings = settings_of(m, t, a);
  json costs = costs_of(s);
  costs.update(f.costs);
  const json trace{{"task", t.name},
                   {"model", m.facts()},
                   {"settings", settings},
                   {"ending", completed ? "completed" : "stopped by the user"},
                   {"steps_taken", s.run.steps},
                   {"results", f.results},
                   {"costs_of_the_batch", costs},
                   {"residual", t.residual},
                   {"iterations", iterations_of(t, s.run)}};
  files.add(named(".json"), trace.dump(1, ' ', false, json::error_handler_t::replace) + "\n");
  const auto curve = residuals(t, s.run);
  if (!curve.empty())
    page.plots.push_back(examples::curve_plot(t.residual, "inner iteration", t.residual,
                                              {{to_string(a.update.policy), curve}}, true));
  page.results = rows_of(f.results);
  page.costs = rows_of(costs);
  page.settings = rows_of(settings);
  for (auto& row : rows_of(m.facts())) page.settings.push_back(std::move(row));
  if (!completed) page.note = stopped;
  files.add(named(".html"), examples::html_of(page));
  if (!s.frames.empty()) files.add(named("-frames.png"), examples::animated_png(s.frames, 0.2, 2.0));
  if (a.save_latents)
    files.add(named(".safetensors"),
              libtorch::serialize_tensors({{"start", s.start}, {"latents", s.latents}}));
  files.write();

  for (const auto& [name, value] : rows_of(f.results)) std::cout << name << ": " << value << '\n';
  const auto& p = s.run.passes;
  std::cout << examples::counted(p.forward, "pass", "passes") << ", "
            << examples::counted(p.backward + p.decoder_backward, "backward pass", "backward passes") << ", "
            << number(s.seconds) << " s\nwrote";
  for (const auto& path : files.paths()) std::cout << ' ' << path.string();
  std::cout << '\n';
  tell_older_files(a, files.paths());
  if (completed) return 0;
  std::cout << stopped << "; what was written is the estimate that stood then\n";
  return examples::interrupted_status;
}

} // namespace stable_diffusion
