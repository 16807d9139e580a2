#pragma once
/// \file
/// One run of the library's loop on a batch of digits, with everything chosen at run time.

#include "measurement.hpp"
#include "model.hpp"

#include <common/updates.hpp>

#include <pushforward/sample.hpp>

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>

namespace mnist {

using examples::policy_kind;
using examples::step_kind;
using examples::to_string;

struct steering_options : examples::update_options {
  examples::any_path::sampling sampling;
  std::uint64_t seed = 0;
  std::uint64_t first_sample = 0; ///< global index of the batch's first digit
};

struct steered {
  at::Tensor digits; ///< images [N, 1, 32, 32]
  at::Tensor start;  ///< what the run started from, as images
  pushforward::sample_result<at::Tensor> run;
  double seconds = 0.0;
  double processor_seconds = 0.0;
  std::size_t peak_bytes = 0;
};

/// Runs the loop; the latent model's digits are decoded at the end. `go_on` is told the share done and stops
/// the run by answering false.
/// \throws pushforward::bad_option for a policy that the model cannot serve
steered steer(const digit_model& m, const measurement& known, const steering_options& o,
              const std::function<bool(double done)>& go_on);

} // namespace mnist
