// Uses the core with libtorch's tensors.

#include "steer.hpp"

#include <pushforward/libtorch/tensor.hpp>

#include <ATen/ops/tensor.h>

int main() { return steer(at::tensor({-1.5F, 0.25F, 1.0F, 0.5F}).reshape({2, 2})); }
