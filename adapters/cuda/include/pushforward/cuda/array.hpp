#pragma once
/// \file
/// A batch in an executor's memory.

#include <pushforward/cuda/executor.hpp>
#include <pushforward/memory.hpp>
#include <pushforward/tensor.hpp>

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace pushforward::cuda {

namespace detail {

/// A block of an executor's memory.
class buffer {
public:
  buffer(executor on, std::size_t bytes) : on_{std::move(on)}, bytes_{bytes}, data_{on_.allocate(bytes)} {}
  ~buffer() { on_.deallocate(data_, bytes_); }
  buffer(const buffer&) = delete;
  buffer& operator=(const buffer&) = delete;

  void* data() const noexcept { return data_; }
  const executor& on() const noexcept { return on_; }

private:
  executor on_;
  std::size_t bytes_;
  void* data_;
};

} // namespace detail

/// Row-major elements of a shape, on a device's stream or the host. Copies, and parts, share the elements;
/// `writable` takes a copy of its own where others see them, so that a value never changes under another
/// handle. What was moved from holds nothing.
template <class T>
requires std::is_trivially_copyable_v<T>
class array {
public:
  using value_type = T;

  /// Elements that are not set yet. \throws cuda_error, std::bad_alloc
  array(const executor& on, const shape& s)
      : buffer_{std::allocate_shared<detail::buffer>(recycling_allocator<detail::buffer>(), on,
                                                     s.elements() * sizeof(T))},
        data_{static_cast<T*>(buffer_->data())}, extents_{s} {}

  /// The host's values; waits for them to have been read, not for the device.
  /// \throws shape_mismatch where they are not as many as the shape's elements
  array(const executor& on, const shape& s, std::span<const T> values) : array(on, s) {
    if (values.size() != s.elements())
      throw shape_mismatch(std::to_string(values.size()) + " values for an array of shape " + to_string(s));
    on.copy(data_, values.data(), values.size_bytes());
  }

  /// A copy of elements that lie on the device (or the host, on the host's executor), in order with what the
  /// stream was given before.
  static array copy_of(const executor& on, const shape& s, const T* elements) {
    array made(on, s);
    on.copy(made.data_, elements, s.elements() * sizeof(T));
    return made;
  }

  const shape& extents() const noexcept { return extents_; }
  const executor& on() const noexcept { return buffer_->on(); }

  /// A pointer into the executor's memory: on a device it may be used on its stream.
  const T* data() const noexcept { return data_; }
  /// The same, to write to. Moves the elements to a buffer of their own first where another array shares
  /// them.
  T* writable() {
    if (!is_alone()) *this = copy_of(on(), extents_, data_);
    return data_;
  }
  /// Whether no other array shares the buffer.
  bool is_alone() const noexcept { return buffer_.use_count() == 1; }

  /// Samples `first` to `first + count`, sharing the elements. \throws shape_mismatch beyond the last
  array samples(std::size_t first, std::size_t count) const {
    if (first > extents_.samples() || count > extents_.samples() - first)
      throw shape_mismatch("samples up to " + std::to_string(first + count) + " of an array of shape " +
                           to_string(extents_));
    array part = *this;
    part.extents_[0] = count;
    part.data_ += first * extents_.sample_elements();
    return part;
  }

  /// On the host; waits for the device. \throws cuda_error with the fault of an operation before
  std::vector<T> to_host() const {
    std::vector<T> values(extents_.elements());
    on().copy_back(values.data(), data_, values.size() * sizeof(T));
    return values;
  }

private:
  std::shared_ptr<detail::buffer> buffer_;
  T* data_;
  shape extents_;
};

} // namespace pushforward::cuda
