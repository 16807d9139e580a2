#pragma once
/// \file
/// Digits as tensors, and tensors as pictures.

#include "common.hpp"
#include "idx.hpp"

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <string>
#include <vector>

namespace mnist {

/// Digits in the middle of 32 x 32, scaled to [-1, 1] (paper -1, ink 1).
struct digits {
  at::Tensor images; ///< [N, 1, 32, 32]
  at::Tensor labels; ///< [N]
};

digits to_tensors(const digit_set& set);

/// The files from which `read_digits` may read.
std::vector<input_file> digit_files(const std::filesystem::path& data);

/// CRC-32 of the numbers, in hexadecimal: tells digits from others.
std::string checksum(const at::Tensor& images);

/// The last `count` digits of a set, which no network here is trained on.
inline constexpr std::int64_t held_out = 1000;

/// The shown images: one row of digits for each batch [N, 1, H, W], all drawn at the same size, black ink on
/// white paper turned to white ink on black as MNIST's are shown. Values beyond [-1, 1] are drawn as the
/// nearest shade.
picture sheet(const std::vector<at::Tensor>& rows, std::size_t side = 64);

} // namespace mnist
