#pragma once
/// \file
/// Photographs in memory, and the patches that a network is trained on.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace photographs {

/// Photographs at several scales, all pixels of all of them in one tensor, so that a batch of patches is one
/// look-up on the device that holds them.
struct photograph_set {
  std::size_t count = 0;   ///< of photographs
  at::Tensor pixels;       ///< [P, 3], 8 bits: row after row, scale after scale
  at::Tensor first;        ///< [S], the first row of each scale in `pixels`
  at::Tensor heights;      ///< [S]
  at::Tensor widths;       ///< [S]
  at::Tensor shares;       ///< [S], how often a scale is drawn; adds up to 1
  std::string fingerprint; ///< of sizes and pixels: tells whether two sets are the same
};

/// All JPEG and PNG files of a folder, by name. \throws pushforward::bad_option where there are none
std::vector<std::filesystem::path> pictures_in(const std::filesystem::path& folder);

/// All JPEG and PNG files of a folder, by name. Photographs of over 1.5 million pixels are halved first,
/// since cameras and their JPEG blur and sharpen the last octave (unless that makes them smaller than a
/// patch); then each is scaled down by sqrt 2 again and again while its shorter side is at least 3 / 2 of a
/// patch, and at most by 12. Scaling is cubic and antialiased, on the stored (gamma-encoded) values. A
/// photograph's share is the square root of its number of pixels, and its scales share equally, so that a few
/// large photographs do not crowd out the many small ones. \throws pushforward::bad_option for a folder
/// without photographs, pushforward::bad_file for one that is smaller than a patch, and
/// examples::stopped_early after Ctrl-C
photograph_set read_photographs(const std::filesystem::path& folder, std::int64_t patch);

/// Random patches [N, 3, side, side] in [0, 1], on the device of `set.pixels`: turned and mirrored all eight
/// ways, each colour made up to a fifth lighter or darker. Draws from torch's generator of the CPU.
at::Tensor patches(const photograph_set& set, std::int64_t count, std::int64_t side);

/// The middle [1, 3, side, side] of each photograph of a folder, by name, after those of over half a million
/// pixels are scaled down to that; in [0, 1]. \throws as read_photographs
std::vector<at::Tensor> held_out_crops(const std::filesystem::path& folder, std::int64_t side = 192);

/// `count` crops [count, 3, side, side] of the photographs so scaled, in [0, 1]: of each the middle, then of
/// each a quarter of the way to its corners, until there are as many. \throws as read_photographs, and
/// pushforward::bad_option for more than five of each
at::Tensor crops_of(const std::filesystem::path& folder, std::size_t count, std::int64_t side);

} // namespace photographs
