#include "data.hpp"

#include <common/console.hpp>

#include <pictures.hpp>

#include <pushforward/error.hpp>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cctype>
#include <cmath>

namespace photographs {

namespace fs = std::filesystem;
using pushforward::bad_file;
using pushforward::bad_option;

std::vector<fs::path> pictures_in(const fs::path& folder) {
  std::error_code fault;
  std::vector<fs::path> paths;
  for (auto entry = fs::directory_iterator(folder, fault); !fault && entry != fs::directory_iterator();
       entry.increment(fault)) {
    auto ending = entry->path().extension().string();
    std::transform(ending.begin(), ending.end(), ending.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (ending == ".jpg" || ending == ".jpeg" || ending == ".png") paths.push_back(entry->path());
  }
  const std::string remedy =
      "; scripts/photographs.sh fetches photographs, and makes a folder with training/ and held_out/ of them";
  if (fault) throw bad_option(folder.string() + " cannot be listed (" + fault.message() + ")" + remedy);
  if (paths.empty()) throw bad_option(folder.string() + " holds no JPEG and no PNG" + remedy);
  std::sort(paths.begin(), paths.end());
  return paths;
}

namespace {

/// [1, 3, H, W], 0 to 255.
at::Tensor read_image(const fs::path& path) {
  examples::stop_if_interrupted();
  return stable_diffusion::image_of(stable_diffusion::read_picture(path, 3)).add(1.0).mul(127.5);
}

at::Tensor scaled_down(const at::Tensor& image, double factor) {
  if (factor <= 1.0) return image;
  const auto side = [&](std::int64_t n) {
    return std::max<std::int64_t>(1, std::llround(static_cast<double>(n) / factor));
  };
  return at::_upsample_bicubic2d_aa(image, {side(image.size(2)), side(image.size(3))}, false)
      .round()
      .clamp(0.0, 255.0);
}

double pixels_of(const at::Tensor& image) {
  return static_cast<double>(image.size(2)) * static_cast<double>(image.size(3));
}

std::int64_t shorter_side(const at::Tensor& image) { return std::min(image.size(2), image.size(3)); }

/// \param what has that side, \param remedy what to do where the image is smaller
void must_hold(const at::Tensor& image, std::int64_t side, const fs::path& path, const std::string& what,
               const std::string& remedy) {
  const auto by = [](std::int64_t width, std::int64_t height) {
    return std::to_string(width) + " x " + std::to_string(height);
  };
  if (shorter_side(image) < side)
    throw bad_file(path.string() + ": has " + by(image.size(3), image.size(2)) + " pixels, less than " +
                   what + " of " + by(side, side) + "; " + remedy);
}

/// Scaled down to half a million pixels where it has more.
at::Tensor scaled_photograph(const fs::path& path, std::int64_t side) {
  const at::Tensor image = read_image(path);
  at::Tensor scaled = scaled_down(image, std::sqrt(pixels_of(image) / 5e5));
  must_hold(scaled, side, path, "the crop", "take it out of the folder, or a larger one in its place");
  return scaled;
}

/// A square of it in [0, 1], at a share of the way down and across.
at::Tensor crop_of(const at::Tensor& image, std::int64_t side, double down, double across) {
  const auto place = [side](std::int64_t size, double share) {
    return static_cast<std::int64_t>(share * static_cast<double>(size - side));
  };
  return image.narrow(2, place(image.size(2), down), side)
      .narrow(3, place(image.size(3), across), side)
      .div(255.0)
      .contiguous();
}

/// A photograph at every scale, [H, W, 3] in bytes, the largest first.
std::vector<at::Tensor> scales_of(const fs::path& path, std::int64_t patch, double& pixels) {
  constexpr double large = 1.5e6, most = 12.0;
  const at::Tensor image = read_image(path);
  must_hold(image, patch, path, "a patch", "lower --patch, or take it out of the folder");
  pixels = pixels_of(image);
  std::vector<at::Tensor> scales;
  const bool halved = pixels > large && shorter_side(image) >= 2 * patch;
  for (double factor = halved ? 2.0 : 1.0; factor <= most; factor *= std::sqrt(2.0)) {
    const at::Tensor scaled = scaled_down(image, factor);
    if (!scales.empty() && 2 * shorter_side(scaled) < 3 * patch) break;
    scales.push_back(scaled.squeeze(0).permute({1, 2, 0}).to(at::kByte).contiguous());
  }
  return scales;
}

} // namespace

photograph_set read_photographs(const fs::path& folder, std::int64_t patch) {
  const auto paths = pictures_in(folder);
  std::vector<std::vector<at::Tensor>> all(paths.size());
  std::vector<double> pixels(paths.size());
  at::parallel_for(0, static_cast<std::int64_t>(paths.size()), 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i)
      all[i] = scales_of(paths[i], patch, pixels[i]);
  });
  photograph_set set;
  set.count = paths.size();
  std::vector<at::Tensor> rows;
  std::vector<std::int64_t> first, heights, widths;
  std::vector<double> shares;
  std::int64_t total = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    for (const auto& scaled : all[i]) {
      rows.push_back(scaled.view({-1, 3}));
      first.push_back(total);
      heights.push_back(scaled.size(0));
      widths.push_back(scaled.size(1));
      total += rows.back().size(0);
    }
    shares.insert(shares.end(), all[i].size(), std::sqrt(pixels[i]) / static_cast<double>(all[i].size()));
  }
  set.pixels = at::cat(rows);
  set.first = at::tensor(first, at::kLong);
  set.heights = at::tensor(heights, at::kLong);
  set.widths = at::tensor(widths, at::kLong);
  set.shares = at::tensor(shares, at::kDouble);
  set.shares = set.shares / set.shares.sum();
  const auto* bytes = set.pixels.const_data_ptr<std::uint8_t>();
  std::uint64_t hash = 14695981039346656037u; // FNV-1a
  for (std::int64_t i = 0; i < 3 * total; ++i) hash = (hash ^ bytes[i]) * 1099511628211u;
  set.fingerprint = std::to_string(set.count) + " photographs, " + std::to_string(heights.size()) +
                    " scales, " + std::to_string(total) + " pixels, " + std::to_string(hash);
  return set;
}

at::Tensor patches(const photograph_set& set, std::int64_t count, std::int64_t side) {
  const auto where = set.pixels.device();
  const at::Tensor scale = at::multinomial(set.shares, count, true);
  const at::Tensor widths = set.widths.index_select(0, scale);
  const auto corner = [&](const at::Tensor& sides) {
    return (at::rand({count}, at::kDouble) * (sides - (side - 1)).to(at::kDouble)).floor().to(at::kLong);
  };
  const at::Tensor top = corner(set.heights.index_select(0, scale)), left = corner(widths);
  const at::Tensor way = at::randint(0, 8, {count, 1, 1}, at::kLong);
  const at::Tensor gain = at::exp((at::rand({count, 3, 1, 1}) - 0.5) * (2.0 * std::log(1.2)));

  // without waiting for a GPU, which is still at the step before
  const auto moved = [&](const at::Tensor& t) { return t.to(where, /*non_blocking=*/true); };
  const auto each = [&](const at::Tensor& t) { return moved(t.view({count, 1, 1})); };
  const at::Tensor ways = moved(way);
  const at::Tensor place = at::arange(side, at::TensorOptions(at::kLong).device(where));
  const at::Tensor down = place.view({1, side, 1}), across = place.view({1, 1, side});
  const at::Tensor turned = ways.bitwise_and(1).eq(1), mirrored = ways.bitwise_and(2).eq(2),
                   flipped = ways.bitwise_and(4).eq(4);
  at::Tensor y = at::where(turned, across, down), x = at::where(turned, down, across);
  y = at::where(mirrored, side - 1 - y, y);
  x = at::where(flipped, side - 1 - x, x);
  const at::Tensor row =
      each(set.first.index_select(0, scale)) + (each(top) + y) * each(widths) + each(left) + x;
  return set.pixels.index_select(0, row.reshape({-1}))
      .view({count, side, side, 3})
      .permute({0, 3, 1, 2})
      .to(at::kFloat)
      .mul(moved(gain) / 255.0)
      .clamp_max(1.0);
}

std::vector<at::Tensor> held_out_crops(const fs::path& folder, std::int64_t side) {
  std::vector<at::Tensor> crops;
  for (const auto& path : pictures_in(folder))
    crops.push_back(crop_of(scaled_photograph(path, side), side, 0.5, 0.5));
  return crops;
}

at::Tensor crops_of(const fs::path& folder, std::size_t count, std::int64_t side) {
  constexpr std::pair<double, double> places[] = {
      {0.5, 0.5}, {0.25, 0.25}, {0.75, 0.75}, {0.25, 0.75}, {0.75, 0.25}};
  const auto paths = pictures_in(folder);
  if (count == 0 || count > std::size(places) * paths.size())
    throw bad_option(std::to_string(count) + " crops of " + std::to_string(paths.size()) +
                     " photographs: take 1 to " + std::to_string(std::size(places) * paths.size()));
  std::vector<at::Tensor> crops;
  for (std::size_t i = 0; i < count; ++i) {
    const auto [down, across] = places[i / paths.size()];
    crops.push_back(crop_of(scaled_photograph(paths[i % paths.size()], side), side, down, across));
  }
  return at::cat(crops);
}

} // namespace photographs
