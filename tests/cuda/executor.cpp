// Executors: what they count, and what they say where there is no device.

#include <support/catch.hpp>
#include <support/cuda_device.hpp>

#include <pushforward/cuda/array.hpp>
#include <pushforward/cuda/error.hpp>
#include <pushforward/cuda/for_each.hpp>
#include <pushforward/cuda/kernels.hpp>
#include <pushforward/cuda/reduce.hpp>

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

using namespace pushforward;
using namespace pushforward::cuda;
using testing_support::contains_text;

namespace {

/// Counts how often each element of a table is visited.
struct visits {
  std::size_t columns;
  int* seen;
  void operator()(std::size_t row, std::size_t column) const { ++seen[row * columns + column]; }
};

} // namespace

TEST_CASE("each element of a table is visited once, whatever its size") {
  const std::size_t most_blocks = std::size_t{4096} * block_threads;
  for (const auto& [rows, columns] : std::vector<std::pair<std::size_t, std::size_t>>{{1, 1},
                                                                                      {3, 255},
                                                                                      {2, 256},
                                                                                      {2, 257},
                                                                                      {1, most_blocks},
                                                                                      {2, most_blocks + 3},
                                                                                      {65535, 1},
                                                                                      {65540, 2}}) {
    std::vector<int> seen(rows * columns, 0);
    in_loops(grid_of(rows, columns), rows, columns, visits{columns, seen.data()});
    CHECK(std::count(seen.begin(), seen.end(), 1) == static_cast<std::ptrdiff_t>(rows * columns));
  }
}

TEST_CASE("a table without rows or columns launches nothing") {
  const executor on = executor::host();
  kernels::scale<float>(on, {0, 5}, {}, nullptr, nullptr);
  kernels::scale<float>(on, {5, 0}, {}, nullptr, nullptr);
  kernels::dot<float>(on, {0, 5}, nullptr, nullptr, nullptr);
  CHECK(on.done() == work{});
}

TEST_CASE("a launch has no more blocks than CUDA allows") {
  const grid g = grid_of(std::size_t{1} << 20U, std::size_t{1} << 40U);
  CHECK(g.rows == 65535);
  CHECK(g.columns == 4096);
  CHECK(grid_of(3, 257).columns == 2);
  CHECK(grid_of(3, 256).columns == 1);
}

TEST_CASE("the parts of a row cover it without overlap") {
  for (std::size_t columns : {std::size_t{0}, std::size_t{1}, part_columns - 1, part_columns,
                              part_columns + 1, 3 * part_columns, 3 * part_columns + 5}) {
    const parts cut{columns, part_columns};
    std::size_t covered = 0;
    for (std::size_t part = 0; part < cut.count(); ++part) {
      CHECK(covered == part * part_columns);
      CHECK(cut.end(part) - covered <= part_columns);
      covered = cut.end(part);
    }
    CHECK(covered == columns);
    CHECK(cut.count() >= 1);
  }
}

TEST_CASE("an executor counts what it was given") {
  const executor on = executor::host();
  const std::vector<float> values{1, 2, 3};
  const array<float> x(on, {3}, values);
  CHECK(on.done() == work{.launches = 0, .copies = 1, .allocations = 1, .synchronisations = 0});
  CHECK(x.to_host() == values);
  CHECK(on.done() == work{.launches = 0, .copies = 2, .allocations = 1, .synchronisations = 1});
  array<float> y(on, {3});
  kernels::fill(on, 3, 1.0, y.writable());
  on.synchronise();
  CHECK(on.done() == work{.launches = 1, .copies = 2, .allocations = 2, .synchronisations = 2});
  CHECK(executor::host().done() == work{});
}

TEST_CASE("the host's executors are all one, and have no stream") {
  CHECK(executor::host() == executor::host());
  CHECK(executor::host().is_host());
  CHECK(executor::host().device() == -1);
  CHECK_THROWS_WITH(executor::host().stream(), contains_text("executor::on_device()"));
}

TEST_CASE("where there is no device, an executor on one says so, and what to do") {
  if (device_count() > 0) return;
  CHECK_THROWS_AS(executor::on_device(), cuda_error);
  CHECK_THROWS_WITH(executor::on_device(), contains_text("nvidia-smi") && contains_text("executor::host()"));
  CHECK_THROWS_AS(executor::on_stream(nullptr), cuda_error);
}

TEST_CASE("an error of CUDA's names what failed, CUDA's word for it, and a remedy") {
  const cuda_error memory("an array of 12 MB on device 0", cudaErrorMemoryAllocation);
  CHECK_THAT(memory.what(), contains_text("an array of 12 MB on device 0 failed") &&
                                contains_text("cudaErrorMemoryAllocation") && contains_text("smaller batch"));
  CHECK(memory.code() == cudaErrorMemoryAllocation);
  CHECK_THAT(cuda_error("x", cudaErrorNoKernelImageForDevice).what(),
             contains_text("CMAKE_CUDA_ARCHITECTURES"));
  CHECK_THAT(cuda_error("x", cudaErrorIllegalAddress).what(), contains_text("compute-sanitizer"));
  CHECK_THAT(cuda_error("x", cudaErrorStreamCaptureUnsupported).what(), contains_text("finite check"));
  CHECK_NOTHROW(require(cudaSuccess, "x"));
  CHECK_THROWS_WITH(require(cudaErrorInvalidDevice, "choosing a device"),
                    contains_text("choosing a device failed"));
}

TEST_CASE("a device's executor runs in order, on a stream of its own or the caller's", "[device]") {
  const executor on = testing_support::test_executor();
  if (on.is_host()) return;
  CHECK(on.device() == 0);
  CHECK(!(on == executor::host()));
  CHECK(!(on == executor::on_device()));
  cudaStream_t stream = nullptr;
  REQUIRE(cudaStreamCreate(&stream) == cudaSuccess);
  {
    const executor theirs = executor::on_stream(stream);
    CHECK(theirs.stream() == stream);
    CHECK(theirs == executor::on_stream(stream));
    const std::vector<double> values{1, 2, 3};
    CHECK(array<double>(theirs, {3}, values).to_host() == values);
    CHECK_THROWS_WITH(array<double>(theirs, {std::size_t{1} << 50U}), contains_text("smaller batch"));
    CHECK(array<double>(theirs, {3}, values).to_host() == values); // and is none the worse for it
  }
  CHECK(cudaStreamDestroy(stream) == cudaSuccess);
}
