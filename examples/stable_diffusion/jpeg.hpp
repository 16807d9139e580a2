#pragma once
/// \file
/// JPEG files.

#include <common/png.hpp>

#include <cstddef>
#include <filesystem>

namespace stable_diffusion {

/// Reads a JPEG as grey (channels 1) or colour (channels 3) of sRGB, or as numbers as they are stored, with
/// full opacity (channels 2, for masks), turned as its EXIF orientation says. Colours of an ICC profile are
/// converted; one that cannot be used is said on standard error.
///
/// What libjpeg only warns of is no fault where all of the picture is there, as with cameras whose headers
/// break the standard. A file whose pixels are not all there, or not to be trusted, is refused.
/// \throws pushforward::bad_file for a file that is missing, damaged or cut short, no JPEG, of CMYK colours,
/// too large, or in more scans than `most_scans`
examples::picture read_jpeg(const std::filesystem::path& path, std::size_t channels,
                            const examples::picture_limits& limits);

/// Scans of a progressive JPEG. Programs write about ten; each takes time in proportion to the picture,
/// however few bytes it has.
inline constexpr int most_scans = 100;

} // namespace stable_diffusion
