#pragma once
/// \file
/// What runs the operations on arrays, one after the other: a stream of a CUDA device, or the host.

#include <cuda_runtime_api.h>

#include <cstddef>
#include <memory>
#include <utility>

namespace pushforward::cuda {

/// What an executor was given to do since it was made.
struct work {
  std::size_t launches = 0;         ///< of kernels
  std::size_t copies = 0;           ///< between host and device, and within either
  std::size_t allocations = 0;      ///< out of the executor's memory
  std::size_t synchronisations = 0; ///< times that the host waited for the stream

  friend bool operator==(const work&, const work&) = default;
};

/// Runs operations in order, and holds the memory that they work on. On a device they are kernels on a
/// stream, which the host does not wait for, with memory from a pool of the executor's own
/// (cudaMallocFromPoolAsync): what is freed stays there for the next array. On the host the same functions
/// run in plain loops over the same blocks and threads, for tests and for machines without a GPU; what is
/// counted as work is the same.
///
/// Copies share all of it, and arrays keep their executor alive. What several threads give it runs in the
/// order in which it comes.
class executor {
public:
  /// A stream of its own on a device, which does not wait for the default stream.
  /// \throws cuda_error where there is no such device
  static executor on_device(int device = 0);
  /// A stream of the caller's, of the device that is current. It must outlive what runs on it.
  /// \throws cuda_error where there is no device
  static executor on_stream(cudaStream_t stream);
  static executor host();

  bool is_host() const noexcept;
  /// \throws error on the host, which has none
  cudaStream_t stream() const;
  /// Its number; -1 on the host.
  int device() const noexcept;

  /// Waits until all that was given is done. \throws cuda_error with the fault of an operation before
  void synchronise() const;
  work done() const noexcept;

  /// Whether operations on one come after those on the other: the same stream, or the host both.
  friend bool operator==(const executor& x, const executor& y) noexcept;

  // For those who write operations:

  /// Memory of this executor, aligned for every type. \throws cuda_error, std::bad_alloc
  void* allocate(std::size_t bytes) const;
  /// Takes it back once the operations before are done.
  void deallocate(void* data, std::size_t bytes) const noexcept;
  /// Between host and device in any direction, in order with the operations. Of the host's memory it must be
  /// that which was allocated by the system alone: it is then read before the call returns.
  void copy(void* to, const void* from, std::size_t bytes) const;
  /// To the host; waits for it.
  void copy_back(void* to, const void* from, std::size_t bytes) const;
  void count_launch() const noexcept;

private:
  struct state;
  explicit executor(std::shared_ptr<state> s) : state_{std::move(s)} {}

  std::shared_ptr<state> state_;
};

/// Makes a device the current one for as long as it lives; does nothing for the host's executor.
class current_device {
public:
  /// \throws cuda_error
  explicit current_device(const executor& on);
  ~current_device();
  current_device(const current_device&) = delete;
  current_device& operator=(const current_device&) = delete;

private:
  int before_;
  int now_;
};

} // namespace pushforward::cuda
