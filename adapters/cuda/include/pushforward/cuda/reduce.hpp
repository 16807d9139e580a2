#pragma once
/// \file
/// Sums and maxima of the rows of a table, in an order that depends on the number of columns alone: two runs,
/// and device and host, give the same bits, and a row gives the same beside others as alone.
///
/// A row is cut into parts of `part_columns`. Lane l of a part joins its elements l, l + lanes, ...; then
/// lane l joins lane l + lanes / 2, of which the first half lane l + lanes / 4, and so on. Parts are joined
/// likewise.
///
/// A reduction is a small struct, copied to the device:
///
/// | member | meaning |
/// |---|---|
/// | `value_type`, `result_type` | what is joined; what is made of it in the end |
/// | `identity()` | a value that joining leaves as it is |
/// | `of(row, column)` | the value of an element |
/// | `join(v, w)` | both as one |
/// | `result(v)` | a row's result |

#include <pushforward/cuda/executor.hpp>
#include <pushforward/noise/host_device.hpp>

#include <algorithm>
#include <array>
#include <cstddef>

namespace pushforward::cuda {

/// Lanes of a part: threads of its block.
inline constexpr unsigned reduction_lanes = 512;
/// Elements that one block joins; a latent of 4 x 64 x 64.
inline constexpr std::size_t part_columns = 16384;

/// How the columns of a table are cut.
struct parts {
  std::size_t columns;
  std::size_t size;

  PUSHFORWARD_HOST_DEVICE std::size_t count() const {
    return columns <= size ? 1 : (columns + size - 1) / size;
  }
  PUSHFORWARD_HOST_DEVICE std::size_t end(std::size_t part) const {
    return part + 1 == count() ? columns : (part + 1) * size;
  }
};

/// What one lane of a part joins.
template <class Reduction>
PUSHFORWARD_HOST_DEVICE typename Reduction::value_type
lane_of(const Reduction& r, const parts& cut, std::size_t row, std::size_t part, unsigned lane) {
  auto value = r.identity();
  for (std::size_t column = part * cut.size + lane; column < cut.end(part); column += reduction_lanes)
    value = r.join(value, r.of(row, column));
  return value;
}

/// One step of joining lanes; the next one has half the stride.
template <class Reduction>
PUSHFORWARD_HOST_DEVICE void join_lane(const Reduction& r, typename Reduction::value_type* lanes,
                                       unsigned lane, unsigned stride) {
  if (lane < stride) lanes[lane] = r.join(lanes[lane], lanes[lane + stride]);
}

/// All blocks and lanes, one after the other.
template <class Reduction>
void reduce_in_loops(const parts& cut, std::size_t rows, const Reduction& r,
                     typename Reduction::result_type* out) {
  std::array<typename Reduction::value_type, reduction_lanes> lanes{};
  for (std::size_t row = 0; row < rows; ++row)
    for (std::size_t part = 0; part < cut.count(); ++part) {
      for (unsigned lane = 0; lane < reduction_lanes; ++lane) lanes[lane] = lane_of(r, cut, row, part, lane);
      for (unsigned stride = reduction_lanes / 2; stride > 0; stride /= 2)
        for (unsigned lane = 0; lane < reduction_lanes; ++lane) join_lane(r, lanes.data(), lane, stride);
      out[row * cut.count() + part] = r.result(lanes[0]);
    }
}

/// The kernel; reduce.cuh has it. \throws cuda_error
template <class Reduction>
void launch_reduction(const executor& on, const parts& cut, std::size_t rows, const Reduction& r,
                      typename Reduction::result_type* out);

namespace detail {

/// A reduction to what its parts have, and no further.
template <class Reduction> struct of_parts : Reduction {
  using result_type = typename Reduction::value_type;
  PUSHFORWARD_HOST_DEVICE result_type result(const result_type& value) const { return value; }
};

/// What is left to do with that.
template <class Reduction> struct joined_parts : Reduction {
  const typename Reduction::value_type* values;
  std::size_t count;
  PUSHFORWARD_HOST_DEVICE typename Reduction::value_type of(std::size_t row, std::size_t part) const {
    return values[row * count + part];
  }
};

template <class Reduction>
void reduce_once(const executor& on, const parts& cut, std::size_t rows, const Reduction& r,
                 typename Reduction::result_type* out) {
  on.count_launch();
  if (on.is_host())
    reduce_in_loops(cut, rows, r, out);
  else
    launch_reduction(on, cut, rows, r, out);
}

} // namespace detail

/// out[row] of each row: one launch, or two where a row has more than `part_columns` elements.
/// \throws cuda_error where a launch fails
template <class Reduction>
void reduce(const executor& on, std::size_t rows, std::size_t columns, const Reduction& r,
            typename Reduction::result_type* out) {
  using value = typename Reduction::value_type;
  if (rows == 0) return;
  const parts cut{columns, part_columns};
  const std::size_t count = cut.count();
  if (count == 1) return detail::reduce_once(on, cut, rows, r, out);
  struct scratch {
    const executor& on;
    std::size_t bytes;
    value* data = static_cast<value*>(on.allocate(bytes));
    ~scratch() { on.deallocate(data, bytes); }
  } const values{on, rows * count * sizeof(value)};
  detail::reduce_once(on, cut, rows, detail::of_parts<Reduction>{r}, values.data);
  detail::reduce_once(on, parts{count, count}, rows, detail::joined_parts<Reduction>{r, values.data, count},
                      out);
}

} // namespace pushforward::cuda
