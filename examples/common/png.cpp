#include "png.hpp"

#include "colour.hpp"
#include "files.hpp"
#include "orientation.hpp"

#include <pushforward/error.hpp>
#include <pushforward/safetensors/regular_file.hpp>

#include <png.h>

#include <algorithm>
#include <bit>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <istream>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <utility>

namespace examples {

using pushforward::bad_file;

namespace {

png_image image_of(const picture& p) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(p.width);
  image.height = static_cast<png_uint_32>(p.height);
  image.format = p.channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  return image;
}

/// libpng's objects with their error handler. libpng reports an error by calling `fail`, which jumps out of
/// it: each call goes through `guarded`, whose frame, and those of the functions it is given, hold no object
/// with a destructor.
class png_reader {
public:
  png_structp png;
  png_infop info = nullptr;
  char message[200]{};
  int passes = 1;
  png_bytep row = nullptr; ///< of `read_row`

  explicit png_reader(std::istream& in)
      : png{png_create_read_struct(PNG_LIBPNG_VER_STRING, this, fail, warn)}, in_{in} {
    if (png != nullptr) info = png_create_info_struct(png);
    if (info == nullptr) throw std::bad_alloc();
  }
  ~png_reader() { png_destroy_read_struct(&png, &info, nullptr); }
  png_reader(const png_reader&) = delete;
  png_reader& operator=(const png_reader&) = delete;

  /// False where libpng found an error.
  bool guarded(void (*f)(png_reader&)) {
    if (setjmp(out_) != 0) return false;
    f(*this);
    return true;
  }

  // these three are to be guarded
  void read_header() {
    png_set_read_fn(png, &in_, [](png_structp p, png_bytep to, std::size_t n) {
      auto& from = *static_cast<std::istream*>(png_get_io_ptr(p));
      from.read(reinterpret_cast<char*>(to), static_cast<std::streamsize>(n));
      if (static_cast<std::size_t>(from.gcount()) != n) png_error(p, "it is cut short");
    });
    // texts and what else is not used are passed over: they could be unpacked to far more than the picture
    constexpr png_byte used[] = "iCCP\0sRGB\0gAMA\0cHRM\0tRNS\0eXIf";
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_AS_DEFAULT, used, sizeof used / 5);
    png_read_info(png, info);
  }
  void start_rows() {
    png_set_expand(png); // palettes, few bits and transparent shades to channels of 8 bits
    if constexpr (std::endian::native == std::endian::little) png_set_swap(png);
    passes = png_set_interlace_handling(png);
    png_read_update_info(png, info);
  }
  void read_row() { png_read_row(png, row, nullptr); }

  std::size_t height() const { return png_get_image_height(png, info); }
  std::size_t width() const { return png_get_image_width(png, info); }
  std::size_t row_bytes() const { return png_get_rowbytes(png, info); }
  bool has_opacity() const { return (png_get_color_type(png, info) & PNG_COLOR_MASK_ALPHA) != 0; }
  pixel_format format() const {
    return {(png_get_color_type(png, info) & PNG_COLOR_MASK_COLOR) != 0 ? 3U : 1U,
            png_get_bit_depth(png, info) == 16 ? 16U : 8U};
  }

  /// What the file says of its colours.
  srgb_conversion conversion() const {
    png_charp name = nullptr;
    png_bytep profile = nullptr;
    png_uint_32 size = 0;
    int compression = 0;
    if (png_get_iCCP(png, info, &name, &compression, &profile, &size) != 0)
      return {format(), std::span<const std::uint8_t>(profile, size)};
    double encoding = 0.0;
    if (png_get_valid(png, info, PNG_INFO_sRGB) != 0 || png_get_gAMA(png, info, &encoding) == 0 ||
        !(encoding > 0.0))
      return srgb_conversion(format());
    chromaticities c;
    const bool given = png_get_cHRM(png, info, &c.white[0], &c.white[1], &c.red[0], &c.red[1], &c.green[0],
                                    &c.green[1], &c.blue[0], &c.blue[1]) != 0;
    return {format(), encoding, given ? std::optional(c) : std::nullopt};
  }

  /// Why an ICC profile is not used; empty where it is, or there is none.
  std::string fault_of_profile(const srgb_conversion& c) const {
    if (!c.fault().empty()) return c.fault();
    return png_get_valid(png, info, PNG_INFO_iCCP) != 0 ? "" : refused_profile_;
  }

  unsigned orientation() const {
    png_bytep exif = nullptr;
    png_uint_32 size = 0;
    if (png_get_eXIf_1(png, info, &size, &exif) == 0) return 1;
    return exif_orientation({exif, size}).value_or(1);
  }

private:
  std::jmp_buf out_{};
  std::istream& in_;
  char refused_profile_[200]{}; ///< what libpng has against an ICC profile

  [[noreturn]] static void fail(png_structp p, png_const_charp text) {
    auto& self = *static_cast<png_reader*>(png_get_error_ptr(p));
    std::snprintf(self.message, sizeof self.message, "%s", text);
    std::longjmp(self.out_, 1);
  }
  static void warn(png_structp p, png_const_charp text) {
    auto& self = *static_cast<png_reader*>(png_get_error_ptr(p));
    if (std::strncmp(text, "iCCP", 4) == 0)
      std::snprintf(self.refused_profile_, sizeof self.refused_profile_, "%s", text);
  }
};

std::uint8_t luma(const std::uint8_t* c) {
  return static_cast<std::uint8_t>((299U * c[0] + 587U * c[1] + 114U * c[2] + 500U) / 1000U);
}

/// Colours and opacity of a stored row, each by themselves; without opacity all is opaque.
template <class Value>
void split(const std::uint8_t* row, std::size_t colours, bool with_opacity, std::vector<Value>& colour,
           std::vector<std::uint8_t>& opacity) {
  const auto next = [&] {
    Value v;
    std::memcpy(&v, row, sizeof v);
    row += sizeof v;
    return v;
  };
  for (std::size_t x = 0; x < opacity.size(); ++x) {
    for (std::size_t k = 0; k < colours; ++k) colour[colours * x + k] = next();
    if (!with_opacity) continue;
    const Value v = next();
    opacity[x] = static_cast<std::uint8_t>(sizeof v == 1 ? v : (v + 128) / 257);
  }
}

/// A row in the channels of a picture: over white, unless it keeps its opacity.
void put_row(const std::vector<std::uint8_t>& colour, std::size_t colours,
             const std::vector<std::uint8_t>& opacity, picture& p, std::size_t y) {
  for (std::size_t x = 0; x < p.width; ++x) {
    std::uint8_t c[3], *to = p.at(y, x);
    for (std::size_t k = 0; k < 3; ++k) {
      c[k] = colour[colours * x + (colours == 3 ? k : 0)];
      if (p.channels != 2)
        c[k] = static_cast<std::uint8_t>((c[k] * opacity[x] + 255 * (255 - opacity[x]) + 127) / 255);
    }
    if (p.channels == 3)
      std::copy_n(c, 3, to);
    else
      to[0] = colours == 3 ? luma(c) : c[0];
    if (p.channels == 2) to[1] = opacity[x];
  }
}

} // namespace

void check_size(const std::filesystem::path& path, std::size_t height, std::size_t width,
                const picture_limits& limits) {
  const std::string size =
      path.string() + ": is " + std::to_string(width) + " x " + std::to_string(height) + " pixels, ";
  if (width > limits.side || height > limits.side)
    throw bad_file(size + "over " + std::to_string(limits.side) + " on a side; shrink it first");
  const double bytes = bytes_of_pixel * static_cast<double>(width) * static_cast<double>(height);
  const auto megabytes = [](double n) { return std::to_string(static_cast<long long>(n / 1e6)) + " MB"; };
  if (bytes > limits.memory)
    throw bad_file(size + "which take " + megabytes(bytes) + " of memory, but " + megabytes(limits.memory) +
                   " are free; shrink it first");
}

picture read_png(const std::filesystem::path& path, std::size_t channels, const picture_limits& limits) {
  const pushforward::safetensors::regular_file opened(path); // refuses what cannot be read
  if (opened.size() == 0) throw bad_file(path.string() + ": is empty");
  std::ifstream in(path, std::ios::binary);
  png_reader r(in);
  if (!r.guarded([](png_reader& self) { self.read_header(); }))
    throw bad_file(path.string() + ": is not a readable PNG (" + r.message + ")");
  const std::size_t height = r.height(), width = r.width();
  check_size(path, height, width, limits);
  const auto damaged = [&] { return bad_file(path.string() + ": is a damaged PNG (" + r.message + ")"); };
  if (!r.guarded([](png_reader& self) { self.start_rows(); })) throw damaged();

  const auto format = r.format();
  srgb_conversion convert(format);
  if (channels != 2) {
    convert = r.conversion();
    const std::string fault = r.fault_of_profile(convert);
    if (!fault.empty()) tell_unused_profile(path, fault);
  }
  picture p(height, width, channels);
  // rows that come in several passes are whole only with the last one
  const std::size_t kept = r.passes > 1 ? height : 1, values = format.channels * width;
  std::vector<std::uint8_t> rows(r.row_bytes() * kept), colour(values), opacity(width, 255), shallow(values);
  std::vector<std::uint16_t> deep(values);
  for (int pass = 0; pass < r.passes; ++pass)
    for (std::size_t y = 0; y < height; ++y) {
      r.row = rows.data() + r.row_bytes() * (y % kept);
      if (!r.guarded([](png_reader& self) { self.read_row(); })) throw damaged();
      if (pass + 1 < r.passes) continue;
      const auto converted = [&](auto& stored) {
        split(r.row, format.channels, r.has_opacity(), stored, opacity);
        convert(stored.data(), colour.data(), width);
      };
      if (format.bits == 16)
        converted(deep);
      else
        converted(shallow);
      put_row(colour, format.channels, opacity, p, y);
    }
  // EXIF data may follow the pixels; where the end is cut off, the picture is whole all the same
  r.guarded([](png_reader& self) { png_read_end(self.png, self.info); });
  return turned(std::move(p), r.orientation());
}

picture in_channels(picture p, std::size_t channels) {
  if (p.channels == channels) return p;
  picture q(p.height, p.width, channels);
  for (std::size_t y = 0; y < p.height; ++y)
    for (std::size_t x = 0; x < p.width; ++x) {
      const std::uint8_t* from = p.at(y, x);
      if (channels == 1)
        *q.at(y, x) = luma(from);
      else
        std::fill_n(q.at(y, x), 3, *from);
    }
  return q;
}

mask_shades mask_of(const picture& p, bool soft) {
  mask_shades m{picture(p.height, p.width, 1)};
  const int opaque = soft ? 255 : 128;
  for (std::size_t i = 1; i < p.pixels.size(); i += 2)
    m.from_opacity = m.from_opacity || p.pixels[i] < opaque;
  for (std::size_t i = 0; i < m.shades.pixels.size(); ++i)
    m.shades.pixels[i] = p.pixels[2 * i + (m.from_opacity ? 1 : 0)];
  return m;
}

void tell_mask_of_opacity(const std::filesystem::path& file) {
  std::cerr << file.string()
            << ": the mask has transparent parts: they are filled in, and its light does not count\n";
}

std::vector<std::uint8_t> png_bytes(const picture& p) {
  png_image image = image_of(p);
  png_alloc_size_t size = 0;
  if (!png_image_write_to_memory(&image, nullptr, &size, 0, p.pixels.data(), 0, nullptr))
    throw bad_file(std::string("a picture cannot be made a PNG (") + image.message + ")");
  std::vector<std::uint8_t> bytes(size);
  if (!png_image_write_to_memory(&image, bytes.data(), &size, 0, p.pixels.data(), 0, nullptr))
    throw bad_file(std::string("a picture cannot be made a PNG (") + image.message + ")");
  bytes.resize(size);
  return bytes;
}

void write_png(const std::filesystem::path& path, const picture& p) {
  file_set one;
  one.add(path, png_bytes(p));
  one.write();
}

} // namespace examples
