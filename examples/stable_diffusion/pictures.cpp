#include "pictures.hpp"

#include "jpeg.hpp"

#include <pushforward/constraints/separable.hpp>
#include <pushforward/error.hpp>
#include <pushforward/libtorch/tensor.hpp>

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>

namespace stable_diffusion {

using examples::picture;
using pushforward::bad_file;
using pushforward::bad_option;
using pushforward::shape_mismatch;

namespace {

constexpr std::size_t largest_side = 8192;

std::string text_of(std::int64_t height, std::int64_t width) {
  return std::to_string(width) + " x " + std::to_string(height);
}

at::Tensor resized(const at::Tensor& image, std::int64_t height, std::int64_t width) {
  if (image.size(2) == height && image.size(3) == width) return image;
  return pushforward::resizing(image, static_cast<std::size_t>(height), static_cast<std::size_t>(width))
      .apply(image)
      .clamp(-1.0, 1.0);
}

at::Tensor middle(const at::Tensor& image, std::int64_t height, std::int64_t width) {
  return image.narrow(2, (image.size(2) - height) / 2, height)
      .narrow(3, (image.size(3) - width) / 2, width)
      .contiguous();
}

} // namespace

picture read_picture(const std::filesystem::path& path, std::size_t channels) {
  std::error_code none;
  if (!std::filesystem::is_regular_file(path, none))
    throw bad_file(path.string() + ": there is no such picture");
  std::array<unsigned char, 4> start{};
  std::ifstream in(path, std::ios::binary);
  in.read(reinterpret_cast<char*>(start.data()), start.size());
  if (start[0] == 0xFF && start[1] == 0xD8) return read_jpeg(path, channels, largest_side);
  if (start == std::array<unsigned char, 4>{0x89, 'P', 'N', 'G'})
    return examples::read_png(path, channels, largest_side);
  throw bad_file(path.string() + ": is neither a JPEG nor a PNG");
}

at::Tensor image_of(const picture& p) {
  at::Tensor pixels = at::empty({static_cast<std::int64_t>(p.height), static_cast<std::int64_t>(p.width),
                                 static_cast<std::int64_t>(p.channels)},
                                at::kByte);
  std::copy(p.pixels.begin(), p.pixels.end(), pixels.data_ptr<std::uint8_t>());
  return pixels.permute({2, 0, 1}).unsqueeze(0).to(at::kFloat).contiguous().div_(127.5).sub_(1.0);
}

picture picture_of(const at::Tensor& image) {
  if (image.dim() != 4 || image.size(0) != 1 || (image.size(1) != 1 && image.size(1) != 3))
    throw shape_mismatch("a picture is made of an image [1, 1 or 3, H, W], not " + c10::str(image.sizes()));
  const at::Tensor shades =
      image.detach().to(at::kCPU, at::kFloat).add(1.0).mul(127.5).round().clamp(0.0, 255.0);
  const at::Tensor pixels = shades.to(at::kByte).squeeze(0).permute({1, 2, 0}).contiguous();
  picture p(static_cast<std::size_t>(image.size(2)), static_cast<std::size_t>(image.size(3)),
            static_cast<std::size_t>(image.size(1)));
  std::copy_n(pixels.data_ptr<std::uint8_t>(), p.pixels.size(), p.pixels.begin());
  return p;
}

at::Tensor fitted(const at::Tensor& image, fitting how, const std::optional<picture_size>& size,
                  std::int64_t multiple) {
  const std::int64_t h = image.size(2), w = image.size(3);
  if (!size) {
    const std::int64_t height = h - h % multiple, width = w - w % multiple;
    if (height == 0 || width == 0)
      throw bad_option("a picture of " + text_of(h, w) + " pixels has a side under " +
                       std::to_string(multiple) + "; enlarge it first");
    return how == fitting::crop ? middle(image, height, width) : resized(image, height, width);
  }
  const auto other = [&](std::int64_t side, double ratio) {
    return std::max(multiple, static_cast<std::int64_t>(std::round(static_cast<double>(side) * ratio /
                                                                   static_cast<double>(multiple))) *
                                  multiple);
  };
  const double ratio = static_cast<double>(h) / static_cast<double>(w);
  const std::int64_t height = size->height > 0 ? size->height : other(size->width, ratio);
  const std::int64_t width = size->width > 0 ? size->width : other(size->height, 1.0 / ratio);
  const auto most = static_cast<std::int64_t>(largest_side);
  if (size->height < 0 || size->width < 0 || (size->height == 0 && size->width == 0) || height % multiple ||
      width % multiple || height > most || width > most)
    throw bad_option("pictures cannot be brought to " + text_of(size->height, size->width) +
                     " pixels: each side must be a multiple of " + std::to_string(multiple) + " up to 8192");
  if (how == fitting::resize) return resized(image, height, width);
  const double scale = std::max(static_cast<double>(height) / static_cast<double>(h),
                                static_cast<double>(width) / static_cast<double>(w));
  const auto covering = [&](std::int64_t side, std::int64_t least) {
    return std::max(least, static_cast<std::int64_t>(std::round(static_cast<double>(side) * scale)));
  };
  return middle(resized(image, covering(h, height), covering(w, width)), height, width);
}

at::Tensor read_mask(const std::filesystem::path& path) {
  return image_of(read_picture(path, 1)).ge(0.0).to(at::kFloat);
}

at::Tensor latent_mask(const at::Tensor& mask, std::int64_t factor) {
  if (mask.dim() != 4 || mask.size(2) % factor || mask.size(3) % factor)
    throw shape_mismatch("a mask " + c10::str(mask.sizes()) + " does not consist of blocks of " +
                         std::to_string(factor) + " x " + std::to_string(factor) + " pixels");
  return -at::max_pool2d(-mask, {factor, factor});
}

picture strip(const std::vector<at::Tensor>& images) {
  std::vector<at::Tensor> parts;
  for (const auto& image : images) {
    if (!parts.empty()) parts.push_back(at::ones({1, image.size(1), image.size(2), 4}));
    parts.push_back(image.detach().to(at::kCPU, at::kFloat));
  }
  return picture_of(at::cat(parts, 3));
}

double psnr(const at::Tensor& image, const at::Tensor& truth) {
  const double error = (image.clamp(-1.0, 1.0) - truth).to(at::kDouble).square().mean().item<double>();
  return 10.0 * std::log10(4.0 / error);
}

} // namespace stable_diffusion
