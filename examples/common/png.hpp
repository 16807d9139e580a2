#pragma once
/// \file
/// Grey and colour pictures, 8 bits a channel.

#include <cstdint>
#include <filesystem>
#include <vector>

namespace examples {

/// Row-major, `channels` bytes a pixel (1 grey, 3 red-green-blue).
struct picture {
  std::size_t height = 0;
  std::size_t width = 0;
  std::size_t channels = 1;
  std::vector<std::uint8_t> pixels;

  picture() = default;
  picture(std::size_t h, std::size_t w, std::size_t c, std::uint8_t value = 255)
      : height{h}, width{w}, channels{c}, pixels(h * w * c, value) {}
  std::uint8_t* at(std::size_t y, std::size_t x) { return pixels.data() + (y * width + x) * channels; }
  const std::uint8_t* at(std::size_t y, std::size_t x) const {
    return pixels.data() + (y * width + x) * channels;
  }
};

/// Reads a PNG as grey (channels 1) or colour (channels 3); transparency falls on white. 16-bit files without
/// a gamma are taken to be sRGB, as 8-bit ones are. \throws pushforward::bad_file for a file that is missing,
/// damaged, no PNG, or larger than that on a side
picture read_png(const std::filesystem::path& path, std::size_t channels = 1,
                 std::size_t largest_side = 4096);

/// Writes a PNG, whole or not at all.
void write_png(const std::filesystem::path& path, const picture& p);

/// The bytes of a PNG, for embedding in a page.
std::vector<std::uint8_t> png_bytes(const picture& p);

} // namespace examples
