#pragma once
// Resident memory of this process, in bytes.

#include <fstream>
#include <stdexcept>
#include <string>

namespace testing_support {

/// A line of /proc/self/status: VmRSS (now), VmHWM (the peak).
inline double resident_memory(const std::string& what) {
  std::ifstream status("/proc/self/status");
  std::string key;
  double kib = 0.0;
  while (status >> key)
    if (key == what + ":" && status >> kib) return 1024.0 * kib;
  throw std::runtime_error("/proc/self/status has no " + what);
}

/// How far the peak during f() rises above what is resident before.
template <class F> double peak_during(F f) {
  std::ofstream("/proc/self/clear_refs") << 5; // the peak starts anew
  const double before = resident_memory("VmRSS");
  f();
  return resident_memory("VmHWM") - before;
}

} // namespace testing_support
