#pragma once
/// \file
/// One run of the library's loop on a batch of digits, with everything chosen at run time.

#include "measurement.hpp"
#include "model.hpp"

#include <pushforward/sample.hpp>

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>

namespace mnist {

enum class policy_kind {
  inexact_newton,
  forward_mode_newton,
  gradient_descent,
  exact_newton,
  vae_newton,
  none
};
enum class step_kind { infinity_norm, constant, spectral };

std::string to_string(policy_kind kind);
std::string to_string(step_kind kind);

struct steering_options {
  policy_kind policy = policy_kind::inexact_newton;
  step_kind step_size = step_kind::infinity_norm;
  std::size_t iterations = 5; ///< K
  double lr = 0.5;            ///< rate of the infinity norm, lambda of constant, c of spectral
  double lr_last = 0.02;      ///< at the last inner iteration; spectral has one c
  double probe = 0.0;         ///< of the forward differences; 0 is automatic
  double cutoff = 0.5;        ///< of exact Newton
  either_path::sampling sampling;
  std::uint64_t seed = 0;
  std::uint64_t first_sample = 0; ///< global index of the batch's first digit
  double tolerance = -1.0;
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
