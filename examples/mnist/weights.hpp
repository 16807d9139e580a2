#pragma once
/// \file
/// The networks' weights in safetensors files.

#include "networks.hpp"

#include <filesystem>
#include <map>
#include <string>

namespace mnist {

/// Fills a network's parameters from a file; names and shapes must be exactly the network's.
/// \throws pushforward::bad_file
void read_weights(const std::filesystem::path& path, parameters& weights);

/// Writes parameters, whole or not at all: in float16, or as they are.
void write_weights(const std::filesystem::path& path, const parameters& weights,
                   const std::map<std::string, std::string>& metadata, bool half = true);

} // namespace mnist
