#include "files.hpp"

#include <pushforward/error.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <system_error>

namespace examples {

namespace fs = std::filesystem;

void write_whole(const fs::path& path, const std::function<void(const fs::path&)>& write) {
  std::error_code fault;
  if (path.has_parent_path()) fs::create_directories(path.parent_path(), fault);
  if (fault)
    throw pushforward::bad_file(path.parent_path().string() + ": cannot be made (" + fault.message() + ")");
  const fs::path temporary = path.string() + ".part" + std::to_string(::getpid());
  try {
    write(temporary);
    const int fd = ::open(temporary.c_str(), O_RDONLY | O_CLOEXEC);
    const bool flushed = fd >= 0 && ::fsync(fd) == 0;
    const std::string reason = std::strerror(errno);
    if (fd >= 0) ::close(fd);
    if (!flushed) throw pushforward::bad_file(path.string() + ": cannot be written (" + reason + ")");
    fs::rename(temporary, path);
  } catch (const fs::filesystem_error& e) {
    fs::remove(temporary, fault);
    throw pushforward::bad_file(path.string() + ": cannot be written (" + e.code().message() + ")");
  } catch (...) {
    fs::remove(temporary, fault);
    throw;
  }
}

void write_text(const fs::path& path, const std::string& text) {
  write_whole(path, [&](const fs::path& temporary) {
    std::ofstream out(temporary, std::ios::binary);
    out << text << std::flush;
    if (!out)
      throw pushforward::bad_file(path.string() + ": cannot be written (" + std::strerror(errno) + ")");
  });
}

} // namespace examples
