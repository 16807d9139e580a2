#include "spectrum.hpp"

#include "console.hpp"
#include "drawing.hpp"
#include "files.hpp"
#include "raster.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>

namespace examples {

namespace {

std::string rounded(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g", value);
  return text;
}

/// Largest magnitudes over time, a line for each operator.
std::string drawn(const std::vector<spectrum>& all) {
  static const char* colours[] = {"#1b6ca8", "#d1495b", "#2e8b57", "#8a5cb8"};
  constexpr double width = 720, height = 420, left = 70, right = 170, top = 60, bottom = 56;
  double highest = 0.0, low = all.empty() ? 0.0 : all.front().time, high = low;
  for (const auto& s : all) {
    highest = std::max(highest, s.radius());
    low = std::min(low, s.time), high = std::max(high, s.time);
  }
  highest = highest > 0.0 ? 1.05 * highest : 1.0;
  const double span = high > low ? high - low : 1.0;
  const auto x = [&](double t) { return left + (t - low) / span * (width - left - right); };
  const auto y = [&](double m) { return height - bottom - m / highest * (height - top - bottom); };
  drawing page(width, height, "Largest magnitude of an eigenvalue of J over time");
  page.text(left, 28, "Largest magnitude of an eigenvalue of J = d x0 / d x_t", 17);
  page.text(left, 46, "by Arnoldi's iteration; a skew part of 0 would make J e and J^T e the same", 12);
  for (int i = 0; i <= 4; ++i) {
    const double m = highest * i / 4.0;
    page.line({{left, y(m)}, {width - right, y(m)}}, "#dddddd");
    page.text(left - 8, y(m) + 4, rounded(m), 11, "end");
  }
  page.text((left + width - right) / 2, height - 14, "time t (noise grows to the right)", 12, "middle");
  const auto& names = spectrum_operators();
  for (std::size_t k = 0; k < names.size(); ++k) {
    std::vector<std::pair<double, double>> points;
    for (const auto& s : all)
      if (s.of == names[k]) {
        points.emplace_back(x(s.time), y(s.radius()));
        if (k == 0) page.text(x(s.time), height - bottom + 18, rounded(s.time), 11, "middle");
      }
    std::sort(points.begin(), points.end());
    page.line(points, colours[k], 2.0);
    for (const auto& [px, py] : points) page.dot(px, py, 3.0, colours[k]);
    const double ly = top + 14.0 + 22.0 * static_cast<double>(k);
    page.line({{width - right + 16, ly - 4}, {width - right + 40, ly - 4}}, colours[k], 2.0);
    page.text(width - right + 48, ly, names[k], 12);
  }
  return page.svg();
}

} // namespace

double spectrum::radius() const {
  return eigenvalues.empty() ? 0.0 : std::hypot(eigenvalues.front().first, eigenvalues.front().second);
}

const std::vector<std::string>& spectrum_operators() {
  static const std::vector<std::string> all{"J", "J^T", "(J + J^T)/2", "(J - J^T)/2"};
  return all;
}

std::vector<spectrum> spectra(const std::vector<double>& times, const spectrum_finder& at) {
  std::vector<spectrum> all;
  progress_bar bar("spectrum");
  const auto total = static_cast<double>(times.size() * spectrum_operators().size());
  const auto tell = [&](double share) {
    if (interrupted()) throw stopped_early{};
    bar.show(static_cast<double>(all.size()) + share, total);
  };
  try {
    for (const double t : times)
      for (const auto& of : spectrum_operators()) all.push_back(at(t, of, tell));
    bar.show(total, total);
  } catch (const stopped_early&) {
    if (all.empty()) throw;
  }
  return all;
}

std::vector<std::filesystem::path> spectra_files(const std::filesystem::path& out) {
  return {with_ending(out, ".json"), with_ending(out, ".svg"), with_ending(out, ".png")};
}

int write_spectra(const std::vector<spectrum>& all, nlohmann::ordered_json facts,
                  const std::filesystem::path& out) {
  const bool stopped = interrupted();
  const auto& names = spectrum_operators();
  std::printf("%8s", "t");
  for (const auto& name : names) std::printf("  %12s", name.c_str());
  auto rows = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < all.size(); ++i) {
    const auto& s = all[i];
    if (i % names.size() == 0) std::printf("\n%8g", s.time);
    std::printf("  %12.3f", s.radius());
    rows.push_back({{"t", s.time},
                    {"of", s.of},
                    {"krylov", s.krylov},
                    {"invariant", s.invariant},
                    {"largest_magnitude", s.radius()},
                    {"eigenvalues", s.eigenvalues},
                    {"passes", s.passes},
                    {"backward_passes", s.backward}});
  }
  std::printf("\n");
  std::fflush(stdout);
  facts["completed"] = !stopped;
  facts["spectra"] = rows;
  file_set files;
  files.add(with_ending(out, ".json"),
            facts.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  add_drawing(files, out, drawn(all));
  files.write();
  std::cout << "wrote " << out.string() << ".svg, " << out.string() << ".png and " << out.string()
            << ".json\n";
  if (!stopped) return 0;
  std::cout << "stopped by the user; what was written is of the spectra that were finished\n";
  return interrupted_status;
}

} // namespace examples
