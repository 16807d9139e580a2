#pragma once
/// \file
/// Pictures of files as images [1, C, H, W] in [-1, 1], and back.

#include <common/png.hpp>

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace stable_diffusion {

/// Pixels on a side of the largest picture.
inline constexpr std::int64_t largest_side = 8192;

/// Reads a JPEG or a PNG, told by its first bytes, as 8-bit grey (channels 1) or colour (channels 3) of sRGB,
/// turned as its EXIF data says: colour profiles are applied, and transparency falls on white. Channels 2 are
/// grey and opacity, as they are stored. \throws pushforward::bad_file for a file that is missing, damaged,
/// of another format, or too large
examples::picture read_picture(const std::filesystem::path& path, std::size_t channels = 3);

/// Whether a file begins as a JPEG or a PNG does.
bool is_picture(const std::filesystem::path& path);

/// [1, C, H, W] with 0..255 as -1..1, and the nearest shade back; values beyond take the ends.
at::Tensor image_of(const examples::picture& p);
examples::picture picture_of(const at::Tensor& image);

/// How a picture is brought to a size.
enum class fitting {
  crop,  ///< scaled until it covers the size, and its middle cut out
  resize ///< scaled along each side
};

/// Sides in pixels; a side that is 0 follows from the other, keeping the proportions.
struct picture_size {
  std::int64_t height = 0;
  std::int64_t width = 0;
};

/// The size that an image is brought to: the given one or, without one, its own, each side taken down to the
/// nearest multiple of `multiple`. \throws pushforward::bad_option for a size that is not a multiple, or
/// above 8192, or an image that is smaller than one
picture_size fitted_size(const picture_size& image, const std::optional<picture_size>& size = {},
                         std::int64_t multiple = 8);

/// An image of that size, cut out of its middle or scaled to it. Scaling is cubic and antialiased, in memory
/// in proportion to the image and the result. \throws pushforward::bad_option
at::Tensor fitted(const at::Tensor& image, fitting how, const std::optional<picture_size>& size = {},
                  std::int64_t multiple = 8);

/// A mask of a picture.
struct picture_mask {
  /// [1, 1, H, W]: 1 is known, 0 is to be filled in. Soft: in between are weights. Else light is known and
  /// dark is to be filled in.
  at::Tensor known;
  bool from_opacity = false; ///< transparent parts are to be filled in, and light does not count
};
/// \throws pushforward::bad_file
picture_mask read_mask(const std::filesystem::path& path, bool soft = false);

/// How far a mask of pixels leaves latent elements known: as far as the least known pixel of their block of
/// factor x factor. An element is made of all of them: the mean would hold one half-made of unknown pixels
/// to what they happen to be. \throws pushforward::shape_mismatch for a mask whose sides are not multiples of
/// the factor
at::Tensor latent_mask(const at::Tensor& mask, std::int64_t factor = 8);

/// Images side by side, with white lines between them.
examples::picture strip(const std::vector<at::Tensor>& images);

/// 10 log10(4 / mean squared error), of images in [-1, 1] after clamping, in dB.
double psnr(const at::Tensor& image, const at::Tensor& truth);

} // namespace stable_diffusion
