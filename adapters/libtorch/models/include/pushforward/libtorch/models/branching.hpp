#pragma once
/// \file
/// Networks under two conditions at once, for `classifier_free_guidance`.

#include <pushforward/libtorch/denoiser.hpp>
#include <pushforward/libtorch/models/sd3_transformer.hpp>
#include <pushforward/libtorch/models/unet.hpp>

#include <ATen/core/Tensor.h>

namespace pushforward::libtorch::models {

/// A network that takes 2 N samples in one call: the first N conditional, the last N unconditional. Cheap to
/// copy.
class branching_network {
public:
  prediction_type prediction;

  /// \param both maps x [2 N, ...] and time [2 N] to the raw outputs, the first N under the one condition,
  ///        the last N under the other
  explicit branching_network(network both, const denoiser_options& options = {})
      : prediction{options.prediction}, denoiser_{std::move(both), options} {}

  /// The raw output for 2 N samples.
  at::Tensor predict_branches(const at::Tensor& xx, double model_time) const {
    return denoiser_.predict(xx, model_time);
  }
  linearization<at::Tensor> linearize_branches(const at::Tensor& xx, double model_time) const {
    return denoiser_.linearize(xx, model_time);
  }
  double resolution() const { return denoiser_.resolution(); }

private:
  differentiable_denoiser denoiser_;
};

/// \param conditional,unconditional [N or 1, L, D], of the same L
/// \throws shape_mismatch
branching_network branching(const unet& net, const at::Tensor& conditional, const at::Tensor& unconditional,
                            const denoiser_options& options = {});

/// \param conditional,unconditional of as many tokens, which are `merged` where both can be
/// \throws shape_mismatch
branching_network branching(const sd3_transformer& net, const sd3_condition& conditional,
                            const sd3_condition& unconditional, const denoiser_options& options = {});

} // namespace pushforward::libtorch::models
