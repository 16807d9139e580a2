#pragma once
/// \file
/// `at::Tensor`s from and to safetensors files.

#include <pushforward/safetensors/file.hpp>

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace pushforward::libtorch {

/// The type of a tensor of a file. \throws bad_file for a tensor that is not there, or of a type that
/// libtorch lacks
c10::ScalarType type_of(const safetensors::file& file, const std::string& name);

/// A tensor of a file, copied out of the mapping. \throws as `type_of`
at::Tensor read_tensor(const safetensors::file& file, const std::string& name);

/// A tensor of a file that shares the mapping's memory, which must not be written to; a copy where the file
/// has it at an address that its type cannot be read from. \throws as `type_of`
at::Tensor map_tensor(const safetensors::file& file, const std::string& name);

/// The bytes of a file that holds these tensors; see `safetensors::serialize`.
/// \throws bad_option for a type that the format lacks
std::string serialize_tensors(const std::vector<std::pair<std::string, at::Tensor>>& tensors,
                              const std::map<std::string, std::string>& metadata = {});

/// Writes tensors, whole or not at all; see `safetensors::write`.
/// \throws bad_option for a type that the format lacks
void write_tensors(const std::filesystem::path& path,
                   const std::vector<std::pair<std::string, at::Tensor>>& tensors,
                   const std::map<std::string, std::string>& metadata = {});

} // namespace pushforward::libtorch
