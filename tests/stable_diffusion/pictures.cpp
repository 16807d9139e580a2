// Picture files against Pillow, hostile ones, sizes and masks.

#include <support/catch.hpp>
#include <support/oracle.hpp>
#include <support/scratch_folder.hpp>

#include <pictures.hpp>

#include <pushforward/error.hpp>
#include <pushforward/libtorch/safetensors.hpp>

#include <ATen/ATen.h>

#include <string>

using namespace stable_diffusion;
using namespace testing_support;
using pushforward::bad_file;
using pushforward::bad_option;
using pushforward::shape_mismatch;
using pushforward::libtorch::read_tensor;
namespace fs = std::filesystem;

namespace {

/// Pixels of a file, [H, W, C].
at::Tensor pixels(const fs::path& path, std::size_t channels = 3) {
  auto p = read_picture(path, channels);
  return at::tensor(at::ArrayRef<std::uint8_t>(p.pixels), at::kByte)
      .view({static_cast<std::int64_t>(p.height), static_cast<std::int64_t>(p.width),
             static_cast<std::int64_t>(p.channels)});
}

int furthest(const at::Tensor& a, const at::Tensor& b) {
  REQUIRE(a.sizes() == b.sizes());
  return (a.to(at::kInt) - b.to(at::kInt)).abs().max().item<int>();
}

at::Tensor shades(std::int64_t height, std::int64_t width) {
  return at::linspace(-1.0, 1.0, 3 * height * width).view({1, 3, height, width});
}

/// No file that begins as `bytes` does crashes the reader; it is refused, or read.
bool refused(const scratch_folder& folder, const std::string& bytes) {
  write_bytes(folder / "p", bytes);
  try {
    read_picture(folder / "p");
    return false;
  } catch (const bad_file& e) {
    CHECK(std::string(e.what()).find('\n') == std::string::npos);
    return true;
  }
}

} // namespace

TEST_CASE("pictures are read as Pillow reads them") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const pushforward::safetensors::file wanted(oracle / "wanted.safetensors");
  REQUIRE(wanted.tensors().size() == 18);
  for (const auto& [name, view] : wanted.tensors()) {
    CAPTURE(name);
    const bool exact = name.ends_with(".png") && name != "deep.png";
    CHECK(furthest(pixels(oracle / name), read_tensor(wanted, name)) <= (exact ? 0 : 1));
  }
}

TEST_CASE("a colour picture can be read as grey") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  CHECK(furthest(pixels(oracle / "grey.png", 1).expand({-1, -1, 3}), pixels(oracle / "grey.png")) == 0);
  CHECK(furthest(pixels(oracle / "grey.jpg", 1).expand({-1, -1, 3}), pixels(oracle / "grey.jpg")) == 0);
  CHECK(furthest(pixels(oracle / "whole.jpg", 1), pixels(oracle / "grey.jpg", 1)) <= 16);
}

TEST_CASE("CMYK pictures, and those too large, are refused with the reason") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  CHECK_THROWS_WITH(read_picture(oracle / "cmyk.jpg"), contains_text("CMYK"));
  CHECK_THROWS_WITH(read_picture(oracle / "wide.jpg"), contains_text("9000 x 1 pixels, over 8192"));
  CHECK_THROWS_WITH(read_picture(oracle / "tall.png"), contains_text("1 x 9000 pixels, over 8192"));
}

TEST_CASE("a JPEG that is cut short anywhere, or damaged, is refused in one line or read whole") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  for (const char* name : {"turned6.jpg", "progressive.jpg"}) {
    CAPTURE(name);
    const auto whole = read_bytes(oracle / name);
    const auto wanted = pixels(oracle / name);
    for (std::size_t n = 0; n + 2 < whole.size(); n += 7) {
      CAPTURE(n);
      if (!refused(folder, whole.substr(0, n))) CHECK(furthest(pixels(folder / "p"), wanted) == 0);
    }
    std::size_t count = 0;
    for (std::size_t i = 0; i < whole.size(); i += 5) {
      auto damaged = whole;
      damaged[i] = static_cast<char>(damaged[i] ^ 0x55);
      count += refused(folder, damaged);
    }
    CHECK(count > 20);
  }
}

TEST_CASE("EXIF data that lies about its size does no harm") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  const auto whole = read_bytes(oracle / "turned6.jpg");
  const auto exif = whole.find("Exif");
  REQUIRE(exif != std::string::npos);
  for (std::size_t i = exif; i < exif + 40; ++i)
    for (const char value : {'\0', '\x7f', '\xff'}) {
      auto changed = whole;
      changed[i] = value;
      refused(folder, changed);
    }
  CHECK(pixels(oracle / "turned6.jpg").size(0) == 53);
}

TEST_CASE("files that are no picture are refused") {
  const scratch_folder folder;
  for (const std::string& bytes :
       {std::string(), std::string("text"), std::string("\xFF\xD8"), std::string("\xFF\xD8\xFF\xD9"),
        std::string("\x89PNG\r\n\x1a\n"), std::string("GIF89a")}) {
    CAPTURE(bytes);
    CHECK(refused(folder, bytes));
  }
  CHECK_THROWS_WITH(read_picture(folder / "none.png"), contains_text("no such file"));
  CHECK_THROWS_WITH(read_picture(folder.path()), contains_text("is not a regular file but a folder"));
}

TEST_CASE("an image becomes a picture and comes back") {
  examples::picture p(5, 7, 3);
  for (std::size_t i = 0; i < p.pixels.size(); ++i) p.pixels[i] = static_cast<std::uint8_t>(37 * i);
  const auto image = image_of(p);
  CHECK(image.sizes() == at::IntArrayRef{1, 3, 5, 7});
  CHECK(image.min().item<float>() >= -1.0F);
  CHECK(picture_of(image).pixels == p.pixels);
  CHECK(image[0][2][4][6].item<float>() == Approx(p.at(4, 6)[2] / 127.5 - 1.0));
  CHECK(picture_of(at::full({1, 1, 1, 2}, 9.0)).pixels == std::vector<std::uint8_t>{255, 255});
  CHECK_THROWS_AS(picture_of(at::zeros({2, 3, 4, 4})), shape_mismatch);
}

TEST_CASE("a picture is resized as Pillow's antialiased cubic does it") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const pushforward::safetensors::file wanted(oracle / "resized.safetensors");
  const auto image = image_of(read_picture(oracle / "rgb.png"));
  for (const auto& [name, view] : wanted.tensors()) {
    CAPTURE(name);
    const auto goal = read_tensor(wanted, name).unsqueeze(0);
    const auto got = fitted(image, fitting::resize, picture_size{goal.size(2), goal.size(3)});
    REQUIRE(got.sizes() == goal.sizes());
    CHECK((got - goal).abs().max().item<float>() < 1e-5F);
  }
}

TEST_CASE("without a size, sides go down to the next multiple of 8") {
  const auto image = shades(37, 53);
  const auto cut = fitted(image, fitting::crop);
  CHECK(cut.equal(image.slice(2, 2, 34).slice(3, 2, 50)));
  CHECK(fitted(image, fitting::resize).sizes() == at::IntArrayRef{1, 3, 32, 48});
  CHECK(fitted(shades(16, 24), fitting::crop).equal(shades(16, 24)));
  CHECK_THROWS_AS(fitted(shades(7, 64), fitting::crop), bad_option);
}

TEST_CASE("with a size, a crop keeps proportions and a resize does not") {
  const auto image = shades(32, 64);
  const auto cut = fitted(image, fitting::crop, picture_size{32, 32});
  CHECK(cut.equal(image.slice(3, 16, 48)));
  CHECK(fitted(image, fitting::crop, picture_size{64, 40}).sizes() == at::IntArrayRef{1, 3, 64, 40});
  CHECK(fitted(image, fitting::resize, picture_size{16, 16}).sizes() == at::IntArrayRef{1, 3, 16, 16});
  CHECK(fitted(image, fitting::resize, picture_size{0, 128}).sizes() == at::IntArrayRef{1, 3, 64, 128});
  CHECK(fitted(image, fitting::crop, picture_size{64, 0}).sizes() == at::IntArrayRef{1, 3, 64, 128});
  for (const auto& size : {picture_size{0, 0}, picture_size{12, 16}, picture_size{-8, 8},
                           picture_size{8, 8200}, picture_size{1 << 30, 0}})
    CHECK_THROWS_AS(fitted(image, fitting::crop, size), bad_option);
}

TEST_CASE("a mask's light pixels are known, and a latent element where its whole block is") {
  const scratch_folder folder;
  examples::picture p(16, 24, 1, 0);
  for (std::size_t y = 0; y < 16; ++y)
    for (std::size_t x = 0; x < 16; ++x) *p.at(y, x) = 200;
  *p.at(3, 9) = 100; // one dark pixel in the second block
  examples::write_png(folder / "mask.png", p);
  const auto mask = read_mask(folder / "mask.png").known;
  CHECK(mask.sizes() == at::IntArrayRef{1, 1, 16, 24});
  CHECK(mask.sum().item<double>() == 255.0);
  CHECK(latent_mask(mask).equal(at::tensor({1.0F, 0.0F, 0.0F, 1.0F, 1.0F, 0.0F}).view({1, 1, 2, 3})));
  CHECK_THROWS_AS(latent_mask(at::ones({1, 1, 12, 16})), shape_mismatch);
}

TEST_CASE("a strip shows its images side by side") {
  const auto p = strip({at::full({1, 3, 4, 5}, -1.0), at::zeros({1, 3, 4, 6})});
  CHECK(p.height == 4);
  CHECK(p.width == 5 + 4 + 6);
  CHECK(*p.at(0, 4) == 0);
  CHECK(*p.at(0, 5) == 255);
  CHECK(*p.at(3, 9) == 128);
}

TEST_CASE("PSNR is that of shades from black to white") {
  const auto truth = at::zeros({1, 3, 4, 4});
  CHECK(psnr(truth + 0.2, truth) == Approx(20.0).epsilon(1e-5)); // a tenth of the range
}
