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

/// Reads a JPEG or a PNG, told by its first bytes, as 8-bit grey (channels 1) or colour (channels 3).
/// Transparency falls on white; colour profiles are not applied. Up to 8192 pixels on a side. \throws
/// pushforward::bad_file for a file that is missing, damaged, of another format, or too large
examples::picture read_picture(const std::filesystem::path& path, std::size_t channels = 3);

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

/// An image of the given size, or, without one, of its own: each side is cut down (crop) or scaled (resize)
/// to the nearest multiple of `multiple` below or equal. Scaling is cubic and antialiased. \throws
/// pushforward::bad_option for a size that is not a multiple, or an image that is smaller than one
at::Tensor fitted(const at::Tensor& image, fitting how, const std::optional<picture_size>& size = {},
                  std::int64_t multiple = 8);

/// A mask [1, 1, H, W] of 0 and 1 from a picture: light is 1, known; dark is 0, to be filled in.
at::Tensor read_mask(const std::filesystem::path& path);

/// Which latent elements a mask of pixels leaves known: those whose whole block of factor x factor pixels is.
/// \throws pushforward::shape_mismatch for a mask whose sides are not multiples of the factor
at::Tensor latent_mask(const at::Tensor& mask, std::int64_t factor = 8);

/// Images side by side, with white lines between them.
examples::picture strip(const std::vector<at::Tensor>& images);

/// 10 log10(4 / mean squared error), of images in [-1, 1] after clamping, in dB.
double psnr(const at::Tensor& image, const at::Tensor& truth);

} // namespace stable_diffusion
