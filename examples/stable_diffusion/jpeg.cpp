#include "jpeg.hpp"

#include <pushforward/error.hpp>

#include <algorithm>
#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include <jpeglib.h>

#include <jerror.h>

namespace stable_diffusion {

using examples::picture;
using pushforward::bad_file;

namespace {

/// libjpeg's object with its error handler. libjpeg reports an error by calling `fail`, which jumps out of
/// it: each call goes through `guarded`, whose frame, and those of the functions it is given, hold no object
/// with a destructor.
struct decompressor {
  jpeg_decompress_struct info{};
  jpeg_error_mgr errors{};
  std::jmp_buf out{};
  char message[JMSG_LENGTH_MAX]{};
  bool damaged = false;
  const std::vector<char>* source = nullptr;
  picture* target = nullptr;

  decompressor() {
    info.err = jpeg_std_error(&errors);
    info.client_data = this;
    errors.error_exit = [](j_common_ptr c) {
      auto& self = *static_cast<decompressor*>(c->client_data);
      c->err->format_message(c, self.message);
      std::longjmp(self.out, 1);
    };
    errors.emit_message = [](j_common_ptr c, int level) {
      auto& self = *static_cast<decompressor*>(c->client_data);
      if (level >= 0 || self.damaged || c->err->msg_code == JWRN_EXTRANEOUS_DATA) return;
      self.damaged = true;
      c->err->format_message(c, self.message);
    };
  }
  ~decompressor() { jpeg_destroy_decompress(&info); }
  decompressor(const decompressor&) = delete;
  decompressor& operator=(const decompressor&) = delete;

  /// False where libjpeg found an error.
  bool guarded(void (*f)(decompressor&)) {
    if (setjmp(out) != 0) return false;
    f(*this);
    return true;
  }
};

void read_lines(decompressor& d) {
  jpeg_start_decompress(&d.info);
  while (d.info.output_scanline < d.info.output_height) {
    JSAMPROW row = d.target->at(d.info.output_scanline, 0);
    jpeg_read_scanlines(&d.info, &row, 1);
  }
  jpeg_finish_decompress(&d.info);
}

/// The orientation of an EXIF marker (TIFF tag 0x0112 of the first directory), 1 where there is none.
unsigned orientation_in(const std::uint8_t* data, std::size_t size) {
  static constexpr std::uint8_t start[6] = {'E', 'x', 'i', 'f', 0, 0};
  if (size < 14 || !std::equal(start, start + 6, data)) return 1;
  data += 6;
  size -= 6;
  const bool big = data[0] == 'M';
  const auto number = [&](std::size_t at, std::size_t bytes) {
    std::size_t n = 0;
    for (std::size_t i = 0; i < bytes; ++i) n = n << 8 | data[at + (big ? i : bytes - 1 - i)];
    return n;
  };
  const std::size_t directory = number(4, 4);
  if (number(2, 2) != 42 || directory > size - 2) return 1;
  const std::size_t entries = number(directory, 2);
  for (std::size_t i = 0, at = directory + 2; i < entries && at + 12 <= size; ++i, at += 12)
    if (number(at, 2) == 0x0112 && number(at + 2, 2) == 3) {
      const std::size_t value = number(at + 8, 2);
      return value >= 1 && value <= 8 ? static_cast<unsigned>(value) : 1;
    }
  return 1;
}

unsigned orientation_of(const jpeg_decompress_struct& info) {
  for (auto marker = info.marker_list; marker != nullptr; marker = marker->next)
    if (marker->marker == JPEG_APP0 + 1) return orientation_in(marker->data, marker->data_length);
  return 1;
}

/// The picture as its camera was held: orientations 5 to 8 exchange the axes; in the stored picture's axes,
/// 2, 3, 7, 8 run from right to left, and 3, 4, 6, 7 from bottom to top.
picture turned(const picture& p, unsigned orientation) {
  if (orientation <= 1) return p;
  const bool exchanged = orientation >= 5;
  picture q = exchanged ? picture(p.width, p.height, p.channels) : picture(p.height, p.width, p.channels);
  const bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool from_bottom = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  for (std::size_t y = 0; y < q.height; ++y)
    for (std::size_t x = 0; x < q.width; ++x) {
      std::size_t v = exchanged ? x : y, u = exchanged ? y : x;
      if (from_bottom) v = p.height - 1 - v;
      if (from_right) u = p.width - 1 - u;
      std::copy_n(p.at(v, u), p.channels, q.at(y, x));
    }
  return q;
}

} // namespace

picture read_jpeg(const std::filesystem::path& path, std::size_t channels, std::size_t largest_side) {
  const std::string name = path.string();
  std::ifstream in(path, std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(in), {}};
  if (!in && bytes.empty()) throw bad_file(name + ": cannot be read");

  decompressor d;
  d.source = &bytes;
  const auto refuse = [&] { throw bad_file(name + ": is a damaged JPEG (" + d.message + ")"); };
  if (!d.guarded([](decompressor& self) {
        jpeg_create_decompress(&self.info);
        jpeg_save_markers(&self.info, JPEG_APP0 + 1, 0xFFFF);
        jpeg_mem_src(&self.info, reinterpret_cast<const unsigned char*>(self.source->data()),
                     self.source->size());
        jpeg_read_header(&self.info, TRUE);
      }))
    refuse();
  auto& info = d.info;
  if (info.image_width > largest_side || info.image_height > largest_side)
    throw bad_file(name + ": is " + std::to_string(info.image_width) + " x " +
                   std::to_string(info.image_height) + " pixels, over " + std::to_string(largest_side) +
                   " on a side; shrink it first");
  if (info.jpeg_color_space == JCS_CMYK || info.jpeg_color_space == JCS_YCCK)
    throw bad_file(name + ": has CMYK colours, of a printing press; convert it to RGB first");
  const unsigned orientation = orientation_of(info); // the markers are gone after the last line
  picture p(info.image_height, info.image_width, channels);
  info.out_color_space = channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
  d.target = &p;
  if (!d.guarded(read_lines) || d.damaged) refuse();
  return turned(p, orientation);
}

} // namespace stable_diffusion
