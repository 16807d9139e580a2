#pragma once
/// \file
/// Which pixels are known. Masks are [1, 1, H, W], 1 known and 0 to be filled in; soft ones have weights in
/// between.

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
  bool soft = false;                 ///< of the picture: grey is a weight
  std::string known;                 ///< left, right, upper, lower
  std::array<std::int64_t, 4> box{}; ///< top, left, height, width of what is to be filled in
  bool has_box = false;
};

/// Which pixels of a picture are known, in the one way that was chosen.
class known_part {
public:
  /// Reads the mask's picture, if that is the way. \param original height and width of the picture, before it
  /// is fitted \throws pushforward::bad_file \throws pushforward::bad_option for none or several of the ways,
  /// options that belong to another of them, a box that does not lie within the picture, and a mask picture
  /// of another size than the picture
  known_part(const mask_arguments& a, const picture_size& original);

  /// The mask, brought to a size as the picture is: a pixel is known where all that it was made of is, and
  /// not at all where something that is to be filled in has a share in it. \throws pushforward::bad_option
  /// where no block of scale x scale pixels, a latent element, is known then, or nothing is to be filled in
  /// \param multiple of the sides, as `fitted` takes it
  at::Tensor mask(fitting how, const std::optional<picture_size>& size, std::int64_t multiple,
                  std::int64_t scale) const;

  /// A line on standard error where a mask's opacity is what counts.
  void tell() const;

private:
  std::string known_; ///< a half, which is taken of the fitted picture
  picture_size original_;
  at::Tensor mask_;                   ///< else
  std::filesystem::path transparent_; ///< the mask, where its opacity is what counts
  std::string where_, hint_;
};

/// `known_part::mask` in one go.
at::Tensor mask_of(const mask_arguments& a, const picture_size& original, fitting how,
                   const std::optional<picture_size>& size, std::int64_t multiple, std::int64_t scale);

/// How much of each known pixel is pasted back: from 0 at the edge of the unknown to 1 at `feather` pixels
/// from it; 0 at unknown pixels. With a feather of 0 the mask itself.
at::Tensor feathered(const at::Tensor& mask, std::int64_t feather);

} // namespace stable_diffusion
