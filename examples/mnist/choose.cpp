#include "choose.hpp"

#include "data.hpp"

#include <pushforward/error.hpp>
#include <pushforward/safetensors/regular_file.hpp>

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace mnist {

namespace fs = std::filesystem;
using pushforward::bad_file;
using pushforward::bad_option;

fs::path default_data() {
  const char* folder = std::getenv("PUSHFORWARD_MNIST");
  return folder != nullptr && *folder != '\0' ? fs::path(folder)
                                              : fs::path(PUSHFORWARD_MNIST_FOLDER) / "data";
}

namespace {

/// A digit on a picture: white on black, in the middle of a square, 28 pixels and a margin of 2.
at::Tensor digit_on(const picture& p) {
  const auto h = static_cast<std::int64_t>(p.height), w = static_cast<std::int64_t>(p.width);
  at::Tensor x = at::empty({1, 1, h, w});
  std::copy(p.pixels.begin(), p.pixels.end(), x.data_ptr<float>());
  x = x / 127.5 - 1.0;
  const at::Tensor edge = at::cat({x.select(2, 0).flatten(), x.select(2, h - 1).flatten(),
                                   x.select(3, 0).flatten(), x.select(3, w - 1).flatten()});
  if (edge.median().item<double>() > 0.0) x = -x; // dark ink on light paper
  if (h == 32 && w == 32) return x;
  const auto side = std::max(h, w);
  const auto top = (side - h) / 2, left = (side - w) / 2;
  x = at::constant_pad_nd(x, {left, side - w - left, top, side - h - top}, -1.0);
  if (side != 28) x = at::_upsample_bilinear2d_aa(x, {28, 28}, false);
  return at::constant_pad_nd(x, {2, 2, 2, 2}, -1.0);
}

/// The labels' file that belongs to an images file.
fs::path labels_of(const fs::path& images) {
  std::string name = images.filename().string();
  const std::size_t at = name.find("images-idx3");
  if (at == std::string::npos)
    throw bad_file(images.string() +
                   ": is neither a PNG nor a file whose name holds images-idx3, as MNIST's do");
  return images.parent_path() / name.replace(at, 11, "labels-idx1");
}

} // namespace

chosen_digits choose_digits(const fs::path& data, std::int64_t first, std::int64_t count) {
  if (!pushforward::safetensors::is_there(data))
    throw bad_file(data.string() + ": is not there; give a folder with MNIST's files, or a PNG");
  const bool folder = fs::is_directory(data);
  if (!folder) pushforward::safetensors::regular_file{data}; // refuses what cannot be read
  const auto ending = data.extension();
  if (!folder && (ending == ".png" || ending == ".PNG")) {
    if (first != 0 || count != 1)
      throw bad_option(data.string() + " is one digit: leave --batch and --first out");
    return {digit_on(read_png(data)), {-1}, 0};
  }
  const auto set = to_tensors(folder ? read_digits(data) : read_digits(data, labels_of(data)));
  const auto n = set.images.size(0), begin = n > held_out ? n - held_out : 0;
  if (first < 0 || count < 1 || count > n - begin - first)
    throw bad_option((count == 1 ? "1 digit" : std::to_string(count) + " digits") + " from digit " +
                     std::to_string(first) + " on (--first) " + (count == 1 ? "was" : "were") +
                     " asked for, but " + data.string() + " has " + std::to_string(n - begin) +
                     (n - begin == 1 ? " held-out one" : " held-out ones"));
  const at::Tensor labels = set.labels.slice(0, begin + first, begin + first + count).contiguous();
  chosen_digits chosen{set.images.slice(0, begin + first, begin + first + count).contiguous(),
                       {},
                       static_cast<std::uint64_t>(first)};
  for (std::int64_t i = 0; i < count; ++i)
    chosen.labels.push_back(static_cast<int>(labels.const_data_ptr<std::int64_t>()[i]));
  return chosen;
}

std::vector<double> psnr(const at::Tensor& images, const at::Tensor& truth) {
  const at::Tensor error =
      (images.clamp(-1.0, 1.0) - truth).to(at::kDouble).square().mean({1, 2, 3}).contiguous();
  std::vector<double> result;
  for (std::int64_t i = 0; i < error.numel(); ++i)
    result.push_back(10.0 * std::log10(4.0 / std::max(error.const_data_ptr<double>()[i], 1e-12)));
  return result;
}

at::Tensor row_of(const std::vector<at::Tensor>& batches, std::int64_t i) {
  std::vector<at::Tensor> row;
  for (const auto& batch : batches) row.push_back(batch.slice(0, i, i + 1));
  return at::cat(row);
}

} // namespace mnist
