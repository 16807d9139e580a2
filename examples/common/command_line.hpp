#pragma once
/// \file
/// How every program here starts and ends, and how its options are read.

#include <pushforward/error.hpp>

#include <CLI/CLI.hpp>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

namespace examples {

/// Parses and runs; a bad command line, like anything thrown, is one line on standard error and status 2.
/// After `stopped_early` the line says that nothing was written.
int run_with(CLI::App& app, int argc, char** argv, const std::function<int()>& program);

/// Which whole numbers an option takes, both ends included.
struct whole_numbers {
  std::uint64_t least;
  std::uint64_t most;
};
inline constexpr whole_numbers any_seed{0, std::numeric_limits<std::uint64_t>::max()};
inline constexpr whole_numbers step_counts{1, 10'000};
inline constexpr whole_numbers iteration_counts{1, 1'000};
inline constexpr whole_numbers krylov_counts{1, 16};

/// Which finite numbers an option takes.
struct numbers {
  double least = -std::numeric_limits<double>::infinity();
  double most = std::numeric_limits<double>::infinity();
  bool with_least = true, with_most = true; ///< whether the ends themselves are taken
};
inline constexpr numbers any_number{};
inline constexpr numbers positive{.least = 0.0, .with_least = false};
inline constexpr numbers not_negative{.least = 0.0};
/// Rates and step sizes: what float32 takes, and more than any run can use.
inline constexpr numbers rates{.least = 1e-9, .most = 1e6};
/// Probes of forward differences, in units of values of size 1: from where rounding in float32 is some
/// percent of the difference.
inline constexpr numbers probes{.least = 1e-5, .most = 100.0};
/// [0, 1]
inline constexpr numbers shares{.least = 0.0, .most = 1.0};
/// (0, 1]
inline constexpr numbers positive_shares{.least = 0.0, .most = 1.0, .with_least = false};
/// [0, 1)
inline constexpr numbers shares_below_1{.least = 0.0, .most = 1.0, .with_most = false};

/// A finite number in decimal with nothing before or after it; else nothing.
std::optional<double> number_of(const std::string& text);

/// What `numbers` are: "positive", "in [0, 1]"; empty where all are taken.
std::string words_for(const numbers& n);
bool taken_by(const numbers& n, double value);

/// A value of the command line as a message shows it: in quotes where it is empty or has blanks.
std::string shown(const std::string& text);

/// "1 pass", "2 passes".
std::string counted(std::uint64_t count, const std::string& one, const std::string& many);

namespace detail {

/// Refuse all but these numbers, in decimal: 010 is ten.
/// \param list_of the program, where the option takes a list; may be null
CLI::Validator only(const whole_numbers& taken, const CLI::App* list_of);
CLI::Validator only(const numbers& taken, const CLI::App* list_of);

template <class T> struct scalar { using type = T; };
template <class T>
requires requires { typename T::value_type; }
struct scalar<T> {
  using type = typename T::value_type;
};

template <class T> inline constexpr bool is_list = false;
template <class T> inline constexpr bool is_list<std::vector<T>> = true;
template <class T> inline constexpr bool may_be_open = false;
template <class T> inline constexpr bool may_be_open<std::optional<T>> = true;

} // namespace detail

/// An option whose value is a number, an optional one, an array or a list of them. Text that is no number,
/// NaN, infinity and numbers that are not taken are refused by the option's name. \param taken
/// `whole_numbers` for a value of an integer type, `numbers` for one of a floating type
template <class T, class Taken>
CLI::Option* add_number(CLI::App& app, const std::string& name, T& value, const Taken& taken,
                        const std::string& help) {
  static_assert(std::is_same_v<Taken, whole_numbers> == std::is_integral_v<typename detail::scalar<T>::type>);
  CLI::Option* option = app.add_option(name, value, help);
  option->transform(detail::only(taken, detail::is_list<T> ? &app : nullptr));
  if constexpr (!detail::may_be_open<T>) option->capture_default_str();
  return option;
}

/// An option whose value names a file, a folder or a device, or is a list of such names. An empty one is
/// refused: it would read as none.
template <class T>
CLI::Option* add_name(CLI::App& app, const std::string& name, T& value, const std::string& help) {
  return app.add_option(name, value, help)->check([](const std::string& text) {
    return text.empty() ? std::string("must not be empty") : std::string();
  });
}

/// An option whose value is a text, which must be UTF-8 and may be empty.
CLI::Option* add_text(CLI::App& app, const std::string& name, std::string& value, const std::string& help);

/// An option that takes one of the words; the help lists them, and the standard one.
template <class Enum>
void add_choice(CLI::App& app, const std::string& name, Enum& value, const std::map<std::string, Enum>& words,
                const std::string& help, const std::string& group) {
  std::string list, standard;
  for (const auto& [word, meaning] : words) {
    list += (list.empty() ? "" : ", ") + word;
    if (meaning == value) standard = word;
  }
  app.add_option_function<std::string>(
         name,
         [&value, words, name, list](const std::string& word) {
           const auto found = words.find(word);
           if (found == words.end()) throw CLI::ValidationError(name, shown(word) + " is not one of " + list);
           value = found->second;
         },
         help + ": " + list)
      ->type_name("WORD [" + standard + "]")
      ->group(group);
}

/// Whether the command line had the option.
bool given(const CLI::App& app, const std::string& option);

/// For options that do nothing as the others stand: refuses the first of them that the command line had, with
/// "OPTION has no effect " and `why`, which says what to do, too. \throws pushforward::bad_option
void refuse_given(const CLI::App& app, std::initializer_list<const char*> options, const std::string& why);

/// f(), with the option's name in front of what it throws as `bad_option`.
template <class F> decltype(auto) as_option(const std::string& option, F&& f) {
  try {
    return f();
  } catch (const pushforward::bad_option& e) {
    throw pushforward::bad_option(option + ": " + e.what());
  }
}

/// The last part of a path, as a report names it: that of the folder itself for "folder/" and ".".
std::string name_of(const std::filesystem::path& path);

} // namespace examples
