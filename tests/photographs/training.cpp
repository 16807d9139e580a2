// The denoiser of photographs, what it is trained on, and the program that trains it, on pictures made here.

#include <support/catch.hpp>
#include <support/program.hpp>
#include <support/scratch_folder.hpp>

#include <data.hpp>
#include <network.hpp>

#include <common/png.hpp>

#include <pushforward/error.hpp>
#include <pushforward/safetensors/file.hpp>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <torch/serialize.h>

#include <nlohmann/json.hpp>

#include <sys/resource.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstring>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <thread>

using namespace testing_support;
using photographs::network;

namespace {

namespace fs = std::filesystem;

const auto says = contains_text;

/// A small network whose every weight differs from 0.
network small_network(std::int64_t patch = 2) {
  at::manual_seed(1);
  network n({patch, {8, 12, 16}, {1, 1, 2}});
  const c10::NoGradGuard no_grad;
  for (auto& [name, value] : n.weights().all()) value.add_(0.05 * at::randn_like(value));
  return n;
}

/// Waves of a colour, another for each seed.
examples::picture waves(std::size_t height, std::size_t width, std::uint32_t seed) {
  examples::picture p(height, width, 3);
  for (std::size_t y = 0; y < height; ++y)
    for (std::size_t x = 0; x < width; ++x)
      for (std::size_t c = 0; c < 3; ++c) {
        const double wave = std::sin(0.05 * static_cast<double>((c + 1) * x) + 0.11 * static_cast<double>(y) +
                                     static_cast<double>(seed));
        p.at(y, x)[c] = static_cast<std::uint8_t>(std::lround(120.0 + 100.0 * wave));
      }
  return p;
}

/// A folder with training/ (3 pictures) and held_out/ (1).
void make_photographs(const fs::path& folder) {
  fs::create_directories(folder / "training");
  fs::create_directories(folder / "held_out");
  for (std::uint32_t i = 0; i < 3; ++i)
    examples::write_png(folder / "training" / (std::to_string(i) + ".png"), waves(70, 90 + 10 * i, i));
  examples::write_png(folder / "held_out/0.png", waves(192, 200, 7));
}

std::vector<std::string> train(const scratch_folder& folder, const std::string& where,
                               const std::string& steps) {
  return {"train",
          "--photographs",
          folder.path().string(),
          "--folder",
          (folder / where).string(),
          "--steps",
          steps,
          "--batch",
          "4",
          "--patch",
          "32",
          "--every",
          "4",
          "--rate",
          "0.02",
          "--widths",
          "8",
          "12",
          "--blocks",
          "1",
          "1",
          "--threads",
          "1"};
}

finished run(const scratch_folder& folder, const std::vector<std::string>& arguments) {
  return run_program(folder, TRAIN_PROGRAM, arguments);
}

std::size_t lines_of(const fs::path& path) {
  if (!fs::exists(path)) return 0;
  const auto text = read_bytes(path);
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

std::vector<nlohmann::json> log_of(const fs::path& path) {
  std::vector<nlohmann::json> lines;
  if (!fs::exists(path)) return lines;
  std::istringstream text(read_bytes(path));
  for (std::string line; std::getline(text, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

/// The averaged weights of a checkpoint, bit by bit.
std::map<std::string, std::string> weights_of(const scratch_folder& folder, const std::string& where) {
  const auto path = folder / where / "denoiser.safetensors";
  REQUIRE(run(folder, {"export", "--float32", "--folder", (folder / where).string(), "--out", path.string()})
              .status == 0);
  std::map<std::string, std::string> weights;
  const pushforward::safetensors::file file(path);
  for (const auto& [name, tensor] : file.tensors()) {
    auto& bytes = weights[name];
    bytes.resize(tensor.bytes.size());
    std::memcpy(bytes.data(), tensor.bytes.data(), bytes.size());
  }
  return weights;
}

} // namespace

TEST_CASE("the denoiser is homogeneous: scaled images and noise give a scaled estimate") {
  const c10::NoGradGuard no_grad;
  const network n = small_network();
  const at::Tensor x = at::rand({2, 3, 32, 24}), sigma = at::tensor({0.05, 0.7}, at::kFloat);
  const at::Tensor estimate = n(x, sigma);
  CHECK((estimate - x).abs().max().item<double>() > 0.01);
  for (const double c : {0.02, 0.5, 40.0}) {
    const double fault = (n(c * x, c * sigma) - c * estimate).abs().max().item<double>();
    CHECK(fault < 1e-5 * c * estimate.abs().max().item<double>());
  }
  CHECK((n(x, 2.0 * sigma) - estimate).abs().max().item<double>() > 1e-3); // the noise level does count
}

TEST_CASE("the denoiser takes images of any size, as if their last row and column went on") {
  const c10::NoGradGuard no_grad;
  for (const std::int64_t patch : {1, 2, 4}) {
    const network n = small_network(patch);
    const at::Tensor x = at::rand({1, 3, 21, 35}), sigma = at::full({1}, 0.2);
    const at::Tensor longer = at::cat({x, x.narrow(2, 20, 1).expand({1, 3, 11, 35})}, 2);
    const at::Tensor wider = at::cat({longer, longer.narrow(3, 34, 1).expand({1, 3, 32, 13})}, 3);
    const at::Tensor estimate = n(x, sigma);
    CHECK(estimate.sizes() == x.sizes());
    // 32 x 48 is a multiple of every level's size, and the smallest that holds 21 x 35 where patch is 4
    if (patch == 4)
      CHECK((estimate - n(wider, sigma).narrow(2, 0, 21).narrow(3, 0, 35)).abs().max().item<double>() < 1e-5);
    CHECK(n(at::rand({1, 3, 1, 1}), sigma).sizes() == at::IntArrayRef{1, 3, 1, 1});
  }
  CHECK_THROWS_AS(small_network()(at::rand({1, 1, 8, 8}), at::ones({1})), pushforward::shape_mismatch);
  CHECK_THROWS_AS(small_network()(at::rand({2, 3, 8, 8}), at::ones({1})), pushforward::shape_mismatch);
}

TEST_CASE("a batch of the denoiser gives what its images give alone") {
  const c10::NoGradGuard no_grad;
  const network n = small_network();
  const at::Tensor x = at::rand({3, 3, 16, 16}), sigma = at::tensor({0.1, 0.3, 1.0}, at::kFloat);
  const at::Tensor together = n(x, sigma);
  for (std::int64_t i = 0; i < 3; ++i) {
    const at::Tensor alone = n(x.narrow(0, i, 1), sigma.narrow(0, i, 1));
    CHECK((alone - together.narrow(0, i, 1)).abs().max().item<double>() < 1e-5);
  }
}

TEST_CASE("the denoiser that training starts from fits a file of three million bytes in half precision") {
  CHECK(network().weights().count() <= 1'500'000);
}

TEST_CASE("the denoiser of a file is the one that was written") {
  const c10::NoGradGuard no_grad;
  const scratch_folder folder;
  const network n = small_network();
  const auto path = folder / "denoiser.safetensors";
  write_bytes(path, serialize_network(n, {{"photographs", "none"}}, false));
  const network read = photographs::read_network(path);
  const at::Tensor x = at::rand({1, 3, 16, 16}), sigma = at::full({1}, 0.2);
  CHECK(at::equal(read(x, sigma), n(x, sigma)));

  const auto refused = [&](std::map<std::string, std::string> facts, const std::string& word) {
    write_bytes(path, examples::serialize_weights(n.weights(), facts));
    CHECK_THROWS_WITH(photographs::read_network(path), says(path.string()) && says(word));
  };
  const std::string name = "bias-free residual UNet";
  refused({}, "holds no denoiser of photographs");
  refused({{"architecture", name}, {"config", "{"}}, "damaged");
  refused({{"architecture", name}, {"config", R"({"patch": 2, "widths": [8], "blocks": "1"})"}}, "damaged");
  refused({{"architecture", name}, {"config", R"({"patch": 2, "widths": [99999], "blocks": [1]})"}},
          "damaged");
  refused(
      {{"architecture", name}, {"config", R"({"patch": 2, "widths": [8.7, 12, 16], "blocks": [1, 1, 2]})"}},
      "not whole");
  refused({{"architecture", name},
           {"config", R"({"patch": 2, "widths": [512, 512, 512], "blocks": [16, 16, 16]})"}},
          "holds fewer values than its config");
  refused({{"architecture", name}, {"config", R"({"patch": 2, "widths": [8, 12], "blocks": [1, 1]})"}},
          "another network");
}

TEST_CASE("patches are cut from the photographs, turned and mirrored in all eight ways") {
  const scratch_folder folder;
  fs::create_directories(folder / "one");
  examples::picture p(64, 64, 3, 0);
  for (std::size_t y = 0; y < 64; ++y)
    for (std::size_t x = 0; x < 64; ++x) {
      p.at(y, x)[0] = static_cast<std::uint8_t>(2 * x);
      p.at(y, x)[1] = static_cast<std::uint8_t>(2 * y);
    }
  examples::write_png(folder / "one/slopes.png", p);
  const auto set = photographs::read_photographs(folder / "one", 48);
  CHECK(set.count == 1);
  CHECK(set.heights.size(0) == 1); // half of it would be smaller than a patch
  at::manual_seed(3);
  const at::Tensor batch = photographs::patches(set, 200, 48);
  REQUIRE(batch.sizes() == at::IntArrayRef{200, 3, 48, 48});
  std::set<std::array<int, 2>> ways;
  for (std::int64_t i = 0; i < 200; ++i) {
    const at::Tensor red = batch[i][0], green = batch[i][1];
    const auto slope = [](const at::Tensor& t, std::int64_t along) {
      return (t.narrow(along, 47, 1).mean() - t.narrow(along, 0, 1).mean()).item<double>() / 47.0 * 255.0;
    };
    const std::array<double, 4> s{slope(red, 0), slope(red, 1), slope(green, 0), slope(green, 1)};
    // each colour rises or falls along one side alone, by 2 of 255 a pixel, give or take a fifth
    const bool turned = std::abs(s[0]) > 1.0;
    const double a = turned ? s[0] : s[1], b = turned ? s[3] : s[2];
    CHECK(std::abs(turned ? s[1] : s[0]) < 1e-3);
    CHECK(std::abs(turned ? s[2] : s[3]) < 1e-3);
    CHECK(std::abs(std::log(std::abs(a) / 2.0)) < std::log(1.2) + 0.01);
    CHECK(std::abs(std::log(std::abs(b) / 2.0)) < std::log(1.2) + 0.01);
    ways.insert({turned ? 1 : 0, (a > 0.0 ? 1 : 0) + (b > 0.0 ? 2 : 0)});
  }
  CHECK(ways.size() == 8);
  CHECK(batch.min().item<double>() >= 0.0);
  CHECK(batch.max().item<double>() <= 1.0);
}

TEST_CASE("a patch that is made lighter is white where it would be more, and nowhere above") {
  const scratch_folder folder;
  fs::create_directories(folder / "one");
  examples::write_png(folder / "one/bright.png", examples::picture(32, 32, 3, 250));
  const auto set = photographs::read_photographs(folder / "one", 16);
  at::manual_seed(3);
  const at::Tensor batch = photographs::patches(set, 50, 16);
  CHECK(batch.max().item<double>() == 1.0);
  CHECK(batch.eq(1.0).to(at::kDouble).mean().item<double>() > 0.2);
  CHECK(batch.min().item<double>() > 250.0 / 255.0 / 1.2 - 1e-4);
}

TEST_CASE("the rate rises over 200 steps, and falls to 0 in the last part of the run or, without it, never") {
  const scratch_folder folder;
  make_photographs(folder.path());
  for (const double part : {0.0, 0.5}) {
    const std::string where = part > 0.0 ? "cooled" : "warm";
    auto arguments = train(folder, where, "8");
    arguments.insert(arguments.end(), {"--cool-down", part > 0.0 ? "0.5" : "0"});
    REQUIRE(run(folder, arguments).status == 0);
    const auto log = log_of(folder / where / "denoiser.jsonl");
    REQUIRE(log.size() == 2);
    CHECK(log[0]["rate"].get<double>() == Approx(0.02 * 5.0 / 200.0)); // of the next step, the fifth
    CHECK(log[1]["rate"].get<double>() == Approx(part > 0.0 ? 0.0 : 0.02 * 9.0 / 200.0));
  }
}

TEST_CASE(
    "the loss falls, the run goes on where it was killed, and the weights are those of one that was not") {
  const scratch_folder folder;
  make_photographs(folder.path());
  const auto straight = run(folder, train(folder, "straight", "40"));
  CAPTURE(straight.said);
  REQUIRE(straight.status == 0);
  const auto log = log_of(folder / "straight/denoiser.jsonl");
  REQUIRE(log.size() == 10);
  const auto mean_loss = [&](std::size_t first) { // of a batch alone it varies by a half
    double sum = 0.0;
    for (std::size_t i = first; i < first + 4; ++i) sum += log.at(i)["loss"].get<double>();
    return sum / 4.0;
  };
  CHECK(mean_loss(6) < 0.7 * mean_loss(0));
  CHECK(log.back()["psnr"]["50"].get<double>() > log.front()["psnr"]["50"].get<double>() + 0.5);
  CHECK(log.back()["rate"].get<double>() < 1e-12); // it has cooled down

  const auto output = folder / "killed.txt";
  const auto id = start_program(TRAIN_PROGRAM, train(folder, "killed", "40"), output);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(120);
  while (lines_of(folder / "killed/denoiser.jsonl") < 3 && std::chrono::steady_clock::now() < end)
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  ::kill(id, SIGKILL);
  CHECK(status_of(id) == -SIGKILL);
  CHECK(log_of(folder / "killed/denoiser.jsonl").size() < 10);
  const auto rest = run(folder, train(folder, "killed", "40"));
  REQUIRE(rest.status == 0);
  CHECK_THAT(rest.said, !says("from step 0 "));
  CHECK(weights_of(folder, "killed") == weights_of(folder, "straight"));

  const auto path = (folder / "straight/denoiser.safetensors").string();
  REQUIRE(run(folder, {"export", "--folder", (folder / "straight").string(), "--out", path}).status == 0);
  const auto measured = run(folder, {"evaluate", path, "--photographs", (folder / "held_out").string(),
                                     "--out", (folder / "sheet").string(), "--level", "15"});
  REQUIRE(measured.status == 0);
  const auto sheet = examples::read_png(folder / "sheet.png", 3);
  REQUIRE(sheet.height == 192);
  REQUIRE(sheet.width == 3 * 192);
  const auto distance = [&](std::size_t part) { // mean square, from the clean one on the right
    double sum = 0.0;
    for (std::size_t y = 0; y < 192; ++y)
      for (std::size_t x = 0; x < 192; ++x)
        for (std::size_t c = 0; c < 3; ++c)
          sum += std::pow(double(sheet.at(y, 192 * part + x)[c]) - double(sheet.at(y, 2 * 192 + x)[c]), 2.0);
    return sum / (192.0 * 192.0 * 3.0);
  };
  CHECK(std::sqrt(distance(0)) == Approx(15.0).epsilon(0.05)); // less what clamping takes
  const double psnr = -10.0 * std::log10(distance(1) / (255.0 * 255.0));
  const auto line = nlohmann::json::parse(measured.said.substr(measured.said.find("{\"mean\"")));
  CHECK(line["mean"]["50"].get<double>() == Approx(log.back()["psnr"]["50"].get<double>()).margin(0.05));
  CHECK(psnr == Approx(line["mean"]["15"].get<double>()).margin(0.05));
}

TEST_CASE("what training takes of memory is what was estimated, within 30 %") {
  const scratch_folder folder;
  make_photographs(folder.path());
  const auto peak = [&](const std::vector<std::string>& sizes) {
    std::vector<std::string> arguments{"train",    "--photographs",         folder.path().string(),
                                       "--folder", (folder / "t").string(), "--steps",
                                       "1"};
    arguments.insert(arguments.end(), sizes.begin(), sizes.end());
    const auto id = start_program(TRAIN_PROGRAM, arguments, folder / "output.txt");
    ::rusage usage{};
    int status = 0;
    ::wait4(id, &status, 0, &usage);
    fs::remove_all(folder / "t");
    REQUIRE(status == 0);
    return 1024.0 * static_cast<double>(usage.ru_maxrss);
  };
  const double before = peak({"--batch", "1", "--patch", "16", "--widths", "1", "--blocks", "1"});
  const auto check = [&](const std::string& batch, const photographs::network_config& c) {
    std::vector<std::string> sizes{"--batch", batch, "--space-to-depth", std::to_string(c.patch)};
    const auto list = [&](const std::string& option, const std::vector<std::int64_t>& values) {
      sizes.push_back(option);
      for (const auto v : values) sizes.push_back(std::to_string(v));
    };
    list("--widths", c.widths);
    list("--blocks", c.blocks);
    CAPTURE(sizes);
    CHECK(peak(sizes) - before ==
          Approx(photographs::bytes_of_training(c, std::stoll(batch) * 64 * 64)).epsilon(0.3));
  };
  check("128", {});
  check("128", {2, {48, 80}, {2, 1}});
  check("1", {4, {320}, {3}}); // most where the checkpoint is written
}

TEST_CASE("Ctrl-C ends the measuring of a denoiser and the drawing of its sheet, and leaves no file") {
  const scratch_folder folder;
  const auto weights = folder / "denoiser.safetensors";
  at::manual_seed(1);
  write_bytes(weights, serialize_network(network({1, {24, 48}, {1, 2}})));
  fs::create_directories(folder / "many");
  for (std::uint32_t i = 0; i < 6; ++i)
    examples::write_png(folder / "many" / (std::to_string(i) + ".png"), waves(192, 192, i));
  for (const std::string said : {"PSNR   3 %", "PSNR 100 %"}) {
    CAPTURE(said);
    const auto result = interrupted_run(folder, TRAIN_PROGRAM,
                                        {"evaluate", weights.string(), "--photographs",
                                         (folder / "many").string(), "--out", (folder / "sheet").string()},
                                        said);
    CHECK(result.status == 130);
    CHECK_THAT(result.said, says("stopped, nothing was written") && !says("{"));
    CHECK(!fs::exists(folder / "sheet.png"));
  }
}

TEST_CASE("Ctrl-C while a training reads its photographs ends it, and nothing was written") {
  const scratch_folder folder;
  make_photographs(folder.path());
  for (std::uint32_t i = 0; i < 6; ++i)
    examples::write_png(folder / "training" / ("large" + std::to_string(i) + ".png"), waves(1000, 1000, i));
  const auto output = folder / "output.txt";
  const auto id = start_program(TRAIN_PROGRAM, train(folder, "t", "4"), output);
  for (int i = 0; i < 6000 && !catches(id, SIGTERM); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  ::kill(id, SIGTERM);
  CHECK(status_of(id) == 130);
  CHECK_THAT(read_bytes(output), says("stopped, nothing was written"));
  CHECK(!fs::exists(folder / "t"));
}

TEST_CASE("Ctrl-C while a training measures what was held out loses neither weights nor losses") {
  const scratch_folder folder;
  make_photographs(folder.path());
  for (std::uint32_t i = 0; i < 20; ++i)
    examples::write_png(folder / "held_out" / ("more" + std::to_string(i) + ".png"), waves(192, 192, i));
  REQUIRE(run(folder, train(folder, "straight", "4")).status == 0);
  const auto stopped = interrupted_run(folder, TRAIN_PROGRAM, train(folder, "broken", "4"), "100 %");
  CHECK(stopped.status == 130);
  CHECK_THAT(stopped.said, says("stopped at step 4"));
  CHECK(!fs::exists(folder / "broken/denoiser.jsonl"));
  REQUIRE(run(folder, train(folder, "broken", "4")).status == 0);
  CHECK(weights_of(folder, "broken") == weights_of(folder, "straight"));
  const auto of = [&](const std::string& where) { return log_of(folder / where / "denoiser.jsonl"); };
  REQUIRE(of("broken").size() == 1);
  CHECK(of("broken")[0]["loss"] == of("straight")[0]["loss"]);
  CHECK(of("broken")[0]["psnr"] == of("straight")[0]["psnr"]);
}

TEST_CASE("a training that diverged saves no checkpoint, and no weights that are not finite are exported") {
  const scratch_folder folder;
  make_photographs(folder.path());
  const network diverged({1, {8, 12}, {1, 1}});
  torch::serialize::OutputArchive archive;
  for (const auto& [name, value] : diverged.weights().all())
    archive.write("average." + name, at::full_like(value, NAN));
  archive.save_to((folder / "nan.ckpt").string());
  auto arguments = train(folder, "t", "1000000");
  arguments.insert(arguments.end(), {"--start-from", (folder / "nan.ckpt").string()});
  *(std::find(arguments.begin(), arguments.end(), "--every") + 1) =
      "1000000"; // so that Ctrl-C is first to save
  const auto ended = interrupted_run(folder, TRAIN_PROGRAM, arguments, "patches/s");
  CHECK(ended.status == 2);
  CHECK_THAT(ended.said, says("diverged") && says("lower --rate; the last checkpoint stands"));
  CHECK(!fs::exists(folder / "t/denoiser.ckpt"));

  network n = small_network();
  {
    const c10::NoGradGuard no_grad;
    n.weights().all().front().second.fill_(1e5); // beyond float16
  }
  CHECK_THROWS_WITH(serialize_network(n), says("not finite in float16"));
  CHECK_NOTHROW(serialize_network(n, {}, false));
}

/// What the checkpoint of a run holds.
torch::serialize::InputArchive checkpoint_of(const fs::path& path) {
  torch::serialize::InputArchive archive;
  archive.load_from(path.string());
  return archive;
}

at::Tensor read(torch::serialize::InputArchive& archive, const std::string& name) {
  at::Tensor value;
  archive.read(name, value);
  return value;
}

TEST_CASE("gradients are cut to norm 1, and the average follows the weights by 13 / (step + 12)") {
  const scratch_folder folder;
  make_photographs(folder.path());
  const network names({1, {8, 12}, {1, 1}});
  REQUIRE(run(folder, train(folder, "t", "1")).status == 0);
  auto first = checkpoint_of(folder / "t/denoiser.ckpt");
  double square = 0.0;
  for (const auto& [name, value] : names.weights().all()) {
    square += read(first, "first_moment." + name).square().sum().item<double>();
    CHECK(at::equal(read(first, "average." + name), read(first, "now." + name)));
  }
  // the loss begins with a weighted noise of some units, whose gradient is far longer
  CHECK(10.0 * std::sqrt(square) == Approx(1.0).epsilon(1e-4)); // the moment is a tenth of the gradient

  REQUIRE(run(folder, train(folder, "t", "2")).status == 0);
  auto second = checkpoint_of(folder / "t/denoiser.ckpt");
  for (const auto& [name, value] : names.weights().all()) {
    const at::Tensor old = read(first, "average." + name), now = read(second, "now." + name);
    CHECK(at::allclose(read(second, "average." + name), old + 13.0 / 14.0 * (now - old), 1e-5, 1e-7));
  }
}

TEST_CASE("the time of a training goes on with it, and one that is done says so") {
  const scratch_folder folder;
  make_photographs(folder.path());
  REQUIRE(run(folder, train(folder, "t", "4")).status == 0);
  const auto path = folder / "t/denoiser.ckpt";
  auto before = checkpoint_of(path);
  const double seconds = read(before, "seconds").item<double>();
  CHECK(seconds > 0.0);
  const auto done = run(folder, train(folder, "t", "3"));
  CHECK(done.status == 0);
  CHECK_THAT(done.said, says("nothing to train: 4 steps and"));
  REQUIRE(run(folder, train(folder, "t", "5")).status == 0);
  auto after = checkpoint_of(path);
  CHECK(read(after, "seconds").item<double>() > seconds);
  CHECK(read(after, "step").item<std::int64_t>() == 5);
}

TEST_CASE("what cannot be trained is said in one line, with exit status 2") {
  const scratch_folder folder;
  make_photographs(folder.path());
  REQUIRE(run(folder, train(folder, "t", "2")).status == 0);
  fs::create_directories(folder / "empty/training");
  fs::create_directories(folder / "damaged");
  write_bytes(folder / "damaged/denoiser.ckpt", "not a checkpoint");
  const auto refused = [&](const std::vector<std::string>& arguments) {
    const auto result = run(folder, arguments);
    CHECK(result.status == 2);
    CHECK(std::count(result.said.begin(), result.said.end(), '\n') == 1);
    return result.said;
  };
  const auto with = [&](const std::string& where, const std::vector<std::string>& more) {
    auto arguments = train(folder, where, "4");
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  };
  CHECK_THAT(refused({"train"}), says("--photographs"));
  CHECK_THAT(refused({"train", "--photographs", (folder / "none").string()}),
             says("--photographs: ") && says("none/training cannot be listed") &&
                 says("scripts/photographs.sh"));
  CHECK_THAT(refused({"train", "--photographs", (folder / "empty").string()}),
             says("--photographs: ") && says("holds no JPEG") && says("scripts/photographs.sh"));
  CHECK_THAT(refused({"train", "--photographs", folder.path().string(), "--patch", "80"}),
             says("0.png: has 90 x 70 pixels, less than a patch of 80 x 80; lower --patch"));
  CHECK_THAT(refused({"train", "--photographs", folder.path().string(), "--steps", "0"}), says("--steps"));
  CHECK_THAT(refused({"train", "--photographs", folder.path().string(), "--device", "tpu"}),
             says("--device: there is no device tpu"));
  CHECK_THAT(refused({"train", "--photographs", folder.path().string(), "--rate", "1.5"}), says("--rate"));
  CHECK_THAT(
      refused({"train", "--photographs", folder.path().string(), "--batch", "10000", "--patch", "512"}),
      says("--batch 10000 with --patch 512") && says("MB are free") && says("lower --batch or --patch"));
  CHECK_THAT(
      refused({"train", "--photographs", folder.path().string(), "--widths", "8", "--blocks", "1", "1"}),
      says("--widths, --blocks: ") && says("one width"));
  CHECK_THAT(refused(with("damaged", {})), says("denoiser.ckpt") && says("not a readable checkpoint"));
  CHECK_THAT(refused(with("t", {"--space-to-depth", "2"})), says("another network"));
  CHECK_THAT(refused(with("t", {"--seed", "7"})), says("--seed is 7") && says("was begun with 1"));
  CHECK_THAT(refused(with("t", {"--space-to-depth", "3"})),
             says("--space-to-depth, ") && says("by 1, 2 or 4, not 3"));
  CHECK_THAT(refused({"training"}), says("training is no subcommand; there are train, export, evaluate"));
  CHECK_THAT(refused({}), says("a subcommand is needed; there are train, export, evaluate"));
  examples::write_png(folder / "training/more.png", waves(70, 70, 9));
  CHECK_THAT(refused(with("t", {})), says("other photographs") && says("--start-from"));
  CHECK_THAT(refused({"export", "--folder", (folder / "none").string()}), says("denoiser.ckpt"));
  CHECK_THAT(refused({"evaluate", (folder / "t/denoiser.ckpt").string(), "--photographs",
                      (folder / "held_out").string()}),
             says("denoiser.ckpt"));
  fs::create_directories(folder / "linked");
  fs::create_symlink(folder / "training/0.png", folder / "linked/denoiser.jsonl");
  CHECK_THAT(refused(with("linked", {})), says("denoiser.jsonl would overwrite a photograph, "));
  fs::rename(folder / "held_out", folder / "elsewhere");
  CHECK_THAT(refused({"train", "--photographs", folder.path().string()}),
             says("--photographs: ") && says("held_out cannot be listed") && says("scripts/photographs.sh"));
  write_bytes(folder / "weights", serialize_network(small_network()));
  const auto evaluated = [&](const std::string& photographs) {
    return refused({"evaluate", (folder / "weights").string(), "--photographs", photographs});
  };
  CHECK_THAT(evaluated("nowhere"), says("--photographs: nowhere cannot be listed") && says("scripts/"));
  CHECK_THAT(evaluated((folder / "training").string()),
             says("0.png: has 90 x 70 pixels, less than the crop of 192 x 192; take it out of the folder"));
  CHECK_THAT(refused({"evaluate", "none", "--photographs", ".", "--level", "9"}), says("--out"));
}
