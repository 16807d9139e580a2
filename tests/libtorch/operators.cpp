// The core's separable operators against libtorch's own resize, pooling and convolution, and their adjoints
// against autograd.

#include <support/catch.hpp>
#include <support/device.hpp>
#include <support/random.hpp>

#include <pushforward/constraints/separable.hpp>
#include <pushforward/libtorch/tensor.hpp>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <functional>
#include <limits>
#include <utility>
#include <vector>

using namespace pushforward;
using namespace testing_support;

namespace {

at::Tensor random_images(std::int64_t height, std::int64_t width, std::uint64_t seed) {
  const auto n = static_cast<std::size_t>(2 * 3 * height * width);
  return at::tensor(random_numbers(n, seed), on_device(at::kDouble)).view({2, 3, height, width});
}

double distance(const at::Tensor& x, const at::Tensor& y) {
  REQUIRE(x.sizes() == y.sizes());
  return (x - y).abs().max().item<double>();
}

/// A x is f(x), and A^T r is the gradient of <f(x), r>.
void check_operator(const separable_operator<at::Tensor>& a, const at::Tensor& x,
                    const std::function<at::Tensor(const at::Tensor&)>& f) {
  const at::Tensor leaf = x.clone().requires_grad_(true);
  const at::Tensor wanted = f(leaf);
  CHECK(distance(a.apply(x), wanted.detach()) < 1e-12);
  const at::Tensor r =
      at::tensor(random_numbers(static_cast<std::size_t>(wanted.numel()), 9), on_device(at::kDouble))
          .view(wanted.sizes());
  const at::Tensor gradient = torch::autograd::grad({wanted}, {leaf}, {r}).front();
  CHECK(distance(a.adjoint(r), gradient) < 1e-12);
}

} // namespace

TEST_CASE("a resize is libtorch's antialiased resize, down and up, by whole factors and others", "[device]") {
  struct sizes {
    std::int64_t height, width, to_height, to_width;
  };
  const auto s = GENERATE(values<sizes>({{32, 32, 8, 8},
                                         {32, 48, 16, 12},
                                         {30, 20, 7, 13},
                                         {9, 17, 20, 5},
                                         {8, 8, 32, 32},
                                         {16, 12, 17, 31},
                                         {5, 5, 5, 5},
                                         {7, 4, 1, 1}}));
  CAPTURE(s.height, s.width, s.to_height, s.to_width);
  const at::Tensor x = random_images(s.height, s.width, 1);
  const auto height = static_cast<std::size_t>(s.to_height), width = static_cast<std::size_t>(s.to_width);
  check_operator(resizing(x, height, width, resize_kernel::cubic), x, [&](const at::Tensor& image) {
    return at::_upsample_bicubic2d_aa(image, {s.to_height, s.to_width}, false);
  });
  check_operator(resizing(x, height, width, resize_kernel::linear), x, [&](const at::Tensor& image) {
    return at::_upsample_bilinear2d_aa(image, {s.to_height, s.to_width}, false);
  });
}

TEST_CASE("a resize of long sides, kept by the entries of its rows, is libtorch's resize", "[device]") {
  // 1100 x 1300 entries and more would be kept, were they all kept
  for (const bool tall : {true, false}) {
    CAPTURE(tall);
    const auto sides = [&](std::int64_t side, std::int64_t other) {
      return tall ? std::vector<std::int64_t>{side, other} : std::vector<std::int64_t>{other, side};
    };
    const auto large = sides(1300, 5), small = sides(1100, 6);
    for (const auto& [from, to] : {std::pair(small, large), std::pair(large, small)}) {
      const at::Tensor x = random_images(from[0], from[1], 7);
      const auto a = resizing(x, static_cast<std::size_t>(to[0]), static_cast<std::size_t>(to[1]));
      check_operator(a, x,
                     [&](const at::Tensor& image) { return at::_upsample_bicubic2d_aa(image, to, false); });
      CHECK(a.apply(x).is_contiguous());
    }
  }
  // and a pixel that is no number stays where it is
  at::Tensor x = at::zeros({1, 1, 1100, 1}, on_device(at::kDouble));
  x[0][0][0][0] = std::numeric_limits<double>::quiet_NaN();
  CHECK(at::isnan(resizing(x, 1300, 1).apply(x)).sum().item<std::int64_t>() <= 4);
}

TEST_CASE("averaging is libtorch's average pooling", "[device]") {
  const std::int64_t factor = GENERATE(1, 2, 4, 8);
  const at::Tensor x = random_images(16, 24, 2);
  check_operator(averaging(x, static_cast<std::size_t>(factor)), x, [&](const at::Tensor& image) {
    return at::avg_pool2d(image, {factor, factor});
  });
}

TEST_CASE("a Gaussian blur is a convolution of the image with reflected edges", "[device]") {
  struct blur {
    double sigma;
    std::int64_t radius;
  };
  const auto b = GENERATE(values<blur>({{0.5, 1}, {1.0, 3}, {3.0, 7}}));
  const at::Tensor x = random_images(12, 9, 3);
  const at::Tensor d = at::arange(-b.radius, b.radius + 1, on_device(at::kDouble));
  at::Tensor kernel = (-0.5 * (d / b.sigma).square()).exp();
  kernel = kernel / kernel.sum();
  const at::Tensor weight = at::outer(kernel, kernel).expand({3, 1, d.numel(), d.numel()});
  check_operator(gaussian_blur(x, b.sigma, static_cast<std::size_t>(b.radius)), x,
                 [&](const at::Tensor& image) {
                   const std::vector<std::int64_t> no_padding{0, 0};
                   return at::conv2d(at::reflection_pad2d(image, {b.radius, b.radius, b.radius, b.radius}),
                                     weight, {}, 1, at::IntArrayRef(no_padding), 1, 3);
                 });
}

TEST_CASE("an operator acts on images in any memory layout", "[device]") {
  const at::Tensor x = random_images(8, 12, 4);
  const auto a = resizing(x, 3, 5);
  const at::Tensor wanted = a.apply(x);
  CHECK(distance(a.apply(x.contiguous(at::MemoryFormat::ChannelsLast)), wanted) < 1e-14);
  CHECK(distance(a.apply(x.transpose(2, 3).contiguous().transpose(2, 3)), wanted) < 1e-14);
}

TEST_CASE("a matrix acts along every axis of a sample", "[device]") {
  const at::Tensor x = random_images(4, 5, 5);
  const auto numbers = random_numbers(6, 6);
  const axis_matrix m(2, 3, numbers);
  using traits = tensor_traits<at::Tensor>;
  const at::Tensor wanted =
      at::einsum("ij,njhw->nihw", {at::tensor(numbers, on_device(at::kDouble)).view({2, 3}), x});
  CHECK(distance(traits::along_axis(traits::make_axis_map(x, m), x, 2), wanted) < 1e-14);
}
