#pragma once
/// \file
/// Files that are written whole or not at all.
///
/// A file is made as an ordinary write would make it: a new one has the permissions that the umask leaves,
/// one that is replaced keeps its own, and a symbolic link stays one. What is there and is no regular file,
/// or may not be written, is never replaced. Folders that are missing are made.

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace examples {

/// Files that are put in place together.
class file_set {
public:
  /// A path that was added before gets these bytes.
  void add(const std::filesystem::path& path, std::string bytes);
  void add(const std::filesystem::path& path, const std::vector<std::uint8_t>& bytes);

  /// Makes a temporary file beside each place, flushes all to the disk, and renames all. After a fault every
  /// place is as it was before. Ctrl-C waits until then. \throws pushforward::bad_file, naming the file
  void write() const;
  /// In the order in which they were added.
  std::vector<std::filesystem::path> paths() const;

private:
  std::vector<std::pair<std::filesystem::path, std::string>> files_;
};

/// One file.
void write_text(const std::filesystem::path& path, const std::string& text);

/// Adds a line to a file, whole or not at all; makes the file where there is none. A last line that was cut
/// short is left as one. \throws pushforward::bad_file
void append_line(const std::filesystem::path& path, const std::string& line);

/// A file that a program reads, and what it is: "the picture".
struct input_file {
  std::string what;
  std::filesystem::path path;
};

/// Tries, before a long run, whether files could be written, as far as that can be told: their folders could
/// be made and written to, a little fits on the disk, and what would be replaced may be and is none of the
/// inputs, by whatever path. Leaves nothing. \param option that says where they go, for the message \throws
/// pushforward::bad_file, pushforward::bad_option where an input would be overwritten
void require_writable(const std::vector<std::filesystem::path>& outputs,
                      const std::vector<input_file>& inputs = {}, const std::string& option = "--out");

/// The name with an ending after it: "out" and ".png" make "out.png".
std::filesystem::path with_ending(const std::filesystem::path& name, const std::string& ending);

} // namespace examples
