#pragma once
/// \file
/// The kernel of reduce.hpp: one block for each part of each row. For nvcc.

#include <pushforward/cuda/error.hpp>
#include <pushforward/cuda/reduce.hpp>

namespace pushforward::cuda {

template <class Reduction>
__global__ void reduce_kernel(parts cut, std::size_t rows, Reduction r,
                              typename Reduction::result_type* out) {
  __shared__ typename Reduction::value_type lanes[reduction_lanes];
  const unsigned lane = threadIdx.x;
  const std::size_t part = blockIdx.x;
  for (std::size_t row = blockIdx.y; row < rows; row += gridDim.y) {
    lanes[lane] = lane_of(r, cut, row, part, lane);
    for (unsigned stride = reduction_lanes / 2; stride > 0; stride /= 2) {
      __syncthreads();
      join_lane(r, lanes, lane, stride);
    }
    if (lane == 0) out[row * cut.count() + part] = r.result(lanes[0]);
    __syncthreads(); // lane 0 is read before the next row writes it
  }
}

template <class Reduction>
void launch_reduction(const executor& on, const parts& cut, std::size_t rows, const Reduction& r,
                      typename Reduction::result_type* out) {
  const current_device here(on);
  const dim3 blocks(static_cast<unsigned>(cut.count()),
                    static_cast<unsigned>(std::min<std::size_t>(rows, 65535)));
  reduce_kernel<<<blocks, reduction_lanes, 0, on.stream()>>>(cut, rows, r, out);
  require(cudaGetLastError(), "the launch of a kernel");
}

} // namespace pushforward::cuda
