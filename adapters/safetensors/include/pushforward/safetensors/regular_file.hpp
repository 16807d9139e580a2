#pragma once
/// \file
/// Files opened for reading: regular ones only, and never waiting for one.

#include <pushforward/error.hpp>

#include <cstdint>
#include <filesystem>
#include <string>

namespace pushforward::safetensors {

/// A regular file that is open for reading. A folder, a FIFO, a socket or a device in its place is refused at
/// once: opening or reading one of those could wait for ever, or never come to an end.
class regular_file {
public:
  /// \throws bad_file for a file that is missing, may not be read, or is not regular; the message says which
  explicit regular_file(const std::filesystem::path& path);
  ~regular_file();
  regular_file(const regular_file&) = delete;
  regular_file& operator=(const regular_file&) = delete;

  /// Stays open as long as this object.
  int descriptor() const noexcept { return descriptor_; }
  /// In bytes, when it was opened.
  std::uint64_t size() const noexcept { return size_; }
  const std::string& name() const noexcept { return name_; }

  /// The bytes from where the descriptor stands to the end. \throws bad_file where they cannot be read, or
  /// are more than `limit`
  std::string read(std::uint64_t limit) const;

private:
  std::string name_;
  int descriptor_ = -1;
  std::uint64_t size_ = 0;
};

/// Whether something of that name is there, of whatever kind. \throws bad_file where that cannot be told, as
/// in a folder that may not be searched
bool is_there(const std::filesystem::path& path);

} // namespace pushforward::safetensors
