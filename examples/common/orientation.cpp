#include "orientation.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace examples {

std::optional<unsigned> exif_orientation(std::span<const std::uint8_t> tiff) {
  constexpr std::array<std::uint8_t, 6> start{'E', 'x', 'i', 'f', 0, 0};
  if (tiff.size() >= start.size() && std::equal(start.begin(), start.end(), tiff.begin()))
    tiff = tiff.subspan(start.size());
  if (tiff.size() < 8 || tiff[0] != tiff[1] || (tiff[0] != 'M' && tiff[0] != 'I')) return {};
  const bool big = tiff[0] == 'M';
  const auto number = [&](std::size_t at, std::size_t bytes) {
    std::size_t n = 0;
    for (std::size_t i = 0; i < bytes; ++i) n = n << 8 | tiff[at + (big ? i : bytes - 1 - i)];
    return n;
  };
  const std::size_t directory = number(4, 4);
  if (number(2, 2) != 42 || directory > tiff.size() - 2) return {};
  const std::size_t entries = number(directory, 2);
  constexpr std::size_t orientation = 0x0112, type_short = 3, type_long = 4;
  for (std::size_t i = 0, at = directory + 2; i < entries && at + 12 <= tiff.size(); ++i, at += 12) {
    const std::size_t type = number(at + 2, 2);
    if (number(at, 2) != orientation || (type != type_short && type != type_long)) continue;
    const std::size_t value = number(at + 8, type == type_short ? 2 : 4);
    if (value >= 1 && value <= 8) return static_cast<unsigned>(value);
  }
  return {};
}

// orientations 5 to 8 exchange the axes; in the stored picture's axes, 2, 3, 7, 8 run from right to left, and
// 3, 4, 6, 7 from bottom to top
picture turned(picture p, unsigned orientation) {
  if (orientation <= 1) return p;
  const bool exchanged = orientation >= 5;
  picture q = exchanged ? picture(p.width, p.height, p.channels) : picture(p.height, p.width, p.channels);
  const bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool from_bottom = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  for (std::size_t y = 0; y < q.height; ++y)
    for (std::size_t x = 0; x < q.width; ++x) {
      std::size_t v = exchanged ? x : y, u = exchanged ? y : x;
      if (from_bottom) v = p.height - 1 - v;
      if (from_right) u = p.width - 1 - u;
      std::copy_n(p.at(v, u), p.channels, q.at(y, x));
    }
  return q;
}

} // namespace examples
