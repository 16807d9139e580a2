#include <pushforward/cuda/error.hpp>
#include <pushforward/cuda/executor.hpp>
#include <pushforward/memory.hpp>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <limits>
#include <mutex>
#include <string>
#include <utility>

namespace pushforward::cuda {

namespace {

constexpr int no_device = -1;

/// A pool that gives nothing back to the system before it ends: by default a pool does at each wait.
cudaMemPool_t new_pool(int device) {
  cudaMemPoolProps props{};
  props.allocType = cudaMemAllocationTypePinned;
  props.location.type = cudaMemLocationTypeDevice;
  props.location.id = device;
  cudaMemPool_t pool = nullptr;
  require(cudaMemPoolCreate(&pool, &props), "making a memory pool on the device");
  std::uint64_t all = std::numeric_limits<std::uint64_t>::max();
  const cudaError_t code = cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &all);
  if (code != cudaSuccess) cudaMemPoolDestroy(pool);
  require(code, "setting up a memory pool on the device");
  return pool;
}

std::string megabytes(std::size_t bytes) { return std::to_string((bytes + 999'999) / 1'000'000) + " MB"; }

} // namespace

struct executor::state {
  int device = no_device;
  cudaStream_t stream = nullptr;
  bool owns_stream = false;
  cudaMemPool_t pool = nullptr; // made when it is first asked: an executor may serve one launch
  std::mutex making_the_pool;
  std::atomic<std::size_t> launches{0}, copies{0}, allocations{0}, synchronisations{0};

  state() = default;
  state(const state&) = delete;
  state& operator=(const state&) = delete;
  ~state() {
    // both end once what they were given is done
    if (pool != nullptr) cudaMemPoolDestroy(pool);
    if (owns_stream) cudaStreamDestroy(stream);
  }
};

executor executor::host() { return executor(std::make_shared<state>()); }

executor executor::on_device(int device) {
  const executor made = host();
  made.state_->device = device;
  const current_device here(made);
  require(cudaStreamCreateWithFlags(&made.state_->stream, cudaStreamNonBlocking), "making a stream");
  made.state_->owns_stream = true;
  return made;
}

executor executor::on_stream(cudaStream_t stream) {
  const executor made = host();
  require(cudaGetDevice(&made.state_->device), "finding the current device");
  made.state_->stream = stream;
  return made;
}

bool executor::is_host() const noexcept { return state_->device == no_device; }

cudaStream_t executor::stream() const {
  if (is_host())
    throw error(
        "the host's executor has no stream: an operation that takes one needs executor::on_device() or "
        "executor::on_stream(stream)");
  return state_->stream;
}

int executor::device() const noexcept { return state_->device; }

void executor::synchronise() const {
  ++state_->synchronisations;
  if (is_host()) return;
  const current_device here(*this);
  require(cudaStreamSynchronize(state_->stream), "waiting for the stream");
}

work executor::done() const noexcept {
  return {state_->launches, state_->copies, state_->allocations, state_->synchronisations};
}

bool operator==(const executor& x, const executor& y) noexcept {
  return x.state_->device == y.state_->device && x.state_->stream == y.state_->stream;
}

void* executor::allocate(std::size_t bytes) const {
  if (bytes == 0) return nullptr;
  ++state_->allocations;
  if (is_host()) return recycling_allocator<std::byte>().allocate(bytes);
  const current_device here(*this);
  {
    const std::lock_guard one_at_a_time(state_->making_the_pool);
    if (state_->pool == nullptr) state_->pool = new_pool(device());
  }
  void* data = nullptr;
  const cudaError_t code = cudaMallocFromPoolAsync(&data, bytes, state_->pool, state_->stream);
  if (code != cudaSuccess) {
    cudaGetLastError();
    std::size_t free = 0, total = 0;
    std::string there;
    if (cudaMemGetInfo(&free, &total) == cudaSuccess)
      there = ", of whose " + megabytes(total) + " " + megabytes(free) + " are free";
    throw cuda_error("an array of " + megabytes(bytes) + " on device " + std::to_string(device()) + there,
                     code);
  }
  return data;
}

void executor::deallocate(void* data, std::size_t bytes) const noexcept {
  if (data == nullptr) return;
  if (is_host()) return recycling_allocator<std::byte>().deallocate(static_cast<std::byte*>(data), bytes);
  // as current_device, without its exceptions: a fault is told by the next operation
  int before = device();
  cudaGetDevice(&before);
  if (before != device()) cudaSetDevice(device());
  cudaFreeAsync(data, state_->stream);
  if (before != device()) cudaSetDevice(before);
}

void executor::copy(void* to, const void* from, std::size_t bytes) const {
  if (bytes == 0) return;
  ++state_->copies;
  if (is_host()) {
    std::memcpy(to, from, bytes);
    return;
  }
  const current_device here(*this);
  require(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, state_->stream), "a copy");
}

void executor::copy_back(void* to, const void* from, std::size_t bytes) const {
  copy(to, from, bytes);
  synchronise();
}

void executor::count_launch() const noexcept { ++state_->launches; }

current_device::current_device(const executor& on) : before_{no_device}, now_{on.device()} {
  if (now_ == no_device) return;
  require(cudaGetDevice(&before_), "finding the current device");
  if (before_ != now_) require(cudaSetDevice(now_), "choosing a device");
}

current_device::~current_device() {
  if (before_ != now_) cudaSetDevice(before_);
}

} // namespace pushforward::cuda
