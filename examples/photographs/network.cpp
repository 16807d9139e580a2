#include "network.hpp"

#include <pushforward/error.hpp>
#include <pushforward/safetensors/file.hpp>

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>

namespace photographs {

using pushforward::bad_file;
using pushforward::bad_option;

namespace {

constexpr const char* architecture = "bias-free residual UNet";

/// He's initialisation, times `gain`; channels-last, which convolutions on a CPU are fastest in.
void add_convolution(examples::parameters& w, const std::string& name, std::int64_t in, std::int64_t out,
                     std::int64_t size, double gain) {
  const double deviation = gain * std::sqrt(2.0 / static_cast<double>(in * size * size));
  w.add(name,
        at::empty({out, in, size, size}).normal_(0.0, deviation).contiguous(at::MemoryFormat::ChannelsLast));
}

at::Tensor convolution(const at::Tensor& x, const at::Tensor& weight, std::int64_t stride = 1) {
  const auto padding = stride == 1 ? weight.size(2) / 2 : 0;
  return at::conv2d(x, weight, {}, {stride, stride}, {padding, padding});
}

std::string level_name(const char* way, std::size_t level) { return way + std::to_string(level); }

/// Of the blocks and of what changes the resolution.
double convolution_weights(const network_config& c) {
  const auto last = c.widths.size() - 1;
  double weights = 0.0;
  for (std::size_t l = 0; l <= last; ++l) {
    const auto width = static_cast<double>(c.widths[l]), blocks = static_cast<double>(c.blocks[l]);
    weights += 18.0 * (l < last ? 2.0 : 1.0) * blocks * width * width;
    if (l < last) weights += 8.0 * width * static_cast<double>(c.widths[l + 1]);
  }
  return weights;
}

} // namespace

void check(const network_config& c) {
  const auto usable = [](const std::vector<std::int64_t>& v, std::int64_t most) {
    return std::all_of(v.begin(), v.end(), [most](std::int64_t n) { return n >= 1 && n <= most; });
  };
  if (c.patch != 1 && c.patch != 2 && c.patch != 4)
    throw bad_option("a network's space-to-depth is by 1, 2 or 4, not " + std::to_string(c.patch));
  if (c.widths.empty() || c.widths.size() > 8 || c.blocks.size() != c.widths.size() ||
      !usable(c.widths, 512) || !usable(c.blocks, 16))
    throw bad_option(
        "a network needs one width (1 to 512) and one number of blocks (1 to 16) for each of its "
        "1 to 8 levels");
}

std::string text_of(const network_config& c) {
  return nlohmann::json{{"patch", c.patch}, {"widths", c.widths}, {"blocks", c.blocks}}.dump();
}

network_config config_of(const std::string& text) {
  const auto parsed = nlohmann::json::parse(text, nullptr, false);
  const auto whole = [&](const nlohmann::json& value) {
    if (!value.is_number_integer()) throw bad_option("a number in " + text + " is not whole");
    return value.get<std::int64_t>();
  };
  network_config c{0, {}, {}};
  try {
    c.patch = whole(parsed.at("patch"));
    for (const auto& width : parsed.at("widths")) c.widths.push_back(whole(width));
    for (const auto& count : parsed.at("blocks")) c.blocks.push_back(whole(count));
  } catch (const nlohmann::json::exception&) {
    throw bad_option(text + " is not an object with patch, widths and blocks");
  }
  check(c);
  return c;
}

double bytes_of_training(const network_config& c, std::int64_t pixels) {
  const auto last = c.widths.size() - 1;
  const double weights = convolution_weights(c);
  double kept = 30.0; // of each pixel: the images, and where in a photograph it lies
  for (std::size_t l = 0; l <= last; ++l) {
    const auto width = static_cast<double>(c.widths[l]), blocks = static_cast<double>(c.blocks[l]);
    const double ways = l < last ? 2.0 : 1.0;
    // a block's input and its relu, and the level's output; as measured, 2.5 more for the gradients
    const double values = ways * (2.0 * blocks + 1.0) + 2.5;
    kept += values * width / (std::pow(4.0, static_cast<double>(l)) * static_cast<double>(c.patch * c.patch));
  }
  const double step = kept * static_cast<double>(pixels) + 6.0 * weights, saving = 18.0 * weights;
  return sizeof(float) * std::max(step, saving) + 6e7; // and what oneDNN compiles
}

network::network(network_config config) : config_{std::move(config)} {
  check(config_);
  const auto& widths = config_.widths;
  auto& w = weights_;
  const auto add_blocks = [&](const std::string& level, std::size_t l) {
    for (std::int64_t b = 0; b < config_.blocks[l]; ++b) {
      const auto name = level + ".block" + std::to_string(b);
      add_convolution(w, name + ".conv1", widths[l], widths[l], 3, 1.0);
      add_convolution(w, name + ".conv2", widths[l], widths[l], 3, 0.1);
    }
  };
  const auto last = widths.size() - 1;
  const double linear = std::sqrt(0.5); // nothing halves the variance where no relu follows
  const auto channels = 3 * config_.patch * config_.patch;
  add_convolution(w, "in", channels + 1, widths[0], 3, linear);
  for (std::size_t l = 0; l < last; ++l) {
    add_blocks(level_name("down", l), l);
    add_convolution(w, level_name("down", l) + ".half", widths[l], widths[l + 1], 2, linear);
  }
  add_blocks("middle", last);
  for (std::size_t l = last; l-- > 0;) {
    add_convolution(w, level_name("up", l) + ".double", widths[l + 1], 4 * widths[l], 1, linear);
    add_blocks(level_name("up", l), l);
  }
  add_convolution(w, "out", widths[0], channels, 3, 0.0);
}

at::Tensor network::blocks(const std::string& level, std::int64_t count, at::Tensor h) const {
  for (std::int64_t b = 0; b < count; ++b) {
    const auto name = level + ".block" + std::to_string(b);
    h = h + convolution(at::relu(convolution(h, weights_[name + ".conv1"])), weights_[name + ".conv2"]);
  }
  return h;
}

at::Tensor network::operator()(const at::Tensor& x, const at::Tensor& sigma) const {
  if (x.dim() != 4 || x.size(1) != 3 || x.numel() == 0 || sigma.dim() != 1 || sigma.size(0) != x.size(0))
    throw pushforward::shape_mismatch("the denoiser takes images [N, 3, H, W] and noise levels [N], not " +
                                      c10::str(x.sizes()) + " and " + c10::str(sigma.sizes()));
  const auto& w = weights_;
  const auto last = config_.widths.size() - 1;
  const auto height = x.size(2), width = x.size(3);
  const auto multiple = config_.patch << last;
  const auto missing = [multiple](std::int64_t side) { return (multiple - side % multiple) % multiple; };
  const bool fits = missing(height) == 0 && missing(width) == 0;
  const auto patch = config_.patch;
  const at::Tensor padded = fits ? x : at::replication_pad2d(x, {0, missing(width), 0, missing(height)});
  at::Tensor h = patch > 1 ? at::pixel_unshuffle(padded, patch) : padded;
  const auto level = sigma.to(x.scalar_type()).view({-1, 1, 1, 1}).expand({-1, 1, h.size(2), h.size(3)});
  h = convolution(at::cat({h, level}, 1).contiguous(at::MemoryFormat::ChannelsLast), w["in"]);
  std::vector<at::Tensor> skips;
  for (std::size_t l = 0; l < last; ++l) {
    skips.push_back(blocks(level_name("down", l), config_.blocks[l], h));
    h = convolution(skips.back(), w[level_name("down", l) + ".half"], 2);
  }
  h = blocks("middle", config_.blocks[last], h);
  for (std::size_t l = last; l-- > 0;) {
    h = at::pixel_shuffle(convolution(h, w[level_name("up", l) + ".double"]), 2);
    h = blocks(level_name("up", l), config_.blocks[l], skips[l] + h);
  }
  at::Tensor noise = convolution(h, w["out"]);
  if (patch > 1) noise = at::pixel_shuffle(noise, patch);
  if (!fits) noise = noise.slice(2, 0, height).slice(3, 0, width);
  return x - noise;
}

std::string serialize_network(const network& n, std::map<std::string, std::string> facts, bool half) {
  facts["architecture"] = architecture;
  facts["config"] = text_of(n.config());
  facts["prediction"] = "the clean image in [0, 1], of x = x0 + sigma eps";
  return examples::serialize_weights(n.weights(), facts, half);
}

network read_network(const std::filesystem::path& path) {
  network_config config;
  {
    const pushforward::safetensors::file file(path);
    const auto& facts = file.metadata();
    const auto found = facts.find("architecture"), text = facts.find("config");
    if (found == facts.end() || found->second != architecture || text == facts.end())
      throw bad_file(path.string() +
                     ": holds no denoiser of photographs; pushforward_photographs_train export "
                     "writes one");
    try {
      config = config_of(text->second);
    } catch (const bad_option& e) {
      throw bad_file(path.string() + ": its config is damaged: " + e.what());
    }
    double values = 0.0; // before a network of that size is made
    for (const auto& [name, tensor] : file.tensors())
      values += 8.0 * static_cast<double>(tensor.bytes.size()) /
                static_cast<double>(pushforward::safetensors::bits_of(tensor.type));
    if (values < convolution_weights(config))
      throw bad_file(path.string() + ": holds fewer values than its config " + text->second + " asks for");
  }
  network n(config);
  examples::read_weights(path, n.weights());
  return n;
}

} // namespace photographs
