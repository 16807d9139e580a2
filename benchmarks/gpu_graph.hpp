#pragma once
/// \file
/// Passes captured as a CUDA graph. They need CUDA's headers and libtorch's CUDA library, so they are a
/// module that the benchmarks load where both are there.

#include <ATen/core/Tensor.h>

#include <functional>

namespace benchmarks {

/// A pass that is launched as a whole; it reads the tensors that it read when it was captured.
class captured_pass {
public:
  virtual ~captured_pass() = default;
  virtual void replay() = 0;
  at::Tensor output; ///< written anew by each replay
};

/// The module's one function, `pushforward_capture`. The caller deletes the result.
using capture_function = captured_pass* (*)(const std::function<at::Tensor()>& pass);

} // namespace benchmarks
