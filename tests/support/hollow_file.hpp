#pragma once
/// \file
/// Files of published sizes that take no room.

#include <support/original_layout.hpp>
#include <support/scratch_folder.hpp>

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <string>

namespace testing_support {

/// A file of these shapes that takes no room on the disk: its numbers are a hole.
inline std::filesystem::path write_hollow(const std::filesystem::path& path, const shapes& all) {
  nlohmann::json header = nlohmann::json::object();
  std::int64_t end = 0;
  for (const auto& [name, shape] : all) {
    const std::int64_t first = end;
    std::int64_t size = 2;
    for (const auto extent : shape) size *= extent;
    end += size;
    header[name] = {{"dtype", "F16"}, {"shape", shape}, {"data_offsets", {first, end}}};
  }
  const std::string text = header.dump();
  std::string length;
  for (int i = 0; i < 8; ++i) length += static_cast<char>(text.size() >> (8 * i) & 0xff);
  write_bytes(path, length + text);
  std::filesystem::resize_file(path, 8 + text.size() + static_cast<std::size_t>(end));
  return path;
}

} // namespace testing_support
