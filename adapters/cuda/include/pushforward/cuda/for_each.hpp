#pragma once
/// \file
/// An operation on each element of a table, by a kernel or by plain loops over the same blocks and threads.
///
/// An operation is a small struct, copied to the device, that says what is done at (row, column):
///
///     struct negate {
///       const float* x;
///       float* out;
///       std::size_t columns;
///       PUSHFORWARD_HOST_DEVICE void operator()(std::size_t row, std::size_t column) const {
///         out[row * columns + column] = -x[row * columns + column];
///       }
///     };
///
/// `for_each(on, rows, columns, negate{...})` in a .cu file that includes for_each.cuh makes its kernel.
/// Other files may call it too, where such a file holds `template void pushforward::cuda::launch(const
/// executor&, const grid&, std::size_t, std::size_t, const negate&)`.

#include <pushforward/cuda/executor.hpp>
#include <pushforward/noise/host_device.hpp>

#include <algorithm>
#include <cstddef>

namespace pushforward::cuda {

/// Threads of a block.
inline constexpr unsigned block_threads = 256;

/// Blocks of a launch: each has one row at a time, and `block_threads` columns of it.
struct grid {
  unsigned columns;
  unsigned rows;
};

/// One thread of a launch.
struct place {
  unsigned block_column;
  unsigned block_row;
  unsigned thread;
};

/// Enough blocks for every element, up to 4096 along the columns and what CUDA allows along the rows; beyond
/// that a thread goes on to further ones.
inline grid grid_of(std::size_t rows, std::size_t columns) {
  const std::size_t blocks = columns / block_threads + (columns % block_threads != 0 ? 1 : 0);
  return {static_cast<unsigned>(std::min<std::size_t>(blocks, 4096)),
          static_cast<unsigned>(std::min<std::size_t>(rows, 65535))};
}

/// What one thread does.
template <class Operation>
PUSHFORWARD_HOST_DEVICE void visit(const grid& g, const place& at, std::size_t rows, std::size_t columns,
                                   const Operation& operation) {
  const std::size_t first = std::size_t{at.block_column} * block_threads + at.thread;
  for (std::size_t row = at.block_row; row < rows; row += g.rows)
    for (std::size_t column = first; column < columns; column += std::size_t{g.columns} * block_threads)
      operation(row, column);
}

/// All threads, one after the other.
template <class Operation>
void in_loops(const grid& g, std::size_t rows, std::size_t columns, const Operation& operation) {
  for (unsigned row = 0; row < g.rows; ++row)
    for (unsigned column = 0; column < g.columns; ++column)
      for (unsigned thread = 0; thread < block_threads; ++thread)
        visit(g, {column, row, thread}, rows, columns, operation);
}

/// The kernel; for_each.cuh has it. \throws cuda_error
template <class Operation>
void launch(const executor& on, const grid& g, std::size_t rows, std::size_t columns,
            const Operation& operation);

/// operation(row, column) for all rows and columns, in any order.
/// \throws cuda_error where the launch fails
template <class Operation>
void for_each(const executor& on, std::size_t rows, std::size_t columns, const Operation& operation) {
  if (rows == 0 || columns == 0) return;
  on.count_launch();
  const grid g = grid_of(rows, columns);
  if (on.is_host())
    in_loops(g, rows, columns, operation);
  else
    launch(on, g, rows, columns, operation);
}

} // namespace pushforward::cuda
