#pragma once
// What an oracle script has written; see tests/oracles.cmake.

#include <pushforward/libtorch/safetensors.hpp>

#include <ATen/ATen.h>

#include <filesystem>
#include <iostream>
#include <string>

namespace testing_support {

/// The folder of the script's files; empty where Python's packages were missing, and then the case is to
/// return (ctest calls it skipped).
inline std::filesystem::path oracle_folder(const std::filesystem::path& folder) {
  if (std::filesystem::is_directory(folder)) return folder;
  std::cout << "no oracle: " << folder.string() << " was not written\n";
  return {};
}

/// |a - b| / |b| in the L2 norm, in float64; infinite where a is not finite or of another shape.
inline double relative_l2(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes()) return std::numeric_limits<double>::infinity();
  const auto wanted = b.to(at::kDouble), got = a.to(at::kDouble);
  const double r = ((got - wanted).norm() / wanted.norm()).item<double>();
  return std::isfinite(r) ? r : std::numeric_limits<double>::infinity();
}

} // namespace testing_support
