#include "measurement.hpp"

#include <ATen/ATen.h>

#include <cmath>
#include <type_traits>

namespace mnist {

using pushforward::bad_option;
using traits = pushforward::tensor_traits<at::Tensor>;

std::string name_of(const known_pixels& known) { return "inpaint_" + known.where; }

std::string name_of(const lower_resolution& low) {
  return "superres_x" + std::to_string(low.factor) + (low.cubic ? "_cubic" : "");
}

namespace {

/// Random masks are draws of noise that no sampler's step uses.
constexpr std::uint32_t mask_draw = 0xffffffff;

at::Tensor mask_picture(const picture& p, std::int64_t height, std::int64_t width) {
  if (static_cast<std::int64_t>(p.height) != height || static_cast<std::int64_t>(p.width) != width)
    throw pushforward::shape_mismatch("--mask: the mask is " + std::to_string(p.height) + " x " +
                                      std::to_string(p.width) + " pixels, but the digits are " +
                                      std::to_string(height) + " x " + std::to_string(width) +
                                      " (height x width)");
  at::Tensor mask = at::zeros({1, 1, height, width});
  float* values = mask.data_ptr<float>();
  for (std::size_t i = 0; i < p.pixels.size(); ++i) values[i] = p.pixels[i] >= 128 ? 1.0F : 0.0F;
  return mask;
}

/// 1 where a pixel is known.
at::Tensor mask_of(const known_pixels& known, const at::Tensor& truth, std::uint64_t seed,
                   std::uint64_t first_sample) {
  const auto h = truth.size(2), w = truth.size(3);
  at::Tensor mask = at::zeros_like(truth);
  if (known.where == "upper")
    mask.slice(2, 0, h / 2).fill_(1.0);
  else if (known.where == "lower")
    mask.slice(2, h / 2).fill_(1.0);
  else if (known.where == "left")
    mask.slice(3, 0, w / 2).fill_(1.0);
  else if (known.where == "right")
    mask.slice(3, w / 2).fill_(1.0);
  else if (known.where == "box") {
    const auto [top, left, height, width] = known.box;
    if (top < 0 || left < 0 || height < 1 || width < 1 || height > h - top || width > w - left)
      throw bad_option("--box: the box must lie within " + std::to_string(h) + " x " + std::to_string(w) +
                       " pixels and hold at least one");
    mask.fill_(1.0).slice(2, top, top + height).slice(3, left, left + width).fill_(0.0);
  } else if (known.where == "random") {
    if (!(known.share >= 0.0 && known.share <= 1.0))
      throw bad_option("the share of known pixels is " + std::to_string(known.share) +
                       ", but must lie in [0, 1]");
    const at::Tensor z = pushforward::standard_normal(truth, {seed, first_sample, mask_draw});
    mask = at::special_ndtr(z).lt(known.share).to(truth.scalar_type());
  } else if (known.where == "picture") {
    if (!known.mask) throw bad_option("no mask picture was given");
    mask.copy_(mask_picture(*known.mask, h, w).expand_as(mask));
  } else {
    throw bad_option("unknown region " + known.where +
                     "; take upper, lower, left, right, box, random or picture");
  }
  const bool drawn = known.where == "random", boxed = known.where == "box";
  const std::string option = drawn ? "--share: " : boxed ? "--box: " : "--mask: ";
  if (mask.max().item<double>() == 0.0)
    throw bad_option(option + "nothing is known, as all is to be filled in: " +
                     (drawn   ? "take a larger share"
                      : boxed ? "take a smaller box"
                              : "make what is known white, and opaque"));
  if (mask.min().item<double>() == 1.0)
    throw bad_option(option + "nothing is to be filled in, as all is known: " +
                     (drawn ? "take a smaller share" : "make what is to be filled in black, or transparent"));
  return mask;
}

/// y made larger to height x width.
at::Tensor enlarged(const at::Tensor& y, std::int64_t height, std::int64_t width, bool smooth) {
  return smooth ? at::upsample_bicubic2d(y, {height, width}, false)
                : at::upsample_nearest2d(y, {height, width});
}

} // namespace

measurement::measurement(const known_pixels& known, const at::Tensor& truth, std::uint64_t seed,
                         std::uint64_t first_sample)
    : mask_{mask_of(known, truth, seed, first_sample)} {
  values_ = truth * mask_;
  constraint_ = pushforward::masked<at::Tensor>(truth, mask_);
  apply_ = [mask = mask_](const at::Tensor& x) { return x * mask; };
}

measurement::measurement(const lower_resolution& low, const at::Tensor& truth) {
  const auto side = static_cast<std::size_t>(truth.size(2));
  if (low.factor < 2 || side % low.factor != 0)
    throw bad_option("the factor is " + std::to_string(low.factor) + ", but must divide " +
                     std::to_string(side) + " and be at least 2");
  const auto a = low.cubic ? pushforward::resizing(truth, side / low.factor, side / low.factor)
                           : pushforward::averaging(truth, low.factor);
  values_ = a.apply(truth);
  constraint_ = pushforward::linear<at::Tensor, std::remove_const_t<decltype(a)>>(a, values_);
  apply_ = [a](const at::Tensor& x) { return a.apply(x); };
}

std::vector<double> measurement::rmse(const at::Tensor& x) const {
  const at::Tensor square = (apply_(x) - values_).to(at::kDouble).square().sum({1, 2, 3}).contiguous();
  std::vector<double> result = counts();
  for (std::size_t i = 0; i < result.size(); ++i)
    result[i] = result[i] > 0.0 ? std::sqrt(square.const_data_ptr<double>()[i] / result[i]) : 0.0;
  return result;
}

std::vector<double> measurement::counts() const {
  const at::Tensor ones = mask_.defined() ? mask_ : at::ones_like(values_);
  const at::Tensor n = ones.to(at::kDouble).sum({1, 2, 3}).contiguous();
  const double* data = n.const_data_ptr<double>();
  return {data, data + n.numel()};
}

at::Tensor measurement::shown() const { return mask_.defined() ? values_ : enlarged(values_, 32, 32, false); }

at::Tensor measurement::guess() const {
  return mask_.defined() ? values_ - (1.0 - mask_) : enlarged(values_, 32, 32, true);
}

} // namespace mnist
