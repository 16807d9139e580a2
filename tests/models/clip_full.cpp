// CLIP in full size against transformers: `clip.py FOLDER full` makes the models (3 GB), `models_clip_full
// FOLDER` compares and prints the relative differences in the L2 norm; it fails where one is above 1e-4.

#include <support/oracle.hpp>

#include <pushforward/libtorch/models/clip_text.hpp>
#include <pushforward/libtorch/models/clip_vision.hpp>

#include <torch/csrc/autograd/autograd.h>

#include <exception>
#include <iostream>
#include <string>

using namespace pushforward;
using namespace libtorch::models;

namespace {

bool all_close = true;

void report(const std::string& what, const at::Tensor& got, const at::Tensor& wanted) {
  const double difference = testing_support::relative_l2(got, wanted);
  all_close = all_close && difference <= 1e-4;
  std::cout << what << " " << wanted.sizes() << ": " << difference << std::endl;
}

void compare_text(const std::filesystem::path& folder) {
  const clip_text encode(clip_text_config::read(folder / "config.json"),
                         {{folder / "model.safetensors"}, {}});
  const safetensors::file expected(folder / "expected.safetensors");
  report(folder.filename().string(), encode(libtorch::read_tensor(expected, "ids")),
         libtorch::read_tensor(expected, "last"));
}

void compare_vision(const std::filesystem::path& folder) {
  const clip_vision encode(clip_vision_config::read(folder / "config.json"),
                           {{folder / "model.safetensors"}, {}});
  const safetensors::file expected(folder / "expected.safetensors");
  const auto read = [&](const std::string& name) { return libtorch::read_tensor(expected, name); };
  const std::string name = folder.filename().string() + " ";
  const at::Tensor pixels = read("pixels");
  report(name + "tokens after block 2", encode.tokens_after(pixels, 2), read("tokens.2"));
  report(name + "tokens after block 11", encode.tokens_after(pixels, 11), read("tokens.11"));
  report(name + "projected", encode.projected(pixels), read("projected"));
  const at::Tensor image = read("image.0").clone().requires_grad_(true);
  const at::Tensor matrix = gram(patch_tokens(encode.tokens_after(clip_pixels(image), 2)));
  report(name + "Gram matrix", matrix.detach(), read("image.0.gram"));
  report(name + "its vjp to the image", torch::autograd::grad({matrix}, {image}, {read("image.0.w")}).front(),
         read("image.0.vjp"));
}

} // namespace

int main(int count, char** arguments) {
  if (count != 2) {
    std::cerr << "models_clip_full FOLDER, which `clip.py FOLDER full` has made\n";
    return 2;
  }
  try {
    const std::filesystem::path folder = arguments[1];
    compare_text(folder / "sd1");
    compare_text(folder / "sd2");
    compare_vision(folder / "vit_b_16");
  } catch (const std::exception& e) {
    std::cerr << e.what() << "\n";
    return 2;
  }
  return all_close ? 0 : 1;
}
