#pragma once
/// \file
/// Shapes in messages.

#include <ATen/core/Tensor.h>

#include <string>

namespace pushforward::libtorch::models {

/// "[2, 4, 64, 64]".
inline std::string text_of(at::IntArrayRef shape) {
  std::string text = "[";
  for (const auto extent : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(extent);
  return text + "]";
}

inline std::string text_of(const at::Tensor& x) { return text_of(x.sizes()); }

} // namespace pushforward::libtorch::models
