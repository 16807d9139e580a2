#include "masks.hpp"

#include <pushforward/error.hpp>

#include <ATen/ATen.h>

#include <utility>

namespace stable_diffusion {

using pushforward::bad_option;

namespace {

at::Tensor without_box(const std::array<std::int64_t, 4>& box, const picture_size& s) {
  const auto [top, left, height, width] = box;
  if (top < 0 || left < 0 || height < 1 || width < 1 || height > s.height || width > s.width ||
      top > s.height - height || left > s.width - width)
    throw bad_option("--box: the box to fill in must lie within the picture of " + std::to_string(s.height) +
                     " x " + std::to_string(s.width) + " pixels (height x width)");
  at::Tensor mask = at::ones({1, 1, s.height, s.width});
  mask.narrow(2, top, height).narrow(3, left, width).zero_();
  return mask;
}

at::Tensor half(const std::string& known, const picture_size& s) {
  at::Tensor mask = at::ones({1, 1, s.height, s.width});
  const std::int64_t axis = known == "upper" || known == "lower" ? 2 : 3;
  const std::int64_t middle = mask.size(axis) / 2;
  if (known == "upper" || known == "left")
    mask.narrow(axis, middle, mask.size(axis) - middle).zero_();
  else
    mask.narrow(axis, 0, middle).zero_();
  return mask;
}

} // namespace

known_part::known_part(const mask_arguments& a, const picture_size& original)
    : known_{a.known}, original_{original} {
  if (int(!a.picture.empty()) + int(!a.known.empty()) + int(a.has_box) != 1)
    throw bad_option("say what is to be filled in, in one way: --mask, --known or --box");
  for (const auto& [given, name] :
       {std::pair(a.white_is_filled, "--white-is-filled"), {a.soft, "--soft-mask"}})
    if (given && a.picture.empty())
      throw bad_option(std::string(name) +
                       " says how a mask's picture is read, but there is none: leave it out, " +
                       "or pass --mask");
  if (!known_.empty()) {
    where_ = "--known " + known_ + ": ";
    return;
  }
  if (a.has_box) {
    where_ = "--box: ";
    mask_ = without_box(a.box, original);
    return;
  }
  const auto read = read_mask(a.picture, a.soft);
  mask_ = read.known;
  where_ = a.picture.string() + ": ";
  if (mask_.size(2) != original.height || mask_.size(3) != original.width)
    throw bad_option(where_ + "the mask is " + std::to_string(mask_.size(2)) + " x " +
                     std::to_string(mask_.size(3)) + " pixels, but the picture " +
                     std::to_string(original.height) + " x " + std::to_string(original.width) +
                     " (height x width): they must be of the same size");
  if (read.from_opacity && a.white_is_filled)
    throw bad_option(where_ +
                     "the mask has transparent parts, which are what is filled in; --white-is-filled is "
                     "about its light, which then does not count: leave it out, or make the mask opaque");
  if (read.from_opacity) transparent_ = a.picture;
  if (a.white_is_filled) mask_ = 1.0 - mask_;
  hint_ = read.from_opacity ? "; in this mask, opaque is known and transparent is filled in"
          : a.white_is_filled
              ? "; with --white-is-filled, black is known and white is filled in"
              : "; white is known and black is filled in, or with --white-is-filled the reverse";
}

at::Tensor known_part::mask(fitting how, const std::optional<picture_size>& size, std::int64_t multiple,
                            std::int64_t scale) const {
  at::Tensor mask;
  if (!known_.empty()) {
    // halves are of what is left of the picture, so that they meet the grid of the latent where that can be
    mask = half(known_, fitted_size(original_, size, multiple));
  } else {
    const auto share_of = [&](const at::Tensor& part) { return fitted(part, how, size, multiple); };
    // cubic weights are negative in part, so that a share may be, too
    constexpr double none = 0.001;
    const at::Tensor missing = share_of(1.0 - mask_);
    mask = at::where(missing.abs().le(none), 1.0, (1.0 - missing).clamp(0.0, 1.0))
               .masked_fill(share_of(mask_.eq(0.0).to(at::kFloat)).abs().gt(none), 0.0);
  }
  if (mask.max().item<double>() == 0.0)
    throw bad_option(where_ + "nothing is known: all of the picture is to be filled in" + hint_);
  if (latent_mask(mask, scale).max().item<double>() == 0.0)
    throw bad_option(where_ + "nothing is known: no block of " + std::to_string(scale) + " x " +
                     std::to_string(scale) + " pixels lies wholly in the known part");
  if (mask.min().item<double>() == 1.0)
    throw bad_option(where_ + "nothing is to be filled in: all of the picture is known" + hint_);
  return mask;
}

void known_part::tell() const {
  if (!transparent_.empty()) examples::tell_mask_of_opacity(transparent_);
}

at::Tensor mask_of(const mask_arguments& a, const picture_size& original, fitting how,
                   const std::optional<picture_size>& size, std::int64_t multiple, std::int64_t scale) {
  return known_part(a, original).mask(how, size, multiple, scale);
}

at::Tensor feathered(const at::Tensor& mask, std::int64_t feather) {
  if (feather == 0) return mask;
  const std::int64_t side = 2 * feather + 1;
  // at a straight edge the mean over the window rises from 1/2 to 1 within `feather` pixels; it is the mean
  // along one side of means along the other
  at::Tensor mean = at::avg_pool2d(mask, {side, 1}, {1, 1}, {feather, 0}, false, false);
  mean = at::avg_pool2d(mean, {1, side}, {1, 1}, {0, feather}, false, false);
  return mask * (2.0 * mean - 1.0).clamp(0.0, 1.0);
}

} // namespace stable_diffusion
