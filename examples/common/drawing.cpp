#include "drawing.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <limits>

namespace examples {

namespace {

using shading = std::function<void(double value, std::uint8_t* pixel)>;

picture drawn(const at::Tensor& image, std::size_t scale, std::size_t channels, const shading& shade) {
  const at::Tensor values = image.detach().to(at::kCPU, at::kDouble).contiguous();
  const auto h = static_cast<std::size_t>(values.size(2)), w = static_cast<std::size_t>(values.size(3));
  const double* data = values.const_data_ptr<double>();
  picture p(h * scale, w * scale, channels);
  for (std::size_t y = 0; y < p.height; ++y)
    for (std::size_t x = 0; x < p.width; ++x) shade(data[y / scale * w + x / scale], p.at(y, x));
  return p;
}

std::uint8_t byte(double share) {
  return static_cast<std::uint8_t>(std::lround(255.0 * std::clamp(share, 0.0, 1.0)));
}

std::string base64(const std::vector<std::uint8_t>& bytes) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t left = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k) group = group << 8 | (k < left ? bytes[i + k] : 0U);
    for (std::size_t k = 0; k < 4; ++k) text += k <= left ? digits[group >> (18 - 6 * k) & 63U] : '=';
  }
  return text;
}

/// Bytes of the character at `i` that XML and UTF-8 allow, else 0.
std::size_t character(const std::string& words, std::size_t i) {
  const auto byte = [&](std::size_t k) -> std::uint32_t {
    return i + k < words.size() ? static_cast<unsigned char>(words[i + k]) : 0U;
  };
  const std::uint32_t first = byte(0);
  if (first < 0x80) return first >= 0x20 || first == '\t' || first == '\n' || first == '\r' ? 1 : 0;
  const std::size_t n = first >> 5 == 0x6 ? 2 : first >> 4 == 0xE ? 3 : first >> 3 == 0x1E ? 4 : 0;
  std::uint32_t code = n == 0 ? 0 : first & (0x7FU >> n);
  for (std::size_t k = 1; k < n; ++k) {
    if (byte(k) >> 6 != 0x2) return 0;
    code = code << 6 | (byte(k) & 0x3FU);
  }
  const std::uint32_t shortest[] = {0, 0, 0xA0, 0x800, 0x10000}; // from 0x80 to 0x9F are controls
  const bool excluded = (code >= 0xD800 && code < 0xE000) || (code & 0xFFFEU) == 0xFFFE || code > 0x10FFFF;
  return n == 0 || code < shortest[n] || excluded ? 0 : n;
}

} // namespace

std::string escaped(const std::string& words) {
  std::string text;
  for (std::size_t i = 0; i < words.size();) {
    const std::size_t n = character(words, i);
    switch (words[i]) {
    case '&':
      text += "&amp;";
      break;
    case '<':
      text += "&lt;";
      break;
    case '>':
      text += "&gt;";
      break;
    case '"':
      text += "&quot;";
      break;
    case '\'':
      text += "&#39;";
      break;
    default:
      text += n > 0 ? words.substr(i, n) : "\uFFFD";
    }
    i += std::max<std::size_t>(n, 1);
  }
  return text;
}

std::string data_url(const picture& p) { return "data:image/png;base64," + base64(png_bytes(p)); }

picture shades(const at::Tensor& image, std::size_t scale) {
  return drawn(image, scale, 1, [](double v, std::uint8_t* pixel) { *pixel = byte((v + 1.0) / 2.0); });
}

picture signed_colours(const at::Tensor& image, double limit, std::size_t scale) {
  return drawn(image, scale, 3, [limit](double v, std::uint8_t* pixel) {
    const double share = limit > 0.0 ? std::clamp(v / limit, -1.0, 1.0) : 0.0;
    const double faded = 1.0 - std::abs(share);
    pixel[0] = byte(share > 0.0 ? 1.0 - 0.2 * share : faded);
    pixel[1] = byte(faded);
    pixel[2] = byte(share > 0.0 ? faded : 1.0 + 0.2 * share);
  });
}

picture heat_colours(const at::Tensor& image, double low, double high, std::size_t scale) {
  static constexpr double stops[][3] = {{68, 1, 84},    {72, 40, 120},  {62, 74, 137},  {49, 104, 142},
                                        {38, 130, 142}, {31, 158, 137}, {53, 183, 121}, {110, 206, 88},
                                        {181, 222, 43}, {253, 231, 37}};
  constexpr std::size_t last = std::size(stops) - 1;
  return drawn(image, scale, 3, [&](double v, std::uint8_t* pixel) {
    const double share = v > low ? std::min((v - low) / (high - low), 1.0) : 0.0;
    const double at = share * static_cast<double>(last);
    const auto k = std::min(static_cast<std::size_t>(at), last - 1);
    for (std::size_t c = 0; c < 3; ++c)
      pixel[c] = byte(std::lerp(stops[k][c], stops[k + 1][c], at - static_cast<double>(k)) / 255.0);
  });
}

drawing::drawing(double width, double height, std::string label)
    : width_{width}, height_{height}, label_{std::move(label)} {}

void drawing::text(double x, double y, const std::string& words, double size, const std::string& anchor,
                   const std::string& style) {
  body_ << "<text x=\"" << x << "\" y=\"" << y << "\" font-size=\"" << size << "\" text-anchor=\"" << anchor
        << "\" style=\"" << style << "\">" << escaped(words) << "</text>\n";
}

void drawing::image(double x, double y, const picture& p) {
  body_ << "<image x=\"" << x << "\" y=\"" << y << "\" width=\"" << p.width << "\" height=\"" << p.height
        << "\" href=\"" << data_url(p) << "\"/>\n";
}

void drawing::line(const std::vector<std::pair<double, double>>& points, const std::string& colour,
                   double width) {
  body_ << "<polyline fill=\"none\" stroke=\"" << colour << "\" stroke-width=\"" << width << "\" points=\"";
  for (const auto& [x, y] : points) body_ << x << ',' << y << ' ';
  body_ << "\"/>\n";
}

void drawing::dot(double x, double y, double radius, const std::string& colour) {
  body_ << "<circle cx=\"" << x << "\" cy=\"" << y << "\" r=\"" << radius << "\" fill=\"" << colour
        << "\"/>\n";
}

std::string drawing::svg() const {
  std::ostringstream out;
  out << "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" << width_ << "\" height=\"" << height_
      << "\" viewBox=\"0 0 " << width_ << ' ' << height_ << "\" font-family=\"sans-serif\"";
  if (!label_.empty()) out << " role=\"img\" aria-label=\"" << escaped(label_) << '"';
  out << ">\n"
      << "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
      << body_.str() << "</svg>\n";
  return out.str();
}

namespace {

/// Okabe and Ito's colours, which the colour-blind can tell apart, without the yellow that white hides.
const char* const colours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"};

/// At most `most` characters.
std::string shortened(const std::string& words, std::size_t most) {
  std::size_t end = 0;
  for (std::size_t n = 0; end < words.size(); ++n) {
    if (n == most) return words.substr(0, end) + "\u2026";
    end += std::max<std::size_t>(character(words, end), 1);
  }
  return words;
}

/// 1, 2 or 5 times a power of ten, so that `span` has at most about six steps.
double round_step(double span) {
  const double least = span / 6.0, power = std::pow(10.0, std::floor(std::log10(least)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (factor * power >= least) return factor * power;
  return 10.0 * power;
}

/// From low to high, both multiples of the step: of values, or of their decimal logarithms.
struct axis {
  bool logarithmic;
  double low, high, step;

  std::string label(double at) const {
    char text[32];
    if (!logarithmic) {
      // as many digits as tell two ticks apart
      const double digits = 2.0 + std::ceil(std::log10(std::max(std::abs(low), std::abs(high)) / step));
      std::snprintf(text, sizeof text, "%.*g", static_cast<int>(std::clamp(digits, 4.0, 14.0)), at);
    } else if (std::abs(at) <= 3.0) {
      std::snprintf(text, sizeof text, "%g", std::pow(10.0, at));
    } else {
      std::snprintf(text, sizeof text, "1e%.0f", at);
    }
    return text;
  }
  /// Where a value is, from 0 (low) to 1 (high).
  double share(double value) const {
    if (logarithmic && value <= 0.0) return 0.0;
    return ((logarithmic ? std::log10(value) : value) - low) / (high - low);
  }
};

axis linear_axis(double low, double high) {
  const double size = std::max(std::abs(low), std::abs(high));
  if (size < 1e-290) {
    low = 0.0, high = 1.0;
  } else if (high - low < 1e-9 * size) { // a constant is in the middle
    low -= 0.5 * size, high += 0.5 * size;
  }
  const double step = round_step(high - low);
  return {false, std::floor(low / step) * step, std::ceil(high / step) * step, step};
}

axis logarithmic_axis(double low, double high, bool zeros) {
  low = std::floor(std::log10(low)) - (zeros ? 1.0 : 0.0), high = std::ceil(std::log10(high));
  const double step = std::ceil(std::max(high - low, 1.0) / 8.0);
  low = std::floor(low / step) * step;
  return {true, low, std::max(std::ceil(high / step) * step, low + step), step};
}

bool drawable(double value) { return std::abs(value) <= 1e300; }

axis axis_of(const std::vector<curve>& curves, bool logarithmic) {
  double low = std::numeric_limits<double>::max(), high = -low;
  bool zeros = false;
  for (const auto& c : curves)
    for (const double v : c.values) {
      if (!drawable(v)) continue;
      if (logarithmic && v <= 0.0) {
        zeros = true;
        continue;
      }
      low = std::min(low, v), high = std::max(high, v);
    }
  if (low > high) return logarithmic ? axis{true, -1.0, 0.0, 1.0} : axis{false, 0.0, 1.0, 0.2};
  return logarithmic ? logarithmic_axis(low, high, zeros) : linear_axis(low, high);
}

} // namespace

std::string curve_plot(const std::string& title, const std::string& x_label, const std::string& y_label,
                       const std::vector<curve>& curves, bool logarithmic) {
  constexpr double width = 480, plot = 300, left = 64, right = 20, top = 52, bottom = 46, row = 18;
  const axis values = axis_of(curves, logarithmic);
  std::size_t longest = 0;
  for (const auto& c : curves) longest = std::max(longest, c.values.size());
  const double last = longest > 1 ? static_cast<double>(longest - 1) : 1.0;
  const auto x = [&](double index) { return left + index / last * (width - left - right); };
  const auto y = [&](double share) { return plot - bottom - share * (plot - top - bottom); };

  drawing page(width, plot + row * static_cast<double>(curves.size()) + (curves.empty() ? 0.0 : 8.0), title);
  page.text(left, 20, shortened(title, 50), 15, "start", "font-weight:600");
  page.text(left, 40, shortened(y_label, 60), 12);
  const double ticks = std::round((values.high - values.low) / values.step);
  for (double k = 0.0; k <= ticks; ++k) {
    const double at = y(k / ticks);
    page.line({{left, at}, {width - right, at}}, "#dddddd");
    page.text(left - 6, at + 4, values.label(std::round(values.low / values.step + k) * values.step + 0.0),
              12, "end");
  }
  const double step = longest > 1 ? std::max(round_step(last), 1.0) : 1.0;
  for (double i = 0.0; i <= last && (longest > 1 || i == 0.0); i += step) {
    page.line({{x(i), plot - bottom}, {x(i), plot - bottom + 4}}, "#333333");
    page.text(x(i), plot - bottom + 18, std::to_string(static_cast<std::size_t>(i)), 12, "middle");
  }
  page.line({{left, top}, {left, plot - bottom}, {width - right, plot - bottom}}, "#333333");
  page.text((left + width - right) / 2, plot - 8, shortened(x_label, 60), 12, "middle");

  bool anything = false;
  for (std::size_t k = 0; k < curves.size(); ++k) {
    const std::string colour = colours[k % std::size(colours)];
    std::vector<std::pair<double, double>> points;
    const auto draw = [&] {
      if (points.size() == 1) page.dot(points[0].first, points[0].second, 3.0, colour);
      if (points.size() > 1) page.line(points, colour, 1.8);
      anything = anything || !points.empty();
      points.clear();
    };
    for (std::size_t i = 0; i < curves[k].values.size(); ++i) {
      const double value = curves[k].values[i];
      if (drawable(value))
        points.emplace_back(x(static_cast<double>(i)), y(values.share(value)));
      else
        draw();
    }
    draw();
    const double legend = plot + row * static_cast<double>(k) + 8.0;
    page.line({{left, legend}, {left + 24, legend}}, colour, 2.4);
    page.text(left + 32, legend + 4, shortened(curves[k].name, 55), 12);
  }
  if (!anything) page.text((left + width - right) / 2, (top + plot - bottom) / 2, "no values", 13, "middle");
  return page.svg();
}

} // namespace examples
