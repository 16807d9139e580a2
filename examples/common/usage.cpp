#include "usage.hpp"

#include <malloc.h>
#include <sys/resource.h>

#include <fstream>
#include <string>

namespace examples {

namespace {

/// A field of /proc/self/status in bytes.
std::size_t status_bytes(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string name; status >> name;) {
    std::size_t kilobytes = 0;
    if (name == field + ":" && status >> kilobytes) return 1024 * kilobytes;
    std::getline(status, name);
  }
  return 0;
}

double processor_time() {
  rusage r{};
  ::getrusage(RUSAGE_SELF, &r);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(r.ru_utime) + seconds(r.ru_stime);
}

} // namespace

usage::usage() {
#ifdef __GLIBC__
  ::malloc_trim(0);
#endif
  std::ofstream("/proc/self/clear_refs") << 5; // resets VmHWM
  resident_start_ = status_bytes("VmRSS");
  processor_start_ = processor_time();
  start_ = std::chrono::steady_clock::now();
}

double usage::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

double usage::processor_seconds() const { return processor_time() - processor_start_; }

std::size_t usage::peak_bytes() const {
  const std::size_t peak = status_bytes("VmHWM");
  return peak > resident_start_ ? peak - resident_start_ : 0;
}

} // namespace examples
