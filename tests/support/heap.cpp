#include <support/heap.hpp>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#if defined(__SANITIZE_ADDRESS__)
#define HEAP_IS_WATCHED 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HEAP_IS_WATCHED 0
#endif
#endif
#if !defined(HEAP_IS_WATCHED)
#if defined(__GLIBC__)
#define HEAP_IS_WATCHED 1
#else
#define HEAP_IS_WATCHED 0
#endif
#endif

namespace testing_support::heap {

namespace {

std::atomic<std::size_t> blocks{0};
std::atomic<std::size_t> held{0};
std::atomic<std::size_t> peak{0};

} // namespace

const bool watched = HEAP_IS_WATCHED != 0;

std::size_t blocks_taken() noexcept { return blocks.load(std::memory_order_relaxed); }
std::size_t bytes_held() noexcept { return held.load(std::memory_order_relaxed); }
std::size_t peak_bytes() noexcept { return peak.load(std::memory_order_relaxed); }
void forget_peak() noexcept { peak.store(bytes_held(), std::memory_order_relaxed); }

} // namespace testing_support::heap

#if HEAP_IS_WATCHED

#include <malloc.h>

namespace {

namespace heap = testing_support::heap;

void* taken(void* block) noexcept {
  if (block == nullptr) return nullptr;
  heap::blocks.fetch_add(1, std::memory_order_relaxed);
  const std::size_t bytes = malloc_usable_size(block);
  const std::size_t now = heap::held.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  std::size_t most = heap::peak.load(std::memory_order_relaxed);
  while (now > most && !heap::peak.compare_exchange_weak(most, now, std::memory_order_relaxed)) {
  }
  return block;
}

void returned(void* block) noexcept {
  if (block != nullptr) heap::held.fetch_sub(malloc_usable_size(block), std::memory_order_relaxed);
}

} // namespace

// The GNU C library's own, under the names it exports for this purpose.
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
void __libc_free(void*);

void* malloc(std::size_t n) noexcept { return taken(__libc_malloc(n)); }
void* calloc(std::size_t n, std::size_t size) noexcept { return taken(__libc_calloc(n, size)); }
void* realloc(void* block, std::size_t n) noexcept {
  returned(block);
  void* moved = __libc_realloc(block, n);
  if (moved == nullptr && n != 0 && block != nullptr)
    heap::held.fetch_add(malloc_usable_size(block), std::memory_order_relaxed);
  return taken(moved);
}
void* memalign(std::size_t alignment, std::size_t n) noexcept { return taken(__libc_memalign(alignment, n)); }
void* aligned_alloc(std::size_t alignment, std::size_t n) noexcept {
  return taken(__libc_memalign(alignment, n));
}
int posix_memalign(void** block, std::size_t alignment, std::size_t n) noexcept {
  if (alignment % sizeof(void*) != 0 || (alignment & (alignment - 1)) != 0 || alignment == 0) return EINVAL;
  void* data = taken(__libc_memalign(alignment, n));
  if (data == nullptr) return ENOMEM;
  *block = data;
  return 0;
}
void free(void* block) noexcept {
  returned(block);
  __libc_free(block);
}
}

#endif
