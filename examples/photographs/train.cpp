// Trains a denoiser of photographs, and writes its weights.

#include "data.hpp"
#include "network.hpp"

#include <common/command_line.hpp>
#include <common/console.hpp>
#include <common/files.hpp>
#include <common/outputs.hpp>
#include <common/png.hpp>

#include <free_memory.hpp>
#include <pictures.hpp>

#include <pushforward/error.hpp>
#include <pushforward/safetensors/regular_file.hpp>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/GradMode.h>
#include <torch/serialize.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <iostream>
#include <memory>
#include <optional>
#include <sstream>

namespace {

namespace fs = std::filesystem;
using examples::parameters;
using photographs::network;
using photographs::network_config;
using photographs::text_of;
using pushforward::bad_file;
using pushforward::bad_option;
using pushforward::safetensors::is_there;
using pushforward::safetensors::regular_file;

struct options {
  fs::path photographs;
  fs::path folder = "train";
  fs::path start_from;
  std::int64_t steps = 200000;
  std::optional<double> minutes; ///< of training in all
  std::int64_t batch = 16;
  std::int64_t patch = 64;
  double rate = 1e-3;
  double cool_down = 0.2; ///< share of the run in which the rate falls to 0
  std::int64_t every = 500;
  std::uint64_t seed = 1;
  std::string device = "cpu";
  std::optional<std::int64_t> threads;
  network_config config;
};

fs::path checkpoint_of(const fs::path& folder) { return folder / "denoiser.ckpt"; }
fs::path log_of(const fs::path& folder) { return folder / "denoiser.jsonl"; }

c10::Device device_named(const std::string& name) {
  if (name == "cpu") return c10::Device(c10::kCPU);
  if (name != "cuda") throw bad_option("there is no device " + name + ": it must be cpu or cuda");
  if (!at::hasCUDA() || at::detail::getCUDAHooks().getNumGPUs() < 1)
    throw bad_option("there is no device cuda here; leave --device out to train on the CPU");
  return c10::Device(c10::kCUDA, 0);
}

std::vector<at::Tensor> values_of(const parameters& weights) {
  std::vector<at::Tensor> values;
  for (const auto& [name, value] : weights.all()) values.push_back(value);
  return values;
}

/// One over the mean squared error that a good denoiser leaves, roughly, so that all noise levels count
/// alike; flat below sigma = 0.01, where next to nothing is to be learned.
at::Tensor loss_weight(const at::Tensor& sigma) {
  return (1.0 + sigma / 0.0136).pow(1.08) / (sigma.square() + 1e-4);
}

/// Log-normal noise levels (median 0.1, standard deviation of the logarithm 1.3), cut to [0.001, 3]; evenly
/// spread over the batch.
at::Tensor noise_levels(std::int64_t count) {
  const at::Tensor u = (at::randperm(count, at::kDouble) + at::rand({count}, at::kDouble)) / count;
  return at::exp(std::log(0.1) + 1.3 * std::sqrt(2.0) * at::erfinv(2.0 * u - 1.0))
      .clamp(0.001, 3.0)
      .to(at::kFloat);
}

/// The levels, of 255, at which the held-out photographs are denoised.
constexpr int reported_levels[] = {5, 15, 25, 50, 100, 255};

/// Mean PSNR in dB over the crops at each reported level, after clamping to [0, 1]; the noise is always the
/// same. One row of `each` for each crop, where asked for. Null after Ctrl-C.
nlohmann::ordered_json psnr_of(const network& n, const std::vector<at::Tensor>& crops,
                               nlohmann::ordered_json* each = nullptr,
                               examples::progress_bar* bar = nullptr) {
  const c10::NoGradGuard no_grad;
  auto noise = at::make_generator<at::CPUGeneratorImpl>(7);
  std::vector<double> sums(std::size(reported_levels), 0.0);
  double done = 0.0;
  for (const auto& crop : crops) {
    const at::Tensor eps = at::randn(crop.sizes(), noise, at::kFloat).to(crop.device());
    nlohmann::ordered_json row;
    for (std::size_t i = 0; i < sums.size(); ++i) {
      if (examples::interrupted()) return nullptr;
      const double sigma = reported_levels[i] / 255.0;
      const at::Tensor x0 = n(crop + sigma * eps, at::full({1}, sigma, crop.options())).clamp(0.0, 1.0);
      const double psnr = -10.0 * std::log10((x0 - crop).square().mean().item<double>());
      sums[i] += psnr / static_cast<double>(crops.size());
      row[std::to_string(reported_levels[i])] = std::round(1000.0 * psnr) / 1000.0;
      if (bar != nullptr) bar->show(++done, static_cast<double>(crops.size() * sums.size()));
    }
    if (each != nullptr) each->push_back(row);
  }
  nlohmann::ordered_json mean;
  for (std::size_t i = 0; i < sums.size(); ++i)
    mean[std::to_string(reported_levels[i])] = std::round(1000.0 * sums[i]) / 1000.0;
  return mean;
}

/// A checkpoint opened for reading.
class checkpoint {
public:
  explicit checkpoint(const fs::path& path) : path_{path} {
    if (!is_there(path)) throw bad_file(path.string() + ": there is no such checkpoint; train it first");
    const std::string bytes = regular_file(path).read(std::uint64_t{1} << 32);
    try {
      archive_.load_from(bytes.data(), bytes.size(), at::Device(at::kCPU)); // wherever it was trained
    } catch (const c10::Error&) {
      throw bad_file(
          path.string() +
          ": is not a readable checkpoint of a training; name another, or move it away to start anew");
    }
  }

  at::Tensor tensor(const std::string& name) {
    // one of its own for each: a second read into one would write into the archive's memory
    at::Tensor value;
    if (!archive_.try_read(name, value)) damaged(name);
    return value;
  }
  std::string text(const std::string& name) {
    c10::IValue value;
    if (!archive_.try_read(name, value) || !value.isString()) damaged(name);
    return value.toStringRef();
  }
  network_config config() {
    try {
      return photographs::config_of(text("config"));
    } catch (const bad_option&) {
      damaged("config");
    }
  }
  void copy(const std::string& prefix, parameters& weights) {
    const c10::NoGradGuard no_grad;
    for (auto& [name, value] : weights.all()) {
      const at::Tensor read = tensor(prefix + name);
      if (read.sizes() != value.sizes()) damaged(prefix + name);
      value.copy_(read);
    }
  }

private:
  [[noreturn]] void damaged(const std::string& name) const {
    throw bad_file(path_.string() + ": belongs to another network (" + name +
                   "); take another --folder, or remove it to start anew");
  }
  fs::path path_;
  torch::serialize::InputArchive archive_;
};

/// One training run: everything a checkpoint holds, and one step of it.
class training {
public:
  explicit training(const options& o)
      : options_{o}, device_{device_named(o.device)}, checkpoint_{checkpoint_of(o.folder)} {
    at::globalContext().setFlushDenormal(true);
    at::globalContext().setBenchmarkCuDNN(true); // every batch has the same shape
    at::manual_seed(o.seed);
    set_ = photographs::read_photographs(o.photographs / "training", o.patch);
    crops_ = photographs::held_out_crops(o.photographs / "held_out");
    set_.pixels = set_.pixels.to(device_);
    for (auto& crop : crops_) crop = crop.to(device_);

    network_ = std::make_unique<network>(o.config);
    if (!o.start_from.empty()) {
      checkpoint from(o.start_from);
      from.copy("average.", network_->weights());
    }
    for (auto& [name, value] : network_->weights().all()) {
      value = value.to(device_).set_requires_grad(true);
      average_.push_back(value.detach().clone());
      first_moment_.push_back(at::zeros_like(average_.back()));
      second_moment_.push_back(at::zeros_like(average_.back()));
      counts_.push_back(at::zeros({}, average_.back().options()));
    }
    values_ = values_of(network_->weights());
    loss_ = at::zeros({}, at::TensorOptions(at::kFloat).device(device_));
    if (is_there(checkpoint_)) resume();
  }

  std::int64_t step() const { return step_; }
  double seconds() const { return seconds_; }
  std::size_t count() const { return set_.count; }
  const network& trained() const { return *network_; }

  /// How far the run is, 0 to 1: by its steps, or by the clock where it has a time limit.
  double done() const {
    const double by_steps = static_cast<double>(step_) / static_cast<double>(options_.steps);
    return options_.minutes ? std::max(by_steps, seconds_ / (60.0 * *options_.minutes)) : by_steps;
  }

  /// The rate of the next step: rises over 200 steps, stays, and falls to 0 in the last part of the run.
  double rate() const {
    const double start = std::min(1.0, static_cast<double>(step_ + 1) / 200.0);
    const double left = std::max(0.0, 1.0 - done());
    const double end = options_.cool_down > 0.0 ? std::min(1.0, left / options_.cool_down) : 1.0;
    return options_.rate * start * end;
  }

  /// One step of AdamW.
  void advance() {
    const auto start = std::chrono::steady_clock::now();
    const at::Tensor x0 = photographs::patches(set_, options_.batch, options_.patch);
    const at::Tensor sigma = noise_levels(options_.batch).to(device_, /*non_blocking=*/true);
    const at::Tensor eps = at::randn_like(x0);
    const at::Tensor output = (*network_)(x0 + sigma.view({-1, 1, 1, 1}) * eps, sigma);
    const at::Tensor loss = ((output - x0).square().mean({1, 2, 3}) * loss_weight(sigma)).mean();
    for (auto& value : values_) value.mutable_grad() = at::Tensor();
    loss.backward();

    const c10::NoGradGuard no_grad;
    std::vector<at::Tensor> gradients;
    for (auto& value : values_) gradients.push_back(value.grad());
    const at::Tensor norm = at::stack(at::_foreach_norm(gradients)).norm();
    at::_foreach_mul_(gradients, at::clamp_max(1.0 / norm, 1.0));
    at::_foreach_add_(counts_, 1.0);
    at::_fused_adamw_(values_, gradients, first_moment_, second_moment_, {}, counts_, rate(), 0.9, 0.99, 1e-4,
                      1e-8, false, false);
    ++step_;
    // the power function average of Karras et al. 2024: its length is a fixed share of the run so far
    at::_foreach_lerp_(average_, values_, 13.0 / (static_cast<double>(step_) + 12.0));
    loss_ += loss.detach();
    ++summed_;
    seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  /// Whether there were steps since the last report.
  bool unreported() const { return summed_ > 0; }

  /// The mean loss since the last report, and how well the averaged weights denoise what was held out. Draws
  /// nothing from the training's generators. Null after Ctrl-C, which leaves all to the next report.
  nlohmann::ordered_json report() {
    const double loss = loss_.item<double>() / static_cast<double>(std::max<std::int64_t>(1, summed_));
    if (!std::isfinite(loss)) examples::diverged(step_);
    swap_averages();
    const auto psnr = psnr_of(*network_, crops_);
    swap_averages();
    if (psnr.is_null()) return psnr;
    loss_.zero_();
    summed_ = 0;
    return {
        {"step", step_}, {"loss", loss}, {"rate", rate()}, {"psnr", psnr}, {"seconds", std::round(seconds_)}};
  }

  void save() {
    examples::require_finite(average_, step_);
    torch::serialize::OutputArchive archive;
    const auto& all = network_->weights().all();
    for (std::size_t i = 0; i < all.size(); ++i) {
      const auto& name = all[i].first;
      archive.write("now." + name, all[i].second.detach());
      archive.write("average." + name, average_[i]);
      archive.write("first_moment." + name, first_moment_[i]);
      archive.write("second_moment." + name, second_moment_[i]);
    }
    archive.write("step", at::tensor(step_));
    archive.write("seed", c10::IValue(std::to_string(options_.seed)));
    archive.write("seconds", at::tensor(seconds_, at::kDouble));
    archive.write("loss", loss_);
    archive.write("summed", at::tensor(summed_));
    archive.write("config", c10::IValue(text_of(network_->config())));
    archive.write("photographs", c10::IValue(set_.fingerprint));
    archive.write("generator", generator(at::kCPU).get_state());
    if (device_.is_cuda()) archive.write("generator.cuda", generator(at::kCUDA).get_state());
    std::ostringstream bytes;
    archive.save_to(bytes);
    examples::write_text(checkpoint_, bytes.str());
  }

private:
  static at::Generator generator(c10::DeviceType device) {
    return at::globalContext().defaultGenerator(c10::Device(device, device == at::kCUDA ? 0 : -1));
  }

  void swap_averages() {
    const c10::NoGradGuard no_grad;
    for (std::size_t i = 0; i < values_.size(); ++i) {
      const at::Tensor mine = values_[i].detach().clone();
      values_[i].copy_(average_[i]);
      average_[i].copy_(mine);
    }
  }

  void resume() {
    const c10::NoGradGuard no_grad;
    checkpoint from(checkpoint_);
    if (from.text("config") != text_of(network_->config()))
      throw bad_file(checkpoint_.string() + ": belongs to another network, " + from.text("config") +
                     "; take another --folder, or remove it to start anew");
    if (from.text("photographs") != set_.fingerprint)
      throw bad_file(checkpoint_.string() + ": was trained on other photographs, or with another --patch (" +
                     from.text("photographs") + "); take another --folder, with --start-from " +
                     checkpoint_.string());
    if (const auto seed = std::to_string(options_.seed); from.text("seed") != seed)
      throw bad_option("--seed is " + seed + ", but " + checkpoint_.string() + " was begun with " +
                       from.text("seed") + ": pass that, or take another --folder");
    from.copy("now.", network_->weights());
    std::size_t i = 0;
    step_ = from.tensor("step").item<std::int64_t>();
    for (const auto& [name, value] : network_->weights().all()) {
      average_[i].copy_(from.tensor("average." + name));
      first_moment_[i].copy_(from.tensor("first_moment." + name));
      second_moment_[i].copy_(from.tensor("second_moment." + name));
      counts_[i++].fill_(static_cast<double>(step_));
    }
    seconds_ = from.tensor("seconds").item<double>();
    loss_.copy_(from.tensor("loss"));
    summed_ = from.tensor("summed").item<std::int64_t>();
    generator(at::kCPU).set_state(from.tensor("generator"));
    if (device_.is_cuda()) generator(at::kCUDA).set_state(from.tensor("generator.cuda"));
  }

  options options_;
  c10::Device device_;
  fs::path checkpoint_;
  photographs::photograph_set set_;
  std::vector<at::Tensor> crops_;
  std::unique_ptr<network> network_;
  std::vector<at::Tensor> values_, average_, first_moment_, second_moment_, counts_;
  at::Tensor loss_;
  std::int64_t step_ = 0, summed_ = 0;
  double seconds_ = 0.0;
};

std::vector<fs::path> pictures_of(const fs::path& folder) {
  return examples::as_option("--photographs", [&] { return photographs::pictures_in(folder); });
}

/// \throws pushforward::bad_option where training on the CPU would take more memory than is free
void require_room(const options& o) {
  const double bytes = photographs::bytes_of_training(o.config, o.batch * o.patch * o.patch);
  const double free = stable_diffusion::free_memory();
  if (bytes > free)
    throw bad_option("--batch " + std::to_string(o.batch) + " with --patch " + std::to_string(o.patch) +
                     " takes about " + stable_diffusion::megabytes(bytes) +
                     " of memory for this network, but " + stable_diffusion::megabytes(free) +
                     " are free: lower --batch or --patch, or take smaller --widths");
}

int train(const options& o) {
  std::vector<examples::input_file> inputs{{"the checkpoint to start from", o.start_from}};
  for (const char* part : {"training", "held_out"})
    for (const auto& path : pictures_of(o.photographs / part)) inputs.push_back({"a photograph", path});
  examples::as_option("--space-to-depth, --widths, --blocks", [&] { photographs::check(o.config); });
  if (examples::as_option("--device", [&] { return device_named(o.device); }).is_cpu()) require_room(o);
  if (o.threads) at::set_num_threads(static_cast<int>(*o.threads));
  examples::require_writable({checkpoint_of(o.folder), log_of(o.folder)}, inputs, "--folder");
  training run(o);
  std::cerr << run.count() << " photographs, " << run.trained().weights().count() << " parameters, ";
  if (run.done() < 1.0)
    std::cerr << "from step " << run.step() << " of " << o.steps << '\n';
  else
    std::cerr << "nothing to train: " << run.step() << " steps and " << run.seconds() / 60.0
              << " minutes are done; ask for more --steps or --minutes\n";
  examples::progress_bar bar("denoiser");
  const auto reported = [&] {
    const auto line = run.report();
    if (line.is_null()) return false;
    run.save();
    examples::append_line(log_of(o.folder), line.dump());
    bar.line(line.dump());
    return true;
  };
  const auto first = run.step();
  const double before = run.seconds();
  while (run.done() < 1.0 && !examples::interrupted()) {
    run.advance();
    const double patches = static_cast<double>((run.step() - first) * o.batch) / (run.seconds() - before);
    bar.show(run.done(), 1.0, std::to_string(static_cast<std::int64_t>(patches)) + " patches/s");
    if (run.step() % o.every == 0 && run.done() < 1.0) reported();
  }
  if (run.done() >= 1.0 && (!run.unreported() || reported())) return 0;
  run.save();
  bar.line("stopped at step " + std::to_string(run.step()) + "; the same command goes on from there");
  return examples::interrupted_status;
}

/// The last line of a training's log that is whole; empty where there is none.
std::string last_line(const fs::path& log) {
  if (!is_there(log)) return {};
  std::istringstream lines(regular_file(log).read(std::uint64_t{1} << 28));
  std::string last;
  for (std::string line; std::getline(lines, line);)
    if (nlohmann::json::accept(line)) last = line;
  return last;
}

void export_weights(const fs::path& folder, const fs::path& to, bool half) {
  examples::require_writable({to}, {{"the checkpoint", checkpoint_of(folder)}, {"the log", log_of(folder)}});
  checkpoint from(checkpoint_of(folder));
  network n(from.config());
  from.copy("average.", n.weights());
  std::map<std::string, std::string> facts{{"photographs", from.text("photographs")}};
  if (const auto line = last_line(log_of(folder)); !line.empty()) facts["training"] = line;
  examples::write_text(to, photographs::serialize_network(n, facts, half));
  std::cerr << "wrote " << to.string() << '\n';
}

/// A row for each crop: with noise of `level` of 255, denoised, and clean.
examples::picture sheet_of(const network& n, const std::vector<at::Tensor>& crops, double level) {
  const c10::NoGradGuard no_grad;
  auto noise = at::make_generator<at::CPUGeneratorImpl>(7);
  std::vector<at::Tensor> rows;
  examples::progress_bar bar("sheet");
  for (const auto& crop : crops) {
    examples::stop_if_interrupted();
    const at::Tensor x = crop + level / 255.0 * at::randn(crop.sizes(), noise, at::kFloat);
    rows.push_back(at::cat({x, n(x, at::full({1}, level / 255.0)), crop}, 3));
    bar.show(static_cast<double>(rows.size()), static_cast<double>(crops.size()));
  }
  return stable_diffusion::picture_of(2.0 * at::cat(rows, 2) - 1.0);
}

void evaluate(const fs::path& weights, const fs::path& folder, const fs::path& sheet, double level) {
  std::vector<examples::input_file> read{{"the weights", weights}};
  for (const auto& path : pictures_of(folder)) read.push_back({"a photograph", path});
  if (!sheet.empty()) examples::require_writable({sheet}, read);
  const network n = photographs::read_network(weights);
  nlohmann::ordered_json each = nlohmann::ordered_json::array();
  const auto crops = photographs::held_out_crops(folder);
  const auto mean = [&] {
    examples::progress_bar bar("PSNR");
    return psnr_of(n, crops, &each, &bar);
  }();
  examples::stop_if_interrupted();
  if (!sheet.empty()) {
    const auto drawn = sheet_of(n, crops, level);
    examples::stop_if_interrupted();
    examples::write_png(sheet, drawn);
  }
  for (const auto& row : each) std::cout << row.dump() << '\n';
  std::cout << nlohmann::ordered_json{{"mean", mean}}.dump() << '\n';
}

} // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "Trains a denoiser of photographs.\n"
      "A run that was stopped or killed goes on from its last checkpoint when the command is given again.",
      "pushforward_photographs_train"};
  app.footer("Example: pushforward_photographs_train train --photographs photographs/ --minutes 600\n"
             "         pushforward_photographs_train export --out denoiser");
  app.require_subcommand(1);
  using namespace examples;
  options o;
  auto& trained = *app.add_subcommand("train", "train it, and measure it on held-out photographs");
  add_name(trained, "--photographs", o.photographs,
           "folder with training/ and held_out/, each with JPEG and PNG files (scripts/photographs.sh)")
      ->required();
  const whole_numbers counts{1, 1'000'000'000};
  add_output_folder_option(trained, "--folder", o.folder, "checkpoint and log");
  add_name(trained, "--start-from", o.start_from, "checkpoint whose averaged weights to start from");
  add_number(trained, "--steps", o.steps, counts, "optimisation steps");
  add_number(trained, "--minutes", o.minutes, positive,
             "stop after so many minutes of training in all, if that is sooner");
  add_number(trained, "--batch", o.batch, whole_numbers{1, 10'000}, "patches a step");
  add_number(trained, "--patch", o.patch, whole_numbers{16, 512}, "side of a patch, in pixels");
  add_number(trained, "--rate", o.rate, numbers{.least = 1e-9, .most = 1.0}, "highest learning rate");
  add_number(trained, "--cool-down", o.cool_down, shares,
             "share of the run, at its end, in which the rate falls to 0");
  add_number(trained, "--every", o.every, counts, "steps between checkpoints");
  add_number(trained, "--seed", o.seed, any_seed, "of the first weights, the patches and the noise");
  add_name(trained, "--device", o.device, "cpu or cuda")->capture_default_str();
  add_number(trained, "--threads", o.threads, whole_numbers{1, 1024}, "on the CPU [one for each core]");
  add_number(trained, "--space-to-depth", o.config.patch, whole_numbers{1, 4},
             "the network's first step: 1, 2 or 4");
  add_number(trained, "--widths", o.config.widths, whole_numbers{1, 512}, "channels of the network's levels");
  add_number(trained, "--blocks", o.config.blocks, whole_numbers{1, 16},
             "residual blocks of the network's levels");
  auto& exported = *app.add_subcommand("export", "write the averaged weights as float16 safetensors");
  fs::path out = "denoiser", weights, pictures;
  bool full = false;
  add_name(exported, "--folder", o.folder, "where the checkpoint is")->capture_default_str();
  add_output_option(exported, out, "where the weights go", {".safetensors"});
  exported.add_flag("--float32", full, "as they were trained, not rounded to float16");
  auto& evaluated =
      *app.add_subcommand("evaluate", "PSNR at several noise levels, of each picture and in the mean");
  add_name(evaluated, "weights", weights, "exported weights")->required();
  add_name(evaluated, "--photographs", pictures, "folder with JPEG and PNG files")->required();
  fs::path sheet = "denoised";
  double level = 25.0;
  auto* const drawn =
      add_output_option(evaluated, sheet, "a PNG: a row for each photograph, noisy, denoised and clean",
                        {".png"})
          ->default_str("none");
  add_number(evaluated, "--level", level, numbers{.least = 0.01, .most = 10000.0},
             "standard deviation of that noise, of 255")
      ->needs(drawn);

  return run_with(app, argc, argv, [&] {
    if (exported.parsed()) {
      export_weights(o.folder, with_ending(out, ".safetensors"), !full);
      return 0;
    }
    if (evaluated.parsed()) {
      evaluate(weights, pictures, drawn->count() > 0 ? with_ending(sheet, ".png") : fs::path(), level);
      return 0;
    }
    return train(o);
  });
}
