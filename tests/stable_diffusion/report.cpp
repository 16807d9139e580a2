// Pages, plots and animations, as text and as other programs read them: Expat, libpng, and Pillow in
// animations.py.

#include <support/catch.hpp>
#include <support/scratch_folder.hpp>
#include <support/xml.hpp>

#include <common/animation.hpp>
#include <common/drawing.hpp>
#include <common/files.hpp>
#include <common/raster.hpp>
#include <common/report.hpp>

#include <pushforward/error.hpp>

#include <zlib.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

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

/// The bytes of a data URL.
std::string decoded(const std::string& url, const std::string& kind) {
  REQUIRE(url.rfind(kind, 0) == 0);
  const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  std::uint32_t word = 0;
  for (std::size_t i = kind.size(); i < url.size() && url[i] != '='; ++i) {
    const auto digit = digits.find(url[i]);
    REQUIRE(digit != std::string::npos);
    word = word << 6U | static_cast<std::uint32_t>(digit);
    const auto n = i - kind.size();
    if (n % 4 > 0) bytes += static_cast<char>(word >> (6 - 2 * (n % 4)) & 0xffU);
  }
  return bytes;
}

std::uint32_t number(const std::string& bytes, std::size_t at, std::size_t size = 4) {
  std::uint32_t n = 0;
  for (std::size_t k = 0; k < size; ++k) n = n << 8U | static_cast<unsigned char>(bytes.at(at + k));
  return n;
}

using chunks = std::vector<std::pair<std::string, std::string>>; // type and data

/// Of a PNG; each has its length and checksum.
chunks chunks_of(const std::string& png) {
  REQUIRE(png.substr(0, 8) == "\x89PNG\r\n\x1a\n");
  chunks all;
  for (std::size_t at = 8; at < png.size();) {
    const auto length = number(png, at);
    const std::string body = png.substr(at + 4, 4 + length);
    CHECK(::crc32_z(0, reinterpret_cast<const Bytef*>(body.data()), body.size()) ==
          number(png, at + 8 + length));
    all.emplace_back(body.substr(0, 4), body.substr(4));
    at += 12 + length;
  }
  return all;
}

std::string png_of(const chunks& all) {
  const auto big_endian = [](std::uint64_t n) {
    std::string bytes;
    for (int k = 24; k >= 0; k -= 8) bytes += static_cast<char>(n >> k & 0xffU);
    return bytes;
  };
  std::string png = "\x89PNG\r\n\x1a\n";
  for (const auto& [type, data] : all) {
    const std::string body = type + data;
    png += big_endian(data.size()) + body +
           big_endian(::crc32_z(0, reinterpret_cast<const Bytef*>(body.data()), body.size()));
  }
  return png;
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

TEST_CASE("a drawing's picture is of its size, and holds its pictures to the pixel and its words in a font") {
  const auto with = [](const std::string& words) {
    drawing page(200.0, 101.5, "a label");
    page.image(20, 30, sloped(3, 1));
    page.image(20, 60, sloped(1, 2));
    page.text(80, 50, words, 13);
    page.line({{80, 80}, {120, 80}}, "#d55e00", 4.0);
    return rasterised(page.svg());
  };
  const auto p = with("\u03bb J\u1d40 v");
  REQUIRE(p.width == 200);
  REQUIRE(p.height == 102);
  REQUIRE(p.channels == 3);
  const picture colour = sloped(3, 1), grey = sloped(1, 2);
  std::size_t other = 0;
  for (std::size_t y = 0; y < colour.height; ++y)
    for (std::size_t x = 0; x < colour.width; ++x)
      for (std::size_t c = 0; c < 3; ++c) {
        if (p.at(30 + y, 20 + x)[c] != colour.at(y, x)[c]) ++other;
        if (p.at(60 + y, 20 + x)[c] != *grey.at(y, x)) ++other;
      }
  CHECK(other == 0);
  CHECK(std::vector<int>(p.at(80, 100), p.at(80, 100) + 3) == std::vector<int>{0xd5, 0x5e, 0x00});
  CHECK(std::vector<int>(p.at(5, 5), p.at(5, 5) + 3) == std::vector<int>{255, 255, 255});

  std::size_t dark = 0;
  for (std::size_t y = 36; y < 56; ++y)
    for (std::size_t x = 80; x < 180; ++x) dark += *p.at(y, x) < 64 ? 1U : 0U;
  CHECK(dark > 10);
  CHECK(with("abc").pixels != with("xyz").pixels); // as the boxes of missing letters are not
}

TEST_CASE("what is no drawing is refused") {
  CHECK_THROWS_WITH(rasterised("no drawing"), contains_text("cannot be made a PNG"));
  file_set files;
  CHECK_THROWS_AS(add_drawing(files, "out", "<svg"), pushforward::error);
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

TEST_CASE(
    "a page is well-formed, refers to nothing outside, and shows text and pictures as they were given") {
  const std::string text = html_of(full_report());
  const auto page = read_xml(text);
  const std::set<std::string> known{"html", "head", "meta", "link",   "title",      "style",    "body",  "h1",
                                    "h2",   "p",    "div",  "figure", "figcaption", "img",      "table", "tr",
                                    "th",   "td",   "svg",  "rect",   "text",       "polyline", "circle"};
  std::vector<xml_document::element> pictures;
  for (const auto& e : page.elements) {
    CAPTURE(e.name);
    CHECK(known.count(e.name) == 1);
    for (const auto& [name, value] : e.attributes) {
      CHECK(name.rfind("on", 0) != 0);
      if (name == "src" || name == "href") CHECK(value.rfind("data:", 0) == 0);
    }
    if (e.name == "img") pictures.push_back(e);
  }
  // HTML closes these where they begin, and the others where it says so
  const std::regex closed("<([a-z0-9]+)[^<>]*/>");
  for (std::sregex_iterator i(text.begin(), text.end(), closed), end; i != end; ++i)
    CHECK(std::set<std::string>{"meta", "link", "img", "rect", "polyline", "circle"}.count((*i)[1]) == 1);
  CHECK(count(page.words, hostile) == 8);
  REQUIRE(pictures.size() == 2);
  CHECK(pictures[0].attributes["alt"] == "input " + hostile);
  const scratch_folder folder;
  for (const std::size_t i : {0U, 1U}) {
    const auto given = sloped(i == 0 ? 3 : 1, i);
    const auto png = decoded(pictures[i].attributes["src"], "data:image/png;base64,");
    CHECK(number(png, 25, 1) == (i == 0 ? 2 : 0)); // colour, grey
    write_bytes(folder / "p.png", png);
    CHECK(read_png(folder / "p.png", given.channels).pixels == given.pixels);
    CHECK(pictures[i].attributes["width"] == std::to_string(given.width));
    CHECK(pictures[i].attributes["height"] == std::to_string(given.height));
  }
}

TEST_CASE("plots of anything are well-formed, with everything inside the drawing") {
  const std::regex decimal("[0-9.]+");
  for (const auto& [name, svg] : plots()) {
    CAPTURE(name);
    const auto plot = read_xml(svg);
    std::istringstream box(plot.elements.at(0).attributes.at("viewBox"));
    double left = 0, top = 0, width = 0, height = 0;
    box >> left >> top >> width >> height;
    CHECK(width > 0);
    const auto inside = [&](const std::string& x, const std::string& y) {
      CAPTURE(x, y);
      REQUIRE(std::regex_match(x, decimal));
      REQUIRE(std::regex_match(y, decimal));
      CHECK(std::stod(x) <= width);
      CHECK(std::stod(y) <= height);
    };
    for (const auto& [kind, a] : plot.elements) {
      CAPTURE(kind);
      if (kind == "text") inside(a.at("x"), a.at("y"));
      if (kind == "circle") inside(a.at("cx"), a.at("cy"));
      if (kind != "polyline") continue;
      std::istringstream points(a.at("points"));
      for (std::string point; points >> point;)
        inside(point.substr(0, point.find(',')), point.substr(point.find(',') + 1));
    }
  }
}

TEST_CASE("an animation has its frames as they were given, each for its time, and repeats") {
  const std::size_t channels = GENERATE(std::size_t{1}, std::size_t{3});
  const std::size_t n = GENERATE(std::size_t{1}, std::size_t{5});
  const auto given = frames(channels, n);
  const scratch_folder folder;
  write_text(folder / "a.png", animated_png(given, 0.12, 2.5));
  const auto all = chunks_of(read_bytes(folder / "a.png"));
  const auto& head = all.at(0);
  REQUIRE(head.first == "IHDR");
  REQUIRE(all.back().first == "IEND");
  std::uint32_t expected_number = 0;
  std::size_t controls = 0, read = 0;
  for (const auto& [type, data] : all) {
    if (type == "acTL") {
      CHECK(number(data, 0) == n);
      CHECK(number(data, 4) == 0); // for ever
    }
    if (type == "fcTL" || type == "fdAT") CHECK(number(data, 0) == expected_number++);
    if (type == "fcTL") {
      CHECK(data.substr(4, 16) == head.second.substr(0, 8) + std::string(8, '\0')); // the whole picture
      CHECK(1000.0 * number(data, 20, 2) / number(data, 22, 2) == (controls + 1 == n ? 2500.0 : 120.0));
      ++controls;
    }
    if (type != "IDAT" && type != "fdAT") continue;
    CHECK(controls == read + 1);
    write_bytes(folder / "f.png",
                png_of({head, {"IDAT", type == "IDAT" ? data : data.substr(4)}, {"IEND", ""}}));
    CHECK(read_png(folder / "f.png", channels).pixels == given.at(read++).pixels);
  }
  CHECK(read == n);
}

// Run by name, before animations.py.
TEST_CASE("animations for Pillow to read", "[.]") {
  const std::filesystem::path folder = REPORT_FOLDER;
  std::filesystem::remove_all(folder);
  for (const std::size_t channels : {1U, 3U}) {
    const std::string name = channels == 1 ? "grey" : "colour";
    const auto all = frames(channels, 5);
    write_text(folder / (name + ".apng"), animated_png(all, 0.12, 2.5));
    for (std::size_t i = 0; i < all.size(); ++i)
      write_png(folder / (name + std::to_string(i) + ".png"), all[i]);
  }
  write_text(folder / "single.apng", animated_png(frames(3, 1), 0.12, 2.5));
}
