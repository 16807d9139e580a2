#pragma once
/// \file
/// Drawings as pictures: for programs that show no SVG.

#include "files.hpp"
#include "png.hpp"

#include <filesystem>
#include <string>

namespace examples {

/// A drawing's SVG as a colour picture of its own size, on white, in the system's fonts.
/// \throws pushforward::error without a font, and for a text that is no SVG
picture rasterised(const std::string& svg);

/// For the start of a program that draws: without a font the words of a picture would be boxes.
/// \throws pushforward::error where fontconfig finds no font
void require_fonts();

/// Adds a drawing's SVG as OUT.svg and OUT.png. \throws what `rasterised` throws
void add_drawing(file_set& files, const std::filesystem::path& out, const std::string& svg);

} // namespace examples
