#pragma once
/// \file
/// An allocator that hands freed blocks out again, so that a loop which makes the same temporaries in every
/// iteration takes nothing from the heap once it runs.

#include <array>
#include <cstddef>
#include <limits>
#include <new>

namespace pushforward {

namespace detail {

#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool recycle_blocks = false;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
inline constexpr bool recycle_blocks = false;
#else
inline constexpr bool recycle_blocks = true;
#endif
#else
inline constexpr bool recycle_blocks = true;
#endif

inline constexpr std::align_val_t block_alignment{64};

/// Freed blocks of one thread, by exact size. When it is full, the block that came first goes back to the
/// heap.
class block_cache {
public:
  static constexpr std::size_t capacity = 64;

  ~block_cache() {
    alive() = false;
    for (std::size_t i = 0; i < count_; ++i) ::operator delete(blocks_[i].data, block_alignment);
  }

  void* take(std::size_t bytes) noexcept {
    for (std::size_t i = count_; i-- > 0;)
      if (blocks_[i].bytes == bytes) {
        void* data = blocks_[i].data;
        remove(i);
        return data;
      }
    return nullptr;
  }

  void give(void* data, std::size_t bytes) noexcept {
    if (count_ == capacity) {
      ::operator delete(blocks_[0].data, block_alignment);
      remove(0);
    }
    blocks_[count_++] = {data, bytes};
  }

  /// This thread's cache; null once the thread has begun to end.
  static block_cache* mine() noexcept {
    if (!alive()) return nullptr;
    thread_local block_cache cache;
    return &cache;
  }

private:
  struct block {
    void* data;
    std::size_t bytes;
  };

  static bool& alive() noexcept {
    thread_local bool value = true;
    return value;
  }

  void remove(std::size_t at) noexcept {
    for (std::size_t i = at + 1; i < count_; ++i) blocks_[i - 1] = blocks_[i];
    --count_;
  }

  std::array<block, capacity> blocks_{};
  std::size_t count_ = 0;
};

} // namespace detail

/// Allocates from the heap, but keeps up to 64 freed blocks per thread and gives one out again when a block
/// of the same size is asked for. Blocks are aligned to 64 bytes. Stateless: any two compare equal, and a
/// block may be freed on another thread than its own. Under AddressSanitizer it is a plain allocator.
template <class T> class recycling_allocator {
public:
  using value_type = T;

  recycling_allocator() noexcept = default;
  template <class U> recycling_allocator(const recycling_allocator<U>&) noexcept {}

  T* allocate(std::size_t n) {
    if (n > std::numeric_limits<std::size_t>::max() / sizeof(T)) throw std::bad_array_new_length();
    if constexpr (detail::recycle_blocks)
      if (auto* cache = detail::block_cache::mine())
        if (void* data = cache->take(n * sizeof(T))) return static_cast<T*>(data);
    return static_cast<T*>(::operator new(n * sizeof(T), detail::block_alignment));
  }

  void deallocate(T* data, std::size_t n) noexcept {
    if constexpr (detail::recycle_blocks)
      if (auto* cache = detail::block_cache::mine()) return cache->give(data, n * sizeof(T));
    ::operator delete(data, detail::block_alignment);
  }

  template <class U> bool operator==(const recycling_allocator<U>&) const noexcept { return true; }
};

} // namespace pushforward
