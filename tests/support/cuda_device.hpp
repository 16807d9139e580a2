#pragma once
/// \file
/// Where the arrays of the tests of pushforward::cuda live: on the host's executor, or on the device that
/// PUSHFORWARD_TEST_DEVICE names.

#include <pushforward/cuda/error.hpp>
#include <pushforward/cuda/executor.hpp>

#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace testing_support {

/// Ends the program, with a word, where there is no CUDA device.
inline void require_device() {
  if (pushforward::cuda::device_count() > 0) return;
  std::puts("skipped: no CUDA device");
  std::fflush(nullptr);
  std::_Exit(0);
}

inline const pushforward::cuda::executor& test_executor() {
  static const pushforward::cuda::executor on = [] {
    const char* name = std::getenv("PUSHFORWARD_TEST_DEVICE");
    if (name == nullptr || std::string_view(name) != "cuda") return pushforward::cuda::executor::host();
    require_device();
    return pushforward::cuda::executor::on_device();
  }();
  return on;
}

} // namespace testing_support
