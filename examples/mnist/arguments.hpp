#pragma once
/// \file
/// The command line that the programs share.

#include "steering.hpp"

#include <common/command_line.hpp>
#include <common/files.hpp>

#include <CLI/CLI.hpp>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace mnist {

struct arguments {
  model_kind model = model_kind::ddpm;
  std::filesystem::path weights;
  std::filesystem::path data;
  std::int64_t first = 0;
  std::int64_t batch = 1;
  std::filesystem::path out;
  steering_options steering;

  /// By default the rule that docs/policies-benchmark.md recommends.
  arguments() { steering.policy = policy_kind::posterior_step; }
};

using examples::policies;
using examples::run_with;
using examples::stopped_early;

/// The digits and the weights that the arguments name.
std::vector<examples::input_file> inputs_of(const arguments& a);

/// More than any set of digits has.
inline constexpr examples::whole_numbers first_digits{0, 1'000'000'000};
inline constexpr examples::whole_numbers digit_counts{1, 1'000'000'000};
inline constexpr examples::whole_numbers batch_sizes{1, 10'000};

/// --model, --weights, --data, --first, --seed.
void add_model_options(CLI::App& app, arguments& a);
/// --policy, --step-size, --steps, --K and the other options of a run.
void add_steering_options(CLI::App& app, arguments& a);
/// Of those alone that say how the sampler goes: --steps, --start, --eta, --one-step-beta, --renoise.
void add_sampling_options(CLI::App& app, arguments& a);

/// Refuse those of the options that were given and would do nothing, and a policy that the model cannot
/// serve. \throws pushforward::bad_option
void check_steering_options(const CLI::App& app, const arguments& a);
void check_sampling_options(const CLI::App& app, const arguments& a);
void check_policy(const arguments& a, policy_kind policy);

} // namespace mnist
