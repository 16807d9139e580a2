#pragma once
/// \file
/// Which pixels are known. Masks are [1, 1, H, W], 1 known and 0 to be filled in.

#include "pictures.hpp"

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>

namespace stable_diffusion {

struct mask_arguments {
  std::filesystem::path picture;
  bool white_is_filled = false;      ///< of the picture: as in diffusers, not as ours
  std::string known;                 ///< left, right, upper, lower
  std::array<std::int64_t, 4> box{}; ///< top, left, height, width of what is to be filled in
  bool has_box = false;
};

/// The mask of a picture, brought to the image's size as the image was: a pixel is known where all that it
/// was made of is. \param original height and width of the picture, before it was fitted \throws
/// pushforward::bad_option for none or several of the ways to give a mask, a box that does not lie within the
/// picture, and a mask picture of another size than the picture
at::Tensor mask_of(const mask_arguments& a, const picture_size& original, fitting how,
                   const std::optional<picture_size>& size, std::int64_t multiple);

/// How much of each known pixel is pasted back: from 0 at the edge of the unknown to 1 at `feather` pixels
/// from it; 0 at unknown pixels. With a feather of 0 the mask itself.
at::Tensor feathered(const at::Tensor& mask, std::int64_t feather);

} // namespace stable_diffusion
