#pragma once
// Tensors of random numbers, and how far two are apart.

#include <support/catch.hpp>
#include <support/device.hpp>
#include <support/random.hpp>

#include <ATen/ATen.h>

#include <cstdint>

namespace testing_support {

inline at::Tensor random_tensor(at::IntArrayRef sizes, std::uint64_t seed,
                                c10::ScalarType type = at::kDouble) {
  std::int64_t n = 1;
  for (auto extent : sizes) n *= extent;
  return at::tensor(random_numbers(static_cast<std::size_t>(n), seed), at::kDouble)
      .view(sizes)
      .to(test_device(), type);
}

inline double distance(const at::Tensor& x, const at::Tensor& y) {
  REQUIRE(x.sizes() == y.sizes());
  return (x - y).abs().max().item<double>();
}

} // namespace testing_support
