// Two pullbacks of pixel errors through a tiny autoencoder, on photographs: no denoiser, the latent itself is
// moved.

#include "inputs.hpp"
#include "model.hpp"
#include "pictures.hpp"
#include "room.hpp"
#include "run.hpp"

#include <common/command_line.hpp>
#include <common/console.hpp>
#include <common/files.hpp>
#include <common/outputs.hpp>
#include <common/png.hpp>
#include <common/usage.hpp>

#include <pushforward/constraints/decoded.hpp>
#include <pushforward/constraints/linear.hpp>
#include <pushforward/constraints/masked.hpp>
#include <pushforward/constraints/separable.hpp>
#include <pushforward/error.hpp>
#include <pushforward/libtorch/denoiser.hpp>
#include <pushforward/libtorch/tensor.hpp>
#include <pushforward/step_sizes.hpp>

#include <ATen/ATen.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <iostream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace stable_diffusion;
using namespace pushforward;
using json = nlohmann::ordered_json;
namespace fs = std::filesystem;
using traits = tensor_traits<at::Tensor>;
using decoder_with_encoder = libtorch::differentiable_decoder;

struct arguments {
  fs::path network, out = "photos";
  std::vector<fs::path> pictures;
  std::vector<std::string> tasks{"superres_x4", "superres_x8", "half"};
  std::int64_t size = 256;
  std::size_t iterations = 15;
  linear_decay rate{0.5, 0.02};
  double probe = 0.005;
  bool start_grey = false;
};

/// A measurement of a photograph.
struct task {
  std::string name;
  std::function<constraint_value<at::Tensor>(const at::Tensor&)> constraint;
  std::function<at::Tensor(const at::Tensor&)> measure; ///< A
  double measurements;                                  ///< how many values are measured
  at::Tensor known;                                     ///< what is known, as an image
};

task superres(const at::Tensor& truth, std::int64_t factor) {
  const auto side = [&](std::int64_t axis) { return static_cast<std::size_t>(truth.size(axis) / factor); };
  const auto shrink = resizing(truth, side(2), side(3));
  const at::Tensor small = shrink.apply(truth);
  const auto enlarge =
      resizing(small, static_cast<std::size_t>(truth.size(2)), static_cast<std::size_t>(truth.size(3)));
  return {"superres_x" + std::to_string(factor), linear(shrink, small),
          [=](const at::Tensor& x) { return shrink.apply(x); }, static_cast<double>(small.numel()),
          enlarge.apply(small).clamp(-1.0, 1.0)};
}

task half(const at::Tensor& truth) {
  at::Tensor mask = at::ones_like(truth);
  mask.narrow(3, truth.size(3) / 2, truth.size(3) - truth.size(3) / 2).zero_();
  return {"half", masked<at::Tensor>(truth, mask), [=](const at::Tensor& x) { return x * mask; },
          mask.sum().item<double>(), truth * mask};
}

task task_named(const std::string& name, const at::Tensor& truth) {
  if (name == "half") return half(truth);
  return superres(truth, name == "superres_x4" ? 4 : 8);
}

double product_of(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) * b.to(at::kDouble)).sum().item<double>();
}

/// Nothing where one of them is zero, as where the decoder is saturated.
json cosine(const at::Tensor& a, const at::Tensor& b) {
  const double lengths = std::sqrt(product_of(a, a) * product_of(b, b));
  return lengths > 0.0 ? json(product_of(a, b) / lengths) : json();
}

/// What the two pullbacks of the pixel error e_x at z have to do with each other and with J_D^-1.
json compare_directions(const task& t, const decoder_with_encoder& d, const at::Tensor& z, double probe) {
  pass_counts uncounted;
  const at::Tensor image = d.decode(z);
  const at::Tensor error = t.constraint(image).error;
  const double h = probe / error.abs().max().item<double>();
  const at::Tensor by_encoder = (d.encode(image + h * error) - d.encode(image)) / h;
  const at::Tensor by_vjp = decoder_vjp{}(d, t.constraint, z, uncounted).error;
  const at::Tensor residual = t.measure(error); // A A^T r, or r where A is a mask
  const auto pushed = [&](const at::Tensor& e) {
    const double size = e.abs().max().item<double>();
    return size > 0.0 ? (d.decode(z + probe / size * e) - image) * (size / probe) : at::zeros_like(image);
  };
  const auto facts = [&](const at::Tensor& e) {
    const at::Tensor p = pushed(e);
    return json{{"cosine_with_pixel_error", cosine(p, error)},
                {"cosine_with_pixel_error_measured", cosine(t.measure(p), residual)}};
  };
  json j{{"cosine_of_directions", cosine(by_vjp, by_encoder)},
         {"decoder_vjp", facts(by_vjp)},
         {"encoder_difference", facts(by_encoder)}};
  j["encoder_difference"]["gain"] = product_of(pushed(by_encoder), error) / product_of(error, error);
  return j;
}

/// Root mean square over the measured values.
double residual_of(const task& t, const constraint_value<at::Tensor>& v) {
  return std::sqrt(2.0 * traits::values(v.loss).front() / t.measurements);
}

struct outcome {
  at::Tensor z, image;
  std::vector<double> residual; ///< before each iteration and after all
  pass_counts passes;
  double seconds = 0.0;
  std::size_t peak_bytes = 0;
};

/// z + step * (error pulled back), K times.
template <class Pullback>
outcome optimised(const task& t, const decoder_with_encoder& d, const Pullback& pullback, at::Tensor z,
                  const arguments& a, const std::function<void()>& tick) {
  const decoded constraint(t.constraint, d, pullback);
  const infinity_norm rule{a.rate};
  outcome o;
  const examples::usage cost;
  const auto look = [&](const auto& value) {
    o.residual.push_back(residual_of(t, value));
    if (!std::isfinite(o.residual.back()))
      throw error(t.name + ": the residual is not finite after " +
                  examples::counted(o.residual.size() - 1, "iteration", "iterations") +
                  ": take a smaller --lr, or look at the autoencoder's weights");
  };
  for (std::size_t k = 0; k < a.iterations; ++k) {
    const auto value = constraint(z, o.passes);
    look(value);
    z = traits::combine(rule.scale(value.error, k, a.iterations), value.error, 1.0, z);
    tick();
  }
  o.seconds = cost.seconds();
  o.peak_bytes = cost.peak_bytes();
  o.image = d.decode(z);
  look(t.constraint(o.image));
  o.z = z;
  return o;
}

json facts_of(const outcome& o, const at::Tensor& truth) {
  return {{"residual", o.residual},
          {"psnr_db", psnr(o.image, truth)},
          {"seconds_per_iteration", o.seconds / static_cast<double>(o.residual.size() - 1)},
          {"peak_mb", static_cast<double>(o.peak_bytes) / 1e6},
          {"decoder_passes", o.passes.decoder_forward},
          {"decoder_backward_passes", o.passes.decoder_backward},
          {"encoder_passes", o.passes.encoder_forward}};
}

std::string number(const json& value, int digits) {
  if (value.is_null()) return "-";
  char text[32];
  std::snprintf(text, sizeof text, "%.*f", digits, value.get<double>());
  return text;
}

/// One row for each photograph and task.
std::string table_of(const json& runs) {
  std::ostringstream out;
  out << "| photograph | task | residual of the autoencoder | at start | vjp: after K | encoder: after K | "
         "PSNR vjp | PSNR encoder | cos of directions, start / end | vjp: s, MB | encoder: s, MB "
         "|\n|---|---|---|---|---|---|---|---|---|---|---|\n";
  for (const auto& r : runs) {
    const auto &vjp = r["decoder_vjp"], &encoder = r["encoder_difference"];
    const auto cost = [](const json& j) {
      return number(j["seconds_per_iteration"], 2) + ", " + number(j["peak_mb"], 0);
    };
    out << "| " << r["photograph"].get<std::string>() << " | " << r["task"].get<std::string>() << " | "
        << number(r["residual_of_the_autoencoder"], 4) << " | " << number(vjp["residual"].front(), 4) << " | "
        << number(vjp["residual"].back(), 4) << " | " << number(encoder["residual"].back(), 4) << " | "
        << number(vjp["psnr_db"], 2) << " | " << number(encoder["psnr_db"], 2) << " | "
        << number(r["at_start"]["cosine_of_directions"], 2) << " / "
        << number(r["at_end"]["cosine_of_directions"], 2) << " | " << cost(vjp) << " | " << cost(encoder)
        << " |\n";
  }
  return out.str();
}

/// A photograph, and what it is called in all that is written.
struct photograph {
  std::string name;
  at::Tensor truth;
};

/// The names of the files without their endings; a name that is taken gets a number.
std::vector<std::string> names_of(const std::vector<fs::path>& pictures) {
  std::vector<std::string> names;
  const auto taken = [&](const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  for (const auto& path : pictures) {
    std::string name = path.stem().string();
    for (int number = 2; taken(name); ++number) name = path.stem().string() + "-" + std::to_string(number);
    if (name != path.stem().string())
      std::cerr << path.string() << " is called " << name << " in what is written, as "
                << path.stem().string() << " is the name of another\n";
    names.push_back(name);
  }
  return names;
}

fs::path strip_of(const arguments& a, const std::string& name, const std::string& task) {
  return a.out / (name + "_" + task + ".png");
}

/// Before anything is loaded: whether all could be written, and no photograph be overwritten.
void require_outputs(const arguments& a, const std::vector<std::string>& names) {
  std::vector<fs::path> outputs{a.out / "trace.json", a.out / "table.md"};
  for (const auto& name : names)
    for (const auto& task : a.tasks) outputs.push_back(strip_of(a, name, task));
  auto inputs = network_files(a.network, "a file of the autoencoder");
  for (const auto& path : a.pictures) inputs.push_back({"a photograph", path});
  examples::require_writable(outputs, inputs);
}

int study(const arguments& a) {
  const auto names = names_of(a.pictures);
  require_outputs(a, names);
  const auto side = static_cast<double>(a.size);
  require_free(decoder_values(libtorch::models::autoencoder_tiny_config{}, true) * sizeof(float) * side *
                   side,
               {{a.size, a.size}}, "ask for fewer pixels with --size");
  std::vector<photograph> photographs;
  for (std::size_t i = 0; i < names.size(); ++i)
    photographs.push_back({names[i], fitted(image_of(read_picture(a.pictures[i])), fitting::crop,
                                            picture_size{a.size, a.size})});
  const decoder_with_encoder d = read_autoencoder(a.network, {}).maps;
  examples::progress_bar bar("photographs");
  const double total = static_cast<double>(a.pictures.size() * a.tasks.size() * 2 * a.iterations);
  double done = 0.0;
  const auto tick = [&] {
    if (examples::interrupted()) throw examples::stopped_early{};
    bar.show(++done, total);
  };
  json runs = json::array(), autoencoded = json::object();
  examples::file_set files;
  const auto run_all = [&] {
    for (const auto& [name, truth] : photographs) {
      const at::Tensor back = d.decode(d.encode(truth));
      autoencoded[name] = psnr(back, truth);
      for (const auto& task_name : a.tasks) {
        const task t = task_named(task_name, truth);
        const at::Tensor start = d.encode(a.start_grey ? at::zeros_like(truth) : t.known);
        const auto by_vjp = optimised(t, d, decoder_vjp{}, start, a, tick);
        const auto by_encoder = optimised(t, d, encoder_difference{a.probe}, start, a, tick);
        runs.push_back({{"photograph", name},
                        {"task", t.name},
                        {"residual_of_the_autoencoder", residual_of(t, t.constraint(back))},
                        {"at_start", compare_directions(t, d, start, a.probe)},
                        {"at_end", compare_directions(t, d, by_encoder.z, a.probe)},
                        {"decoder_vjp", facts_of(by_vjp, truth)},
                        {"encoder_difference", facts_of(by_encoder, truth)}});
        files.add(strip_of(a, name, t.name), examples::png_bytes(strip({truth, t.known, d.decode(start),
                                                                        by_vjp.image, by_encoder.image})));
      }
    }
  };
  bool completed = false;
  std::string fault;
  try {
    run_all();
    completed = true;
  } catch (const examples::stopped_early&) {
    if (runs.empty()) throw;
  } catch (const error& e) {
    if (runs.empty()) throw;
    fault = e.what();
  }
  const json trace{{"size", a.size},
                   {"iterations", a.iterations},
                   {"rate", {a.rate.first, a.rate.last}},
                   {"probe", a.probe},
                   {"start", a.start_grey ? "grey" : "known"},
                   {"completed", completed},
                   {"psnr_of_the_autoencoder_db", autoencoded},
                   {"runs", runs}};
  files.add(a.out / "trace.json", trace.dump(2, ' ', false, json::error_handler_t::replace) + "\n");
  files.add(a.out / "table.md", table_of(runs));
  files.write();
  std::cout << table_of(runs);
  if (!fault.empty()) throw error(fault + "; what was written is of the runs that were finished");
  if (completed) return 0;
  std::cout << "stopped by the user; what was written is of the runs that were finished\n";
  return examples::interrupted_status;
}

} // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "Super-resolution and half-image constraints on photographs, pulled back to the latents of a tiny\n"
      "autoencoder by the decoder's vjp and by the encoder's difference. Writes a strip for each (truth, "
      "what\n"
      "is known, start, decoder vjp, encoder difference), trace.json and table.md.",
      "pushforward_photos"};
  app.footer("Example:\n  pushforward_photos --autoencoder taef2 --out photos astronaut.png chelsea.png");
  arguments a;
  examples::add_name(app, "pictures", a.pictures, "photographs, JPEG or PNG; their middle is used")
      ->required();
  examples::add_name(
      app, "--autoencoder", a.network,
      "folder with encoder.safetensors and decoder.safetensors (TAESD's family), or as diffusers "
      "writes it")
      ->required();
  examples::add_output_folder_option(app, "--out", a.out, "folder for what is written");
  app.add_option("--tasks", a.tasks, "of superres_x4, superres_x8, half")
      ->capture_default_str()
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::IsMember({"superres_x4", "superres_x8", "half"}));
  using examples::rates;
  examples::add_number(app, "--size", a.size, examples::whole_numbers{64, 8192},
                       "side in pixels, a multiple of 64")
      ->check([](const std::string& text) {
        return std::stol(text) % 64 == 0 ? std::string() : "must be a multiple of 64, not " + text;
      });
  examples::add_number(app, "--K", a.iterations, examples::whole_numbers{1, 100'000}, "iterations");
  examples::add_number(app, "--lr", a.rate.first, rates,
                       "largest change of a latent element in the first iteration");
  examples::add_number(app, "--lr-last", a.rate.last, rates, "in the last one; linear in between");
  examples::add_number(app, "--probe", a.probe, image_probes, "of the encoder's difference");
  app.add_flag("--start-grey", a.start_grey, "start from a grey image, not from what is known");
  return examples::run_with(app, argc, argv, [&] {
    for (const auto& task : a.tasks)
      if (std::count(a.tasks.begin(), a.tasks.end(), task) > 1)
        throw bad_option("--tasks names " + task + " more than once: leave one out");
    if (a.iterations == 1 && a.rate.last != a.rate.first)
      examples::refuse_given(app, {"--lr-last"}, "with --K 1, whose one iteration takes --lr: leave it out");
    return study(a);
  });
}
