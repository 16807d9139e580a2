#pragma once
// How the programs on checkpoints are run: on a small random one that programs.py wrote.

#include <support/catch.hpp>
#include <support/oracle.hpp>
#include <support/program.hpp>
#include <support/scratch_folder.hpp>

#include <model.hpp>
#include <pictures.hpp>

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

namespace testing_support {

using namespace stable_diffusion;
namespace fs = std::filesystem;
using nlohmann::json;

inline const std::string programs = PROGRAM_FOLDER "/pushforward_";

using words = std::vector<std::string>;

inline words joined(words a, const words& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

inline bool given(const words& arguments, const std::string& option) {
  return std::find(arguments.begin(), arguments.end(), option) != arguments.end();
}

/// A run's files, and what the program said.
struct outcome {
  finished ended;
  fs::path name;

  json trace() const { return json::parse(read_bytes(name.string() + ".json")); }
  /// What --save-latents wrote: `latents` or `start`.
  at::Tensor latents(const std::string& which = "latents") const {
    return pushforward::libtorch::read_tensor(pushforward::safetensors::file(name.string() + ".safetensors"),
                                              which);
  }
  at::Tensor picture(const std::string& which = "") const {
    return image_of(read_picture(name.string() + which + ".png"));
  }
  bool has(const std::string& end) const { return fs::exists(name.string() + end); }
};

/// Runs a program on the small checkpoint, unless the arguments name another.
inline outcome run(const scratch_folder& folder, const fs::path& oracle, const std::string& program,
                   words arguments) {
  const fs::path name = folder / "out";
  if (!given(arguments, "--model")) arguments = joined({"--model", oracle / "checkpoint"}, arguments);
  return {run_program(folder, programs + program, joined({"--out", name}, arguments)), name};
}

/// The small checkpoint as the programs load it, for the library's own loop.
inline latent_model loaded(const fs::path& oracle) {
  model_arguments a;
  a.checkpoint = oracle / "checkpoint";
  return latent_model(a, [](const std::string&) {});
}

inline at::Tensor expected(const fs::path& oracle, const std::string& file, const std::string& name) {
  return pushforward::libtorch::read_tensor(pushforward::safetensors::file(oracle / file), name);
}

inline words deterministic(const fs::path& oracle, const std::string& file) {
  return {"--eta", "0", "--steps", "4", "--K", "3", "--save-latents", "--latents", oracle / file};
}

} // namespace testing_support
