#include <pushforward/safetensors/regular_file.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace pushforward::safetensors {

namespace {

[[noreturn]] void refuse(const std::string& name, int fault) {
  if (fault == ENOENT || fault == ENOTDIR) throw bad_file(name + ": there is no such file");
  throw bad_file(name + ": cannot be read (" + std::strerror(fault) + ")");
}

void require_regular(const std::string& name, ::mode_t mode) {
  if (S_ISREG(mode)) return;
  const char* kind = S_ISDIR(mode)    ? "a folder"
                     : S_ISFIFO(mode) ? "a FIFO"
                     : S_ISSOCK(mode) ? "a socket"
                                      : "a device";
  throw bad_file(name + ": is not a regular file but " + kind + "; give the path of a file");
}

} // namespace

regular_file::regular_file(const std::filesystem::path& path) : name_{path.string()} {
  struct ::stat status {};
  // looked at first, as opening a device may do something to it
  if (::stat(path.c_str(), &status) != 0) refuse(name_, errno);
  require_regular(name_, status.st_mode);
  const int opened = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (opened < 0) refuse(name_, errno);
  try {
    if (::fstat(opened, &status) != 0) refuse(name_, errno);
    require_regular(name_, status.st_mode); // it may have been replaced since
  } catch (...) {
    ::close(opened);
    throw;
  }
  descriptor_ = opened;
  size_ = static_cast<std::uint64_t>(status.st_size);
}

regular_file::~regular_file() { ::close(descriptor_); }

std::string regular_file::read(std::uint64_t limit) const {
  constexpr std::size_t piece = std::size_t{1} << 16;
  const auto refuse_large = [&] {
    throw bad_file(name_ + ": has more than " + std::to_string(limit >> 20) +
                   " MiB, too much for a file of its kind");
  };
  if (size_ > limit) refuse_large();
  std::string bytes(static_cast<std::size_t>(size_) + 1, '\0'); // one more, to see the end
  for (std::size_t end = 0;;) {
    if (end == bytes.size()) bytes.resize(2 * end + piece); // it grew, or is a file without a size, of /proc
    const ::ssize_t n = ::read(descriptor_, bytes.data() + end, bytes.size() - end);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) refuse(name_, errno);
    end += static_cast<std::size_t>(n);
    if (end > limit) refuse_large();
    if (n == 0) {
      bytes.resize(end);
      return bytes;
    }
  }
}

bool is_there(const std::filesystem::path& path) {
  struct ::stat status {};
  if (::stat(path.c_str(), &status) == 0) return true;
  if (errno == ENOENT || errno == ENOTDIR) return false;
  refuse(path.string(), errno);
}

} // namespace pushforward::safetensors
