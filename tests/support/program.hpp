#pragma once
// Programs, run as their users run them.

#include <support/scratch_folder.hpp>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

extern char** environ;

namespace testing_support {

/// Starts a program; both its outputs go to a file.
inline pid_t start_program(const std::string& path, std::vector<std::string> arguments,
                           const std::filesystem::path& output) {
  arguments.insert(arguments.begin(), path);
  std::vector<char*> list;
  for (auto& a : arguments) list.push_back(a.data());
  list.push_back(nullptr);
  ::posix_spawn_file_actions_t files;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawn_file_actions_addopen(&files, 1, output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  ::posix_spawn_file_actions_adddup2(&files, 1, 2);
  pid_t id = 0;
  const int fault = ::posix_spawn(&id, path.c_str(), &files, nullptr, list.data(), environ);
  ::posix_spawn_file_actions_destroy(&files);
  if (fault != 0) throw std::runtime_error("cannot start " + path);
  return id;
}

/// Waits for its end; minus the signal that ended it.
inline int status_of(pid_t id) {
  int status = 0;
  ::waitpid(id, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

struct finished {
  int status = 0;
  std::string said{}; ///< on both outputs
};

inline finished run_program(const scratch_folder& folder, const std::string& path,
                            std::vector<std::string> arguments) {
  const auto output = folder / "output.txt";
  const int status = status_of(start_program(path, std::move(arguments), output));
  return {status, read_bytes(output)};
}

/// Whether a program has set out to hear a signal.
inline bool catches(pid_t id, int number) {
  std::ifstream status("/proc/" + std::to_string(id) + "/status");
  for (std::string line; std::getline(status, line);)
    if (line.rfind("SigCgt:", 0) == 0) return (std::stoull(line.substr(7), nullptr, 16) >> (number - 1)) & 1;
  return false;
}

/// Runs a program that gets Ctrl-C once it has said `shown`.
inline finished interrupted_run(const scratch_folder& folder, const std::string& path,
                                const std::vector<std::string>& arguments, const std::string& shown) {
  const auto output = folder / "output.txt";
  const auto id = start_program(path, arguments, output);
  const auto patience = std::chrono::steady_clock::now() + std::chrono::minutes(2);
  while (read_bytes(output).find(shown) == std::string::npos && std::chrono::steady_clock::now() < patience)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  ::kill(id, SIGINT);
  const int status = status_of(id);
  return {status, read_bytes(output)};
}

/// While it lives, programs that are started find no font.
class no_fonts {
public:
  no_fonts() {
    write_bytes(folder_ / "fonts.conf", "<fontconfig></fontconfig>");
    ::setenv("FONTCONFIG_FILE", (folder_ / "fonts.conf").c_str(), 1);
  }
  ~no_fonts() { ::unsetenv("FONTCONFIG_FILE"); }
  no_fonts(const no_fonts&) = delete;
  no_fonts& operator=(const no_fonts&) = delete;

private:
  scratch_folder folder_;
};

/// Options with a number, by the help of a program: those of type INT, UINT or FLOAT, or an array of them.
/// What the help says of each is left behind in `seen`, and what is there already is left out.
inline std::vector<std::string> options_with_numbers(const std::string& help, std::set<std::string>& seen) {
  std::vector<std::string> options;
  std::istringstream lines(help);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string option, type;
    if (words >> option >> type && option.rfind("--", 0) == 0 &&
        (type.find("INT") != std::string::npos || type.find("FLOAT") != std::string::npos) &&
        seen.insert(line).second)
      options.push_back(option);
  }
  return options;
}

inline bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

} // namespace testing_support
