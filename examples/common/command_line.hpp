#pragma once
/// \file
/// How every program here starts and ends.

#include <CLI/CLI.hpp>

#include <functional>
#include <string>

namespace examples {

/// Thrown by a program that Ctrl-C ended before it had everything to write.
struct stopped_early {};

/// Parses and runs; a bad command line, like anything thrown, is one line on standard error and status 2.
/// After `stopped_early` the line is "stopped" and `kept`.
int run_with(
    CLI::App& app, int argc, char** argv, const std::function<int()>& program,
    const std::function<std::string()>& kept = [] { return std::string(", nothing was written"); });

} // namespace examples
