#pragma once
/// \file
/// Labelled drawings: SVG with pictures inside it.

#include "common.hpp"

#include <ATen/core/Tensor.h>

#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace mnist {

/// An image [1, 1, H, W], `scale` times as large, with [-1, 1] from black to white.
picture shades(const at::Tensor& image, std::size_t scale);

/// An image [1, 1, H, W] of signed values: -limit blue, 0 white, limit red; values beyond take the ends.
picture signed_colours(const at::Tensor& image, double limit, std::size_t scale);

/// A drawing that is written as one SVG file. Sizes in pixels.
class drawing {
public:
  drawing(double width, double height);

  void text(double x, double y, const std::string& words, double size = 13.0,
            const std::string& anchor = "start", const std::string& style = "");
  /// The top left corner at (x, y).
  void image(double x, double y, const picture& p);
  void line(const std::vector<std::pair<double, double>>& points, const std::string& colour,
            double width = 1.0);
  void dot(double x, double y, double radius, const std::string& colour);
  std::string svg() const;

private:
  double width_, height_;
  std::ostringstream body_;
};

} // namespace mnist
