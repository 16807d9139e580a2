#pragma once
/// \file
/// The ids that text encoders read.

#include <pushforward/error.hpp>

#include <ATen/ATen.h>

#include <cstdint>
#include <string>

namespace pushforward::libtorch::models {

/// \throws shape_mismatch unless ids are [N, L]; bad_option unless they are int64 or int32 and from 0 to
/// vocab_size - 1. The message begins with the encoder's name
inline void check_ids(const at::Tensor& ids, std::int64_t vocab_size, const std::string& encoder) {
  if (ids.dim() != 2 || ids.size(0) < 1 || ids.size(1) < 1)
    throw shape_mismatch(encoder + ": ids must be [N, L], one sequence a row");
  if (ids.scalar_type() != at::kLong && ids.scalar_type() != at::kInt)
    throw bad_option(encoder + ": ids must be int64 or int32, not " + c10::toString(ids.scalar_type()));
  const auto low = ids.min().item<std::int64_t>(), high = ids.max().item<std::int64_t>();
  if (low < 0 || high >= vocab_size)
    throw bad_option(encoder + ": id " + std::to_string(low < 0 ? low : high) + " is not one of the " +
                     std::to_string(vocab_size) +
                     " of this encoder's vocabulary; is the tokenizer of another model?");
}

} // namespace pushforward::libtorch::models
