#pragma once
/// \file
/// Where the tensors of the tests live: on the CPU, or on the device that PUSHFORWARD_TEST_DEVICE names.

#include <ATen/Context.h>
#include <ATen/core/Tensor.h>

#include <cstdio>
#include <cstdlib>

namespace testing_support {

/// Ends the program, with a word, where a CUDA device is asked for and there is none.
inline c10::Device test_device() {
  static const c10::Device device = [] {
    const char* name = std::getenv("PUSHFORWARD_TEST_DEVICE");
    const c10::Device named(name && *name ? name : "cpu");
    if (named.is_cuda()) {
      if (!at::hasCUDA()) {
        std::puts("skipped: no CUDA device");
        std::fflush(nullptr);
        std::_Exit(0);
      }
      at::globalContext().setAllowTF32CuDNN(false); // 10 bits of mantissa
      at::globalContext().setDeterministicCuDNN(true);
    }
    return named;
  }();
  return device;
}

inline at::TensorOptions on_device(c10::ScalarType type) {
  return at::TensorOptions().dtype(type).device(test_device());
}

} // namespace testing_support
