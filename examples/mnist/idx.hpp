#pragma once
/// \file
/// MNIST's own file format, IDX, plain or gzipped.

#include <cstdint>
#include <filesystem>
#include <vector>

namespace mnist {

/// Digits with their labels. Pixels are 0 (paper) to 255 (ink), row-major.
struct digit_set {
  std::size_t count = 0;
  std::size_t rows = 0;
  std::size_t columns = 0;
  std::vector<std::uint8_t> pixels;
  std::vector<std::uint8_t> labels;
};

/// Reads images and labels from a folder with one pair of IDX files: names that hold "images-idx3-ubyte" and
/// "labels-idx1-ubyte", with or without .gz; where there are several pairs, the one whose name starts with
/// "train". \throws pushforward::bad_file for a folder without them, and files that are damaged or do not
/// belong together
digit_set read_digits(const std::filesystem::path& folder);

/// The same from two named files.
digit_set read_digits(const std::filesystem::path& images, const std::filesystem::path& labels);

/// Writes both files, gzipped, whole or not at all, and together.
void write_digits(const std::filesystem::path& folder, const digit_set& digits);

} // namespace mnist
