#pragma once
/// \file
/// A small convolutional network with time, normalisation, attention-like mixing and a skip connection, its
/// weights drawn anew: what a denoiser is made of, at a size whose dense Jacobian can be had.

#include <support/device.hpp>
#include <support/random.hpp>

#include <ATen/ATen.h>

#include <cmath>
#include <cstdint>
#include <vector>

namespace testing_support {

class small_network {
public:
  /// Weights are rounded to bfloat16 first, so that networks of all types have the same.
  explicit small_network(c10::ScalarType type, std::int64_t channels = 1, std::int64_t width = 8)
      : in_{weight({width, channels, 3, 3}, 1, type)}, time_{weight({width, 1}, 2, type)},
        middle_{weight({width, width, 3, 3}, 3, type)}, mix_{weight({width, width, 1, 1}, 4, type)},
        out_{weight({channels, width, 3, 3}, 5, type)} {}

  at::Tensor operator()(const at::Tensor& x, const at::Tensor& time) const {
    const at::Tensor embedded = at::silu(at::linear((time / 1000).to(x.scalar_type()).view({-1, 1}), time_))
                                    .unsqueeze(-1)
                                    .unsqueeze(-1);
    const at::Tensor first = at::silu(at::conv2d(x, in_, {}, 1, 1)) + embedded;
    at::Tensor h = at::group_norm(first, 2);
    h = at::silu(at::conv2d(h, middle_, {}, 1, 1));
    h = first + at::conv2d(h, mix_) * at::sigmoid(h);
    return at::conv2d(h, out_, {}, 1, 1);
  }

  std::vector<at::Tensor> weights() const { return {in_, time_, middle_, mix_, out_}; }

private:
  static at::Tensor weight(at::IntArrayRef sizes, std::uint64_t seed, c10::ScalarType type) {
    std::int64_t n = 1, fan_in = 1;
    for (auto extent : sizes) n *= extent;
    for (auto extent : sizes.slice(1)) fan_in *= extent;
    return (at::tensor(random_numbers(static_cast<std::size_t>(n), seed), at::kDouble).view(sizes) *
            std::sqrt(1.5 / static_cast<double>(fan_in)))
        .to(at::kBFloat16)
        .to(test_device(), type);
  }

  at::Tensor in_, time_, middle_, mix_, out_;
};

} // namespace testing_support
