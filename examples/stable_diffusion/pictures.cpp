#include "pictures.hpp"

#include "free_memory.hpp"
#include "jpeg.hpp"

#include <pushforward/constraints/separable.hpp>
#include <pushforward/error.hpp>
#include <pushforward/libtorch/tensor.hpp>
#include <pushforward/safetensors/regular_file.hpp>

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <system_error>

namespace stable_diffusion {

using examples::picture;
using pushforward::bad_file;
using pushforward::bad_option;
using pushforward::shape_mismatch;

namespace {

std::string text_of(const picture_size& size) {
  return std::to_string(size.width) + " x " + std::to_string(size.height);
}

std::size_t pixels(std::int64_t n) { return static_cast<std::size_t>(n); }

/// The middle of an image scaled to `whole`, without the rest of it ever being there.
at::Tensor resized(const at::Tensor& image, const picture_size& whole, const picture_size& middle) {
  if (image.size(2) == whole.height && image.size(3) == whole.width)
    return image.narrow(2, (whole.height - middle.height) / 2, middle.height)
        .narrow(3, (whole.width - middle.width) / 2, middle.width)
        .contiguous();
  const auto along = [](std::int64_t n, std::int64_t all, std::int64_t part) {
    return pushforward::resize_matrix(pixels(n), pixels(all), pushforward::resize_kernel::cubic,
                                      pushforward::boundary::cropped,
                                      pushforward::resize_part{pixels((all - part) / 2), pixels(part)});
  };
  return pushforward::separable_operator<at::Tensor>(image, along(image.size(2), whole.height, middle.height),
                                                     along(image.size(3), whole.width, middle.width))
      .apply(image)
      .clamp(-1.0, 1.0);
}

enum class picture_kind { none, jpeg, png };

picture_kind kind_of(const std::filesystem::path& path) {
  std::array<unsigned char, 4> start{};
  std::ifstream in(path, std::ios::binary);
  in.read(reinterpret_cast<char*>(start.data()), start.size());
  if (start[0] == 0xFF && start[1] == 0xD8) return picture_kind::jpeg;
  const bool png = start == std::array<unsigned char, 4>{0x89, 'P', 'N', 'G'};
  return png ? picture_kind::png : picture_kind::none;
}

} // namespace

bool is_picture(const std::filesystem::path& path) {
  std::error_code fault; // a FIFO would wait for its writer
  return std::filesystem::is_regular_file(path, fault) && kind_of(path) != picture_kind::none;
}

picture read_picture(const std::filesystem::path& path, std::size_t channels) {
  const pushforward::safetensors::regular_file opened(path); // refuses what cannot be read
  const examples::picture_limits limits{pixels(largest_side), free_memory()};
  switch (kind_of(path)) {
  case picture_kind::jpeg:
    return read_jpeg(path, channels, limits);
  case picture_kind::png:
    return examples::read_png(path, channels, limits);
  case picture_kind::none:
    break;
  }
  throw bad_file(path.string() + (opened.size() == 0 ? ": is empty" : ": is neither a JPEG nor a PNG"));
}

at::Tensor image_of(const picture& p) {
  const auto side = [](std::size_t n) { return static_cast<std::int64_t>(n); };
  // only read, and only here
  const at::Tensor bytes = at::from_blob(const_cast<std::uint8_t*>(p.pixels.data()),
                                         {side(p.height), side(p.width), side(p.channels)}, at::kByte);
  return bytes.permute({2, 0, 1})
      .unsqueeze(0)
      .to(at::TensorOptions().dtype(at::kFloat), false, true, at::MemoryFormat::Contiguous)
      .div_(127.5)
      .sub_(1.0);
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

picture_size fitted_size(const picture_size& image, const std::optional<picture_size>& size,
                         std::int64_t multiple) {
  const std::int64_t h = image.height, w = image.width;
  if (!size) {
    if (h < multiple || w < multiple)
      throw bad_option("a picture of " + text_of(image) + " pixels has a side under " +
                       std::to_string(multiple) + "; enlarge it first");
    return {h - h % multiple, w - w % multiple};
  }
  const auto other = [&](std::int64_t side, double ratio) {
    const double steps = std::round(static_cast<double>(side) * ratio / static_cast<double>(multiple));
    // the limit holds for it, too, and no number is too large for its type
    return std::max(multiple, static_cast<std::int64_t>(std::min(steps, 1e6)) * multiple);
  };
  const double ratio = static_cast<double>(h) / static_cast<double>(w);
  const picture_size to{size->height > 0 ? size->height : other(size->width, ratio),
                        size->width > 0 ? size->width : other(size->height, 1.0 / ratio)};
  if (size->height < 0 || size->width < 0 || (size->height == 0 && size->width == 0) ||
      to.height % multiple || to.width % multiple || to.height > largest_side || to.width > largest_side)
    throw bad_option("pictures cannot be brought to " + text_of(to) +
                     " pixels (--width, --height): each side must be a multiple of " +
                     std::to_string(multiple) + " up to 8192");
  return to;
}

at::Tensor fitted(const at::Tensor& image, fitting how, const std::optional<picture_size>& size,
                  std::int64_t multiple) {
  const picture_size own{image.size(2), image.size(3)}, to = fitted_size(own, size, multiple);
  if (how == fitting::resize) return resized(image, to, to);
  if (!size) return resized(image, own, to);
  const double scale = std::max(static_cast<double>(to.height) / static_cast<double>(own.height),
                                static_cast<double>(to.width) / static_cast<double>(own.width));
  const auto covering = [&](std::int64_t side, std::int64_t least) {
    return std::max(least, static_cast<std::int64_t>(std::round(static_cast<double>(side) * scale)));
  };
  return resized(image, {covering(own.height, to.height), covering(own.width, to.width)}, to);
}

picture_mask read_mask(const std::filesystem::path& path, bool soft) {
  const auto mask = examples::mask_of(read_picture(path, 2), soft);
  const at::Tensor shades = image_of(mask.shades);
  return {soft ? (shades + 1.0) / 2.0 : shades.ge(0.0).to(at::kFloat), mask.from_opacity};
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
