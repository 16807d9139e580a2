#pragma once
/// \file
/// The files that a program on a checkpoint reads, so that none is overwritten.

#include "model.hpp"

#include <common/files.hpp>

#include <filesystem>
#include <string>
#include <vector>

namespace stable_diffusion {

/// Configurations and vocabularies in a folder, by the names under which they are read, and all safetensors
/// files, as an index may name any.
std::vector<examples::input_file> network_files(const std::filesystem::path& folder, const std::string& what);

/// All files of the checkpoint, of another autoencoder and of another tokenizer.
std::vector<examples::input_file> files_of(const model_arguments& a);

} // namespace stable_diffusion
