#include "network.hpp"

#include <pushforward/safetensors/file.hpp>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace digits {

using pushforward::shape;
using pushforward::cuda::executor;

namespace {

/// The value of a float16.
float from_half(std::uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  const float size = exponent == 31  ? (fraction == 0 ? INFINITY : NAN)
                     : exponent == 0 ? std::ldexp(static_cast<float>(fraction), -24)
                                     : std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
  return bits >> 15 != 0 ? -size : size;
}

std::vector<float> floats_of(const pushforward::safetensors::tensor_view& t, const std::string& name) {
  using pushforward::safetensors::dtype;
  std::vector<float> values;
  if (t.type == dtype::f32) {
    values.resize(t.bytes.size() / sizeof(float));
    std::memcpy(values.data(), t.bytes.data(), t.bytes.size());
  } else if (t.type == dtype::f16) {
    for (std::size_t i = 0; i < t.bytes.size(); i += 2) {
      std::uint16_t bits = 0;
      std::memcpy(&bits, t.bytes.data() + i, sizeof bits);
      values.push_back(from_half(bits));
    }
  } else {
    throw pushforward::bad_file(name + " is of type " + pushforward::safetensors::name_of(t.type) +
                                ": this example reads F16 and F32");
  }
  return values;
}

} // namespace

unet::unet(const std::filesystem::path& weights, const executor& on) : on_{on} {
  const pushforward::safetensors::file file(weights);
  for (const auto& [name, tensor] : file.tensors()) {
    shape s;
    for (const std::int64_t extent : tensor.shape) s.push_back(static_cast<std::size_t>(extent));
    weights_.emplace(name, batch(on, s, floats_of(tensor, file.name() + ": " + name)));
  }
  if (weight("in.weight").extents() != shape{48, 4, 3, 3} ||
      weight("middle.conv1.weight").extents() != shape{120, 120, 3, 3})
    throw pushforward::bad_file(file.name() + " holds another network than the digits of examples/mnist");
}

const batch& unet::weight(const std::string& name) const {
  const auto found = weights_.find(name);
  if (found == weights_.end())
    throw pushforward::bad_file("the weights have no " + name +
                                ": take examples/mnist/weights/flow.safetensors");
  return found->second;
}

batch unet::conv(const std::string& name, const batch& x, std::size_t stride) const {
  return convolution(x, weight(name + ".weight"), weight(name + ".bias"), stride);
}

batch unet::dense(const std::string& name, const batch& x) const {
  return linear(x, weight(name + ".weight"), weight(name + ".bias"));
}

batch unet::norm(const std::string& name, const batch& x) const {
  return group_norm(x, weight(name + ".weight"), weight(name + ".bias"));
}

batch unet::block(const std::string& name, const batch& x, const batch& time) const {
  batch h = conv(name + ".conv1", silu(norm(name + ".norm1", x)));
  h = modulated(norm(name + ".norm2", h), dense(name + ".time", time));
  h = conv(name + ".conv2", silu(h));
  return sum(h, weights_.contains(name + ".skip.weight") ? conv(name + ".skip", x) : x);
}

batch unet::operator()(const batch& x, double time) const {
  const batch t = silu(dense("time2", silu(dense("time1", time_features(on_, time)))));
  const batch stem = conv("in", squares_to_channels(x));
  const batch first = block("down0.block", stem, t);
  const batch second = block("down1.block", conv("down1.stride", first, 2), t);
  batch h = block("down2.block", conv("down2.stride", second, 2), t);
  h = sum(h, conv("attention.out", attention(conv("attention.qkv", norm("attention.norm", h)))));
  h = block("middle", h, t);
  h = block("up1.block", channels(enlarged(h), second), t);
  h = block("up0.block", channels(enlarged(h), first), t);
  h = block("last", channels(h, stem), t);
  return channels_to_squares(conv("out", silu(norm("out.norm", h))));
}

pushforward::cuda::forward_denoiser denoiser_of(const unet& network) {
  return pushforward::cuda::forward_denoiser(
      [&network](const float* x, double time, float* out, const shape& s, const executor& on) {
        const batch o = network(batch::copy_of(on, s, x), time);
        on.copy(out, o.data(), s.elements() * sizeof(float));
      },
      {.prediction = pushforward::prediction_type::flow});
}

} // namespace digits
