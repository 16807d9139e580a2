// Pictures to PNG and back.

#include <support/catch.hpp>
#include <support/scratch_folder.hpp>

#include <common/png.hpp>
#include <data.hpp>

#include <pushforward/error.hpp>

#include <ATen/ATen.h>

using namespace mnist;
using namespace testing_support;
using pushforward::bad_file;

namespace {

picture some_picture(std::size_t channels) {
  picture p(5, 7, channels);
  for (std::size_t i = 0; i < p.pixels.size(); ++i) p.pixels[i] = static_cast<std::uint8_t>(37 * i + 11);
  return p;
}

} // namespace

TEST_CASE("grey and colour pictures come back pixel by pixel") {
  const scratch_folder folder;
  for (const std::size_t channels : {1ul, 3ul}) {
    const auto p = some_picture(channels);
    write_png(folder / "p.png", p);
    CHECK(read_bytes(folder / "p.png").substr(0, 8) == "\x89PNG\r\n\x1a\n");
    const auto back = read_png(folder / "p.png", channels);
    CHECK(back.height == 5);
    CHECK(back.width == 7);
    CHECK(back.pixels == p.pixels);
  }
  CHECK(folder.size() == 1);
}

TEST_CASE("a grey picture read as colour has three equal channels") {
  const scratch_folder folder;
  const auto grey = some_picture(1);
  write_png(folder / "p.png", grey);
  const auto colour = read_png(folder / "p.png", 3);
  REQUIRE(colour.pixels.size() == 3 * grey.pixels.size());
  for (std::size_t i = 0; i < colour.pixels.size(); ++i) REQUIRE(colour.pixels[i] == grey.pixels[i / 3]);
}

TEST_CASE("a PNG cut at any byte is refused or complete") {
  const scratch_folder folder;
  const auto p = some_picture(3);
  write_png(folder / "p.png", p);
  const auto whole = read_bytes(folder / "p.png");
  for (std::size_t n = 0; n < whole.size(); ++n) {
    CAPTURE(n);
    write_bytes(folder / "cut.png", whole.substr(0, n));
    std::vector<std::uint8_t> pixels;
    try {
      pixels = read_png(folder / "cut.png", 3).pixels;
    } catch (const bad_file& e) {
      CHECK_THAT(e.what(), contains_text("cut.png"));
      continue;
    }
    CHECK(pixels == p.pixels); // only the end mark was missing
    CHECK(n + 12 >= whole.size());
  }
}

TEST_CASE("a PNG whose size or checksum lies is refused") {
  const scratch_folder folder;
  write_png(folder / "p.png", some_picture(1));
  auto bytes = read_bytes(folder / "p.png");
  bytes[18] = '\x7f'; // width, with a checksum that no longer fits
  write_bytes(folder / "p.png", bytes);
  CHECK_THROWS_AS(read_png(folder / "p.png"), bad_file);
  write_bytes(folder / "text.png", "no picture");
  CHECK_THROWS_WITH(read_png(folder / "text.png"), contains_text("not a readable PNG"));
  CHECK_THROWS_WITH(read_png(folder / "none.png"), contains_text("no such file"));
  write_png(folder / "wide.png", picture(1, 4097, 1));
  CHECK_THROWS_WITH(read_png(folder / "wide.png"), contains_text("4097 x 1"));
}

TEST_CASE("a picture that cannot be written leaves what was there") {
  const scratch_folder folder;
  std::filesystem::create_directory(folder / "taken.png");
  write_bytes(folder / "taken.png/x", "");
  CHECK_THROWS_AS(write_png(folder / "taken.png", some_picture(1)), bad_file);
  CHECK(std::filesystem::exists(folder / "taken.png/x"));
  CHECK(folder.size() == 1);
}

TEST_CASE("a sheet shows each digit in its place, and values beyond the range as the nearest shade") {
  const at::Tensor row = at::full({3, 1, 2, 2}, -1.0);
  row.select(0, 1).fill_(5.0);
  row.select(0, 2).fill_(0.0);
  const auto page = sheet({row, row.slice(0, 0, 1)}, 4);
  CHECK(page.height == 2 * 8 + 4);
  CHECK(page.width == 3 * 8 + 4);
  CHECK(*page.at(5, 5) == 0);
  CHECK(*page.at(5, 13) == 255);
  CHECK(*page.at(5, 21) == 128);
  CHECK(*page.at(0, 0) == 96);
  CHECK(*page.at(13, 5) == 0);
  CHECK(*page.at(13, 13) == 96);
}
