// recycling_allocator: blocks come back, from any thread, aligned.

#include <support/catch.hpp>

#include <pushforward/memory.hpp>

#include <cstdint>
#include <cstring>
#include <limits>
#include <set>
#include <thread>
#include <vector>

using pushforward::recycling_allocator;

TEST_CASE("a freed block is handed out again to whoever asks for its size") {
  if (!pushforward::detail::recycle_blocks) return; // a sanitizer is to see every block
  recycling_allocator<double> allocator;
  double* first = allocator.allocate(1000);
  allocator.deallocate(first, 1000);
  double* other_size = allocator.allocate(1001);
  CHECK(other_size != first);
  double* again = allocator.allocate(1000);
  CHECK(again == first);
  allocator.deallocate(again, 1000);
  // 2000 floats are as many bytes
  recycling_allocator<float> floats(allocator);
  float* same_bytes = floats.allocate(2000);
  CHECK(static_cast<void*>(same_bytes) == static_cast<void*>(first));
  floats.deallocate(same_bytes, 2000);
  allocator.deallocate(other_size, 1001);
}

TEST_CASE("blocks in use are apart from each other, more of them than are kept") {
  recycling_allocator<unsigned char> allocator;
  const std::size_t count = 3 * pushforward::detail::block_cache::capacity;
  for (int round = 0; round < 3; ++round) {
    std::vector<unsigned char*> blocks;
    for (std::size_t i = 0; i < count; ++i) {
      blocks.push_back(allocator.allocate(100));
      std::memset(blocks.back(), static_cast<int>(i), 100);
    }
    CHECK(std::set<unsigned char*>(blocks.begin(), blocks.end()).size() == count);
    for (std::size_t i = 0; i < count; ++i) {
      CHECK(blocks[i][0] == static_cast<unsigned char>(i));
      CHECK(blocks[i][99] == static_cast<unsigned char>(i));
      allocator.deallocate(blocks[i], 100);
    }
  }
}

TEST_CASE("when too many blocks are kept, the one that came first goes back to the heap") {
  if (!pushforward::detail::recycle_blocks) return;
  // a thread of its own, so that its cache is empty
  std::thread([] {
    recycling_allocator<char> allocator;
    const std::size_t capacity = pushforward::detail::block_cache::capacity;
    std::vector<char*> blocks;
    for (std::size_t i = 0; i <= capacity; ++i) blocks.push_back(allocator.allocate(1000 + i));
    for (std::size_t i = 0; i <= capacity; ++i) allocator.deallocate(blocks[i], 1000 + i);
    auto* cache = pushforward::detail::block_cache::mine();
    CHECK(cache->take(1000) == nullptr);
    for (std::size_t i = 1; i <= capacity; ++i) {
      void* data = cache->take(1000 + i);
      CHECK(data == blocks[i]);
      cache->give(data, 1000 + i);
    }
  }).join();
}

TEST_CASE("blocks are aligned to 64 bytes") {
  recycling_allocator<float> allocator;
  for (std::size_t n : {1U, 3U, 17U, 1000U}) {
    float* data = allocator.allocate(n);
    CHECK(reinterpret_cast<std::uintptr_t>(data) % 64 == 0);
    allocator.deallocate(data, n);
    data = allocator.allocate(n);
    CHECK(reinterpret_cast<std::uintptr_t>(data) % 64 == 0);
    allocator.deallocate(data, n);
  }
}

TEST_CASE("a block may be freed on another thread than its own, and serves that thread") {
  using values = std::vector<double, recycling_allocator<double>>;
  values made_here(5000, 1.0);
  const double* data = made_here.data();
  bool reused = false;
  std::thread([&reused, data, moved = std::move(made_here)]() mutable {
    { const values gone = std::move(moved); }
    const values next(5000, 2.0);
    reused = next.data() == data;
  }).join();
  if (pushforward::detail::recycle_blocks) CHECK(reused);
  // and a block made on a thread that is gone may be freed here
  values from_there;
  std::thread([&from_there] { from_there = values(6000, 3.0); }).join();
  CHECK(from_there[5999] == 3.0);
}

TEST_CASE("a container that lives as long as its thread may free its blocks at the very end") {
  // thread_local objects are destroyed in reverse order of construction: `late` outlives the cache
  std::thread([] {
    thread_local std::vector<double, recycling_allocator<double>> late;
    late.reserve(0);
    late.assign(100, 1.0);
  }).join();
  SUCCEED("no crash, and no leak for a sanitizer to see");
}

TEST_CASE("a size that no memory has is bad_array_new_length, and the empty size is fine") {
  recycling_allocator<double> allocator;
  CHECK_THROWS_AS(allocator.allocate(std::numeric_limits<std::size_t>::max() / 4), std::bad_array_new_length);
  double* none = allocator.allocate(0);
  allocator.deallocate(none, 0);
  CHECK(recycling_allocator<double>() == recycling_allocator<float>());
}
