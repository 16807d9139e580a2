#include "console.hpp"

#include <pushforward/error.hpp>

#include <c10/util/Exception.h>

#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <iostream>
#include <string>

namespace examples {

namespace {

volatile std::sig_atomic_t raised = 0;

void on_signal(int number) {
  if (raised) {
    std::signal(number, SIG_DFL);
    std::raise(number);
  }
  raised = 1;
}

std::string clock_text(double seconds) {
  const auto whole = static_cast<long>(seconds + 0.5);
  char text[32];
  if (whole >= 3600)
    std::snprintf(text, sizeof text, "%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
  else
    std::snprintf(text, sizeof text, "%ld:%02ld", whole / 60, whole % 60);
  return text;
}

} // namespace

void catch_interrupts() {
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
}

bool interrupted() { return raised != 0; }

void stop_if_interrupted() {
  if (interrupted()) throw stopped_early{};
}

progress_bar::~progress_bar() {
  if (drawn_ > 0) std::cerr << '\n';
}

void progress_bar::show(double done, double total, const std::string& state) {
  const auto now = clock::now();
  if (first_ < 0.0) first_ = done;
  const bool terminal = ::isatty(STDERR_FILENO) != 0;
  const bool due =
      now - last_ >= (terminal ? std::chrono::milliseconds(100) : std::chrono::milliseconds(10000));
  if (!due && done < total) return;
  last_ = now;
  const double share = total > 0.0 ? std::clamp(done / total, 0.0, 1.0) : 1.0;
  const double spent = std::chrono::duration<double>(now - start_).count();
  const double left = done > first_ ? spent * (total - done) / (done - first_) : 0.0;
  char percent[16];
  std::snprintf(percent, sizeof percent, "%3.0f %%", 100.0 * share);
  std::string text = what_ + " ";
  if (terminal) {
    constexpr std::size_t width = 30;
    const auto filled = static_cast<std::size_t>(share * static_cast<double>(width));
    text += '[';
    text.append(filled, '#').append(width - filled, '.').append("] ");
  }
  text += percent;
  if (done >= total)
    text += ", " + clock_text(spent);
  else if (done > first_)
    text += ", " + clock_text(left) + " left";
  if (!state.empty()) text += "  " + state;
  if (terminal) {
    const std::size_t size = text.size();
    std::cerr << '\r' << text << std::string(drawn_ > size ? drawn_ - size : 0, ' ') << std::flush;
    drawn_ = size;
  } else {
    std::cerr << text << '\n';
  }
}

void progress_bar::line(const std::string& text) {
  if (drawn_ > 0) std::cerr << '\r' << std::string(drawn_, ' ') << '\r';
  drawn_ = 0;
  std::cerr << text << '\n';
}

int run_program(const std::string& name, const std::function<int()>& program) {
  std::signal(SIGXFSZ, SIG_IGN); // a limit on the size of files is an error of the write
  std::string message;
  try {
    return program();
  } catch (const pushforward::error& e) {
    message = e.what();
  } catch (const c10::Error& e) {
    message = e.what_without_backtrace();
  } catch (const std::exception& e) {
    message = e.what();
  }
  for (const char* sign : {"allocate memory", "not enough memory", "out of memory", "bad_alloc"})
    if (message.find(sign) != std::string::npos) {
      message =
          "there is not enough memory: close other programs, or ask for less (smaller pictures, fewer at "
          "once, a smaller type): " +
          message;
      break;
    }
  std::replace(message.begin(), message.end(), '\n', ' ');
  std::cerr << name << ": " << message << '\n';
  return 2;
}

} // namespace examples
