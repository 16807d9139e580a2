#pragma once
/// \file
/// Blocks that the UNet and the autoencoder share, as `diffusers` names their parameters. Feature maps are
/// [N, C, H, W] in channels-last memory, so that [N, H W, C] is a view of them.

#include <pushforward/libtorch/models/layers.hpp>

#include "shape_text.hpp"

#include <ATen/ATen.h>

#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace pushforward::libtorch::models {

/// [out, in, height, width] of a convolution's parameters in the files. \throws bad_file for another shape
inline std::vector<std::int64_t> kernel_shape(const weights& w, const std::string& name) {
  auto shape = w.shape_of(name);
  if (shape.size() != 4) throw bad_file(w.file_name() + ": tensor " + name + " is no convolution's");
  return shape;
}

/// [N, C, H, W] -> [N, H W, C].
inline at::Tensor tokens_of(const at::Tensor& map) {
  return map.permute({0, 2, 3, 1}).reshape({map.size(0), map.size(2) * map.size(3), map.size(1)});
}

/// [N, H W, C] -> [N, C, H, W], of `like`'s height and width.
inline at::Tensor map_of(const at::Tensor& tokens, const at::Tensor& like) {
  return tokens.view({like.size(0), like.size(2), like.size(3), tokens.size(2)}).permute({0, 3, 1, 2});
}

/// 10000^(-i / (count - shift)), i = 0 .. count - 1: of the sinusoids of a time; in float32, as all of it in
/// `diffusers`.
inline at::Tensor time_frequencies(std::int64_t count, double shift, c10::Device device) {
  return (at::arange(count, at::TensorOptions().dtype(at::kFloat)) * -std::log(10000.0) /
          (static_cast<double>(count) - shift))
      .exp()
      .to(device);
}

/// x + conv2(silu(norm2(conv1(silu(norm1(x))) + W emb))), x through a 1 x 1 convolution where the number of
/// channels changes.
class resnet_block {
public:
  /// \param embedding width of the time embedding; 0 where there is none
  resnet_block(const weights& w, std::int64_t in, std::int64_t out, std::int64_t groups, double epsilon,
               std::int64_t embedding = 0)
      : norm1_{w.below("norm1."), groups, in, epsilon}, conv1_{w.below("conv1."), in, out},
        norm2_{w.below("norm2."), groups, out, epsilon}, conv2_{w.below("conv2."), out, out} {
    if (embedding) embed_.emplace(w.below("time_emb_proj."), embedding, out);
    if (in != out) shortcut_.emplace(w.below("conv_shortcut."), in, out, conv2d::options{1, 1, 0});
  }

  /// \param embedding [N or 1, width], after its silu; undefined where there is none
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& embedding = {}) const {
    at::Tensor h = norm1_(x);
    h = conv1_(at::silu_(h));
    if (embed_) h.add_((*embed_)(embedding).unsqueeze(-1).unsqueeze(-1));
    h = norm2_(h);
    h = conv2_(at::silu_(h));
    return h.add_(shortcut_ ? (*shortcut_)(x) : x);
  }

private:
  group_norm norm1_;
  conv2d conv1_;
  std::optional<linear> embed_;
  group_norm norm2_;
  conv2d conv2_;
  std::optional<conv2d> shortcut_;
};

/// Nearest neighbours, then a convolution.
class upsampler {
public:
  upsampler(const weights& w, std::int64_t channels)
      : conv_{w.below("upsamplers.0.conv."), channels, channels} {}
  at::Tensor operator()(const at::Tensor& x, std::int64_t height, std::int64_t width) const {
    return conv_(at::upsample_nearest2d(x, {height, width}));
  }

private:
  conv2d conv_;
};

} // namespace pushforward::libtorch::models
