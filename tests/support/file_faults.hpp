#pragma once
/// \file
/// Faults of files that a test brings about, also where it runs as root.

#include <pushforward/error.hpp>

#include <sys/fsuid.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <functional>
#include <stdexcept>
#include <string>

namespace testing_support {

/// What an error of the library says; nothing where none is thrown.
inline std::string fault_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const pushforward::error& e) {
    return e.what();
  }
  return {};
}

/// While it lives, files may not grow beyond that size: a full disk, as far as write() can tell.
class size_limit {
public:
  explicit size_limit(rlim_t bytes) {
    std::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &old_);
    ::rlimit small = old_;
    small.rlim_cur = bytes;
    ::setrlimit(RLIMIT_FSIZE, &small);
  }
  ~size_limit() {
    ::setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, SIG_DFL);
  }
  size_limit(const size_limit&) = delete;
  size_limit& operator=(const size_limit&) = delete;

private:
  ::rlimit old_{};
};

/// While it lives, this thread may do to files what a user may to whom they do not belong.
class without_rights {
public:
  without_rights() : id_{::geteuid()} {
    if (id_ == 0) ::setfsuid(65534);
  }
  ~without_rights() {
    if (id_ == 0) ::setfsuid(id_);
  }
  without_rights(const without_rights&) = delete;
  without_rights& operator=(const without_rights&) = delete;

private:
  uid_t id_;
};

inline void make_fifo(const std::filesystem::path& path) {
  if (::mkfifo(path.c_str(), 0600) != 0) throw std::runtime_error("cannot make " + path.string());
}

inline mode_t mode_of(const std::filesystem::path& path) {
  struct ::stat status {};
  if (::stat(path.c_str(), &status) != 0) throw std::runtime_error("there is no " + path.string());
  return status.st_mode & 07777;
}

} // namespace testing_support
