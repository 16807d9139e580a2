// Picture files as cameras and other programs write them: made here part by part, so that what should come
// out is known.

#include <support/catch.hpp>
#include <support/picture_files.hpp>
#include <support/resident_memory.hpp>
#include <support/scratch_folder.hpp>

#include <jpeg.hpp>
#include <pictures.hpp>

#include <common/colour.hpp>
#include <common/orientation.hpp>

#include <pushforward/error.hpp>

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

using namespace stable_diffusion;
using namespace testing_support;
using examples::picture;
using pushforward::bad_file;
using pushforward::bad_option;

namespace {

picture read(const scratch_folder& folder, const std::string& bytes, std::size_t channels = 3) {
  write_bytes(folder / "p", bytes);
  return read_picture(folder / "p", channels);
}

int furthest(const picture& a, const picture& b) {
  REQUIRE(a.height == b.height);
  REQUIRE(a.width == b.width);
  REQUIRE(a.channels == b.channels);
  int most = 0;
  for (std::size_t i = 0; i < a.pixels.size(); ++i)
    most = std::max(most, std::abs(int(a.pixels[i]) - int(b.pixels[i])));
  return most;
}

/// What f says on standard error.
std::string told(const std::function<void()>& f) {
  std::ostringstream said;
  auto* const before = std::cerr.rdbuf(said.rdbuf());
  try {
    f();
  } catch (...) {
    std::cerr.rdbuf(before);
    throw;
  }
  std::cerr.rdbuf(before);
  return said.str();
}

using colour = std::array<double, 3>;

/// f of each pixel's red, green and blue in [0, 1].
picture changed(const picture& p, const std::function<colour(colour)>& f) {
  picture q = p;
  for (std::size_t i = 0; i < p.pixels.size(); i += 3) {
    const colour c = f({p.pixels[i] / 255.0, p.pixels[i + 1] / 255.0, p.pixels[i + 2] / 255.0});
    for (std::size_t k = 0; k < 3; ++k)
      q.pixels[i + k] = static_cast<std::uint8_t>(std::lround(255.0 * std::clamp(c[k], 0.0, 1.0)));
  }
  return q;
}

double light_of(double v) { return v <= 0.04045 ? v / 12.92 : std::pow((v + 0.055) / 1.055, 2.4); }
double srgb_of(double light) {
  light = std::clamp(light, 0.0, 1.0);
  return light <= 0.0031308 ? 12.92 * light : 1.055 * std::pow(light, 1.0 / 2.4) - 0.055;
}

/// Display P3 to sRGB by the matrix of both primaries about the same white (CSS Color 4 has its digits).
colour srgb_of_p3(colour c) {
  for (double& v : c) v = light_of(v);
  return {srgb_of(1.2249401763 * c[0] - 0.2249401763 * c[1]),
          srgb_of(-0.0420569547 * c[0] + 1.0420569547 * c[1]),
          srgb_of(-0.0196375546 * c[0] - 0.0786360454 * c[1] + 1.0982736000 * c[2])};
}

/// From the first marker of that kind on: its place, and then the bytes that follow the marker.
std::size_t place_of(const std::string& jpeg, char marker) {
  const std::size_t at = jpeg.find(std::string("\xFF") + marker);
  REQUIRE(at != std::string::npos);
  return at;
}

const std::string xmp = std::string("http://ns.adobe.com/xap/1.0/\0", 29) + "<x:xmpmeta/>";
const std::string jpeg_exif("Exif\0\0", 6);

} // namespace

TEST_CASE("a JPEG whose headers break the standard is read, as long as all its pixels are there") {
  const scratch_folder folder;
  const std::string plain = jpeg_of(smooth_picture(40, 56));
  const picture wanted = read(folder, plain);

  std::string scan = plain; // cameras of a large maker have zeros here, which are for progressive pictures
  const std::size_t sos = place_of(scan, '\xDA');
  const std::size_t spectral = sos + 2 + 2 + 1 + 2 * 3;
  REQUIRE(scan.substr(spectral, 3) == std::string("\0\x3F\0", 3));
  scan[spectral + 1] = '\0';
  CHECK(furthest(read(folder, scan), wanted) == 0);

  std::string version = plain;
  version[version.find("JFIF") + 5] = '\x09';
  CHECK(furthest(read(folder, version), wanted) == 0);

  std::string between = plain;
  between.insert(place_of(between, '\xDB'), "\x01\x02\x03");
  CHECK(furthest(read(folder, between), wanted) == 0);

  // only the end mark is missing; and what some cameras append
  CHECK(furthest(read(folder, plain.substr(0, plain.size() - 2)), wanted) == 0);
  CHECK(furthest(read(folder, plain + std::string(1000, 'x')), wanted) == 0);
}

TEST_CASE("a JPEG that ends before all of its scans is refused") {
  const scratch_folder folder;
  const picture p = smooth_picture(40, 56), grey = smooth_picture(40, 56, 1);
  const auto scans = [](const std::string& jpeg) {
    std::vector<std::size_t> all;
    for (std::size_t at = jpeg.find("\xFF\xDA"); at != std::string::npos; at = jpeg.find("\xFF\xDA", at + 2))
      all.push_back(at);
    return all;
  };
  // cut between two scans, the decoder lacks nothing that it was in the middle of
  jpeg_options apart; // sequential, a scan for each component
  for (int i = 0; i < 3; ++i) apart.scans.push_back(scan_of(i, 0, 63));
  const std::string sequential = jpeg_of(p, apart);
  const std::string progressive = jpeg_of(grey, {.scans = grey_scans(9)});
  for (const std::string& jpeg : {sequential, progressive}) {
    REQUIRE(scans(jpeg).size() > 2);
    CHECK_NOTHROW(read(folder, jpeg));
    for (const std::size_t at : {scans(jpeg)[1], scans(jpeg).back(), jpeg.size() - 40})
      CHECK_THROWS_AS(read(folder, jpeg.substr(0, at)), bad_file);
  }
  CHECK_NOTHROW(read(folder, sequential.substr(0, sequential.size() - 2)));
  const std::string whole = jpeg_of(grey, {.scans = grey_scans(253)});
  REQUIRE(scans(whole).size() == 253);

  // damage within
  std::string damaged = jpeg_of(p);
  damaged.replace(damaged.size() / 2, 60, std::string(60, '\xFF'));
  CHECK_THROWS_WITH(read(folder, damaged), contains_text("damaged JPEG"));
}

TEST_CASE("a progressive JPEG may have a hundred scans and no more") {
  const scratch_folder folder;
  const picture grey = smooth_picture(40, 56, 1);
  const auto most = read(folder, jpeg_of(grey, {.scans = grey_scans(most_scans)}), 1);
  CHECK(furthest(most, grey) < 64); // the last bits are missing
  CHECK_THROWS_WITH(read(folder, jpeg_of(grey, {.scans = grey_scans(most_scans + 1)})),
                    contains_text("more than 100 scans"));
  CHECK_THROWS_WITH(read(folder, jpeg_of(grey, {.scans = grey_scans(253)})), contains_text("scans"));
}

TEST_CASE("a small JPEG that claims to be a large one takes no memory for it") {
  const scratch_folder folder;
  for (const bool progressive : {false, true}) {
    CAPTURE(progressive);
    jpeg_options o;
    if (progressive) o.scans = grey_scans(2);
    std::string claims = jpeg_of(smooth_picture(16, 16, 1), o);
    const std::size_t sof = place_of(claims, progressive ? '\xC2' : '\xC0');
    claims.replace(sof + 5, 4, big_endian(8192, 2) + big_endian(8192, 2));
    const double peak =
        peak_during([&] { CHECK_THROWS_WITH(read(folder, claims), contains_text("cut short")); });
    CHECK(peak < 50e6);
  }
}

TEST_CASE("a picture that takes more than the memory that is free is refused before it is read") {
  const scratch_folder folder;
  examples::write_png(folder / "p.png", smooth_picture(40, 56));
  write_bytes(folder / "p.jpg", jpeg_of(smooth_picture(40, 56)));
  const examples::picture_limits enough{56, 40 * 56 * examples::bytes_of_pixel},
      little{56, enough.memory - 1}, low{55, enough.memory};
  CHECK_NOTHROW(examples::read_png(folder / "p.png", 3, enough));
  CHECK_NOTHROW(read_jpeg(folder / "p.jpg", 3, enough));
  CHECK_THROWS_WITH(examples::read_png(folder / "p.png", 3, little), contains_text("of memory"));
  CHECK_THROWS_WITH(read_jpeg(folder / "p.jpg", 3, little), contains_text("of memory"));
  CHECK_THROWS_WITH(read_jpeg(folder / "p.jpg", 3, low), contains_text("over 55 on a side"));
}

TEST_CASE(
    "the orientation of EXIF data is found behind other segments, in either byte order and both types") {
  const scratch_folder folder;
  const picture p = smooth_picture(24, 40);
  const picture stored = read(folder, jpeg_of(p));
  for (const bool big : {true, false})
    for (const int type : {3, 4}) {
      CAPTURE(big, type);
      const std::string data = exif(6, big, type);
      for (const auto& segments : std::vector<std::vector<std::pair<int, std::string>>>{
               {{0xE1, jpeg_exif + data}},
               {{0xE1, xmp}, {0xE1, jpeg_exif + data}},
               {{0xE1, jpeg_exif + exif(0, big)}, {0xE1, jpeg_exif + data}},
               {{0xE2, "MPF"}, {0xE1, xmp}, {0xE1, "short"}, {0xE1, jpeg_exif + data}, {0xE1, xmp}}}) {
        const picture turned = read(folder, jpeg_of(p, {.segments = segments}));
        CHECK(furthest(turned, examples::turned(stored, 6)) == 0);
        CHECK(turned.height == 40);
      }
      const std::string png_exif = chunk("eXIf", data);
      const auto pixels = png_pixels_of(p);
      CHECK(furthest(read(folder, png_of(pixels, png_exif)), examples::turned(p, 6)) == 0);
      CHECK(furthest(read(folder, png_of(pixels, "", png_exif)), examples::turned(p, 6)) == 0);
      CHECK(furthest(read(folder, png_of(png_pixels_of(smooth_picture(24, 40, 2)), png_exif), 2),
                     examples::turned(smooth_picture(24, 40, 2), 6)) == 0);
    }
  // no orientation, or one that does not exist, is none
  for (const std::string& data :
       {exif(0, true), exif(9, false), exif(1U << 16U, false, 4), std::string("II*"), std::string(),
        std::string("MI") + exif(6, true).substr(2)}) {
    CHECK(furthest(read(folder, jpeg_of(p, {.segments = {{0xE1, jpeg_exif + data}}})), stored) == 0);
    CHECK(read(folder, png_of(png_pixels_of(p), chunk("eXIf", data))).height == 24);
  }
  CHECK(examples::exif_orientation({}) == std::nullopt);
}

TEST_CASE("a turned picture has the corner of the stored one where the orientation says") {
  const picture p = smooth_picture(3, 5);
  struct place {
    unsigned orientation;
    std::size_t y, x; ///< of the stored picture's first pixel
  };
  // TIFF 6.0: row 0 and column 0 are top left, top right, bottom right, bottom left; left top, right top, ...
  for (const auto& [orientation, y, x] : std::vector<place>{
           {1, 0, 0}, {2, 0, 4}, {3, 2, 4}, {4, 2, 0}, {5, 0, 0}, {6, 0, 2}, {7, 4, 2}, {8, 4, 0}}) {
    CAPTURE(orientation);
    const picture q = examples::turned(p, orientation);
    CHECK(q.height == (orientation < 5 ? 3 : 5));
    CHECK(std::equal(p.pixels.begin(), p.pixels.begin() + 3, q.at(y, x)));
  }
}

TEST_CASE("colours of a profile become sRGB's, by the formula") {
  const scratch_folder folder;
  const picture p = smooth_picture(40, 56);
  const picture wanted = changed(p, srgb_of_p3);
  REQUIRE(furthest(wanted, p) > 50);
  const std::string profile = display_p3_profile();
  CHECK(furthest(read(folder, png_of(png_pixels_of(p), iccp(profile))), wanted) <= 2);

  auto deep = png_pixels_of(p);
  deep.bits = 16;
  for (auto& v : deep.values) v = static_cast<std::uint16_t>(257 * v);
  CHECK(furthest(read(folder, png_of(deep, iccp(profile))), wanted) <= 2);
  CHECK(furthest(read(folder, png_of(deep)), p) == 0);

  auto interlaced = png_pixels_of(p);
  interlaced.interlaced = true;
  CHECK(furthest(read(folder, png_of(interlaced, iccp(profile))), wanted) <= 2);

  const picture stored = read(folder, jpeg_of(p));
  CHECK(furthest(read(folder, jpeg_of(p, {.profile = profile})), changed(stored, srgb_of_p3)) <= 2);
  const std::string large = display_p3_profile(150'000); // three segments
  CHECK(furthest(read(folder, jpeg_of(p, {.profile = large})), changed(stored, srgb_of_p3)) <= 2);
}

TEST_CASE("grey of a profile becomes sRGB's grey, in both formats") {
  const scratch_folder folder;
  const picture p = smooth_picture(40, 256, 1);
  const picture stored = read(folder, jpeg_of(p), 1);
  const auto shades = [](picture q) {
    for (auto& v : q.pixels)
      v = static_cast<std::uint8_t>(std::lround(255.0 * srgb_of(std::pow(v / 255.0, 1.4))));
    return q;
  };
  REQUIRE(furthest(shades(p), p) > 20);
  const std::string profile = grey_profile(1.4);
  CHECK(furthest(read(folder, png_of(png_pixels_of(p), iccp(profile)), 1), shades(p)) <= 2);
  CHECK(furthest(read(folder, jpeg_of(p, {.profile = profile}), 1), shades(stored)) <= 2);
  const picture colour = read(folder, jpeg_of(p, {.profile = profile}));
  CHECK(furthest(colour, examples::in_channels(read(folder, jpeg_of(p, {.profile = profile}), 1), 3)) == 0);
  // grey in a profile for colours, which Display P3 has as sRGB has
  CHECK(furthest(read(folder, jpeg_of(p, {.profile = display_p3_profile()}), 1), stored) <= 1);
}

TEST_CASE("pixels that are sRGB already stay exactly as they are") {
  const scratch_folder folder;
  const picture p = smooth_picture(40, 56);
  const auto pixels = png_pixels_of(p);
  const auto gamma = [](std::size_t n) { return chunk("gAMA", big_endian(n, 4)); };
  const std::string srgb = chunk("sRGB", std::string(1, '\0'));
  CHECK(furthest(read(folder, png_of(pixels, iccp(srgb_profile()))), p) == 0);
  CHECK(furthest(read(folder, png_of(pixels, srgb + gamma(45455))), p) == 0);
  CHECK(furthest(read(folder, png_of(pixels, gamma(45455))), p) == 0);
  const picture stored = read(folder, jpeg_of(p));
  CHECK(furthest(read(folder, jpeg_of(p, {.profile = srgb_profile()})), stored) == 0);
}

TEST_CASE("a PNG's gamma and primaries are applied where it has no profile") {
  const scratch_folder folder;
  const picture p = smooth_picture(40, 56);
  const auto pixels = png_pixels_of(p);
  const std::string linear = chunk("gAMA", big_endian(100000, 4));
  CHECK(furthest(read(folder, png_of(pixels, linear)), changed(p, [](colour c) {
                   return colour{srgb_of(c[0]), srgb_of(c[1]), srgb_of(c[2])};
                 })) <= 1);
  std::string primaries;
  for (const std::size_t n : {31270u, 32900u, 68000u, 32000u, 26500u, 69000u, 15000u, 6000u})
    primaries += big_endian(n, 4);
  const auto power = [](colour c) { // P3's primaries without sRGB's curve
    for (double& v : c) v = srgb_of(std::pow(v, 1.0 / 0.45455));
    return srgb_of_p3(c);
  };
  CHECK(furthest(read(folder, png_of(pixels, chunk("gAMA", big_endian(45455, 4)) + chunk("cHRM", primaries))),
                 changed(p, power)) <= 2);
  const picture grey = smooth_picture(40, 256, 1);
  picture wanted = grey;
  for (auto& v : wanted.pixels) v = static_cast<std::uint8_t>(std::lround(255.0 * srgb_of(v / 255.0)));
  CHECK(furthest(read(folder, png_of(png_pixels_of(grey), linear), 1), wanted) <= 2);
}

TEST_CASE("a profile that cannot be used is said, and the colours are taken to be sRGB's") {
  const scratch_folder folder;
  const picture p = smooth_picture(40, 56);
  const picture stored = read(folder, jpeg_of(p));
  std::string damaged = display_p3_profile();
  damaged.replace(132, 200, std::string(200, '\x7f')); // its table of contents
  for (const std::string& profile : {damaged, display_p3_profile().substr(0, 150), grey_profile(1.4)}) {
    picture got;
    const std::string said = told([&] { got = read(folder, jpeg_of(p, {.profile = profile})); });
    CHECK_THAT(said, contains_text("colour profile is not applied"));
    CHECK(std::count(said.begin(), said.end(), '\n') == 1);
    CHECK(furthest(got, stored) == 0);
    const std::string of_png = told([&] { got = read(folder, png_of(png_pixels_of(p), iccp(profile))); });
    CHECK_THAT(of_png, contains_text("colour profile is not applied"));
    CHECK(furthest(got, p) == 0);
  }
  // a segment of a profile is missing
  std::string parts = jpeg_of(p, {.profile = display_p3_profile(150'000)});
  const std::size_t second = parts.find("ICC_PROFILE", parts.find("ICC_PROFILE") + 1);
  parts[second + 12] = '\x07';
  CHECK_THAT(told([&] { read(folder, parts); }), contains_text("is not applied (it is damaged)"));
  CHECK(told([&] { read(folder, jpeg_of(p, {.profile = display_p3_profile()})); }).empty());
  CHECK(told([&] { read(folder, png_of(png_pixels_of(p))); }).empty());
}

TEST_CASE("transparency falls on white, in every kind of PNG") {
  const scratch_folder folder;
  const png_pixels with_palette{1, 3,         PNG_COLOR_TYPE_PALETTE,
                                8, {0, 1, 2}, {{10, 20, 30, 255}, {0, 0, 0, 51}, {9, 9, 9, 0}}};
  CHECK(read(folder, png_of(with_palette)).pixels ==
        std::vector<std::uint8_t>{10, 20, 30, 204, 204, 204, 255, 255, 255});
  const png_pixels grey{1, 2, PNG_COLOR_TYPE_GRAY_ALPHA, 8, {100, 255, 0, 51}};
  CHECK(read(folder, png_of(grey), 1).pixels == std::vector<std::uint8_t>{100, 204});
  const png_pixels deep{1, 2, PNG_COLOR_TYPE_RGB_ALPHA, 16, {257, 514, 771, 65535, 0, 0, 0, 13107}};
  CHECK(read(folder, png_of(deep)).pixels == std::vector<std::uint8_t>{1, 2, 3, 204, 204, 204});
}

TEST_CASE("where a mask has transparent parts they are what is filled in, else its light decides") {
  const scratch_folder folder;
  const auto mask = [&](const png_pixels& p, bool soft = false) {
    write_bytes(folder / "mask.png", png_of(p));
    const auto read = read_mask(folder / "mask.png", soft);
    const at::Tensor shades = (255.0 * read.known.flatten()).round().to(at::kInt);
    std::vector<int> values(shades.data_ptr<int>(), shades.data_ptr<int>() + shades.numel());
    return std::pair(values, read.from_opacity);
  };
  using expected = std::pair<std::vector<int>, bool>;
  CHECK(mask({1, 4, PNG_COLOR_TYPE_GRAY_ALPHA, 8, {255, 255, 255, 0, 0, 255, 0, 127}}) ==
        expected{{255, 0, 255, 0}, true});
  CHECK(mask({1, 2, PNG_COLOR_TYPE_RGB_ALPHA, 8, {0, 0, 0, 255, 255, 255, 255, 0}}) ==
        expected{{255, 0}, true});
  CHECK(mask({1, 2, PNG_COLOR_TYPE_PALETTE, 8, {0, 1}, {{0, 0, 0, 255}, {255, 255, 255, 0}}}) ==
        expected{{255, 0}, true});
  CHECK(mask({1, 2, PNG_COLOR_TYPE_GRAY_ALPHA, 16, {0, 65535, 65535, 0}}) == expected{{255, 0}, true});
  // nothing is more transparent than opaque: light decides; as a weight, opacity does
  CHECK(mask({1, 2, PNG_COLOR_TYPE_GRAY_ALPHA, 8, {255, 128, 0, 128}}) == expected{{255, 0}, false});
  CHECK(mask({1, 2, PNG_COLOR_TYPE_GRAY_ALPHA, 8, {255, 127, 0, 128}}) == expected{{0, 255}, true});
  CHECK(mask({1, 2, PNG_COLOR_TYPE_GRAY_ALPHA, 8, {255, 254, 0, 255}}, true) == expected{{254, 255}, true});
  CHECK(mask({1, 2, PNG_COLOR_TYPE_GRAY_ALPHA, 8, {255, 128, 0, 128}}, true) == expected{{128, 128}, true});
  // opaque throughout
  CHECK(mask({1, 2, PNG_COLOR_TYPE_GRAY_ALPHA, 8, {255, 255, 0, 255}}) == expected{{255, 0}, false});
  CHECK(mask({1, 2, PNG_COLOR_TYPE_PALETTE, 8, {0, 1}, {{255, 255, 255, 255}, {0, 0, 0, 255}}}) ==
        expected{{255, 0}, false});
  CHECK(mask({1, 3, PNG_COLOR_TYPE_GRAY, 8, {127, 128, 255}}) == expected{{0, 255, 255}, false});
  // soft: shades, or opacities, of 255
  CHECK(mask({1, 3, PNG_COLOR_TYPE_GRAY, 8, {0, 51, 255}}, true) == expected{{0, 51, 255}, false});
  CHECK(mask({1, 3, PNG_COLOR_TYPE_GRAY_ALPHA, 8, {9, 0, 9, 51, 9, 255}}, true) ==
        expected{{0, 51, 255}, true});
}

TEST_CASE("a mask's shades are numbers, which no profile changes") {
  const scratch_folder folder;
  const picture p = smooth_picture(16, 256, 1);
  const auto shades = [&](const std::string& bytes) {
    return examples::mask_of(read(folder, bytes, 2)).shades;
  };
  CHECK(furthest(shades(png_of(png_pixels_of(p), iccp(grey_profile(1.4)))), p) == 0);
  CHECK(furthest(shades(png_of(png_pixels_of(p), chunk("gAMA", big_endian(100000, 4)))), p) == 0);
  CHECK(furthest(shades(jpeg_of(p, {.profile = grey_profile(1.4)})), read(folder, jpeg_of(p), 1)) == 0);
  const picture luma = shades(jpeg_of(smooth_picture(16, 40)));
  CHECK(furthest(luma, examples::in_channels(read(folder, jpeg_of(smooth_picture(16, 40))), 1)) <= 8);
}

TEST_CASE("texts of a PNG are passed over, however large they would become") {
  const scratch_folder folder;
  const std::string text(6'000'000, 'a');
  uLongf size = compressBound(static_cast<uLong>(text.size()));
  std::string packed(size, '\0');
  compress(reinterpret_cast<Bytef*>(packed.data()), &size, reinterpret_cast<const Bytef*>(text.data()),
           static_cast<uLong>(text.size()));
  packed.resize(size);
  std::string texts;
  for (int i = 0; i < 50; ++i) texts += chunk("zTXt", std::string("Comment\0\0", 9) + packed);
  const picture p = smooth_picture(8, 8);
  const std::string bytes = png_of(png_pixels_of(p), texts);
  const double peak = peak_during([&] { CHECK(furthest(read(folder, bytes), p) == 0); });
  CHECK(peak < 50e6);
}

TEST_CASE("resizing takes memory in proportion to the picture and the result, for strips as well") {
  // scaled to cover 64 x 64, the strip is 64 x 65536, of which the middle is cut out
  const at::Tensor strip = at::linspace(-1.0, 1.0, 3 * 8 * 8192).view({1, 3, 8192, 8});
  at::Tensor middle, wide;
  CHECK(peak_during([&] { middle = fitted(strip, fitting::crop, picture_size{64, 64}); }) < 40e6);
  CHECK(middle.sizes() == at::IntArrayRef{1, 3, 64, 64});
  CHECK(peak_during([&] { wide = fitted(strip, fitting::resize, picture_size{8, 8192}); }) < 40e6);
  CHECK(wide.sizes() == at::IntArrayRef{1, 3, 8, 8192});
  CHECK(peak_during([&] {
          fitted(at::zeros({1, 3, 1, 8192}), fitting::crop, picture_size{8192, 8});
        }) < 100e6);
  CHECK(peak_during([&] {
          fitted(at::zeros({1, 3, 2000, 2000}), fitting::resize, picture_size{2400, 2400});
        }) < 500e6); // 48 and 69 MB
}

TEST_CASE("the middle of an enlarged picture is that of the whole enlarged one") {
  const at::Tensor image = at::randn({1, 3, 12, 40}).clamp(-1.0, 1.0);
  const at::Tensor got = fitted(image, fitting::crop, picture_size{48, 64});
  const at::Tensor whole = fitted(image, fitting::resize, picture_size{48, 160});
  CHECK((got - whole.narrow(3, 48, 64)).abs().max().item<float>() < 1e-6F);
}

TEST_CASE("the size that a picture is brought to is known before it is") {
  const auto size = [](const picture_size& own, const std::optional<picture_size>& asked,
                       std::int64_t multiple) {
    const auto s = fitted_size(own, asked, multiple);
    return std::pair(s.height, s.width);
  };
  using pair = std::pair<std::int64_t, std::int64_t>;
  CHECK(size({37, 53}, {}, 8) == pair{32, 48});
  CHECK(size({37, 53}, picture_size{0, 106}, 1) == pair{74, 106});
  CHECK(size({37, 53}, picture_size{64, 0}, 8) == pair{64, 88});
  CHECK(size({1, 8192}, picture_size{8, 8}, 8) == pair{8, 8});
  CHECK_THROWS_AS(fitted_size({1, 8192}, picture_size{8192, 0}, 8), bad_option);
  CHECK_THROWS_AS(fitted_size({7, 64}, {}, 8), bad_option);
}

TEST_CASE("a latent element is as known as the least known pixel of its block") {
  at::Tensor mask = at::ones({1, 1, 8, 24});
  mask[0][0][3][9] = 0.25F;
  mask[0][0][5][12] = 0.75F;
  mask[0][0][0][23] = 0.0F;
  CHECK(latent_mask(mask).equal(at::tensor({1.0F, 0.25F, 0.0F}).view({1, 1, 1, 3})));
}
