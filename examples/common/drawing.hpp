#pragma once
/// \file
/// Labelled drawings and plots: SVG with pictures inside it; text and pictures for SVG and HTML.

#include "png.hpp"

#include <ATen/core/Tensor.h>

#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace examples {

/// Words as the text or the attribute of a page: markup and quotes are escaped; control characters, and bytes
/// that are not UTF-8, become U+FFFD, so that the page stays well-formed.
std::string escaped(const std::string& words);

/// A picture as "data:image/png;base64,...".
std::string data_url(const picture& p);

/// An image [1, 1, H, W], `scale` times as large, with [-1, 1] from black to white.
picture shades(const at::Tensor& image, std::size_t scale);

/// An image [1, 1, H, W] of signed values: -limit blue, 0 white, limit red; values beyond take the ends.
picture signed_colours(const at::Tensor& image, double limit, std::size_t scale);

/// An image [1, 1, H, W]: from low, dark blue, to high, yellow, by way of green (viridis); values beyond take
/// the ends, and NaN the lower one.
picture heat_colours(const at::Tensor& image, double low, double high, std::size_t scale);

/// A drawing that is written as one SVG file. Sizes in pixels.
class drawing {
public:
  /// The label is what a screen reader says.
  drawing(double width, double height, std::string label = "");

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
  std::string label_;
  std::ostringstream body_;
};

/// Values over their index, from 0.
struct curve {
  std::string name;
  std::vector<double> values;
};

/// A plot of curves as SVG, with axes and a legend. A curve is interrupted where a value is not finite (or
/// beyond 1e300). On the logarithmic axis 0, and what is below, lies on the lower edge.
std::string curve_plot(const std::string& title, const std::string& x_label, const std::string& y_label,
                       const std::vector<curve>& curves, bool logarithmic);

} // namespace examples
