#pragma once
/// \file
/// Passes recorded as CUDA graphs. What is behind it needs CUDA's headers and libtorch's CUDA library.

#include <pushforward/libtorch/captured.hpp>

namespace pushforward::libtorch {

/// Is a `capture_function`. \throws c10::Error
std::unique_ptr<captured_pass> cuda_graph_of(const std::function<at::Tensor()>& pass);

} // namespace pushforward::libtorch
