#pragma once
/// \file
/// A file of lines of JSON from which a run goes on that was stopped.

#include <common/files.hpp>

#include <pushforward/error.hpp>
#include <pushforward/safetensors/regular_file.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <iostream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace policies {

using json = nlohmann::ordered_json;

/// What was measured, a line of JSON each, and what it is of: the denoiser, the images, and what else changes
/// the numbers. Is made with the first line.
class line_file {
public:
  /// \param of an object, which every line carries
  /// \param fault_of what is wrong with a line, in words; empty where nothing is
  /// \throws pushforward::bad_file, naming the line, for a file of anything else or of another `of`, and
  /// leaves it as it is; of a last line that was cut short, as a killed run leaves it, says so
  line_file(std::filesystem::path path, json of, const std::function<std::string(const json&)>& fault_of)
      : path_{std::move(path)}, of_(std::move(of)) {
    if (!pushforward::safetensors::is_there(path_)) return;
    const std::string text = pushforward::safetensors::regular_file(path_).read(std::uint64_t{1} << 30);
    std::size_t number = 1;
    for (std::size_t at = 0; at < text.size(); ++number) {
      const std::size_t end = std::min(text.find('\n', at), text.size());
      const std::string line = text.substr(at, end - at);
      json read = json::parse(line, nullptr, false);
      if (read.is_discarded() && end == text.size() && starts_a_line(line)) {
        std::cerr << named(number) << " is cut short; what it was for is measured again\n";
        whole_ = at;
        return;
      }
      if (!line.empty()) {
        require_same(read, number, fault_of);
        known_.push_back(std::move(read));
      }
      at = end + 1;
    }
  }

  /// The lines that were there.
  const std::vector<json>& known() const { return known_; }

  /// \throws pushforward::bad_file where it cannot be written
  void add(const json& line) {
    if (whole_) std::filesystem::resize_file(path_, *whole_);
    whole_.reset();
    json marked{{"of", of_}};
    marked.update(line);
    examples::append_line(path_, marked.dump());
  }

private:
  void require_same(const json& line, std::size_t number,
                    const std::function<std::string(const json&)>& fault_of) const {
    if (!line.is_object() || !line.contains("of") || !line["of"].is_object())
      refuse(number, "is no line of this program (it does not say what it is of)");
    const json& of = line["of"];
    for (const json* some : {&of_, &of})
      for (const auto& [name, value] : some->items())
        if (value_of(of, name) != value_of(of_, name))
          refuse(number, "is of another run: its " + name + " is " + value_of(of, name) + ", this run's " +
                             value_of(of_, name));
    const std::string wrong = fault_of(line);
    if (!wrong.empty()) refuse(number, "is no line of this program (" + wrong + ")");
  }
  [[noreturn]] void refuse(std::size_t number, const std::string& why) const {
    throw pushforward::bad_file(named(number) + " " + why + "; name another file");
  }
  static std::string value_of(const json& of, const std::string& name) {
    return of.contains(name) ? of[name].dump() : "absent";
  }
  static bool starts_a_line(const std::string& line) {
    const std::string start = "{\"of\":{";
    return line.compare(0, start.size(), start, 0, line.size()) == 0;
  }
  std::string named(std::size_t line) const {
    return path_.string() + ", line " + std::to_string(line) + ":";
  }

  std::filesystem::path path_;
  json of_;
  std::vector<json> known_;
  std::optional<std::uintmax_t> whole_; ///< bytes before a line that was cut short
};

} // namespace policies
