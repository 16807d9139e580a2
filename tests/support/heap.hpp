#pragma once
/// \file
/// Counts what the program takes from the heap. Link heap.cpp, which stands in for the C library's malloc and
/// its kin.

#include <cstddef>

namespace testing_support::heap {

/// False where the heap cannot be watched: under AddressSanitizer, and without the GNU C library.
extern const bool watched;

/// Blocks taken since the program began, by all threads.
std::size_t blocks_taken() noexcept;

/// Bytes held now.
std::size_t bytes_held() noexcept;

/// The most bytes held at one time since the last `forget_peak`.
std::size_t peak_bytes() noexcept;

void forget_peak() noexcept;

} // namespace testing_support::heap
