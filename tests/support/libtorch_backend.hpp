#pragma once
/// \file
/// libtorch's tensors, on the CPU or another device, as backends of the tests that run on every backend.

#include <pushforward/libtorch/tensor.hpp>

#include <ATen/ATen.h>

#include <support/device.hpp>

#include <tuple>
#include <vector>

namespace testing_support {

/// Not exact: libtorch's loops do the end of a tensor in other instructions than its middle.
template <c10::ScalarType type> struct libtorch_backend {
  using tensor = at::Tensor;
  static constexpr bool exact = false;

  static tensor make(const pushforward::shape& s, const std::vector<double>& values) {
    return pushforward::tensor_traits<tensor>::from_elements(at::empty({0}, on_device(type)), s, values);
  }
};

struct libtorch_float : libtorch_backend<at::kFloat> {
  static constexpr const char* name = "libtorch float";
  static constexpr double tolerance = 2e-5;
  static constexpr double probe_tolerance = 5e-4;
};

struct libtorch_double : libtorch_backend<at::kDouble> {
  static constexpr const char* name = "libtorch double";
  static constexpr double tolerance = 1e-12;
  static constexpr double probe_tolerance = 1e-11;
};

using backends = std::tuple<libtorch_float, libtorch_double>;

} // namespace testing_support
