#pragma once
/// \file
/// How every program here starts and ends.

#include <CLI/CLI.hpp>

#include <functional>
#include <map>
#include <string>

namespace examples {

/// Parses and runs; a bad command line, like anything thrown, is one line on standard error and status 2.
/// After `stopped_early` the line is "stopped" and `kept`.
int run_with(
    CLI::App& app, int argc, char** argv, const std::function<int()>& program,
    const std::function<std::string()>& kept = [] { return std::string(", nothing was written"); });

/// An option that takes one of the words; the help lists them, and the standard one.
template <class Enum>
void add_choice(CLI::App& app, const std::string& name, Enum& value, const std::map<std::string, Enum>& words,
                const std::string& help, const std::string& group) {
  std::string list, standard;
  for (const auto& [word, meaning] : words) {
    list += (list.empty() ? "" : ", ") + word;
    if (meaning == value) standard = word;
  }
  app.add_option_function<std::string>(
         name,
         [&value, words, name, list](const std::string& word) {
           const auto found = words.find(word);
           if (found == words.end()) throw CLI::ValidationError(name, word + " is not one of " + list);
           value = found->second;
         },
         help + ": " + list)
      ->type_name("WORD [" + standard + "]")
      ->group(group);
}

} // namespace examples
