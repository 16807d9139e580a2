#include "report.hpp"

#include "drawing.hpp"

#include <algorithm>

namespace examples {

namespace {

const char* const style = R"(
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1080px; margin: 2em auto; padding: 0 1em; color: #222;
  background: #fff; overflow-wrap: anywhere; }
h1 { font-size: 1.7em; line-height: 1.25; } h2 { margin-top: 2em; border-bottom: 1px solid #ddd; }
p, td { white-space: pre-wrap; } .note { padding: .6em 1em; border-left: 4px solid #d55e00; background: #fdf3ec; }
.row { display: flex; flex-wrap: wrap; gap: 18px; align-items: flex-start; }
figure { margin: 0; max-width: 100%; } figcaption { font-size: 14px; color: #555; }
img, svg { display: block; max-width: 100%; height: auto; }
table { border-collapse: collapse; font-size: 14px; }
th, td { padding: 4px 12px 4px 0; border-bottom: 1px solid #e5e5e5; text-align: left; vertical-align: top; }
th { font-weight: 600; min-width: 8em; }
)";

std::string element(const std::string& open, const std::string& close, const std::string& words) {
  return words.empty() ? "" : open + escaped(words) + close + "\n";
}

std::string figure(const report_picture& p) {
  const std::string size =
      "width=\"" + std::to_string(p.image.width) + "\" height=\"" + std::to_string(p.image.height) + "\"";
  // the caption is no wider than its picture, unless that is narrow
  return "<figure style=\"width:" + std::to_string(std::max<std::size_t>(p.image.width, 160)) + "px\"><img " +
         size + " alt=\"" + escaped(p.caption) + "\" src=\"" + data_url(p.image) + "\"/>" +
         element("<figcaption>", "</figcaption>", p.caption) + "</figure>\n";
}

std::string rows(const std::string& title, const report::table& table) {
  if (table.empty()) return "";
  std::string text = "<h2>" + title + "</h2>\n<table>\n";
  for (const auto& [name, value] : table)
    text += "<tr><th scope=\"row\">" + escaped(name) + "</th><td>" + escaped(value) + "</td></tr>\n";
  return text + "</table>\n";
}

} // namespace

std::string html_of(const report& r) {
  // the policy allows nothing from outside, whatever should get into the page
  std::string page = "<!DOCTYPE html>\n<html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\">\n<head>\n"
                     "<meta charset=\"utf-8\"/>\n"
                     "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
                     "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
                     "img-src data:; style-src 'unsafe-inline'\"/>\n"
                     "<link rel=\"icon\" href=\"data:,\"/>\n<title>" +
                     escaped(r.title) + "</title>\n<style>" + style + "</style>\n</head>\n<body>\n";
  page += element("<h1>", "</h1>", r.title);
  page += element("<p class=\"note\">", "</p>", r.note);
  page += element("<p>", "</p>", r.summary);
  if (!r.pictures.empty()) {
    page += "<h2>Pictures</h2>\n<div class=\"row\">\n";
    for (const auto& p : r.pictures) page += figure(p);
    page += "</div>\n";
  }
  page += rows("Results", r.results);
  if (!r.plots.empty()) {
    page += "<h2>Curves</h2>\n<div class=\"row\">\n";
    for (const auto& plot : r.plots) page += plot;
    page += "</div>\n";
  }
  page += rows("Cost", r.costs) + rows("Settings", r.settings);
  return page + "</body>\n</html>\n";
}

} // namespace examples
