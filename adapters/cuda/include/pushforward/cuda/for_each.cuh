#pragma once
/// \file
/// The kernel of for_each.hpp. For nvcc.

#include <pushforward/cuda/error.hpp>
#include <pushforward/cuda/for_each.hpp>

namespace pushforward::cuda {

template <class Operation>
__global__ void for_each_kernel(grid g, std::size_t rows, std::size_t columns, Operation operation) {
  visit(g, {blockIdx.x, blockIdx.y, threadIdx.x}, rows, columns, operation);
}

template <class Operation>
void launch(const executor& on, const grid& g, std::size_t rows, std::size_t columns,
            const Operation& operation) {
  const current_device here(on);
  for_each_kernel<<<dim3(g.columns, g.rows), block_threads, 0, on.stream()>>>(g, rows, columns, operation);
  require(cudaGetLastError(), "the launch of a kernel");
}

} // namespace pushforward::cuda
