#include "networks.hpp"

#include <ATen/ATen.h>

#include <cmath>

namespace mnist {

namespace {

void add_conv(parameters& w, const std::string& name, std::int64_t in, std::int64_t out, std::int64_t size,
              double gain = 1.0) {
  const double bound = gain * std::sqrt(3.0 / static_cast<double>(in * size * size));
  w.add(name + ".weight", at::empty({out, in, size, size}).uniform_(-bound, bound));
  w.add(name + ".bias", at::zeros({out}));
}

void add_linear(parameters& w, const std::string& name, std::int64_t in, std::int64_t out,
                double gain = 1.0) {
  const double bound = gain * std::sqrt(3.0 / static_cast<double>(in));
  w.add(name + ".weight", at::empty({out, in}).uniform_(-bound, bound));
  w.add(name + ".bias", at::zeros({out}));
}

void add_norm(parameters& w, const std::string& name, std::int64_t width) {
  w.add(name + ".weight", at::ones({width}));
  w.add(name + ".bias", at::zeros({width}));
}

at::Tensor conv(const parameters& w, const std::string& name, const at::Tensor& x, std::int64_t stride = 1) {
  const auto& weight = w[name + ".weight"];
  const auto padding = weight.size(2) / 2;
  return at::conv2d(x, weight, w[name + ".bias"], {stride, stride}, {padding, padding});
}

at::Tensor linear(const parameters& w, const std::string& name, const at::Tensor& x) {
  return at::linear(x, w[name + ".weight"], w[name + ".bias"]);
}

at::Tensor norm(const parameters& w, const std::string& name, const at::Tensor& x) {
  return at::group_norm(x, 8, w[name + ".weight"], w[name + ".bias"]);
}

at::Tensor twice(const at::Tensor& x) { return at::upsample_nearest2d(x, {2 * x.size(2), 2 * x.size(3)}); }

/// Sines and cosines of time / 1000^(i / 32), 64 features.
at::Tensor time_features(const at::Tensor& time) {
  const auto i = at::arange(32, time.options());
  const auto frequency = at::exp(i * (-std::log(1000.0) / 31.0));
  const auto angle = time.unsqueeze(1) * frequency.unsqueeze(0);
  return at::cat({at::sin(angle), at::cos(angle)}, 1);
}

} // namespace

unet_config pixel_unet() { return {1, 2, {48, 96, 120}, 128}; }
unet_config latent_unet() { return {4, 1, {80, 136}, 128}; }

unet::unet(unet_config config) : config_{std::move(config)} {
  const auto& c = config_;
  const auto tw = c.time_width;
  auto& w = weights_;
  auto add_block = [&](const std::string& name, std::int64_t in, std::int64_t out) {
    add_norm(w, name + ".norm1", in);
    add_conv(w, name + ".conv1", in, out, 3);
    add_linear(w, name + ".time", tw, 2 * out, 0.1);
    add_norm(w, name + ".norm2", out);
    add_conv(w, name + ".conv2", out, out, 3, 1e-3);
    if (in != out) add_conv(w, name + ".skip", in, out, 1);
  };
  const auto in = c.channels * c.patch * c.patch;
  add_linear(w, "time1", 64, tw);
  add_linear(w, "time2", tw, tw);
  add_conv(w, "in", in, c.widths[0], 3);
  const auto levels = c.widths.size();
  for (std::size_t l = 0; l < levels; ++l) {
    const auto name = "down" + std::to_string(l);
    if (l > 0) add_conv(w, name + ".stride", c.widths[l - 1], c.widths[l - 1], 3);
    add_block(name + ".block", l > 0 ? c.widths[l - 1] : c.widths[0], c.widths[l]);
  }
  const auto bottom = c.widths.back();
  add_norm(w, "attention.norm", bottom);
  add_conv(w, "attention.qkv", bottom, 3 * bottom, 1);
  add_conv(w, "attention.out", bottom, bottom, 1, 1e-3);
  add_block("middle", bottom, bottom);
  for (std::size_t l = levels - 1; l-- > 0;)
    add_block("up" + std::to_string(l) + ".block", c.widths[l + 1] + c.widths[l], c.widths[l]);
  add_block("last", 2 * c.widths[0], c.widths[0]);
  add_norm(w, "out.norm", c.widths[0]);
  add_conv(w, "out", c.widths[0], in, 3, 1e-3);
}

at::Tensor unet::block(const std::string& name, const at::Tensor& x, const at::Tensor& time) const {
  const auto& w = weights_;
  auto h = conv(w, name + ".conv1", at::silu(norm(w, name + ".norm1", x)));
  const auto film = linear(w, name + ".time", time).unsqueeze(2).unsqueeze(3).chunk(2, 1);
  h = norm(w, name + ".norm2", h) * (film[0] + 1.0) + film[1];
  h = conv(w, name + ".conv2", at::silu(h));
  return h + (w.contains(name + ".skip.weight") ? conv(w, name + ".skip", x) : x);
}

at::Tensor unet::attention(const std::string& name, const at::Tensor& x) const {
  const auto n = x.size(0), c = x.size(1), h = x.size(2), width = x.size(3);
  const auto qkv = conv(weights_, name + ".qkv", norm(weights_, name + ".norm", x))
                       .reshape({n, 3, 4, c / 4, h * width})
                       .transpose(3, 4)
                       .unbind(1);
  const auto mixed =
      at::softmax(at::matmul(qkv[0], qkv[1].transpose(2, 3)) / std::sqrt(static_cast<double>(c / 4)), -1);
  const auto value = at::matmul(mixed, qkv[2]).transpose(2, 3).reshape({n, c, h, width});
  return x + conv(weights_, name + ".out", value);
}

at::Tensor unet::operator()(const at::Tensor& x, const at::Tensor& time) const {
  const auto& w = weights_;
  const auto t = at::silu(linear(w, "time2", at::silu(linear(w, "time1", time_features(time)))));
  auto h = conv(w, "in", config_.patch > 1 ? at::pixel_unshuffle(x, config_.patch) : x);
  const auto stem = h;
  const auto levels = config_.widths.size();
  std::vector<at::Tensor> skips;
  for (std::size_t l = 0; l < levels; ++l) {
    const auto name = "down" + std::to_string(l);
    if (l > 0) h = conv(w, name + ".stride", h, 2);
    h = block(name + ".block", h, t);
    skips.push_back(h);
  }
  h = block("middle", attention("attention", h), t);
  for (std::size_t l = levels - 1; l-- > 0;)
    h = block("up" + std::to_string(l) + ".block", at::cat({twice(h), skips[l]}, 1), t);
  h = block("last", at::cat({h, stem}, 1), t);
  h = conv(w, "out", at::silu(norm(w, "out.norm", h)));
  return config_.patch > 1 ? at::pixel_shuffle(h, config_.patch) : h;
}

namespace {

void add_plain_block(parameters& w, const std::string& name, std::int64_t width) {
  add_norm(w, name + ".norm1", width);
  add_conv(w, name + ".conv1", width, width, 3);
  add_norm(w, name + ".norm2", width);
  add_conv(w, name + ".conv2", width, width, 3, 1e-3);
}

} // namespace

vae::vae() {
  auto& w = weights_;
  add_conv(w, "encoder.in", 4, 48, 3);
  add_plain_block(w, "encoder.block1", 48);
  add_conv(w, "encoder.stride", 48, 96, 3);
  add_plain_block(w, "encoder.block2", 96);
  add_norm(w, "encoder.norm", 96);
  add_conv(w, "encoder.out", 96, 8, 3);
  add_conv(w, "decoder.in", 4, 96, 3);
  add_plain_block(w, "decoder.block1", 96);
  add_plain_block(w, "decoder.block2", 96);
  add_conv(w, "decoder.up", 96, 48, 3);
  add_plain_block(w, "decoder.block3", 48);
  add_norm(w, "decoder.norm", 48);
  add_conv(w, "decoder.out", 48, 4, 3);
  w.add("latent.shift", at::zeros({1}));
  w.add("latent.scale", at::ones({1}));
}

at::Tensor vae::block(const std::string& name, const at::Tensor& x) const {
  auto h = conv(weights_, name + ".conv1", at::silu(norm(weights_, name + ".norm1", x)));
  return x + conv(weights_, name + ".conv2", at::silu(norm(weights_, name + ".norm2", h)));
}

std::pair<at::Tensor, at::Tensor> vae::moments(const at::Tensor& image) const {
  const auto& w = weights_;
  auto h = conv(w, "encoder.in", at::pixel_unshuffle(image, 2));
  h = conv(w, "encoder.stride", block("encoder.block1", h), 2);
  h = conv(w, "encoder.out", at::silu(norm(w, "encoder.norm", block("encoder.block2", h))));
  const auto parts = h.chunk(2, 1);
  return {parts[0], parts[1].clamp(-12.0, 4.0)};
}

at::Tensor vae::encode(const at::Tensor& image) const {
  return (moments(image).first - weights_["latent.shift"]) * weights_["latent.scale"];
}

at::Tensor vae::decode(const at::Tensor& latent) const {
  return decode_unscaled(latent / weights_["latent.scale"] + weights_["latent.shift"]);
}

at::Tensor vae::decode_unscaled(const at::Tensor& latent) const {
  const auto& w = weights_;
  auto h = block("decoder.block2", block("decoder.block1", conv(w, "decoder.in", latent)));
  h = block("decoder.block3", conv(w, "decoder.up", twice(h)));
  h = conv(w, "decoder.out", at::silu(norm(w, "decoder.norm", h)));
  return at::pixel_shuffle(h, 2);
}

classifier::classifier() {
  auto& w = weights_;
  add_conv(w, "conv1", 1, 32, 3, 1.4);
  add_conv(w, "conv2", 32, 32, 3, 1.4);
  add_norm(w, "norm1", 32);
  add_conv(w, "conv3", 32, 64, 3, 1.4);
  add_conv(w, "conv4", 64, 64, 3, 1.4);
  add_norm(w, "norm2", 64);
  add_conv(w, "conv5", 64, 96, 3, 1.4);
  add_norm(w, "norm3", 96);
  add_linear(w, "out", 96, 10);
}

at::Tensor classifier::features(const at::Tensor& image) const {
  const auto& w = weights_;
  auto h = conv(w, "conv2", at::relu(conv(w, "conv1", image, 2)));
  h = at::max_pool2d(at::relu(norm(w, "norm1", h)), {2, 2});
  h = conv(w, "conv4", at::relu(conv(w, "conv3", h)));
  h = at::max_pool2d(at::relu(norm(w, "norm2", h)), {2, 2});
  return at::relu(norm(w, "norm3", conv(w, "conv5", h))).mean({2, 3});
}

at::Tensor classifier::operator()(const at::Tensor& image, double dropout) const {
  at::Tensor h = features(image);
  if (dropout > 0.0) h = at::dropout(h, dropout, true);
  return linear(weights_, "out", h);
}

} // namespace mnist
