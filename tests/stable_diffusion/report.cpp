// Pages, plots and animations: what can be told from the text; report.py reads the files as other programs
// do.

#include <support/catch.hpp>
#include <support/scratch_folder.hpp>

#include <common/animation.hpp>
#include <common/drawing.hpp>
#include <common/files.hpp>
#include <common/report.hpp>

#include <pushforward/error.hpp>

#include <cmath>
#include <limits>
#include <map>
#include <string>

using namespace examples;
using namespace testing_support;
using pushforward::bad_option;
using pushforward::shape_mismatch;

namespace {

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

const std::string hostile =
    "<script>alert(1)</script> \"a\" 'b' & <img src=x onerror=alert(2)> </title></style>";

picture sloped(std::size_t channels, std::size_t step) {
  picture p(23, 37, channels);
  for (std::size_t i = 0; i < p.pixels.size(); ++i)
    p.pixels[i] = static_cast<std::uint8_t>(i * (step + 1) + 40 * step);
  return p;
}

std::vector<picture> frames(std::size_t channels, std::size_t n) {
  std::vector<picture> all;
  for (std::size_t i = 0; i < n; ++i) all.push_back(sloped(channels, i));
  return all;
}

std::string falling(bool logarithmic) {
  std::vector<curve> curves{{"inexact Newton", {}}, {"gradient descent", {}}, {"stopped", {}}};
  for (int i = 0; i < 220; ++i) {
    curves[0].values.push_back(3.0 * std::exp(-0.03 * i));
    curves[1].values.push_back(3.0 / (1.0 + 0.1 * i));
    if (i < 90) curves[2].values.push_back(i == 40 ? not_a_number : 2.0 + std::cos(0.1 * i));
  }
  return curve_plot("Residual of the constraint", "inner iteration", "|A(x0) - y|", curves, logarithmic);
}

/// Every edge case, by a name for its file.
std::map<std::string, std::string> plots() {
  const std::map<std::string, std::vector<curve>> all{
      {"none", {}},
      {"empty", {{"a", {}}}},
      {"zero", {{"a", {0, 0, 0}}}},
      {"constant", {{"a", {7, 7, 7, 7}}}},
      {"almost_constant", {{"a", {1.0, 1.0 + 1e-15, 1.0}}}},
      {"one_point", {{"a", {3}}, {"b", {0}}}},
      {"not_finite", {{"a", {not_a_number, infinity, -infinity}}}},
      {"gaps", {{"a", {not_a_number, 1, not_a_number, 2, 3, infinity, 4}}}},
      {"signed", {{"a", {-0.6, 0.1, 0.5, -0.2}}}},
      {"huge", {{"a", {1e308, -1e308, 1e300, -1e300}}}},
      {"wide", {{"a", {5e-324, 1e-300, 1.0, 1e300}}}},
      {"zeros", {{"a", {1.0, 0.1, 0.0, -1.0}}}},
      {"many", std::vector<curve>(20, {"the same", {1, 2}})},
      {hostile, {{hostile, {1, 2}}}},
      {"bytes", {{std::string("\xff\x01\xc3\xa9\xed\xa0\x80\xef\xbf\xbf") + std::string(100, 'x'), {1, 2}}}}};
  std::map<std::string, std::string> drawn;
  for (const auto& [name, curves] : all)
    for (const bool logarithmic : {false, true})
      drawn[name + (logarithmic ? "_log" : "")] = curve_plot(name, name, name, curves, logarithmic);
  drawn["falling"] = falling(false);
  drawn["falling_log"] = falling(true);
  return drawn;
}

report full_report() {
  report r;
  r.title = "Inpainting: " + hostile;
  r.summary = "Summary " + hostile + "\nsecond line";
  r.note = "stopped at step 3 of 20 " + hostile;
  r.pictures = {{"input " + hostile, sloped(3, 0)}, {"result", sloped(1, 1)}};
  r.plots = {falling(true), curve_plot(hostile, hostile, hostile, {{hostile, {1, 2}}}, false)};
  r.results = {{"residual", "0.01"}, {hostile, hostile}};
  r.costs = {{"passes", "220"}};
  r.settings = {{"prompt", hostile}, {"bytes", std::string("\0\x1b\xff\xc0\xaf end", 9)}};
  return r;
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t n = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++n;
  return n;
}

} // namespace

TEST_CASE("markup, quotes, controls and broken UTF-8 are escaped") {
  CHECK(escaped("a<b>&\"'") == "a&lt;b&gt;&amp;&quot;&#39;");
  CHECK(escaped("tab\tline\n") == "tab\tline\n");
  CHECK(escaped("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80") == "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
  const std::string other = "\xef\xbf\xbd";
  CHECK(escaped(std::string("\0", 1)) == other);
  CHECK(escaped("\x1b[1m") == other + "[1m");
  CHECK(escaped("\xc3") == other);                                      // cut short
  CHECK(escaped("\xc0\xbc") == other + other);                          // an overlong <
  CHECK(escaped("\xed\xa0\x80") == other + other + other);              // a surrogate
  CHECK(escaped("\xc3<") == other + "&lt;");                            // does not swallow what follows
  CHECK(escaped("\xf4\x90\x80\x80").find('\xf4') == std::string::npos); // beyond Unicode
}

TEST_CASE("a page shows hostile text as text") {
  const auto page = html_of(full_report());
  CHECK(page.find("<script") == std::string::npos);
  CHECK(page.find("<img src=x") == std::string::npos);
  CHECK(page.find("onerror=alert(2)&gt;") != std::string::npos);
  CHECK(count(page, "<td>&lt;script&gt;alert(1)&lt;/script&gt; &quot;a&quot; &#39;b&#39; &amp; ") == 2);
  CHECK(count(page, "<img ") == 2);
  CHECK(count(page, "<svg ") == 2);
  CHECK(page.find("width=\"37\" height=\"23\"") != std::string::npos);
}

TEST_CASE("a page leaves out what it has not") {
  report r;
  r.title = "Only a title";
  const auto page = html_of(r);
  CHECK(page.find("<h1>Only a title</h1>") != std::string::npos);
  for (const char* part : {"<h2>", "<table>", "<p", "<img", "<div"})
    CHECK(page.find(part) == std::string::npos);
}

TEST_CASE("plots of anything have no coordinate that is not a number") {
  for (const auto& [name, svg] : plots()) {
    CAPTURE(name);
    CHECK(svg.find("nan") == std::string::npos);
    CHECK(svg.find("inf") == std::string::npos);
    CHECK(count(svg, "<svg ") == 1);
    CHECK(count(svg, "font-size") < 60); // few ticks, whatever the range
    CHECK(svg.find("<script") == std::string::npos);
  }
}

TEST_CASE("plots have round ticks, a legend, and nothing drawn where nothing is") {
  auto all = plots();
  CHECK(all["none"].find("no values") != std::string::npos);
  CHECK(all["not_finite"].find("no values") != std::string::npos);
  CHECK(all["zero"].find("no values") == std::string::npos);
  CHECK(count(all["one_point"], "<circle") == 2);
  CHECK(count(all["gaps"], "<circle") == 2);
  for (const char* tick : {">-0.6<", ">-0.4<", ">0<", ">0.6<"}) CHECK(count(all["signed"], tick) >= 1);
  for (const char* tick : {">0.001<", ">0.01<", ">0.1<", ">1<", ">10<", ">50<", ">200<"})
    CHECK(count(all["falling_log"], tick) == 1);
  CHECK(count(all["falling"], ">gradient descent<") == 1);
  CHECK(count(all["falling"], "stroke=\"#d55e00\"") == 2); // the curve and its line in the legend
}

TEST_CASE("a logarithmic plot has a decade's height for a decade") {
  const auto svg = curve_plot("t", "x", "y", {{"a", {1.0, 0.1, 0.01, 0.0}}}, true);
  std::vector<double> heights;
  const auto line = svg.find("stroke-width=\"1.8\"");
  REQUIRE(line != std::string::npos);
  for (auto at = line; heights.size() < 4;) {
    at = svg.find(',', at + 1);
    heights.push_back(std::stod(svg.substr(at + 1)));
  }
  CHECK(heights[1] - heights[0] == Approx(heights[2] - heights[1]).epsilon(1e-3));
  CHECK(heights[3] - heights[2] == Approx(heights[2] - heights[1]).epsilon(1e-3)); // 0 on the lower edge
  CHECK(heights[0] < heights[1]);
}

TEST_CASE("an animation is a PNG of its first frame to programs that know no animations") {
  const scratch_folder folder;
  for (const std::size_t channels : {1U, 3U}) {
    const auto all = frames(channels, 3);
    write_text(folder / "a.png", animated_png(all, 0.1, 1.5));
    CHECK(read_png(folder / "a.png", channels).pixels == all[0].pixels);
  }
  CHECK(folder.size() == 1);
}

TEST_CASE("an animation without frames, of frames that differ, or for no time is refused") {
  const auto all = frames(3, 2);
  CHECK_THROWS_AS(animated_png({}, 0.1, 0.1), bad_option);
  for (const double seconds : {0.0, -1.0, 1e-4, 65.1, not_a_number, infinity}) {
    CHECK_THROWS_AS(animated_png(all, seconds, 0.1), bad_option);
    CHECK_THROWS_AS(animated_png(all, 0.1, seconds), bad_option);
  }
  CHECK_THROWS_AS(animated_png({all[0], sloped(1, 0)}, 0.1, 0.1), shape_mismatch);
  CHECK_THROWS_AS(animated_png({all[0], picture(37, 23, 3)}, 0.1, 0.1), shape_mismatch);
  CHECK_THROWS_WITH(animated_png({all[0], all[0], picture(23, 36, 3)}, 0.1, 0.1),
                    contains_text("frame 2 is 36 x 23 pixels with 3 channels, the first 37 x 23"));
}

// Run by name, before report.py.
TEST_CASE("files for other programs to read", "[.]") {
  const std::filesystem::path folder = REPORT_FOLDER;
  std::filesystem::remove_all(folder);
  write_text(folder / "page.html", html_of(full_report()));
  write_text(folder / "prompt.txt", hostile);
  int number = 0;
  for (const auto& [name, svg] : plots())
    write_text(folder /
                   ("plot" + std::to_string(number++) + (name == "falling_log" ? "_falling" : "") + ".svg"),
               svg);
  for (const std::size_t channels : {1U, 3U}) {
    const std::string name = channels == 1 ? "grey" : "colour";
    const auto all = frames(channels, 5);
    write_text(folder / (name + ".apng"), animated_png(all, 0.12, 2.5));
    for (std::size_t i = 0; i < all.size(); ++i)
      write_png(folder / (name + std::to_string(i) + ".png"), all[i]);
  }
  write_text(folder / "single.apng", animated_png(frames(3, 1), 0.12, 2.5));
}
