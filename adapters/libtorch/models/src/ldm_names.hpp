#pragma once
/// \file
/// Names of modules in the original Stable Diffusion files.

#include <pushforward/libtorch/models/weights.hpp>

#include <map>
#include <string>
#include <utility>

namespace pushforward::libtorch::models {

/// Names of modules -> names in the files, below `prefix`. Of the modules that begin a parameter's name the
/// longest counts; what follows it stays as it is. Other parameters are looked for under their own names.
inline naming modules_named(std::map<std::string, stored_at> modules, std::string prefix) {
  return [modules = std::move(modules), prefix = std::move(prefix)](const std::string& name) -> stored_at {
    for (auto end = name.rfind('.'); end != std::string::npos && end > 0; end = name.rfind('.', end - 1))
      if (const auto found = modules.find(name.substr(0, end)); found != modules.end()) {
        stored_at place = found->second;
        place.key = prefix + place.key + name.substr(end);
        return place;
      }
    return {prefix + name};
  };
}
inline naming modules_named(const std::map<std::string, std::string>& modules, std::string prefix) {
  std::map<std::string, stored_at> whole;
  for (const auto& [ours, theirs] : modules) whole[ours] = {theirs};
  return modules_named(std::move(whole), std::move(prefix));
}

} // namespace pushforward::libtorch::models
