// Trains the networks of the MNIST example, and writes their weights and sample sheets.

#include "common.hpp"
#include "data.hpp"
#include "networks.hpp"
#include "samples.hpp"
#include "weights.hpp"

#include <common/command_line.hpp>
#include <common/outputs.hpp>

#include <pushforward/error.hpp>
#include <pushforward/safetensors/regular_file.hpp>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <torch/optim/adamw.h>
#include <torch/serialize.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <numbers>
#include <sstream>
#include <vector>

namespace {

namespace fs = std::filesystem;
using pushforward::bad_file;
using pushforward::bad_option;
using pushforward::safetensors::is_there;
using pushforward::safetensors::regular_file;

struct options {
  std::string task;
  fs::path data;
  fs::path folder = "train";
  fs::path start_from;
  std::int64_t steps = 0;
  std::int64_t batch = 64;
  double rate = 1.5e-3;
  std::int64_t every = 250;
  bool no_sheet = false;
};

/// The defaults of each task: what the shipped weights were made with, but for the second run of ddpm
/// (docs/training.md).
options defaults_of(const std::string& task) {
  options o;
  o.task = task;
  if (task == "judge") o.steps = 2000, o.batch = 128, o.rate = 2e-3;
  if (task == "ddpm") o.steps = 3500;
  if (task == "vae") o.steps = 1000, o.rate = 1e-3;
  if (task == "latent_ddpm") o.steps = 2000;
  if (task == "flow") o.steps = 1300, o.rate = 1e-3;
  return o;
}

at::Generator generator() { return at::globalContext().defaultGenerator(at::kCPU); }

/// All three networks, made in one order from one seed, so that a task's start does not depend on the task
/// before it.
struct networks {
  explicit networks(const std::string& task)
      : denoiser(task == "latent_ddpm" ? mnist::latent_unet() : mnist::pixel_unet()) {}
  mnist::unet denoiser;
  mnist::vae autoencoder;
  mnist::classifier judge;

  mnist::parameters& of(const std::string& task) {
    return task == "vae" ? autoencoder.weights() : task == "judge" ? judge.weights() : denoiser.weights();
  }
};

fs::path checkpoint_of(const fs::path& folder, const std::string& task) { return folder / (task + ".ckpt"); }
fs::path log_of(const fs::path& folder, const std::string& task) { return folder / (task + ".jsonl"); }
fs::path weights_of(const fs::path& folder, const std::string& task) {
  return folder / (task + ".safetensors");
}

torch::serialize::InputArchive open_checkpoint(const fs::path& path) {
  if (!is_there(path)) throw bad_file(path.string() + ": there is no such checkpoint; train it first");
  const std::string bytes = regular_file(path).read(std::uint64_t{1} << 30);
  torch::serialize::InputArchive archive;
  try {
    archive.load_from(bytes.data(), bytes.size());
  } catch (const c10::Error&) {
    throw bad_file(path.string() + ": is not a readable checkpoint; remove it to start anew");
  }
  return archive;
}

void read_averages(const fs::path& path, mnist::parameters& weights) {
  const c10::NoGradGuard no_grad;
  auto archive = open_checkpoint(path);
  for (auto& [name, value] : weights.all()) {
    at::Tensor average;
    if (!archive.try_read("ema." + name, average) || average.sizes() != value.sizes())
      throw bad_file(path.string() + ": belongs to another network (" + name + ")");
    value.copy_(average);
  }
}

/// The whole batch moved by the same few pixels.
at::Tensor shifted(const at::Tensor& x, std::int64_t reach) {
  const auto dx = at::randint(-reach, reach + 1, {1}, at::kLong).item<std::int64_t>();
  const auto dy = at::randint(-reach, reach + 1, {1}, at::kLong).item<std::int64_t>();
  return at::roll(x, {dy, dx}, {2, 3});
}

/// Each digit turned, scaled, sheared and moved a little.
at::Tensor warped(const at::Tensor& x) {
  const auto n = x.size(0);
  const auto angle = (at::rand({n}) - 0.5) * 0.5;
  const auto scale = 1.0 + (at::rand({n}) - 0.5) * 0.3;
  const auto shear = (at::rand({n}) - 0.5) * 0.3;
  const auto c = at::cos(angle) * scale, s = at::sin(angle) * scale;
  const auto move = (at::rand({n, 2}) - 0.5) * (2.0 * 5.0 / 32.0);
  const auto m = at::stack(
      {at::stack({c, -s + shear, move.select(1, 0)}, 1), at::stack({s, c, move.select(1, 1)}, 1)}, 1);
  return at::grid_sampler_2d(x + 1.0, at::affine_grid_generator(m, {n, 1, 32, 32}, false), 0, 0, false) - 1.0;
}

/// One training run: everything a checkpoint holds, and one step of it.
class training {
public:
  explicit training(const options& o) : options_{o}, checkpoint_{checkpoint_of(o.folder, o.task)} {
    at::globalContext().setFlushDenormal(true);
    at::manual_seed(1);
    const auto set = mnist::to_tensors(mnist::read_digits(o.data));
    const auto n = set.images.size(0) - mnist::held_out;
    if (n < 1)
      throw bad_file(o.data.string() + ": holds " + std::to_string(set.images.size(0)) +
                     " digits; the last 1000 are held out, so more are needed");
    images_ = set.images.slice(0, 0, n);
    labels_ = set.labels.slice(0, 0, n);
    held_images_ = set.images.slice(0, n);
    held_labels_ = set.labels.slice(0, n);
    alpha_bar_ = at::cumprod(1.0 - at::linspace(1e-4, 2e-2, 1000, at::kDouble), 0).to(at::kFloat);

    networks_ = std::make_unique<networks>(o.task);
    auto& weights = networks_->of(o.task);
    if (o.task == "latent_ddpm")
      read_averages(o.start_from, networks_->autoencoder.weights());
    else if (!o.start_from.empty())
      read_averages(o.start_from, weights);
    for (auto& [name, value] : weights.all()) {
      if (name.rfind("latent.", 0) != 0) trained_.push_back(value.set_requires_grad(true));
      average_.push_back(value.detach().clone());
    }
    optimizer_ = std::make_unique<torch::optim::AdamW>(
        trained_,
        torch::optim::AdamWOptions(o.rate).betas({0.9, 0.99}).weight_decay(o.task == "judge" ? 1e-2 : 1e-4));
    if (is_there(checkpoint_)) resume();
  }

  std::int64_t step() const { return step_; }
  std::int64_t parameters() { return networks_->of(options_.task).count(); }

  /// One step of AdamW; the loss before it.
  double advance() {
    const double share = static_cast<double>(step_) / static_cast<double>(options_.steps);
    const double rate = options_.rate * std::min(1.0, static_cast<double>(step_ + 1) / 100.0) * 0.5 *
                        (1.0 + std::cos(std::numbers::pi * share));
    for (auto& group : optimizer_->param_groups())
      static_cast<torch::optim::AdamWOptions&>(group.options()).lr(rate);
    optimizer_->zero_grad();
    const at::Tensor loss = batch_loss();
    loss.backward();
    clip();
    optimizer_->step();
    ++step_;
    const c10::NoGradGuard no_grad;
    const double decay =
        std::min(0.998, (1.0 + static_cast<double>(step_)) / (10.0 + static_cast<double>(step_)));
    std::size_t i = 0;
    for (auto& [name, value] : networks_->of(options_.task).all()) average_[i++].lerp_(value, 1.0 - decay);
    const double value = loss.item<double>();
    if (!std::isfinite(value)) examples::diverged(step_);
    return value;
  }

  /// Of the averaged weights on held-out digits: accuracy for the judge, loss for the others. Draws nothing
  /// from the training's generator.
  double validate() {
    const c10::NoGradGuard no_grad;
    std::vector<at::Tensor> mine;
    std::size_t i = 0;
    auto& weights = networks_->of(options_.task).all();
    for (auto& [name, value] : weights) {
      mine.push_back(value.detach().clone());
      value.copy_(average_[i++]);
    }
    auto noise = at::make_generator<at::CPUGeneratorImpl>(7);
    double sum = 0.0;
    for (std::int64_t b = 0; b < mnist::held_out; b += 250) sum += held_out_value(b, noise) / 4.0;
    i = 0;
    for (auto& [name, value] : weights) value.copy_(mine[i++]);
    return sum;
  }

  /// Puts the averaged weights in the network, for good.
  void use_averages() {
    const c10::NoGradGuard no_grad;
    std::size_t i = 0;
    for (auto& [name, value] : networks_->of(options_.task).all()) value.copy_(average_[i++]);
  }

  /// Shift and scale that give the VAE's latents mean 0 and standard deviation 1.
  void measure_latents() {
    const c10::NoGradGuard no_grad;
    use_averages();
    std::vector<at::Tensor> parts;
    for (const auto& part : images_.split(1000)) parts.push_back(networks_->autoencoder.moments(part).first);
    const at::Tensor latents = at::cat(parts);
    std::size_t i = 0;
    for (auto& [name, value] : networks_->of(options_.task).all()) {
      if (name == "latent.shift") average_[i].fill_(latents.mean().item<double>());
      if (name == "latent.scale") average_[i].fill_(1.0 / latents.std().item<double>());
      value.copy_(average_[i++]);
    }
  }

  const networks& trained() const { return *networks_; }
  const at::Tensor& held_images() const { return held_images_; }

  void save() {
    examples::require_finite(average_, step_);
    torch::serialize::OutputArchive archive, optimizer;
    std::size_t i = 0;
    for (auto& [name, value] : networks_->of(options_.task).all()) {
      archive.write("now." + name, value.detach());
      archive.write("ema." + name, average_[i++]);
    }
    optimizer_->save(optimizer);
    archive.write("optimizer", optimizer);
    archive.write("step", at::tensor(step_));
    archive.write("rng", generator().get_state());
    std::ostringstream bytes;
    archive.save_to(bytes);
    mnist::write_text(checkpoint_, bytes.str());
  }

private:
  void resume() {
    const c10::NoGradGuard no_grad;
    auto archive = open_checkpoint(checkpoint_);
    // a tensor of its own for each: a second read into one would write into the archive's memory
    const auto stored = [&](const std::string& name) {
      at::Tensor tensor;
      archive.read(name, tensor);
      return tensor;
    };
    try {
      std::size_t i = 0;
      for (auto& [name, value] : networks_->of(options_.task).all()) {
        value.copy_(stored("now." + name));
        average_[i++].copy_(stored("ema." + name));
      }
      torch::serialize::InputArchive optimizer;
      archive.read("optimizer", optimizer);
      optimizer_->load(optimizer);
      step_ = stored("step").item<std::int64_t>();
      auto random = generator();
      random.set_state(stored("rng"));
    } catch (const c10::Error&) {
      throw bad_file(checkpoint_.string() + ": belongs to another network; remove it to start anew");
    }
  }

  at::Tensor latents(const at::Tensor& x) const {
    const c10::NoGradGuard no_grad;
    return networks_->autoencoder.encode(x);
  }

  /// Mean squared error of the prediction at u in [0, 1): sigma = u on the rectified path, index floor(1000
  /// u) on the variance preserving one.
  at::Tensor denoising_loss(const at::Tensor& x0, const at::Tensor& u, const at::Tensor& eps) const {
    if (options_.task == "flow") {
      const auto sigma = u.view({-1, 1, 1, 1});
      return (networks_->denoiser((1.0 - sigma) * x0 + sigma * eps, u * 1000.0) - (eps - x0)).square().mean();
    }
    const auto index = (u * 1000.0).floor().to(at::kLong).clamp(0, 999);
    const auto abar = alpha_bar_.index_select(0, index).view({-1, 1, 1, 1});
    const auto output =
        networks_->denoiser(abar.sqrt() * x0 + (1.0 - abar).sqrt() * eps, index.to(at::kFloat) + 1.0);
    return (output - eps).square().mean();
  }

  at::Tensor batch_loss() const {
    const auto pick = at::randint(0, images_.size(0), {options_.batch}, at::kLong);
    auto x = images_.index_select(0, pick);
    if (options_.task == "judge")
      return at::cross_entropy_loss(networks_->judge(warped(x), 0.3), labels_.index_select(0, pick), {}, 1,
                                    -100, 0.05);
    x = shifted(x, 1);
    if (options_.task == "vae") {
      const auto [mean, log_variance] = networks_->autoencoder.moments(x);
      const auto z = mean + at::exp(0.5 * log_variance) * at::randn_like(mean);
      const auto error = (networks_->autoencoder.decode_unscaled(z) - x).square().mean();
      return error + 2e-4 * 0.5 * (mean.square() + at::exp(log_variance) - 1.0 - log_variance).mean();
    }
    if (options_.task == "latent_ddpm") x = latents(x);
    const auto eps = at::randn_like(x);
    return denoising_loss(x, at::rand({options_.batch}), eps);
  }

  double held_out_value(std::int64_t first, at::Generator& noise) const {
    auto x = held_images_.slice(0, first, first + 250);
    if (options_.task == "judge")
      return at::argmax(networks_->judge(x), 1)
          .eq(held_labels_.slice(0, first, first + 250))
          .to(at::kFloat)
          .mean()
          .item<double>();
    if (options_.task == "vae") {
      const auto& v = networks_->autoencoder;
      return (v.decode_unscaled(v.moments(x).first) - x).square().mean().item<double>();
    }
    if (options_.task == "latent_ddpm") x = latents(x);
    const auto u = (at::arange(250) * 4 + 2 + static_cast<double>(first / 250) - 1.5) / 1000.0;
    return denoising_loss(x, u, at::randn(x.sizes(), noise, at::kFloat)).item<double>();
  }

  /// Scales the gradient to norm 1 where it is longer.
  void clip() {
    const c10::NoGradGuard no_grad;
    std::vector<at::Tensor> norms;
    for (auto& value : trained_) norms.push_back(value.grad().norm());
    const double norm = at::stack(norms).norm().item<double>();
    if (norm > 1.0)
      for (auto& value : trained_) value.mutable_grad().mul_(1.0 / norm);
  }

  options options_;
  fs::path checkpoint_;
  at::Tensor images_, labels_, held_images_, held_labels_, alpha_bar_;
  std::unique_ptr<networks> networks_;
  std::vector<at::Tensor> trained_, average_;
  std::unique_ptr<torch::optim::AdamW> optimizer_;
  std::int64_t step_ = 0;
};

pushforward::prediction_type prediction_of(const std::string& task) {
  return task == "flow" ? pushforward::prediction_type::flow : pushforward::prediction_type::epsilon;
}

/// 64 plain samples of a generating task, in pixels.
at::Tensor samples_of(const std::string& task, const networks& n) {
  const c10::NoGradGuard no_grad;
  if (task == "latent_ddpm")
    return n.autoencoder.decode(mnist::plain_samples(n.denoiser, prediction_of(task), 64, 4, 8));
  return mnist::plain_samples(n.denoiser, prediction_of(task), 64, 1, 32);
}

bool generates(const std::string& task) { return task != "judge" && task != "vae"; }

bool has_sheet(const options& o) { return !o.no_sheet && o.task != "judge"; }

/// What `train` writes.
std::vector<fs::path> files_of(const options& o) {
  std::vector<fs::path> files{checkpoint_of(o.folder, o.task), log_of(o.folder, o.task)};
  if (has_sheet(o)) files.push_back(o.folder / (o.task + ".png"));
  return files;
}

/// Tries whether `train` could write, and that it overwrites nothing that it reads.
void require_files(const options& o) {
  auto inputs = mnist::digit_files(o.data);
  inputs.push_back({"the checkpoint to start from", o.start_from});
  mnist::require_writable(files_of(o), inputs, "--folder");
}

int train(const options& o) {
  require_files(o);
  training run(o);
  std::cerr << o.task << ": " << run.parameters() << " parameters, ";
  if (run.step() < o.steps)
    std::cerr << "from step " << run.step() << " of " << o.steps << '\n';
  else
    std::cerr << "nothing to train: " << run.step() << " steps are done, and --steps asks for " << o.steps
              << '\n';
  mnist::progress_bar bar(o.task);
  const auto start = std::chrono::steady_clock::now();
  const auto first = run.step();
  double mean = 0.0;
  const auto report = [&] {
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    std::ostringstream line;
    line << "{\"step\": " << run.step() << ", \"loss\": " << mean << ", \"held_out\": " << run.validate()
         << ", \"seconds\": " << seconds << "}";
    run.save();
    mnist::append_line(log_of(o.folder, o.task), line.str());
    bar.line(o.task + " " + line.str());
  };
  while (run.step() < o.steps && !mnist::interrupted()) {
    const double loss = run.advance();
    mean = run.step() == first + 1 ? loss : 0.98 * mean + 0.02 * loss;
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    std::ostringstream state;
    state << "loss " << mean << ", "
          << static_cast<int>(static_cast<double>((run.step() - first) * o.batch) / seconds) << " digits/s";
    bar.show(static_cast<double>(run.step()), static_cast<double>(o.steps), state.str());
    if (run.step() % o.every == 0 && run.step() < o.steps) report();
  }
  if (mnist::interrupted()) {
    run.save();
    bar.line("stopped at step " + std::to_string(run.step()) + "; the same command goes on from there");
    return mnist::interrupted_status;
  }
  if (o.task == "vae") run.measure_latents();
  if (run.step() > first)
    report();
  else
    run.save();
  run.use_averages();
  if (!has_sheet(o)) return 0;
  const auto picture = o.folder / (o.task + ".png");
  if (generates(o.task)) {
    try {
      mnist::write_png(picture, mnist::square_sheet(samples_of(o.task, run.trained())));
    } catch (const examples::stopped_early&) {
      bar.line("stopped before " + picture.string() + " was drawn; the training is done");
      return mnist::interrupted_status;
    }
  } else
    mnist::write_png(
        picture, mnist::reconstruction_sheet(run.trained().autoencoder, run.held_images().slice(0, 0, 64)));
  return 0;
}

/// The last line of a training's log that is whole; empty where there is none.
std::string last_line(const fs::path& log) {
  if (!is_there(log)) return {};
  std::istringstream lines(regular_file(log).read(std::uint64_t{1} << 26));
  std::string last;
  for (std::string line; std::getline(lines, line);)
    if (nlohmann::json::accept(line)) last = line;
  return last;
}

/// The averaged weights of a training as a file, with what they are.
std::string weights_file(const std::string& task, const fs::path& folder, bool half) {
  networks n(task);
  auto& weights = n.of(task);
  read_averages(checkpoint_of(folder, task), weights);
  const std::map<std::string, std::string> architectures{
      {"judge", "classifier, 1 x 32 x 32 -> 10 logits"},
      {"ddpm", "unet, 1 x 32 x 32, patch 2, widths 48 96 120"},
      {"vae", "vae, 1 x 32 x 32 <-> 4 x 8 x 8; latents are (mean - latent.shift) * latent.scale"},
      {"latent_ddpm", "unet, 4 x 8 x 8, patch 1, widths 80 136"},
      {"flow", "unet, 1 x 32 x 32, patch 2, widths 48 96 120"}};
  std::map<std::string, std::string> facts{{"task", task},
                                           {"architecture", architectures.at(task)},
                                           {"images", "MNIST in the middle of 32 x 32, paper -1, ink 1"}};
  if (task == "ddpm" || task == "latent_ddpm") {
    facts["prediction"] = "epsilon";
    facts["path"] = "variance preserving, betas linear 1e-4..2e-2, T = 1000, time 1..1000";
  } else if (task == "flow") {
    facts["prediction"] = "flow";
    facts["path"] = "rectified flow, time 1000 sigma";
  }
  if (const auto line = last_line(log_of(folder, task)); !line.empty()) facts["training"] = line;
  return mnist::serialize_weights(weights, facts, half);
}

/// The averaged weights of trainings, with what they are.
void export_weights(const std::vector<std::string>& tasks, const fs::path& folder, const fs::path& to,
                    bool half = true) {
  mnist::file_set files;
  for (const auto& task : tasks) files.add(weights_of(to, task), weights_file(task, folder, half));
  files.write();
  for (const auto& path : files.paths()) std::cerr << "wrote " << path.string() << '\n';
}

/// Tries whether `export_weights` could write.
void require_exports(const std::vector<std::string>& tasks, const fs::path& folder, const fs::path& to) {
  std::vector<fs::path> outputs;
  std::vector<mnist::input_file> inputs;
  for (const auto& task : tasks) {
    outputs.push_back(weights_of(to, task));
    inputs.push_back({"a checkpoint", checkpoint_of(folder, task)});
    inputs.push_back({"a log", log_of(folder, task)});
  }
  mnist::require_writable(outputs, inputs);
}

fs::path sheet_of(const fs::path& to, const std::string& task) { return to / ("samples_" + task + ".png"); }

/// One exported network: a sheet of what it makes, for `files`, and a line of what the judge says of it.
void show_weights(const std::string& task, const fs::path& weights, const mnist::digits& held_out,
                  const fs::path& to, mnist::file_set& files) {
  const c10::NoGradGuard no_grad;
  networks n(task);
  mnist::read_weights(weights_of(weights, task), n.of(task));
  if (task != "judge") mnist::read_weights(weights / "judge.safetensors", n.judge.weights());
  if (task == "latent_ddpm") mnist::read_weights(weights / "vae.safetensors", n.autoencoder.weights());

  const auto count = [](const at::Tensor& is) { return is.sum().item<std::int64_t>(); };
  const auto sure_of = [&](const at::Tensor& digits) {
    return count(std::get<0>(at::softmax(n.judge(digits), 1).max(1)).gt(0.9));
  };
  const auto right_on = [&](const at::Tensor& digits) {
    return count(at::argmax(n.judge(digits), 1).eq(held_out.labels));
  };
  const auto& images = held_out.images;
  std::cout << task << ": ";
  if (task == "judge") {
    std::cout << "right on " << right_on(images) << " and over 0.9 sure of " << sure_of(images) << " of "
              << images.size(0) << " held-out digits\n";
  } else if (task == "vae") {
    const at::Tensor back = n.autoencoder.decode(n.autoencoder.encode(images));
    files.add(sheet_of(to, task),
              mnist::png_bytes(mnist::reconstruction_sheet(n.autoencoder, images.slice(0, 0, 64))));
    std::cout << "mean squared error of held-out digits " << (back - images).square().mean().item<double>()
              << "; the judge is right on " << right_on(back) << " of " << images.size(0) << " decoded\n";
  } else {
    const at::Tensor samples = samples_of(task, n);
    files.add(sheet_of(to, task), mnist::png_bytes(mnist::square_sheet(samples)));
    const at::Tensor digit = at::argmax(n.judge(samples), 1);
    std::cout << "the judge is over 0.9 sure of " << sure_of(samples) << " of " << samples.size(0)
              << " samples; of each digit 0 to 9:";
    for (std::int64_t d = 0; d < 10; ++d) std::cout << ' ' << count(digit.eq(d));
    std::cout << '\n';
  }
}

} // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "Trains the networks of the MNIST example on standard IDX files, whose last 1000 digits are held out.\n"
      "A run that was stopped or killed goes on from its last checkpoint when the command is given again.",
      "pushforward_mnist_train"};
  app.footer("Example: pushforward_mnist_train all --data mnist/ --out weights/\n"
             "         pushforward_mnist_train ddpm --data mnist/ --steps 20000");
  app.require_subcommand(1);
  using namespace examples;
  const whole_numbers counts{1, 1'000'000'000};
  const std::vector<std::string> tasks{"judge", "ddpm", "vae", "latent_ddpm", "flow"};
  fs::path data, folder = "train", out = "weights";
  std::map<std::string, options> given;
  for (const auto& task : tasks) {
    auto& o = given[task] = defaults_of(task);
    auto* sub = app.add_subcommand(task, "train one network");
    add_name(*sub, "--data", data, "folder with MNIST's IDX files")->required();
    add_name(*sub, "--folder", folder, "checkpoints and losses")->capture_default_str();
    add_number(*sub, "--steps", o.steps, counts, "optimisation steps");
    add_number(*sub, "--batch", o.batch, whole_numbers{1, 10'000}, "digits a step");
    add_number(*sub, "--rate", o.rate, rates, "highest learning rate");
    add_number(*sub, "--every", o.every, counts, "steps between checkpoints");
    if (task != "judge") sub->add_flag("--no-sheet", o.no_sheet, "draw no picture at the end");
    add_name(*sub, "--start-from", o.start_from,
             task == "latent_ddpm" ? "checkpoint of the VAE (default: vae.ckpt in the folder)"
                                   : "checkpoint whose averaged weights to start from");
  }
  auto* all = app.add_subcommand(
      "all", "train all five, and export them: the shipped weights, but for ddpm's second run, which "
             "docs/training.md gives");
  add_name(*all, "--data", data, "folder with MNIST's IDX files")->required();
  add_name(*all, "--folder", folder, "checkpoints and losses")->capture_default_str();
  examples::add_output_folder_option(*all, "--out", out, "where the weights go");
  auto* exported =
      app.add_subcommand("export", "write the averaged weights of checkpoints as float16 safetensors");
  std::vector<std::string> which = tasks;
  exported->add_option("tasks", which, "which ones (default: all)");
  add_name(*exported, "--folder", folder, "checkpoints")->capture_default_str();
  examples::add_output_folder_option(*exported, "--out", out, "where the weights go");
  bool full = false;
  exported->add_flag("--float32", full, "as they were trained, not rounded to float16");
  auto* shown =
      app.add_subcommand("samples", "draw what exported weights make, and have the judge look at it");
  fs::path weights = "weights", pictures = ".";
  shown->add_option("tasks", which, "which ones (default: all)");
  add_name(*shown, "--weights", weights, "folder with the exported weights")->capture_default_str();
  add_name(*shown, "--data", data, "folder with MNIST's IDX files")->required();
  examples::add_output_folder_option(*shown, "--out", pictures, "where samples_*.png go");
  return run_with(app, argc, argv, [&] {
    const auto known = [&](const std::string& task) {
      if (std::find(tasks.begin(), tasks.end(), task) == tasks.end())
        throw bad_option("no network is called " + task +
                         "; there are judge, ddpm, vae, latent_ddpm and flow");
    };
    std::for_each(which.begin(), which.end(), known);
    if (shown->parsed()) {
      std::vector<fs::path> sheets;
      for (const auto& task : which)
        if (task != "judge") sheets.push_back(sheet_of(pictures, task));
      auto inputs = mnist::digit_files(data);
      for (auto& file : mnist::weight_files(weights)) inputs.push_back(std::move(file));
      mnist::require_writable(sheets, inputs);
      auto set = mnist::to_tensors(mnist::read_digits(data));
      const auto first = std::max<std::int64_t>(0, set.images.size(0) - mnist::held_out);
      set = {set.images.slice(0, first), set.labels.slice(0, first)};
      mnist::file_set files;
      for (const auto& task : which) show_weights(task, weights, set, pictures, files);
      files.write();
      return 0;
    }
    const auto with_folders = [&](const std::string& task) {
      options o = given[task];
      o.data = data;
      o.folder = folder;
      if (o.start_from.empty() && task == "latent_ddpm") o.start_from = checkpoint_of(folder, "vae");
      return o;
    };
    if (exported->parsed()) {
      require_exports(which, folder, out);
      export_weights(which, folder, out, !full);
      return 0;
    }
    if (all->parsed()) {
      std::vector<options> runs;
      for (const auto& task : tasks) runs.push_back(with_folders(task));
      runs.back().start_from = checkpoint_of(folder, "ddpm"); // flow's
      for (const auto& o : runs) require_files(o);
      require_exports(tasks, folder, out);
      for (const auto& o : runs)
        if (const int status = train(o); status != 0) return status;
      export_weights(tasks, folder, out);
      return 0;
    }
    return train(with_folders(app.get_subcommands().front()->get_name()));
  });
}
