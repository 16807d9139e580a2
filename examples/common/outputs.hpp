#pragma once
/// \file
/// How every program here names what it writes.

#include <CLI/CLI.hpp>

#include <filesystem>
#include <string>
#include <vector>

namespace examples {

/// The name that an option gives, without any of the endings that the program adds itself. Where it gives a
/// folder (one that is there, or a name that ends in a slash), `standard` in that folder. \throws
/// CLI::ValidationError for a name that is empty, or nothing but an ending; and, where the program adds
/// endings, for one that ends as a file of another kind does (.jpg), whatever the case
std::filesystem::path output_name(const std::string& given, const std::filesystem::path& standard,
                                  const std::vector<std::string>& endings);

/// --out, a name as `output_name` has it; `out` holds the standard one.
CLI::Option* add_output_option(CLI::App& app, std::filesystem::path& out, const std::string& help,
                               const std::vector<std::string>& endings);

/// An option that names a folder for what is written, which may not be empty.
CLI::Option* add_output_folder_option(CLI::App& app, const std::string& name, std::filesystem::path& folder,
                                      const std::string& help);

} // namespace examples
