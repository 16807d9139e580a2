#pragma once
/// \file
/// Grey and colour pictures, 8 bits a channel.

#include <cstdint>
#include <filesystem>
#include <vector>

namespace examples {

/// Row-major, `channels` bytes a pixel: 1 grey, 2 grey and opacity, 3 red-green-blue.
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

/// How large a picture may be that is read.
struct picture_limits {
  std::size_t side = 4096; ///< pixels
  double memory = 1e18;    ///< bytes that may be taken
};

/// Bytes that a pixel takes while a picture is read and brought to a size: of colours in 8 bits twice, and
/// twice in three float32.
inline constexpr double bytes_of_pixel = 30.0;

/// \throws pushforward::bad_file for a picture beyond the limits
void check_size(const std::filesystem::path& path, std::size_t height, std::size_t width,
                const picture_limits& limits);

/// Reads a PNG.
///  - Grey (channels 1) or colour (channels 3), of sRGB: colours of an ICC profile, or of another gamma and
///    other primaries, are converted; a profile that cannot be used is said on standard error. Transparency
///    falls on white. Files that say nothing of their colours, of 16 bits too, are taken to be sRGB.
///  - Grey and opacity (channels 2), for masks: numbers as they are stored, whatever the profile.
/// Turned as the orientation of its EXIF data says.
/// \throws pushforward::bad_file for a file that is missing, damaged, no PNG, or too large
picture read_png(const std::filesystem::path& path, std::size_t channels = 1,
                 const picture_limits& limits = {});

/// A grey or colour picture as the other: grey is the luma 0.299 R + 0.587 G + 0.114 B, as JPEG has it.
picture in_channels(picture p, std::size_t channels);

/// What a picture says as a mask: 255 known, 0 to be filled in, and weights in between.
struct mask_shades {
  picture shades; ///< grey
  /// A pixel of the picture is transparent. Then opacity is the mask, and light does not count; else light
  /// is.
  bool from_opacity = false;
};
/// \param p grey and opacity
/// \param soft whether the mask is of weights: then a pixel counts as transparent where it is not wholly
/// opaque, else where its opacity is below one half, as that of a pixel that is filled in is
mask_shades mask_of(const picture& p, bool soft = false);
/// A line on standard error where a mask is its opacity: what is taken to be filled in.
void tell_mask_of_opacity(const std::filesystem::path& file);

/// Writes a PNG, whole or not at all.
void write_png(const std::filesystem::path& path, const picture& p);

/// The bytes of a PNG, for embedding in a page.
std::vector<std::uint8_t> png_bytes(const picture& p);

} // namespace examples
