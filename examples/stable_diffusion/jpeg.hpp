#pragma once
/// \file
/// JPEG files.

#include <common/png.hpp>

#include <cstddef>
#include <filesystem>

namespace stable_diffusion {

/// Reads a JPEG as grey (channels 1) or colour (channels 3), turned as its EXIF orientation says.
/// \throws pushforward::bad_file for a file that is missing, damaged or cut short, no JPEG, of CMYK colours,
/// or larger than that on a side
examples::picture read_jpeg(const std::filesystem::path& path, std::size_t channels,
                            std::size_t largest_side);

} // namespace stable_diffusion
