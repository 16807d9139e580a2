#include "masks.hpp"

#include <pushforward/error.hpp>

#include <ATen/ATen.h>

namespace stable_diffusion {

using pushforward::bad_option;

namespace {

at::Tensor drawn_mask(const mask_arguments& a, const picture_size& s) {
  at::Tensor mask = at::ones({1, 1, s.height, s.width});
  if (a.has_box) {
    const auto [top, left, height, width] = a.box;
    if (top < 0 || left < 0 || height < 1 || width < 1 || height > s.height - top || width > s.width - left)
      throw bad_option("--box: the box to fill in must lie within the picture of " +
                       std::to_string(s.height) + " x " + std::to_string(s.width) + " pixels");
    mask.narrow(2, top, height).narrow(3, left, width).zero_();
    return mask;
  }
  const std::int64_t axis = a.known == "upper" || a.known == "lower" ? 2 : 3;
  const std::int64_t half = mask.size(axis) / 2;
  if (a.known == "upper" || a.known == "left")
    mask.narrow(axis, half, mask.size(axis) - half).zero_();
  else
    mask.narrow(axis, 0, half).zero_();
  return mask;
}

/// A mask brought to a size: known is a pixel in which none that is filled in has a share, which may be
/// negative, as cubic weights are in part.
at::Tensor fitted_mask(const at::Tensor& mask, fitting how, const std::optional<picture_size>& size,
                       std::int64_t multiple) {
  return fitted(1.0 - mask, how, size, multiple).abs().le(0.001).to(at::kFloat);
}

} // namespace

at::Tensor mask_of(const mask_arguments& a, const picture_size& original, fitting how,
                   const std::optional<picture_size>& size, std::int64_t multiple) {
  if (int(!a.picture.empty()) + int(!a.known.empty()) + int(a.has_box) != 1)
    throw bad_option("say what is to be filled in, in one way: --mask, --known or --box");
  if (a.picture.empty()) {
    // halves are of what is left of the picture, so that they meet the grid of the latent where that can be
    if (!a.known.empty()) {
      const at::Tensor like = fitted(at::ones({1, 1, original.height, original.width}), how, size, multiple);
      return drawn_mask(a, {like.size(2), like.size(3)});
    }
    return fitted_mask(drawn_mask(a, original), how, size, multiple);
  }
  at::Tensor mask = read_mask(a.picture);
  if (mask.size(2) != original.height || mask.size(3) != original.width)
    throw bad_option(a.picture.string() + ": the mask is " + std::to_string(mask.size(2)) + " x " +
                     std::to_string(mask.size(3)) + " pixels, but the picture " +
                     std::to_string(original.height) + " x " + std::to_string(original.width) +
                     ": they must be of the same size");
  if (a.white_is_filled) mask = 1.0 - mask;
  return fitted_mask(mask, how, size, multiple);
}

at::Tensor feathered(const at::Tensor& mask, std::int64_t feather) {
  if (feather == 0) return mask;
  const std::int64_t side = 2 * feather + 1;
  // at a straight edge the mean over the window rises from 1/2 to 1 within `feather` pixels
  const at::Tensor mean = at::avg_pool2d(mask, {side, side}, {1, 1}, {feather, feather}, false, false);
  return mask * (2.0 * mean - 1.0).clamp(0.0, 1.0);
}

} // namespace stable_diffusion
