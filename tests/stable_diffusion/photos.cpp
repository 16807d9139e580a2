// The study on photographs, run on a small random autoencoder.

#include <support/catch.hpp>
#include <support/scratch_folder.hpp>

#include <model.hpp>
#include <pictures.hpp>

#include <pushforward/libtorch/safetensors.hpp>

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

#include <sys/wait.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

using namespace testing_support;
namespace fs = std::filesystem;

namespace {

using named_tensors = std::vector<std::pair<std::string, at::Tensor>>;

void add_convolution(named_tensors& all, const std::string& name, std::int64_t out, std::int64_t in,
                     bool bias = true) {
  const auto scale = 1.0 / std::sqrt(9.0 * static_cast<double>(in));
  all.emplace_back(name + ".weight", at::randn({out, in, 3, 3}) * scale);
  if (bias) all.emplace_back(name + ".bias", 0.1 * at::randn({out}));
}

/// One resolution without blocks would do; two, with one block each, are as small as a real one can be.
void write_autoencoder(const fs::path& folder) {
  at::manual_seed(0);
  const auto block = [](named_tensors& all, const std::string& name) {
    for (const char* part : {".conv.0", ".conv.2", ".conv.4"}) add_convolution(all, name + part, 4, 4);
  };
  named_tensors encoder, decoder;
  add_convolution(encoder, "0", 4, 3);
  block(encoder, "1");
  add_convolution(encoder, "2", 4, 4, false);
  block(encoder, "3");
  add_convolution(encoder, "4", 4, 4);
  add_convolution(decoder, "1", 4, 4);
  block(decoder, "3");
  add_convolution(decoder, "5", 4, 4, false);
  block(decoder, "6");
  add_convolution(decoder, "7", 3, 4);
  pushforward::libtorch::write_tensors(folder / "encoder.safetensors", encoder);
  pushforward::libtorch::write_tensors(folder / "decoder.safetensors", decoder);
}

/// Multiplies all of the decoder's weights.
void scale_decoder(const fs::path& folder, double factor) {
  named_tensors scaled;
  {
    const pushforward::safetensors::file file(folder / "decoder.safetensors");
    for (const auto& [name, view] : file.tensors())
      scaled.emplace_back(name, factor * pushforward::libtorch::read_tensor(file, name));
  }
  pushforward::libtorch::write_tensors(folder / "decoder.safetensors", scaled);
}

void write_photograph(const fs::path& path) {
  const auto y = at::linspace(-1.0, 1.0, 80).view({1, 1, 80, 1}),
             x = at::linspace(-1.0, 1.0, 100).view({1, 1, 1, 100});
  examples::write_png(
      path, stable_diffusion::picture_of(at::cat({(3 * x + y).sin(), (2 * y).cos() * x, x * y}, 1)));
}

/// Exit status; output goes to a file.
int run(const scratch_folder& folder, const std::string& arguments) {
  const std::string command =
      std::string(PHOTOS_PROGRAM) + " " + arguments + " >" + (folder / "out.txt").string() + " 2>&1";
  const int status = std::system(command.c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

} // namespace

TEST_CASE("the study writes strips, a trace and a table, and one pullback runs without a backward pass") {
  const scratch_folder folder;
  write_autoencoder(folder.path());
  write_photograph(folder / "p.png");
  const int status = run(folder, "--autoencoder " + folder.path().string() + " --size 64 --K 3 " +
                                     "--tasks superres_x4,superres_x8,half " + (folder / "p.png").string() +
                                     " --out " + (folder / "o").string());
  INFO(read_bytes(folder / "out.txt"));
  REQUIRE(status == 0);
  for (const char* name : {"p_superres_x4.png", "p_superres_x8.png", "p_half.png"}) {
    const auto strip = stable_diffusion::read_picture(folder / "o" / name);
    CHECK(strip.height == 64);
    CHECK(strip.width == 5 * 64 + 4 * 4);
  }
  const auto trace = nlohmann::json::parse(read_bytes(folder / "o/trace.json"));
  REQUIRE(trace["runs"].size() == 3);
  for (const auto& r : trace["runs"]) {
    CHECK(r["decoder_vjp"]["residual"].size() == 4);
    CHECK(r["encoder_difference"]["residual"].size() == 4);
    CHECK(r["decoder_vjp"]["residual"][0].get<double>() ==
          Approx(r["encoder_difference"]["residual"][0].get<double>()).epsilon(1e-6));
    CHECK(r["decoder_vjp"]["decoder_backward_passes"] == 3);
    CHECK(r["encoder_difference"]["decoder_backward_passes"] == 0);
    CHECK(r["encoder_difference"]["encoder_passes"] == 6);
    // J_D J_D^T is positive semi-definite
    CHECK(r["at_start"]["decoder_vjp"]["cosine_with_pixel_error"].get<double>() > 0.0);
    const double c = r["at_start"]["cosine_of_directions"];
    CHECK((c >= -1.0 && c <= 1.0));
  }
  CHECK_THAT(read_bytes(folder / "o/table.md"), contains_text("| p | superres_x8 |"));
  // of the left half: what encoding and decoding leave
  const auto d = stable_diffusion::read_autoencoder(folder.path(), {}).maps;
  const at::Tensor truth =
      stable_diffusion::fitted(stable_diffusion::image_of(stable_diffusion::read_picture(folder / "p.png")),
                               stable_diffusion::fitting::crop, stable_diffusion::picture_size{64, 64});
  const at::Tensor left = (d.decode(d.encode(truth)) - truth).narrow(3, 0, 32);
  CHECK(trace["runs"][2]["residual_of_the_autoencoder"].get<double>() ==
        Approx(left.square().mean().sqrt().item<double>()).epsilon(1e-4));
}

TEST_CASE("photographs of one name are told apart, and none is overwritten") {
  const scratch_folder folder;
  write_autoencoder(folder.path());
  fs::create_directory(folder / "other");
  write_photograph(folder / "p.png");
  write_photograph(folder / "other/p.png");
  const std::string network = "--autoencoder " + folder.path().string() + " --size 64 --K 1 --tasks half ";
  const std::string both = (folder / "p.png").string() + " " + (folder / "other/p.png").string();
  REQUIRE(run(folder, network + both + " --out " + (folder / "o").string()) == 0);
  const auto said = read_bytes(folder / "out.txt");
  CHECK_THAT(said, contains_text((folder / "other/p.png").string() + " is called p-2 in what is written"));
  CHECK(fs::exists(folder / "o/p_half.png"));
  CHECK(fs::exists(folder / "o/p-2_half.png"));
  const auto trace = nlohmann::json::parse(read_bytes(folder / "o/trace.json"));
  CHECK(trace["runs"][1]["photograph"] == "p-2");
  CHECK(trace["psnr_of_the_autoencoder_db"].size() == 2);

  write_photograph(folder / "p_half.png");
  const auto refused = [&](const std::string& arguments, const std::string& message) {
    CHECK(run(folder, network + arguments) == 2);
    CHECK_THAT(read_bytes(folder / "out.txt"), contains_text(message));
  };
  refused((folder / "p.png").string() + " " + (folder / "p_half.png").string() + " --out " +
              folder.path().string(),
          "would overwrite a photograph, " + (folder / "p_half.png").string());
  CHECK_FALSE(fs::exists(folder / "trace.json"));
  refused((folder / "p.png").string() + " --out " + (folder / "p.png").string(), "is not a folder");
  refused((folder / "p.png").string() + " --out ''", "is empty");
  // a photograph that cannot be read ends the study before the first is looked at
  refused(both + " " + (folder / "none.png").string() + " --out " + (folder / "n").string(), "none.png");
  CHECK_FALSE(fs::exists(folder / "n"));
}

TEST_CASE("where the decoder does not move there is no direction to compare, and no NaN is written") {
  const scratch_folder folder;
  write_autoencoder(folder.path());
  scale_decoder(folder.path(), 0.0);
  write_photograph(folder / "p.png");
  REQUIRE(run(folder, "--autoencoder " + folder.path().string() + " --out " + (folder / "o").string() +
                          " --size 64 --tasks half --K 2 " + (folder / "p.png").string()) == 0);
  CHECK_THAT(read_bytes(folder / "o/table.md"), contains_text(" | - / - |") && !contains_text("nan"));
  const auto end = nlohmann::json::parse(read_bytes(folder / "o/trace.json"))["runs"][0]["at_end"];
  CHECK(end["cosine_of_directions"].is_null());
  CHECK(end["decoder_vjp"]["cosine_with_pixel_error"].is_null());
}

TEST_CASE("an autoencoder that overflows ends the study, and nothing is written") {
  const scratch_folder folder;
  write_autoencoder(folder.path());
  scale_decoder(folder.path(), 1e30);
  write_photograph(folder / "p.png");
  CHECK(run(folder, "--autoencoder " + folder.path().string() + " --out " + (folder / "o").string() +
                        " --size 64 --tasks half " + (folder / "p.png").string()) == 2);
  CHECK_THAT(read_bytes(folder / "out.txt"),
             contains_text("half: the residual is not finite after 0 iterations: take a smaller --lr"));
  CHECK_FALSE(fs::exists(folder / "o"));
}

TEST_CASE("what the study cannot use is one line and exit status 2") {
  const scratch_folder folder;
  write_autoencoder(folder.path());
  write_photograph(folder / "p.png");
  write_bytes(folder / "text.png", "no picture");
  const std::string network =
      "--autoencoder " + folder.path().string() + " --out " + (folder / "o").string() + " ";
  const auto refused = [&](const std::string& arguments, const std::string& message) {
    CAPTURE(arguments);
    CHECK(run(folder, arguments) == 2);
    const auto text = read_bytes(folder / "out.txt");
    CHECK_THAT(text, contains_text(message));
    CHECK(std::count(text.begin(), text.end(), '\n') == 1);
  };
  refused(network + (folder / "text.png").string(), "neither a JPEG nor a PNG");
  refused(network + (folder / "none.png").string(), "no such file");
  refused(network + "--size 100 " + (folder / "p.png").string(), "multiple of 64");
  refused(network + "--tasks half,x3 " + (folder / "p.png").string(), "x3");
  refused(network + "--tasks half,half " + (folder / "p.png").string(), "--tasks names half more than once");
  refused("--autoencoder " + (folder / "nowhere").string() + " " + (folder / "p.png").string(), "nowhere");
  refused((folder / "p.png").string(), "--autoencoder");
  CHECK_FALSE(fs::exists(folder / "o"));
}
