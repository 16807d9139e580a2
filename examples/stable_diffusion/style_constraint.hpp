#pragma once
/// \file
/// The style of a picture as a constraint on images.

#include <pushforward/concepts.hpp>
#include <pushforward/libtorch/denoiser.hpp>
#include <pushforward/libtorch/models/clip_vision.hpp>
#include <pushforward/libtorch/tensor.hpp>

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>

namespace stable_diffusion {

/// A CLIP vision encoder in float32, from a folder as transformers writes it: config.json and
/// model.safetensors, of a vision encoder or of a whole CLIP model. \throws pushforward::bad_file
pushforward::libtorch::models::clip_vision read_clip(const std::filesystem::path& folder, c10::Device device);

/// Evaluations of CLIP, summed over the samples.
struct clip_passes {
  std::size_t forward = 0, backward = 0;
};

/// What the distance d = |G* - G| of Gram matrices is to the loss.
enum class style_loss {
  norm,       ///< d, the reference's
  half_square ///< d^2 / 2, of which the posterior step takes its length
};

/// loss = |G* - G(image)|, the Frobenius norm, or half its square, with the Gram matrix G = F^T F of the
/// features F [P, D] of the image's P patches after a residual block of CLIP, the class token dropped. G is
/// a sum over the patches, divided by nothing, as in the reference. error = -grad of the loss, by autograd
/// through CLIP alone; 0 where the loss is 0.
class style_constraint {
public:
  /// \param block residual block, from 0
  /// \param picture [1, 3, H, W] in [-1, 1], whose Gram matrix is G*; sides are stretched to CLIP's by the
  /// reference's cubic resize: antialiased, with mirrored edges, and not clamped
  /// \throws pushforward::bad_option for a block that is not there, pushforward::shape_mismatch
  style_constraint(pushforward::libtorch::models::clip_vision encoder, std::int64_t block,
                   const at::Tensor& picture, style_loss loss = style_loss::norm);

  /// Of images [N, 3, H, W]: one forward and one backward pass of CLIP a sample.
  pushforward::constraint_value<at::Tensor> operator()(const at::Tensor& images) const;
  /// The distance |G* - G| alone, [N]; its passes are not counted.
  at::Tensor distance(const at::Tensor& images) const;
  /// The picture as CLIP is shown it, [1, 3, S, S]; beyond [-1, 1] where the resize overshoots.
  const at::Tensor& picture() const { return picture_; }
  /// |G*|
  double size() const;
  /// Of all calls, by all copies.
  const clip_passes& passes() const { return *passes_; }

private:
  pushforward::libtorch::differentiable_decoder gram_; ///< images -> G
  at::Tensor picture_;
  at::Tensor wanted_; ///< G*, [1, D, D]
  style_loss loss_;
  std::shared_ptr<clip_passes> passes_ = std::make_shared<clip_passes>();
};

} // namespace stable_diffusion
