// Debian's libpng writes no animations; an animated PNG is the chunks of plain ones with numbers between
// them.

#include "animation.hpp"

#include <pushforward/error.hpp>

#include <zlib.h>

#include <cmath>
#include <cstdint>
#include <string>

namespace examples {

namespace {

/// `size` bytes of a number, the most significant first.
std::string big_endian(std::uint32_t value, std::size_t size = 4) {
  std::string bytes;
  for (std::size_t k = size; k-- > 0;) bytes += static_cast<char>(value >> (8 * k) & 0xFFU);
  return bytes;
}

std::string chunk(const std::string& type, const std::string& data) {
  const std::string body = type + data;
  const auto crc = ::crc32_z(0, reinterpret_cast<const Bytef*>(body.data()), body.size());
  return big_endian(static_cast<std::uint32_t>(data.size())) + body +
         big_endian(static_cast<std::uint32_t>(crc));
}

/// A plain PNG, taken apart.
struct png_parts {
  std::string head; ///< signature, and the chunks before the pixels
  std::string pixels;
};

png_parts parts_of(const picture& p) {
  const auto bytes = png_bytes(p);
  const std::string file(bytes.begin(), bytes.end());
  const auto length = [&](std::size_t at) {
    std::uint32_t n = 0;
    for (std::size_t k = 0; k < 4; ++k) n = n << 8 | bytes.at(at + k);
    return std::size_t{n};
  };
  constexpr std::size_t signature = 8, around = 12; // length, type and CRC
  png_parts parts{file.substr(0, signature), {}};
  for (std::size_t at = signature; at < file.size(); at += length(at) + around) {
    if (file.compare(at + 4, 4, "IDAT") == 0)
      parts.pixels += file.substr(at + 8, length(at));
    else if (parts.pixels.empty())
      parts.head += file.substr(at, length(at) + around);
  }
  return parts;
}

std::string frame_control(std::uint32_t number, const picture& p, double seconds) {
  const auto milliseconds = static_cast<std::uint32_t>(std::lround(1000.0 * seconds));
  return chunk("fcTL", big_endian(number) + big_endian(static_cast<std::uint32_t>(p.width)) +
                           big_endian(static_cast<std::uint32_t>(p.height)) + big_endian(0) + big_endian(0) +
                           big_endian(milliseconds, 2) + big_endian(1000, 2) +
                           std::string(2, '\0')); // leave the frame, and replace what was there
}

std::string shape_of(const picture& p) {
  return std::to_string(p.width) + " x " + std::to_string(p.height) + " pixels with " +
         std::to_string(p.channels) + " channels";
}

} // namespace

std::string animated_png(const std::vector<picture>& frames, double seconds_per_frame, double seconds_last) {
  if (frames.empty()) throw pushforward::bad_option("animation: it has no frames; give at least one");
  for (const double seconds : {seconds_per_frame, seconds_last})
    if (!(seconds >= 0.001 && seconds <= 65.0))
      throw pushforward::bad_option("animation: a frame is to be shown for " + std::to_string(seconds) +
                                    " seconds; give 0.001 to 65");
  const auto& first = frames.front();
  for (std::size_t i = 1; i < frames.size(); ++i)
    if (frames[i].height != first.height || frames[i].width != first.width ||
        frames[i].channels != first.channels)
      throw pushforward::shape_mismatch("animation: frame " + std::to_string(i) + " is " +
                                        shape_of(frames[i]) + ", the first " + shape_of(first) +
                                        "; give all the same shape");
  std::string file;
  std::uint32_t number = 0;
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const auto parts = parts_of(frames[i]);
    if (i == 0)
      file =
          parts.head + chunk("acTL", big_endian(static_cast<std::uint32_t>(frames.size())) + big_endian(0));
    file += frame_control(number++, first, i + 1 == frames.size() ? seconds_last : seconds_per_frame);
    file += i == 0 ? chunk("IDAT", parts.pixels) : chunk("fdAT", big_endian(number++) + parts.pixels);
  }
  return file + chunk("IEND", "");
}

} // namespace examples
