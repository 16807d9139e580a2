#pragma once
/// \file
/// Animated PNG.

#include "png.hpp"

#include <string>
#include <vector>

namespace examples {

/// The bytes of an animated PNG (https://www.w3.org/TR/png-3/) that repeats for ever; programs that know
/// plain PNG show the first frame. Each frame is shown for `seconds_per_frame`, the last for `seconds_last`,
/// to the millisecond. \throws pushforward::bad_option for no frames, and for a duration outside 0.001 to 65;
/// pushforward::shape_mismatch for frames that differ in size or channels
std::string animated_png(const std::vector<picture>& frames, double seconds_per_frame, double seconds_last);

} // namespace examples
