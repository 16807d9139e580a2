// Eigenvalues of the Jacobian of the clean estimate, and of its parts, over time.

#include "arguments.hpp"
#include "choose.hpp"
#include "common.hpp"
#include "jacobian.hpp"

#include <common/drawing.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>

namespace {

double magnitude(const mnist::spectrum& s) {
  return s.eigenvalues.empty() ? 0.0 : std::hypot(s.eigenvalues.front().first, s.eigenvalues.front().second);
}

std::string rounded(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g", value);
  return text;
}

/// Largest magnitudes over time, a line for each operator.
std::string drawn(const std::vector<mnist::spectrum>& all, const std::vector<double>& times) {
  static const char* colours[] = {"#1b6ca8", "#d1495b", "#2e8b57", "#8a5cb8"};
  constexpr double width = 720, height = 420, left = 70, right = 170, top = 60, bottom = 56;
  double highest = 0.0;
  for (const auto& s : all) highest = std::max(highest, magnitude(s));
  highest = highest > 0.0 ? 1.05 * highest : 1.0;
  const auto [low, high] = std::minmax_element(times.begin(), times.end());
  const double span = *high > *low ? *high - *low : 1.0;
  const auto x = [&](double t) { return left + (t - *low) / span * (width - left - right); };
  const auto y = [&](double m) { return height - bottom - m / highest * (height - top - bottom); };
  mnist::drawing page(width, height);
  page.text(left, 28, "Largest magnitude of an eigenvalue of J = d x0 / d x_t", 17);
  page.text(left, 46, "by Arnoldi's iteration; a skew part of 0 would make J e and J^T e the same", 12);
  for (int i = 0; i <= 4; ++i) {
    const double m = highest * i / 4.0;
    page.line({{left, y(m)}, {width - right, y(m)}}, "#dddddd");
    page.text(left - 8, y(m) + 4, rounded(m), 11, "end");
  }
  for (const double t : times) page.text(x(t), height - bottom + 18, rounded(t), 11, "middle");
  page.text((left + width - right) / 2, height - 14, "time t (noise grows to the right)", 12, "middle");
  const auto& names = mnist::spectrum_operators();
  for (std::size_t k = 0; k < names.size(); ++k) {
    std::vector<std::pair<double, double>> points;
    for (const auto& s : all)
      if (s.of == names[k]) points.emplace_back(x(s.time), y(magnitude(s)));
    page.line(points, colours[k], 2.0);
    for (const auto& [px, py] : points) page.dot(px, py, 3.0, colours[k]);
    const double ly = top + 14.0 + 22.0 * static_cast<double>(k);
    page.line({{width - right + 16, ly - 4}, {width - right + 40, ly - 4}}, colours[k], 2.0);
    page.text(width - right + 48, ly, names[k], 12);
  }
  return page.svg();
}

} // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "Eigenvalues of largest magnitude of J = d x0 / d x_t, J^T, and the symmetric and the skew part of\n"
      "J, at several times, by Arnoldi's iteration. Writes a plot (SVG) and all eigenvalues (JSON).",
      "pushforward_mnist_spectrum"};
  app.footer("Examples:\n"
             "  pushforward_mnist_spectrum\n"
             "  pushforward_mnist_spectrum --times 100 500 900 --krylov 30\n"
             "  pushforward_mnist_spectrum --model flow --times 0.1 0.5 0.9");
  mnist::arguments a;
  a.out = "spectrum";
  std::vector<double> times;
  std::size_t krylov = 10;
  add_model_options(app, a);
  app.add_option("--times", times, "times t; sigma for the flow model [ten from 50 to 950, or 0.05 to 0.95]");
  app.add_option("--krylov", krylov, "Arnoldi steps")->capture_default_str()->check(CLI::Range(1, 1000));
  app.add_option("--out", a.out, "writes this name with .svg and .json")->capture_default_str();
  return mnist::run_with(app, argc, argv, [&] {
    const mnist::digit_model model(a.model, a.weights);
    const auto digits = mnist::choose_digits(a.data, a.first, 1);
    if (times.empty())
      for (int i = 0; i < 10; ++i)
        times.push_back(a.model == mnist::model_kind::flow ? 0.05 + 0.1 * i : 50.0 + 100.0 * i);
    std::sort(times.begin(), times.end());
    const auto& names = mnist::spectrum_operators();
    std::vector<mnist::spectrum> all;
    {
      mnist::progress_bar bar("spectrum");
      const auto total = static_cast<double>(times.size() * names.size());
      for (const double t : times)
        for (const auto& name : names) {
          if (mnist::interrupted()) break;
          all.push_back(mnist::spectrum_at(model, digits.images, t, name, krylov, a.steering.seed));
          bar.show(static_cast<double>(all.size()), total);
        }
    }
    std::printf("%8s", "t");
    for (const auto& name : names) std::printf("  %12s", name.c_str());
    nlohmann::ordered_json rows = nlohmann::ordered_json::array();
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (i % names.size() == 0) std::printf("\n%8g", all[i].time);
      std::printf("  %12.3f", magnitude(all[i]));
      rows.push_back({{"t", all[i].time},
                      {"of", all[i].of},
                      {"krylov", all[i].krylov},
                      {"invariant", all[i].invariant},
                      {"largest_magnitude", magnitude(all[i])},
                      {"eigenvalues", all[i].eigenvalues}});
    }
    std::printf("\n");
    std::fflush(stdout);
    const nlohmann::ordered_json j{{"model", to_string(a.model)},
                                   {"digit", digits.first},
                                   {"seed", a.steering.seed},
                                   {"completed", !mnist::interrupted()},
                                   {"spectra", rows}};
    mnist::write_text(a.out.string() + ".json", j.dump(1) + "\n");
    mnist::write_text(a.out.string() + ".svg", drawn(all, times));
    std::cout << "wrote " << a.out.string() << ".svg and " << a.out.string() << ".json\n";
    return mnist::interrupted() ? mnist::interrupted_status : 0;
  });
}
