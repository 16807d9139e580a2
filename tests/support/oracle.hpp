#pragma once
// What an oracle script has written, of its recording; see tests/oracles.cmake.

#include <pushforward/libtorch/safetensors.hpp>

#include <ATen/ATen.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <stdexcept>
#include <string>

namespace testing_support {

/// The folder of the script's files. \throws std::runtime_error where it is not there
inline std::filesystem::path oracle_folder(const std::filesystem::path& folder) {
  if (std::filesystem::is_directory(folder)) return folder;
  throw std::runtime_error("no folder " + folder.string() + ": run this test by ctest, which makes it first");
}

/// |a - b| / |b| in the L2 norm, in float64; infinite where a is not finite or of another shape.
inline double relative_l2(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes()) return std::numeric_limits<double>::infinity();
  const auto wanted = b.to(at::kCPU, at::kDouble), got = a.to(at::kCPU, at::kDouble);
  const double r = ((got - wanted).norm() / wanted.norm()).item<double>();
  return std::isfinite(r) ? r : std::numeric_limits<double>::infinity();
}

} // namespace testing_support
