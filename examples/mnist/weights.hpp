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

/// The files of a folder from which the networks are read.
std::vector<input_file> weight_files(const std::filesystem::path& folder);

/// CRC-32 of the files, in hexadecimal: tells networks from others. \throws pushforward::bad_file
std::string checksum(const std::vector<std::filesystem::path>& files);

} // namespace mnist
