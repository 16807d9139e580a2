#pragma once
/// \file
/// The digits that a program works on.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace mnist {

struct chosen_digits {
  at::Tensor images;       ///< [N, 1, 32, 32] in [-1, 1]
  std::vector<int> labels; ///< -1 where it is not known
  std::uint64_t first = 0; ///< index of the first among the held-out digits
};

/// The environment variable PUSHFORWARD_MNIST where it is set, else the sample that comes with the program.
std::filesystem::path default_data();

/// `count` held-out digits from the `first` on, of a folder or an images file in MNIST's format: the last
/// 1000 of a set of more than 1000, else the whole set. Or the one digit that a PNG shows, on dark or on
/// light paper, of any size: it is fitted into 28 x 28.
/// \throws pushforward::bad_file for data that cannot be read or is no picture; pushforward::bad_option where
/// there are fewer digits
chosen_digits choose_digits(const std::filesystem::path& data, std::int64_t first, std::int64_t count);

/// Peak signal-to-noise ratio in dB of each image of a batch, values in [-1, 1]; values beyond count as the
/// nearest shade, as they are drawn.
std::vector<double> psnr(const at::Tensor& images, const at::Tensor& truth);

/// Sample i of each batch, side by side as one batch.
at::Tensor row_of(const std::vector<at::Tensor>& batches, std::int64_t i);

} // namespace mnist
