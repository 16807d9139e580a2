#pragma once
/// \file
/// What a run wrote down, as JSON.

#include "choose.hpp"
#include "steering.hpp"

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace mnist {

/// What was measured of a batch of results.
struct scores {
  std::vector<double> rmse; ///< of the constraint, over the measured values
  std::vector<double> psnr; ///< to the truth, in dB
  std::vector<int> read;    ///< what the judge reads
};

scores score(const steered& s, const measurement& known, const chosen_digits& digits, const judge& j);

/// The options of a run by their names on the command line.
nlohmann::ordered_json settings(const std::string& task, const digit_model& m, const steering_options& o);

/// Passes, time, memory.
nlohmann::ordered_json costs(const steered& s);

/// Per inner iteration: root mean square over the measured values, averaged over the batch.
nlohmann::ordered_json error_curve(const steered& s, const measurement& known);

/// All of it, with every loss.
nlohmann::ordered_json trace(const std::string& task, const digit_model& m, const steering_options& o,
                             const steered& s, const scores& r, const chosen_digits& digits);

} // namespace mnist
