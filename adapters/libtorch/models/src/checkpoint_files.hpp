#pragma once
/// \file
/// How the parts of a checkpoint are found in its folders and files.

#include <pushforward/error.hpp>
#include <pushforward/libtorch/models/checkpoint.hpp>
#include <pushforward/safetensors/file.hpp>

#include <filesystem>
#include <string>
#include <vector>

namespace pushforward::libtorch::models {

bool is_pickle(const std::filesystem::path& file);
/// What to say of one.
bad_file pickle(const std::filesystem::path& file);

/// Names of what is in a folder, in alphabetical order. \throws bad_file
std::vector<std::string> names_in(const std::filesystem::path& folder);

/// "one, another"
std::string listed(const std::vector<std::string>& words);

/// Or something else by that name, which is refused once it is opened.
bool is_file(const std::filesystem::path& path);
bool is_folder(const std::filesystem::path& path);

/// A part of a folder as `diffusers` writes it: its config.json, and its weights, whole or in shards, of the
/// variant. Adds to `missing` what is not there. \throws bad_file for pickle files alone, and for a variant
/// that is not there
checkpoint_part part_in(const std::filesystem::path& folder, const std::string& stem,
                        const std::string& variant, std::vector<std::string>& missing);

/// What names of the denoising network and of the autoencoder begin with in a single file of the original
/// layout.
inline const std::string original_network = "model.diffusion_model.", original_vae = "first_stage_model.";

/// Whether any name of the file begins with it.
bool holds_below(const safetensors::file& file, const std::string& prefix);

/// A part of a single file of the original layout.
checkpoint_part part_of_file(const std::string& class_name, const std::filesystem::path& file,
                             const std::string& prefix);

/// The class of an autoencoder that its configuration names; the whole configuration is checked.
/// \throws bad_file
std::string autoencoder_class(const std::filesystem::path& config);

} // namespace pushforward::libtorch::models
