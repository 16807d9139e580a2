#include "drawing.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <functional>

namespace mnist {

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

std::string escaped(const std::string& words) {
  std::string text;
  for (const char c : words)
    text += c == '&' ? "&amp;" : c == '<' ? "&lt;" : c == '>' ? "&gt;" : std::string(1, c);
  return text;
}

} // namespace

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

drawing::drawing(double width, double height) : width_{width}, height_{height} {}

void drawing::text(double x, double y, const std::string& words, double size, const std::string& anchor,
                   const std::string& style) {
  body_ << "<text x=\"" << x << "\" y=\"" << y << "\" font-size=\"" << size << "\" text-anchor=\"" << anchor
        << "\" style=\"" << style << "\">" << escaped(words) << "</text>\n";
}

void drawing::image(double x, double y, const picture& p) {
  body_ << "<image x=\"" << x << "\" y=\"" << y << "\" width=\"" << p.width << "\" height=\"" << p.height
        << "\" href=\"data:image/png;base64," << base64(png_bytes(p)) << "\"/>\n";
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
      << "\" viewBox=\"0 0 " << width_ << ' ' << height_ << "\" font-family=\"sans-serif\">\n"
      << "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
      << body_.str() << "</svg>\n";
  return out.str();
}

} // namespace mnist
