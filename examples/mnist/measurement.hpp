#pragma once
/// \file
/// What is known of a batch of digits: some of the pixels, or the picture at a lower resolution.

#include "common.hpp"

#include <pushforward/concepts.hpp>
#include <pushforward/constraints/linear.hpp>
#include <pushforward/constraints/masked.hpp>
#include <pushforward/constraints/separable.hpp>
#include <pushforward/libtorch/tensor.hpp>

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace mnist {

/// The constraints on images, before there is one of them.
using image_constraint =
    std::variant<std::monostate, pushforward::masked<at::Tensor>,
                 pushforward::linear<at::Tensor, pushforward::separable_operator<at::Tensor>>>;

/// Which pixels are known.
struct known_pixels {
  /// upper, lower, left, right (that half is known), box (all but a box), random (a share), picture (white
  /// pixels of a mask)
  std::string where = "upper";
  std::array<std::int64_t, 4> box{8, 8, 16, 16}; ///< the unknown box: top, left, height, width
  double share = 0.25;                           ///< for random: of the pixels that are known
  std::optional<picture> mask;                   ///< 32 x 32
};

/// A lower resolution: means of factor x factor blocks, or an antialiased cubic resize.
struct lower_resolution {
  std::size_t factor = 4;
  bool cubic = false;
};

/// Whole words for tables and file names: "inpaint_upper", "superres_x4".
std::string name_of(const known_pixels& known);
std::string name_of(const lower_resolution& low);

/// y = A x of a batch, with A.
class measurement {
public:
  /// Random masks are drawn for (seed, first_sample + i): the same in any split of a batch.
  /// \throws pushforward::bad_option, pushforward::shape_mismatch
  measurement(const known_pixels& known, const at::Tensor& truth, std::uint64_t seed,
              std::uint64_t first_sample);
  measurement(const lower_resolution& low, const at::Tensor& truth);

  const image_constraint& constraint() const { return constraint_; }
  /// Per sample: root mean square of A x - y over the measured values.
  std::vector<double> rmse(const at::Tensor& x) const;
  /// Per sample: how many values were measured.
  std::vector<double> counts() const;
  /// y as images of 32 x 32; unknown pixels are grey (0).
  at::Tensor shown() const;
  /// A first guess at x: y with paper in place of the unknown, or y enlarged by a cubic resize.
  at::Tensor guess() const;

private:
  image_constraint constraint_;
  std::function<at::Tensor(const at::Tensor&)> apply_;
  at::Tensor values_;
  at::Tensor mask_; ///< undefined for a lower resolution
};

} // namespace mnist
