#pragma once
/// \file
/// What the programs that run a `policies::bench` take and do alike.

#include "policies.hpp"

#include <common/command_line.hpp>
#include <common/console.hpp>
#include <common/device.hpp>
#include <common/files.hpp>

#include <zlib.h>

#include <iostream>

namespace policies {

/// Two time steps of the rules that cost most.
inline constexpr examples::whole_numbers budgets{10, 100'000};
/// How many images, of which distances take two.
inline constexpr examples::whole_numbers image_counts{2, 100'000};

/// Adds `--device`. \param device refers to the value until the program ends
inline void add_device_option(CLI::App& app, std::string& device) {
  examples::add_name(app, "--device", device,
                     "where the network runs: cpu, cuda, cuda:N; the rest stays here [cpu]");
}

/// Adds the options of every bench, and `--out`.
inline void add_bench_options(CLI::App& app, options& o, std::filesystem::path& out,
                              const std::vector<std::string>& tasks) {
  using namespace examples;
  add_number(app, "--passes", o.passes, budgets, "budgets, a backward pass counted twice");
  add_number(app, "--tuned-at", o.tuned_at, budgets,
             "budgets at which settings are chosen; others take those of the nearest");
  add_name(app, "--tasks", o.tasks, "some of " + listed(tasks) + " [all]");
  add_name(app, "--methods", o.methods,
           "some of " + listed(method_names) +
               " [all], or of the variants of the posterior step: " + listed(variant_names));
  app.add_flag("--variants", o.variants, "the variants of the posterior step, too");
  add_name(app, "--out", out,
           "file of lines; what it holds already is not measured again [" + out.string() + "]");
}

/// CRC-32 of the files, in hexadecimal: tells them from others. \throws pushforward::bad_file
inline std::string checksum(const std::vector<examples::input_file>& files) {
  uLong crc = 0;
  for (const auto& file : files) {
    const std::string bytes = pf::safetensors::regular_file(file.path).read(std::uint64_t{1} << 30);
    crc = ::crc32_z(crc, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
  }
  std::ostringstream text;
  text << std::hex << crc;
  return text.str();
}

/// `run_into`, which Ctrl-C ends after the next line. \returns the program's status
template <class Bench>
int run_until_interrupted(const CLI::App& app, const std::filesystem::path& out, const json& of,
                          const Bench& b, const samples& tuned, const samples& tested) {
  try {
    run_into(out, of, b, tuned, tested, examples::stop_if_interrupted);
  } catch (const examples::stopped_early&) {
    std::cerr << app.get_name() << ": stopped; the same command goes on from here\n";
    return examples::interrupted_status;
  }
  return 0;
}

} // namespace policies
