#pragma once
// Picture files as cameras and other programs write them, made part by part.

#include <common/png.hpp>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <jpeglib.h>
#include <lcms2.h>
#include <png.h>
#include <zlib.h>

namespace testing_support {

/// Smooth, with colours of all kinds.
inline examples::picture smooth_picture(std::size_t height, std::size_t width, std::size_t channels = 3) {
  examples::picture p(height, width, channels);
  for (std::size_t y = 0; y < height; ++y)
    for (std::size_t x = 0; x < width; ++x)
      for (std::size_t c = 0; c < channels; ++c)
        p.at(y, x)[c] = static_cast<std::uint8_t>((c == 0   ? 255 * x / width
                                                   : c == 1 ? 255 * y / height
                                                            : 9 * x) %
                                                  256);
  return p;
}

inline std::string big_endian(std::size_t value, std::size_t bytes) {
  std::string text;
  for (std::size_t i = bytes; i-- > 0;) text += static_cast<char>(value >> (8 * i) & 0xff);
  return text;
}

// ---- JPEG ----

struct jpeg_options {
  std::vector<std::pair<int, std::string>> segments{}; ///< marker (APP1: 0xE1) and content, in this order
  std::string profile{};
  std::vector<jpeg_scan_info> scans{}; ///< else one scan
};

inline std::string jpeg_of(const examples::picture& p, const jpeg_options& o = {}) {
  jpeg_compress_struct c{};
  jpeg_error_mgr errors{};
  c.err = jpeg_std_error(&errors);
  errors.error_exit = [](j_common_ptr) { std::abort(); }; // a test that asks for what libjpeg cannot write
  jpeg_create_compress(&c);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&c, &bytes, &size);
  c.image_height = static_cast<JDIMENSION>(p.height);
  c.image_width = static_cast<JDIMENSION>(p.width);
  c.input_components = static_cast<int>(p.channels);
  c.in_color_space = p.channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_set_defaults(&c);
  jpeg_set_quality(&c, 95, TRUE);
  if (!o.scans.empty()) {
    c.scan_info = o.scans.data();
    c.num_scans = static_cast<int>(o.scans.size());
  }
  jpeg_start_compress(&c, TRUE);
  for (const auto& [marker, content] : o.segments)
    jpeg_write_marker(&c, marker, reinterpret_cast<const JOCTET*>(content.data()),
                      static_cast<unsigned>(content.size()));
  if (!o.profile.empty())
    jpeg_write_icc_profile(&c, reinterpret_cast<const JOCTET*>(o.profile.data()),
                           static_cast<unsigned>(o.profile.size()));
  for (std::size_t y = 0; y < p.height; ++y) {
    auto* row = const_cast<JSAMPROW>(p.at(y, 0));
    jpeg_write_scanlines(&c, &row, 1);
  }
  jpeg_finish_compress(&c);
  const std::string text(reinterpret_cast<const char*>(bytes), size);
  jpeg_destroy_compress(&c);
  std::free(bytes);
  return text;
}

/// One component's coefficients first to last, down to the bit `low`; `high` is the bit that was known, 0 for
/// none.
inline jpeg_scan_info scan_of(int component, int first, int last, int high = 0, int low = 0) {
  return {1, {component}, first, last, high, low};
}

/// A grey progressive picture in that many scans, up to 253: each coefficient by itself, bit by bit.
inline std::vector<jpeg_scan_info> grey_scans(std::size_t count) {
  std::vector<jpeg_scan_info> all{scan_of(0, 0, 0)};
  for (int low = 3; low >= 0; --low)
    for (int k = 1; k < DCTSIZE2; ++k) all.push_back(scan_of(0, k, k, low == 3 ? 0 : low + 1, low));
  if (count > all.size()) throw std::logic_error("no more scans than that");
  all.resize(count);
  return all;
}

/// EXIF data with an orientation alone. \param type 3 SHORT, 4 LONG
inline std::string exif(unsigned orientation, bool big, int type = 3) {
  const auto number = [&](std::size_t value, std::size_t bytes) {
    const std::string text = big_endian(value, bytes);
    return big ? text : std::string(text.rbegin(), text.rend());
  };
  const std::string value =
      type == 3 ? number(orientation, 2) + std::string(2, '\0') : number(orientation, 4);
  return (big ? "MM" : "II") + number(42, 2) + number(8, 4) + number(1, 2) + number(0x0112, 2) +
         number(static_cast<std::size_t>(type), 2) + number(1, 4) + value + number(0, 4);
}

// ---- PNG ----

inline std::string chunk(const std::string& name, const std::string& content) {
  const std::string checked = name + content;
  const auto sum =
      crc32(0, reinterpret_cast<const Bytef*>(checked.data()), static_cast<uInt>(checked.size()));
  return big_endian(content.size(), 4) + checked + big_endian(sum, 4);
}

/// The chunk of an ICC profile.
inline std::string iccp(const std::string& profile) {
  uLongf size = compressBound(static_cast<uLong>(profile.size()));
  std::string packed(size, '\0');
  compress(reinterpret_cast<Bytef*>(packed.data()), &size, reinterpret_cast<const Bytef*>(profile.data()),
           static_cast<uLong>(profile.size()));
  packed.resize(size);
  return chunk("iCCP", std::string("profile\0\0", 9) + packed);
}

/// Pixels of a PNG as they are to be stored.
struct png_pixels {
  std::size_t height = 0, width = 0;
  int colour_type = PNG_COLOR_TYPE_RGB;
  int bits = 8;
  std::vector<std::uint16_t> values{};                ///< row by row
  std::vector<std::array<std::uint8_t, 4>> palette{}; ///< with opacity
  bool interlaced = false;
};

/// What libpng cannot write ends the program. \param before,after chunks before and after the pixels
inline std::string png_of(const png_pixels& p, const std::string& before = "",
                          const std::string& after = "") {
  std::string bytes;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  png_set_write_fn(
      png, &bytes,
      [](png_structp at, png_bytep data, std::size_t n) {
        static_cast<std::string*>(png_get_io_ptr(at))->append(reinterpret_cast<const char*>(data), n);
      },
      [](png_structp) {});
  png_set_IHDR(png, info, static_cast<png_uint_32>(p.width), static_cast<png_uint_32>(p.height), p.bits,
               p.colour_type, p.interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_BASE, PNG_FILTER_TYPE_BASE);
  std::vector<png_color> colours;
  std::vector<png_byte> opacities;
  for (const auto& c : p.palette) {
    colours.push_back({c[0], c[1], c[2]});
    opacities.push_back(c[3]);
  }
  if (!colours.empty()) {
    png_set_PLTE(png, info, colours.data(), static_cast<int>(colours.size()));
    png_set_tRNS(png, info, opacities.data(), static_cast<int>(opacities.size()), nullptr);
  }
  png_write_info(png, info);
  const std::size_t row = p.values.size() / p.height, each = p.bits == 16 ? 2 : 1;
  std::vector<png_byte> stored;
  for (const auto v : p.values) {
    if (each == 2) stored.push_back(static_cast<png_byte>(v >> 8));
    stored.push_back(static_cast<png_byte>(v & 0xff));
  }
  std::vector<png_bytep> rows;
  for (std::size_t y = 0; y < p.height; ++y) rows.push_back(stored.data() + each * row * y);
  png_write_image(png, rows.data());
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  constexpr std::size_t header = 8 + 25, end = 12;
  bytes.insert(bytes.size() - end, after);
  bytes.insert(header, before);
  return bytes;
}

/// 8 bits of grey or colour.
inline png_pixels png_pixels_of(const examples::picture& p) {
  return {p.height,
          p.width,
          p.channels == 1   ? PNG_COLOR_TYPE_GRAY
          : p.channels == 2 ? PNG_COLOR_TYPE_GRAY_ALPHA
                            : PNG_COLOR_TYPE_RGB,
          8,
          {p.pixels.begin(), p.pixels.end()}};
}

// ---- ICC profiles ----

inline std::string bytes_of_profile(cmsHPROFILE profile) {
  cmsUInt32Number size = 0;
  cmsSaveProfileToMem(profile, nullptr, &size);
  std::string bytes(size, '\0');
  cmsSaveProfileToMem(profile, bytes.data(), &size);
  cmsCloseProfile(profile);
  return bytes;
}

inline std::string srgb_profile() { return bytes_of_profile(cmsCreate_sRGBProfile()); }

/// Display P3: the primaries of digital cinema, sRGB's white and curve. \param padding bytes of a tag that
/// nobody reads
inline std::string display_p3_profile(std::size_t padding = 0) {
  const cmsFloat64Number srgb[5] = {2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045};
  cmsToneCurve* curve = cmsBuildParametricToneCurve(nullptr, 4, srgb);
  cmsToneCurve* const curves[3] = {curve, curve, curve};
  const cmsCIExyY white{0.3127, 0.3290, 1.0};
  const cmsCIExyYTRIPLE primaries{{0.680, 0.320, 1.0}, {0.265, 0.690, 1.0}, {0.150, 0.060, 1.0}};
  cmsHPROFILE profile = cmsCreateRGBProfile(&white, &primaries, curves);
  cmsFreeToneCurve(curve);
  if (padding > 0) {
    const std::string nothing(padding, '\0');
    cmsWriteRawTag(profile, static_cast<cmsTagSignature>(0x70616464), nothing.data(),
                   static_cast<cmsUInt32Number>(padding));
  }
  return bytes_of_profile(profile);
}

/// Grey values that are light to the power of 1 / gamma.
inline std::string grey_profile(double gamma) {
  cmsToneCurve* curve = cmsBuildGamma(nullptr, gamma);
  cmsHPROFILE profile = cmsCreateGrayProfile(cmsD50_xyY(), curve);
  cmsFreeToneCurve(curve);
  return bytes_of_profile(profile);
}

} // namespace testing_support
