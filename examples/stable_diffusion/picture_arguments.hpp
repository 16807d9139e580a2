#pragma once
/// \file
/// How the programs take a picture.

#include "pictures.hpp"

#include <filesystem>
#include <optional>
#include <string>

namespace CLI {
class App;
}

namespace stable_diffusion {

struct picture_arguments {
  std::filesystem::path picture;
  picture_size size; ///< both 0: its own
  fitting how = fitting::crop;

  std::optional<picture_size> asked_size() const;
};

/// The picture itself (without dashes), --width, --height, --fit.
void add_picture_options(CLI::App& app, picture_arguments& a, const std::string& what);

} // namespace stable_diffusion
