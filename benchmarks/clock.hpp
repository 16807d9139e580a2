#pragma once

#include <ctime>

namespace benchmarks {

/// Processor time used by the whole program, in seconds: not disturbed by others who use the machine.
inline double processor_seconds(clockid_t clock = CLOCK_PROCESS_CPUTIME_ID) {
  std::timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

} // namespace benchmarks
