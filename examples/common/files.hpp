#pragma once
/// \file
/// Files that are written whole or not at all.

#include <filesystem>
#include <functional>
#include <string>

namespace examples {

/// Has `write` make a temporary file beside `path`, flushes it to the disk and renames it; removes it if
/// anything throws. \throws pushforward::bad_file where the folder or the file cannot be written
void write_whole(const std::filesystem::path& path,
                 const std::function<void(const std::filesystem::path&)>& write);

/// The same for a text.
void write_text(const std::filesystem::path& path, const std::string& text);

} // namespace examples
