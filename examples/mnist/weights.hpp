#pragma once
/// \file
/// The networks' weights in safetensors files.

#include "common.hpp"
#include "networks.hpp"

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace mnist {

/// Fills a network's parameters from a file; names and shapes must be exactly the network's.
/// \throws pushforward::bad_file
void read_weights(const std::filesystem::path& path, parameters& weights);

/// The bytes of a file of parameters: in float16, or as they are.
std::string serialize_weights(const parameters& weights, const std::map<std::string, std::string>& metadata,
                              bool half = true);

/// The files of a folder from which the networks are read.
std::vector<input_file> weight_files(const std::filesystem::path& folder);

/// CRC-32 of the files, in hexadecimal: tells networks from others. \throws pushforward::bad_file
std::string checksum(const std::vector<std::filesystem::path>& files);

} // namespace mnist
