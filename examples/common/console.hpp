#pragma once
/// \file
/// What every program here does with a terminal: a progress bar, Ctrl-C, and one-line errors.

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>

namespace examples {

/// Exit status of a run that Ctrl-C ended early.
inline constexpr int interrupted_status = 130;

/// From now on Ctrl-C (and SIGTERM) only raises `interrupted()`; a second one ends the program at once.
void catch_interrupts();
bool interrupted();

/// Thrown by a program that Ctrl-C ended before it had everything to write.
struct stopped_early {};
/// \throws stopped_early after Ctrl-C
void stop_if_interrupted();

/// One line that says how far a run is. A bar with the time left on a terminal; elsewhere a plain line, at
/// most one every ten seconds.
class progress_bar {
public:
  explicit progress_bar(std::string what) : what_{std::move(what)} {}
  ~progress_bar();
  progress_bar(const progress_bar&) = delete;
  progress_bar& operator=(const progress_bar&) = delete;

  /// `done` of `total`, with a few words on how it stands.
  void show(double done, double total, const std::string& state = "");
  /// Writes a line above the bar.
  void line(const std::string& text);

private:
  using clock = std::chrono::steady_clock;
  std::string what_;
  clock::time_point start_ = clock::now();
  clock::time_point last_{};
  double first_ = -1.0;
  std::size_t drawn_ = 0;
};

/// Runs a program: what it throws becomes one line on standard error and exit status 2.
int run_program(const std::string& name, const std::function<int()>& program);

} // namespace examples
