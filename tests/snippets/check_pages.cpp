// Checks README.md and the pages of docs/ against the repository they stand in.
//
//   check_pages <root>                          code, links and the references in the headers' messages
//   check_pages <root> <name> <program> ...     blocks of output
//
// A block of C++ follows a line `<!-- from tests/snippets/FILE: REGION -->` (or benchmarks/FILE) and equals
// that region of the file, which stands between two lines `//! [REGION]`. A block of output follows `<!--
// printed by NAME -->` and equals what the program prints.

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

namespace fs = std::filesystem;
using lines = std::vector<std::string>;

namespace {

int faults = 0;

void fault(const fs::path& page, std::size_t line, const std::string& what) {
  std::cerr << page.string() << ':' << line + 1 << ": " << what << '\n';
  ++faults;
}

lines split(std::istream& in) {
  lines result;
  for (std::string line; std::getline(in, line);) result.push_back(line);
  return result;
}

lines read(const fs::path& file) {
  std::ifstream in(file);
  return split(in);
}

/// The lines between two marks, without the indentation they share.
lines region(const fs::path& file, const std::string& name) {
  lines found;
  bool inside = false;
  for (const auto& line : read(file)) {
    if (line.find("//! [" + name + "]") != std::string::npos)
      inside = !inside;
    else if (inside && line.find("//! [") == std::string::npos)
      found.push_back(line);
  }
  std::size_t indent = std::string::npos;
  for (const auto& line : found)
    if (!line.empty()) indent = std::min(indent, line.find_first_not_of(' '));
  for (auto& line : found) line = line.empty() ? line : line.substr(indent);
  return found;
}

/// The lines of the fenced block whose opening fence is line `at`.
lines block(const lines& page, std::size_t at) {
  lines found;
  for (++at; at < page.size() && page[at] != "```"; ++at) found.push_back(page[at]);
  return found;
}

void compare(const fs::path& page, std::size_t at, const lines& is, const lines& wanted,
             const std::string& source) {
  for (std::size_t i = 0; i < std::max(is.size(), wanted.size()); ++i) {
    const std::string left = i < is.size() ? is[i] : "(nothing)";
    const std::string right = i < wanted.size() ? wanted[i] : "(nothing)";
    if (left == right) continue;
    fault(page, at + 1 + i, "\"" + left + "\", but " + source + " has \"" + right + "\"");
    return;
  }
}

void check_code(const fs::path& root, const fs::path& page, const lines& text) {
  static const std::regex mark("<!-- from ((?:tests/snippets|benchmarks)/[a-z_.]+): ([a-z_]+) -->");
  std::string before;
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::smatch match;
    const bool marked = std::regex_match(before, match, mark);
    const bool code = text[i] == "```cpp";
    if (marked && !code) fault(page, i, "a mark without a block of C++ after it");
    if (code && !marked) fault(page, i, "C++ that is cut from no test");
    if (code && marked) {
      const auto wanted = region(root / match[1].str(), match[2]);
      if (wanted.empty()) fault(page, i, match[1].str() + " has no region " + match[2].str());
      compare(page, i, block(text, i), wanted, match[1]);
    }
    before = text[i];
  }
}

void check_links(const fs::path& page, const lines& text) {
  static const std::regex link(R"(\]\(([^)#\s]+)(#[^)]*)?\))");
  bool code = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i].starts_with("```")) code = !code;
    if (code) continue;
    for (std::sregex_iterator at(text[i].begin(), text[i].end(), link), end; at != end; ++at) {
      const std::string target = (*at)[1];
      if (target.find("://") == std::string::npos && !fs::exists(page.parent_path() / target))
        fault(page, i, "the link leads nowhere: " + target);
    }
  }
}

/// Pages that a header's message or comment names.
void check_references(const fs::path& root, const fs::path& header) {
  static const std::regex name("docs/[a-z/-]+\\.md");
  const auto text = read(header);
  for (std::size_t i = 0; i < text.size(); ++i)
    for (std::sregex_iterator at(text[i].begin(), text[i].end(), name), end; at != end; ++at)
      if (!fs::exists(root / at->str())) fault(header, i, "there is no page " + at->str());
}

void check_output(const fs::path& page, const lines& text, const std::string& name, const lines& printed) {
  for (std::size_t i = 0; i + 1 < text.size(); ++i)
    if (text[i] == "<!-- printed by " + name + " -->") {
      compare(page, i + 1, block(text, i + 1), printed, name);
      return;
    }
}

lines output_of(const std::string& program) {
  std::FILE* pipe = popen(("'" + program + "'").c_str(), "r");
  std::string text;
  for (int c; pipe && (c = std::fgetc(pipe)) != EOF;) text += static_cast<char>(c);
  if (!pipe || pclose(pipe) != 0) {
    std::cerr << program << " failed\n";
    ++faults;
  }
  std::istringstream in(text);
  auto printed = split(in);
  for (auto& line : printed)
    line.erase(line.find_last_not_of(' ') + 1); // pages hold no space at a line's end
  return printed;
}

std::vector<fs::path> files_below(const fs::path& folder, const char* extension) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.path().extension() == extension) found.push_back(entry.path());
  return found;
}

} // namespace

int main(int count, char** arguments) {
  if (count < 2) return std::cerr << "usage: check_pages <root> [<name> <program>]...\n", 2;
  const fs::path root = arguments[1];
  auto pages = files_below(root / "docs", ".md");
  for (const char* name : {"README.md", "CHANGELOG.md", "CONTRIBUTING.md"}) pages.push_back(root / name);

  if (count == 2) {
    for (const auto& page : pages) {
      const auto text = read(page);
      if (text.empty()) fault(page, 0, "is missing or empty");
      check_code(root, page, text);
      check_links(page, text);
    }
    for (const char* folder : {"include", "adapters"})
      for (const auto& header : files_below(root / folder, ".hpp")) check_references(root, header);
  }
  for (int i = 2; i + 1 < count; i += 2) {
    const auto printed = output_of(arguments[i + 1]);
    std::size_t blocks = 0;
    for (const auto& page : pages) {
      const auto text = read(page);
      for (const auto& line : text)
        blocks += line == "<!-- printed by " + std::string(arguments[i]) + " -->" ? 1U : 0U;
      check_output(page, text, arguments[i], printed);
    }
    if (blocks == 0) {
      std::cerr << "no page shows what " << arguments[i] << " prints\n";
      ++faults;
    }
  }
  return faults == 0 ? 0 : 1;
}
