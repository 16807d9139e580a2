#pragma once
/// \file
/// How a camera was held, as EXIF data says it.

#include "png.hpp"

#include <cstdint>
#include <optional>
#include <span>

namespace examples {

/// The orientation, 1 to 8, of EXIF data: tag 0x0112 of the first directory of a TIFF file, of either byte
/// order, as a SHORT or, as some programs write it, a LONG. None where the data has none or is damaged.
/// \param tiff from the byte order on; "Exif" and two zeros may come first, as in a JPEG
std::optional<unsigned> exif_orientation(std::span<const std::uint8_t> tiff);

/// The picture as its camera was held. \param orientation 1 to 8; 1 is as it is stored
picture turned(picture p, unsigned orientation);

} // namespace examples
