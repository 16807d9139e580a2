#pragma once
/// \file
/// A run as one HTML page that needs nothing beside it: no script, no other file, no network.

#include "png.hpp"

#include <string>
#include <utility>
#include <vector>

namespace examples {

struct report_picture {
  std::string caption;
  picture image;
};

/// Everything but the plots is plain text, and may hold any bytes: prompts are from elsewhere. Empty parts
/// are left out.
struct report {
  using table = std::vector<std::pair<std::string, std::string>>; ///< names and values

  std::string title;
  std::string summary;
  std::vector<report_picture> pictures;
  std::vector<std::string> plots; ///< SVG, as curve_plot() makes it; taken as it is
  table results, costs, settings;
  std::string note; ///< stands out at the top: "stopped at step 3 of 20"
};

/// The page, well-formed as HTML and as XML. Pictures are in their own size, or as wide as the page.
std::string html_of(const report& r);

} // namespace examples
