#include "command_line.hpp"

#include "console.hpp"

#include <algorithm>
#include <iostream>

namespace examples {

int run_with(CLI::App& app, int argc, char** argv, const std::function<int()>& program,
             const std::function<std::string()>& kept) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e);
    std::string message = e.what();
    std::replace(message.begin(), message.end(), '\n', ' ');
    std::cerr << app.get_name() << ": " << message << "; see --help\n";
    return 2;
  }
  catch_interrupts();
  return run_program(app.get_name(), [&] {
    try {
      return program();
    } catch (const stopped_early&) {
      std::cerr << app.get_name() << ": stopped" << kept() << '\n';
      return interrupted_status;
    }
  });
}

} // namespace examples
