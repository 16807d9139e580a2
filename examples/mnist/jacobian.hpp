#pragma once
/// \file
/// Looks at J = d x0 / d x_t of a trained network at one digit.

#include "model.hpp"

#include <common/spectrum.hpp>

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace mnist {

/// A direction in x_t, and what a step of size 1 along it does to the clean estimate.
struct tried_direction {
  std::string name;      ///< "J e", "J^-1 e", "J^T e"
  std::string scaling;   ///< what it was divided by
  at::Tensor direction;  ///< as scaled
  at::Tensor after;      ///< x0(x_t + direction)
  at::Tensor change;     ///< after - before
  double at_pixel = 0.0; ///< the change at the pixel of the error
  double norm = 0.0;     ///< of the change
  double cosine = 0.0;   ///< of the angle to J e
  double cutoff = 0.0;   ///< of J^-1 e: singular values up to this share of the largest count as 0
  std::size_t kept = 0;  ///< of J^-1 e: the singular values above
};

struct directions {
  double time = 0.0;
  at::Tensor noisy; ///< x_t
  at::Tensor before;
  at::Tensor error;
  std::vector<tried_direction> tried;  ///< J e, J^-1 e for each cut-off unless stopped before it, J^T e
  std::vector<double> singular_values; ///< of J, largest first; none where they were not reached
  std::size_t passes = 0;
  std::size_t backward = 0;
  bool completed = false; ///< not stopped early
};

struct directions_options {
  double time = 500.0;
  std::int64_t row = 16, column = 16;    ///< of the pixel with e = 1
  double quantile = 0.99;                ///< of |J e|, by which J e is divided
  std::vector<double> cutoffs{0.5, 0.1}; ///< of the least squares, in [0, 1), of the largest singular value
  std::uint64_t seed = 0;
};

/// J e, J^-1 e and J^T e for an error at one pixel: by a forward difference, from the dense Jacobian by
/// forward differences, and by a backward pass. `image` is [1, 1, 32, 32]. `tell` hears what is next and
/// which share of the dense Jacobian is done; when it throws `examples::stopped_early`, what there is is
/// returned. \throws pushforward::bad_option for a latent model, a pixel that is not there, or a bad cut-off
directions directions_at(const digit_model& m, const at::Tensor& image, const directions_options& o,
                         const std::function<void(const std::string& what, double done)>& tell);

/// One of `examples::spectrum_operators()` at one time, from `krylov` Arnoldi steps that start at the clean
/// estimate. `tell` as in `examples::spectrum_of`.
examples::spectrum spectrum_at(const digit_model& m, const at::Tensor& image, double time,
                               const std::string& of, std::size_t krylov, std::uint64_t seed,
                               const std::function<void(double)>& tell);

} // namespace mnist
