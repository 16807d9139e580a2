#pragma once
/// \file
/// What a run costs the machine.

#include <chrono>
#include <cstddef>

namespace examples {

/// Measures from its construction on.
class usage {
public:
  /// Frees what the heap holds back, and has the kernel count peak memory anew.
  usage();

  double seconds() const;
  /// Of all threads, user and system.
  double processor_seconds() const;
  /// How far resident memory rose above where it stood at the start. Linux only; 0 elsewhere.
  std::size_t peak_bytes() const;

private:
  std::chrono::steady_clock::time_point start_;
  double processor_start_;
  std::size_t resident_start_;
};

} // namespace examples
