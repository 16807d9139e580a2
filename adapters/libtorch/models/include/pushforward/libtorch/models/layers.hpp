#pragma once
/// \file
/// The layers that the published networks are made of, each with its parameters. They read parameters as
/// PyTorch names them: `weight` and `bias` below the layer's own name.

#include <pushforward/libtorch/models/weights.hpp>

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace pushforward::libtorch::models {

/// A weight of a layer. Cheap to copy; copies share it.
///
/// On the CPU oneDNN wants weights in a layout of its own, which libtorch would make anew in each call. Here
/// they are kept in it, in place of the plain ones; a call that is recorded or differentiated turns them
/// back.
class kept_weight {
public:
  explicit kept_weight(const at::Tensor& plain);
  std::int64_t size(std::int64_t axis) const;
  c10::ScalarType type() const;
  at::Tensor plain() const;
  /// pack(plain) gives it in oneDNN's layout.
  at::Tensor packed(const std::function<at::Tensor(const at::Tensor&)>& pack) const;

private:
  struct state;
  std::shared_ptr<state> state_;
  at::MemoryFormat format_;
};

/// y = x W^T + b on the last axis, in the weights' type; in float32 where x is, though the weights are of a
/// half type. Cheap to copy.
class linear {
public:
  linear(const weights& w, std::int64_t in, std::int64_t out, bool with_bias = true);
  at::Tensor operator()(const at::Tensor& x) const;
  std::int64_t in() const { return weight_.size(1); }
  std::int64_t out() const { return weight_.size(0); }

private:
  kept_weight weight_;
  at::Tensor bias_;
};

/// Convolution of [N, C, H, W] in channels-last memory. Cheap to copy.
class conv2d {
public:
  struct options {
    std::int64_t kernel = 3;
    std::int64_t stride = 1;
    std::int64_t padding = 1;
    bool bias = true;
  };
  conv2d(const weights& w, std::int64_t in, std::int64_t out, const options& o);
  conv2d(const weights& w, std::int64_t in, std::int64_t out) : conv2d(w, in, out, options{}) {}
  at::Tensor operator()(const at::Tensor& x) const;

private:
  kept_weight weight_;
  at::Tensor bias_;
  std::int64_t stride_, padding_;
};

/// Group normalisation over [N, C, ...].
class group_norm {
public:
  group_norm(const weights& w, std::int64_t groups, std::int64_t channels, double epsilon);
  at::Tensor operator()(const at::Tensor& x) const;

private:
  at::Tensor weight_, bias_;
  std::int64_t groups_;
  double epsilon_;
};

/// Normalisation of the last axis.
class layer_norm {
public:
  layer_norm(const weights& w, std::int64_t width, double epsilon = 1e-5);
  at::Tensor operator()(const at::Tensor& x) const;

private:
  at::Tensor weight_, bias_;
  double epsilon_;
};

/// y = w x / sqrt(mean(x^2) + epsilon) on the last axis, computed in float32 (float64 of float64) and rounded
/// to the weights' type before the product with w.
///
/// \see B. Zhang, R. Sennrich, "Root mean square layer normalization" (2019)
class rms_norm {
public:
  rms_norm(const weights& w, std::int64_t width, double epsilon);
  at::Tensor operator()(const at::Tensor& x) const;

private:
  at::Tensor weight_;
  double epsilon_;
};

/// softmax(scale q k^T + bias) v of `heads` heads, by libtorch's scaled dot product attention; under
/// forward-mode differentiation by matrix products, as its fused kernels have no forward derivative.
///
/// q is [N, L, heads * d], k and v are [N, S, heads * d], the result is [N, L, heads * d]. Where `causal`,
/// position i sees positions 0..i. `scale` is 1 / sqrt(d) unless given; `bias` is [1 or N, heads, L, S], and
/// not given where `causal`.
at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, std::int64_t heads,
                     bool causal = false, const std::optional<at::Tensor>& bias = {},
                     std::optional<double> scale = {});

} // namespace pushforward::libtorch::models
