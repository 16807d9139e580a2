#pragma once
/// \file
/// Configuration files: values of a JSON object, read by name, each of the type and in the range asked for.

#include <pushforward/error.hpp>
#include <pushforward/safetensors/regular_file.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace pushforward::libtorch::models {

/// The field of a configuration that is at fault, and what is wrong with it.
struct fault {
  std::string field, what;
};

/// An object of a configuration file. A key that is absent or null has the default. Every fault is a bad_file
/// that names the file and the key.
class json_config {
public:
  /// \throws bad_file for a file that cannot be read or does not hold a JSON object
  explicit json_config(const std::filesystem::path& path) : name_{path.string()} {
    const std::string text = safetensors::regular_file(path).read(std::uint64_t{1} << 24);
    if (nesting_of(text) <= 32) values_ = nlohmann::json::parse(text, nullptr, false);
    if (!values_.is_object())
      throw bad_file(name_ +
                     ": is not a JSON object, as a model's configuration is; where it was cut short or "
                     "damaged, copy it again");
  }

  const std::string& file_name() const { return name_; }

  /// Whether the key is there and not null.
  bool has(const std::string& key) const {
    const auto found = find(key);
    return found && !found->is_null();
  }

  std::vector<std::string> keys() const {
    std::vector<std::string> all;
    for (const auto& [key, value] : values_.items()) all.push_back(key);
    return all;
  }

  bool flag(const std::string& key, bool otherwise) const {
    if (!has(key)) return otherwise;
    if (!find(key)->is_boolean()) mistaken(key, "is neither true nor false");
    return find(key)->get<bool>();
  }

  /// Refuses a flag, or a list of flags, that is not false.
  void only_false(const std::string& key) const {
    if (!has(key)) return;
    const auto& value = *find(key);
    for (const auto& one : value.is_array() ? value : nlohmann::json::array({value}))
      if (one != false) not_supported(key);
  }

  /// A whole number in [low, high].
  std::int64_t whole(const std::string& key, std::int64_t otherwise, std::int64_t low,
                     std::int64_t high) const {
    return has(key) ? whole_of(*find(key), key, low, high) : otherwise;
  }

  /// A finite number in [low, high].
  double number(const std::string& key, double otherwise, double low, double high) const {
    if (!has(key)) return otherwise;
    const auto& value = *find(key);
    const double x = value.is_number() ? value.get<double>() : NAN;
    if (!(x >= low && x <= high))
      mistaken(key,
               "is not a number from " + nlohmann::json(low).dump() + " to " + nlohmann::json(high).dump());
    return x;
  }

  std::string text(const std::string& key, const std::string& otherwise) const {
    return has(key) ? text_of(*find(key), key) : otherwise;
  }

  std::vector<std::string> texts(const std::string& key, const std::vector<std::string>& otherwise) const {
    if (!has(key)) return otherwise;
    std::vector<std::string> all;
    for (const auto& value : list_of(key)) all.push_back(text_of(value, key));
    return all;
  }

  std::vector<std::int64_t> wholes(const std::string& key, const std::vector<std::int64_t>& otherwise,
                                   std::int64_t low, std::int64_t high) const {
    if (!has(key)) return otherwise;
    std::vector<std::int64_t> all;
    for (const auto& value : list_of(key)) all.push_back(whole_of(value, key, low, high));
    return all;
  }

  /// n whole numbers: a list of n, or one number that stands for all.
  std::vector<std::int64_t> wholes_for(const std::string& key, std::size_t n, std::int64_t otherwise,
                                       std::int64_t low, std::int64_t high) const {
    if (!has(key) || !find(key)->is_array()) return std::vector(n, whole(key, otherwise, low, high));
    auto all = wholes(key, {}, low, high);
    if (all.size() != n) mistaken(key, "does not have " + std::to_string(n) + " entries");
    return all;
  }

  std::vector<double> numbers(const std::string& key, const std::vector<double>& otherwise) const {
    if (!has(key)) return otherwise;
    std::vector<double> all;
    for (const auto& value : list_of(key)) {
      all.push_back(value.is_number() ? value.get<double>() : NAN);
      if (!std::isfinite(all.back())) mistaken(key, "is not a list of finite numbers");
    }
    return all;
  }

  /// The values of a list, whatever they are.
  std::vector<nlohmann::json> list(const std::string& key) const {
    if (!has(key)) return {};
    return list_of(key).get<std::vector<nlohmann::json>>();
  }

  /// An object below this one, whose keys are read and refused as "key.below".
  std::optional<json_config> object(const std::string& key) const {
    if (!has(key)) return {};
    if (!find(key)->is_object()) mistaken(key, "is not an object");
    json_config below = *this;
    below.values_ = *find(key);
    below.prefix_ += key + ".";
    below.seen_.clear();
    return below;
  }

  /// Refuses any value but the one that is supported.
  void only(const std::string& key, const nlohmann::json& supported) const {
    if (has(key) && *find(key) != supported) not_supported(key);
  }

  /// Refuses keys that nothing has asked for, unless they switch something off (null, false) or begin with an
  /// underscore.
  void only_what_was_read() const {
    for (const auto& [key, value] : values_.items())
      if (!seen_.count(key) && !key.starts_with('_') && !value.is_null() && value != false)
        not_supported(key);
  }

  [[noreturn]] void not_supported(const std::string& key) const {
    refuse(key, "asks for something that is not supported");
  }

  /// bad_file: "<file>: <key> (<its value>) <what>".
  [[noreturn]] void refuse(const std::string& key, const std::string& what) const {
    const auto found = find(key);
    std::string value = found ? dump(*found) : "absent";
    if (value.size() > 100) value = value.substr(0, 100) + "...";
    throw bad_file(name_ + ": " + dump(prefix_ + key) + " (" + value + ") " + what);
  }

private:
  /// How deep objects and arrays lie in each other, as trees are copied and written by recursion. (The
  /// parser's own callback could tell, too, in time that grows with the square of an object's keys.)
  static std::size_t nesting_of(const std::string& text) {
    std::size_t depth = 0, deepest = 0;
    bool in_string = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
      const char c = text[i];
      if (c == '"') in_string = !in_string;
      if (in_string && c == '\\') ++i; // whatever is escaped
      if (in_string) continue;
      if (c == '{' || c == '[') deepest = std::max(deepest, ++depth);
      if ((c == '}' || c == ']') && depth > 0) --depth;
    }
    return deepest;
  }

  /// Of a value that no model's configuration has.
  [[noreturn]] void mistaken(const std::string& key, const std::string& what) const {
    refuse(key, what + "; correct it, or copy the file again");
  }

  static std::string dump(const nlohmann::json& value) {
    return value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  }

  const nlohmann::json* find(const std::string& key) const {
    seen_.insert(key);
    const auto found = values_.find(key);
    return found == values_.end() ? nullptr : &*found;
  }

  const nlohmann::json& list_of(const std::string& key) const {
    if (!find(key)->is_array()) mistaken(key, "is not a list");
    return *find(key);
  }

  std::int64_t whole_of(const nlohmann::json& value, const std::string& key, std::int64_t low,
                        std::int64_t high) const {
    const double x = value.is_number() ? value.get<double>() : NAN;
    if (!(x >= static_cast<double>(low) && x <= static_cast<double>(high) && x == std::floor(x)))
      mistaken(key, "is not a whole number from " + std::to_string(low) + " to " + std::to_string(high));
    return static_cast<std::int64_t>(x);
  }

  std::string text_of(const nlohmann::json& value, const std::string& key) const {
    if (!value.is_string()) mistaken(key, "is not a string");
    return value.get<std::string>();
  }

  std::string name_, prefix_;
  nlohmann::json values_;
  mutable std::set<std::string> seen_; // keys that were asked for
};

} // namespace pushforward::libtorch::models
