// Uses the core with arrays of a CUDA executor: the host's, as there may be no device.

#include "steer.hpp"

#include <pushforward/cuda/tensor.hpp>

int main() {
  using pushforward::cuda::array;
  const std::vector<float> target{-1.5F, 0.25F, 1.0F, 0.5F};
  return steer(array<float>(pushforward::cuda::executor::host(), {2, 2}, target));
}
