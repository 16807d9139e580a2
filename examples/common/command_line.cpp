#include "command_line.hpp"

#include "console.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iostream>
#include <string_view>

namespace examples {

namespace {

/// In the fewest digits that tell it from others.
std::string text_of(double value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

/// Of a list that took the word meant as the picture: how to end it.
std::string end_of_list(const CLI::App* app) {
  if (app == nullptr) return {};
  const auto arguments =
      app->get_options([](const CLI::Option* o) { return o->get_positional() && o->count() == 0; });
  if (arguments.empty()) return {};
  const std::string name = arguments.front()->get_name();
  return "; a list goes on to the next option: put the " + name + " before it, or -- between";
}

/// Without the sign that `from_chars` does not take.
std::string_view without_plus(std::string_view text) {
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
  return text;
}

/// Bytes of the character at the start of a text; 0 where it is no UTF-8.
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const std::size_t n = byte(0) < 0x80 ? 1 : byte(0) < 0xC2 ? 0 : byte(0) < 0xE0 ? 2 : byte(0) < 0xF0 ? 3 : 4;
  if (n == 0 || n > text.size() || byte(0) > 0xF4) return 0;
  for (std::size_t i = 1; i < n; ++i)
    if ((byte(i) & 0xC0) != 0x80) return 0;
  // longer than need be, a surrogate, or beyond the last character
  const bool wrong = (byte(0) == 0xE0 && byte(1) < 0xA0) || (byte(0) == 0xED && byte(1) > 0x9F) ||
                     (byte(0) == 0xF0 && byte(1) < 0x90) || (byte(0) == 0xF4 && byte(1) > 0x8F);
  return wrong ? 0 : n;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t n = utf8_length(text);
    if (n == 0) return false;
    text.remove_prefix(n);
  }
  return true;
}

} // namespace

std::string words_for(const numbers& n) {
  if (std::isfinite(n.least) && std::isfinite(n.most))
    return (n.with_least ? "in [" : "in (") + text_of(n.least) + ", " + text_of(n.most) +
           (n.with_most ? "]" : ")");
  if (n.least == 0.0) return n.with_least ? "0 or positive" : "positive";
  return {};
}

bool taken_by(const numbers& n, double value) {
  return (n.with_least ? value >= n.least : value > n.least) &&
         (n.with_most ? value <= n.most : value < n.most);
}

std::string shown(const std::string& text) {
  return text.empty() || text.find_first_of(" \t\n\r") != std::string::npos ? '"' + text + '"' : text;
}

std::string counted(std::uint64_t count, const std::string& one, const std::string& many) {
  return std::to_string(count) + ' ' + (count == 1 ? one : many);
}

std::optional<double> number_of(const std::string& text) {
  const auto digits = without_plus(text);
  double value = 0.0;
  const auto [end, fault] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (fault != std::errc{} || end != digits.data() + digits.size() || !std::isfinite(value)) return {};
  return value;
}

namespace detail {

CLI::Validator only(const whole_numbers& taken, const CLI::App* list_of) {
  const std::string range = std::to_string(taken.least) + " to " + std::to_string(taken.most);
  return CLI::Validator(
      [taken, range, list_of](std::string& text) -> std::string {
        const auto digits = without_plus(text);
        std::uint64_t value = 0;
        const auto [end, fault] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
        if (fault != std::errc{} || end != digits.data() + digits.size() || value < taken.least ||
            value > taken.most)
          return "must be a whole number from " + range + ", not " + shown(text) +
                 (text.find_first_not_of("+-0123456789") == std::string::npos ? "" : end_of_list(list_of));
        text = std::to_string(value); // without leading zeros, which CLI11 would read as octal
        return {};
      },
      taken.most == any_seed.most ? "" : range);
}

CLI::Validator only(const numbers& taken, const CLI::App* list_of) {
  const std::string words = words_for(taken);
  return CLI::Validator(
      [taken, words, list_of](std::string& text) -> std::string {
        const auto value = number_of(text);
        if (!value) return "must be a finite number, not " + shown(text) + end_of_list(list_of);
        if (!taken_by(taken, *value)) return "must be " + words + ", not " + text;
        return {};
      },
      words);
}

} // namespace detail

CLI::Option* add_text(CLI::App& app, const std::string& name, std::string& value, const std::string& help) {
  return app.add_option(name, value, help)->check([](const std::string& text) {
    return is_utf8(text) ? std::string() : std::string("is not UTF-8");
  });
}

bool given(const CLI::App& app, const std::string& option) {
  const auto* found = app.get_option_no_throw(option);
  return found != nullptr && found->count() > 0;
}

void refuse_given(const CLI::App& app, std::initializer_list<const char*> options, const std::string& why) {
  for (const char* option : options)
    if (given(app, option)) throw pushforward::bad_option(std::string(option) + " has no effect " + why);
}

std::string name_of(const std::filesystem::path& path) {
  if (path.empty()) return {};
  auto whole = std::filesystem::absolute(path).lexically_normal();
  if (!whole.has_filename()) whole = whole.parent_path();
  return whole.has_filename() ? whole.filename().string() : whole.string();
}

int run_with(CLI::App& app, int argc, char** argv, const std::function<int()>& program) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e);
    std::string message = e.what();
    if (app.get_require_subcommand_min() > 0 && app.get_subcommands().empty()) {
      std::string list;
      for (const auto* sub : app.get_subcommands([](const CLI::App*) { return true; }))
        list += (list.empty() ? "" : ", ") + sub->get_name();
      const auto left = app.remaining();
      message = (left.empty() ? "a subcommand is needed" : shown(left.front()) + " is no subcommand") +
                "; there are " + list;
    }
    std::replace(message.begin(), message.end(), '\n', ' ');
    std::cerr << app.get_name() << ": " << message << "; see --help\n";
    return 2;
  }
  catch_interrupts();
  return run_program(app.get_name(), [&] {
    try {
      return program();
    } catch (const stopped_early&) {
      std::cerr << app.get_name() << ": stopped, nothing was written\n";
      return interrupted_status;
    }
  });
}

} // namespace examples
