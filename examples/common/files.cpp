#include "files.hpp"

#include <pushforward/error.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <optional>
#include <system_error>

namespace examples {

namespace fs = std::filesystem;
using pushforward::bad_file;
using pushforward::bad_option;

namespace {

[[noreturn]] void refuse(const fs::path& path, const std::string& reason) {
  throw bad_file(path.string() + ": cannot be written (" + reason + ")");
}

std::string reason_of(int fault) { return std::strerror(fault); }

/// To the disk, on a file system that can be told to.
bool flushed(int fd) { return ::fsync(fd) == 0 || errno == EINVAL || errno == ENOSYS; }

/// Where a write to the path goes: symbolic links are followed, to what is not there, too.
fs::path place_of(fs::path path) {
  std::error_code none;
  for (int links = 0; links < 40 && fs::is_symlink(path, none); ++links)
    path = path.parent_path() / fs::read_symlink(path, none); // an absolute one replaces the folder
  return path;
}

/// What is at the place, unless it is nothing. Refuses what must not be replaced.
std::optional<struct ::stat> replaced_at(const fs::path& place, const fs::path& path) {
  struct ::stat status {};
  if (::stat(place.c_str(), &status) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return {};
    refuse(path, reason_of(errno));
  }
  if (S_ISDIR(status.st_mode)) refuse(path, "it is a folder");
  if (!S_ISREG(status.st_mode)) refuse(path, "it is not a regular file");
  if (::faccessat(AT_FDCWD, place.c_str(), W_OK, AT_EACCESS) != 0) refuse(path, reason_of(errno));
  return status;
}

/// Keeps signals that would end the program until it is gone, then lets them act.
class signals_held {
public:
  signals_held() {
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      came[i] = 0;
      struct ::sigaction ours {};
      ours.sa_handler = [](int number) {
        for (std::size_t k = 0; k < numbers.size(); ++k)
          if (numbers[k] == number) came[k] = came[k] + 1;
      };
      ours.sa_flags = SA_RESTART;
      ::sigaction(numbers[i], nullptr, &before_[i]);
      if (before_[i].sa_handler != SIG_IGN) ::sigaction(numbers[i], &ours, nullptr);
    }
  }
  ~signals_held() {
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      if (before_[i].sa_handler != SIG_IGN) ::sigaction(numbers[i], &before_[i], nullptr);
      for (int times = came[i]; times > 0; --times) std::raise(numbers[i]);
    }
  }
  signals_held(const signals_held&) = delete;
  signals_held& operator=(const signals_held&) = delete;

private:
  static constexpr std::array<int, 3> numbers{SIGINT, SIGTERM, SIGHUP};
  static volatile std::sig_atomic_t came[numbers.size()];
  std::array<struct ::sigaction, numbers.size()> before_{};
};
volatile std::sig_atomic_t signals_held::came[signals_held::numbers.size()] = {};

/// Files under temporary names beside their places. What was not put in place for good is taken back at the
/// end.
class staged_files {
public:
  staged_files() = default;
  staged_files(const staged_files&) = delete;
  staged_files& operator=(const staged_files&) = delete;
  ~staged_files() {
    for (auto file = files_.rbegin(); file != files_.rend(); ++file) take_back(*file);
    for (auto folder = folders_.rbegin(); folder != folders_.rend(); ++folder) ::rmdir(folder->c_str());
  }

  /// \param keep whether the bytes are to be on the disk before the file is put in place
  void add(const fs::path& path, const std::string& bytes, bool keep) {
    const fs::path place = place_of(path);
    const auto replaced = replaced_at(place, path);
    make_folder(place.parent_path(), path);
    auto& file = files_.emplace_back();
    file.path = path;
    file.place = place;
    file.replaces = replaced.has_value();
    const int fd = made_beside(place, file.temporary);
    if (fd < 0) {
      const int fault = errno;
      file.temporary.clear();
      refuse(path, reason_of(fault));
    }
    int fault = 0;
    for (std::size_t done = 0; fault == 0 && done < bytes.size();) {
      const ::ssize_t n = ::write(fd, bytes.data() + done, std::min(bytes.size() - done, piece));
      if (n > 0) done += static_cast<std::size_t>(n);
      if (n < 0 && errno != EINTR) fault = errno;
    }
    if (fault == 0 && replaced && ::fchmod(fd, replaced->st_mode & 0777) != 0) fault = errno;
    if (fault == 0 && keep && !flushed(fd)) fault = errno;
    if (::close(fd) != 0 && fault == 0) fault = errno;
    if (fault != 0) refuse(path, reason_of(fault));
  }

  void put_in_place() {
    for (auto& file : files_) {
      if (file.replaces) keep_old(file);
      if (::rename(file.temporary.c_str(), file.place.c_str()) != 0) refuse(file.path, reason_of(errno));
      file.placed = true;
    }
    for (auto& file : files_)
      if (!file.old.empty()) ::unlink(file.old.c_str());
    files_.clear();
    folders_.clear();
  }

private:
  static constexpr std::size_t piece = std::size_t{1} << 30;

  struct staged {
    fs::path path, place, temporary;
    fs::path old; ///< another name of what is replaced
    bool replaces = false;
    bool placed = false;
  };

  /// A name beside another; `number` makes it one of many.
  static fs::path name_beside(const fs::path& place, int number) {
    const auto stem = place.filename().string().substr(0, 200); // of the 255 bytes that a name may have
    return place.parent_path() / (stem + ".part" + std::to_string(::getpid()) + "-" + std::to_string(number));
  }

  /// A new file beside another; -1 where there can be none.
  static int made_beside(const fs::path& place, fs::path& name) {
    for (int number = 0;; ++number) {
      name = name_beside(place, number);
      const int fd = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (fd >= 0 || errno != EEXIST || number == most_names) return fd;
    }
  }

  /// Gives what is replaced a second name, or, on a file system without hard links, another name.
  static void keep_old(staged& file) {
    for (int number = 0; number <= most_names; ++number) {
      const auto name = name_beside(file.place, number);
      if (::link(file.place.c_str(), name.c_str()) == 0) {
        file.old = name;
        return;
      }
      if (errno == EEXIST) continue;
      if (errno == ENOENT) return; // it is gone
      struct ::stat taken {};
      if (::lstat(name.c_str(), &taken) == 0) continue;
      if (::rename(file.place.c_str(), name.c_str()) != 0) break;
      file.old = name;
      return;
    }
    refuse(file.path, reason_of(errno));
  }

  static void take_back(const staged& file) {
    if (file.old.empty() && file.placed) ::unlink(file.place.c_str());
    // a rename between two names of one file leaves both
    if (!file.old.empty() && ::rename(file.old.c_str(), file.place.c_str()) == 0) ::unlink(file.old.c_str());
    if (!file.placed && !file.temporary.empty()) ::unlink(file.temporary.c_str());
  }

  void make_folder(const fs::path& folder, const fs::path& path) {
    if (folder.empty()) return;
    const auto there = [&] {
      struct ::stat status {};
      if (::stat(folder.c_str(), &status) != 0) return false;
      if (!S_ISDIR(status.st_mode)) refuse(path, folder.string() + " is not a folder");
      return true;
    };
    if (there()) return;
    if (folder != folder.parent_path()) make_folder(folder.parent_path(), path);
    if (::mkdir(folder.c_str(), 0777) == 0)
      folders_.push_back(folder);
    else if (const int fault = errno; !there()) // another program may have made it
      refuse(path, "the folder " + folder.string() + " cannot be made: " + reason_of(fault));
  }

  static constexpr int most_names = 10000;
  std::vector<staged> files_;
  std::vector<fs::path> folders_; ///< that were made here
};

} // namespace

void file_set::add(const fs::path& path, std::string bytes) {
  const auto found =
      std::find_if(files_.begin(), files_.end(), [&](const auto& f) { return f.first == path; });
  if (found != files_.end())
    found->second = std::move(bytes);
  else
    files_.emplace_back(path, std::move(bytes));
}

void file_set::add(const fs::path& path, const std::vector<std::uint8_t>& bytes) {
  add(path, std::string(bytes.begin(), bytes.end()));
}

void file_set::write() const {
  const signals_held held;
  staged_files all;
  for (const auto& [path, bytes] : files_) all.add(path, bytes, true);
  all.put_in_place();
}

std::vector<fs::path> file_set::paths() const {
  std::vector<fs::path> all;
  for (const auto& [path, bytes] : files_) all.push_back(path);
  return all;
}

void write_text(const fs::path& path, const std::string& text) {
  file_set one;
  one.add(path, text);
  one.write();
}

void append_line(const fs::path& path, const std::string& line) {
  const signals_held held;
  const bool fresh = !replaced_at(place_of(path), path);
  std::error_code fault;
  if (path.has_parent_path()) fs::create_directories(path.parent_path(), fault);
  if (fault)
    refuse(path, "the folder " + path.parent_path().string() + " cannot be made: " + fault.message());
  const int fd = ::open(path.c_str(), O_RDWR | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0666);
  if (fd < 0) refuse(path, reason_of(errno));
  const ::off_t before = ::lseek(fd, 0, SEEK_END);
  char last = '\n';
  bool good = before == 0 || ::pread(fd, &last, 1, before - 1) == 1;
  const std::string bytes = (last == '\n' ? "" : "\n") + line + '\n';
  for (std::size_t done = 0; good && done < bytes.size();) {
    const ::ssize_t n = ::write(fd, bytes.data() + done, bytes.size() - done);
    if (n > 0) done += static_cast<std::size_t>(n);
    good = n >= 0 || errno == EINTR;
  }
  good = good && flushed(fd);
  const int reason = errno;
  const bool restored = good || ::ftruncate(fd, before) == 0;
  ::close(fd);
  if (good) return;
  if (fresh && restored) ::unlink(path.c_str());
  refuse(path, reason_of(reason));
}

void require_writable(const std::vector<fs::path>& outputs, const std::vector<input_file>& inputs,
                      const std::string& option) {
  for (const auto& output : outputs)
    for (const auto& input : inputs) {
      struct ::stat replaced {};
      struct ::stat read {};
      if (::stat(output.c_str(), &replaced) == 0 && ::stat(input.path.c_str(), &read) == 0 &&
          replaced.st_dev == read.st_dev && replaced.st_ino == read.st_ino)
        throw bad_option(option + ": " + output.string() + " would overwrite " + input.what + ", " +
                         input.path.string() + "; choose another name");
    }
  try {
    const signals_held held;
    staged_files tried;
    for (const auto& output : outputs) tried.add(output, std::string(4096, '\0'), false);
  } catch (const bad_file& fault) {
    throw bad_file(fault.what() + ("; choose another place with " + option));
  }
}

fs::path with_ending(const fs::path& name, const std::string& ending) { return name.string() + ending; }

} // namespace examples
