#pragma once
/// \file
/// The layers of a small network on `pushforward::cuda::array`, each one kernel that is as simple as its
/// formula. Batches are N x C x H x W. In place of these stands what you have: cuDNN, TensorRT, kernels of
/// your own.

#include <pushforward/cuda/array.hpp>

#include <cstddef>

namespace digits {

using batch = pushforward::cuda::array<float>;

/// y = W * x + b: `weight` O x C x k x k, k odd, zeros beyond the edge.
batch convolution(const batch& x, const batch& weight, const batch& bias, std::size_t stride = 1);
/// y = W x + b for x N x I, `weight` O x I.
batch linear(const batch& x, const batch& weight, const batch& bias);
/// Each of 8 groups of channels with mean 0 and variance 1, times w plus b for each channel.
batch group_norm(const batch& x, const batch& weight, const batch& bias);
/// x / (1 + exp(-x)).
batch silu(const batch& x);
/// x (1 + scale) + shift for each channel; `film` 1 x 2C, the scales first.
batch modulated(const batch& x, const batch& film);
/// Four heads of softmax(q k^T / sqrt(d)) v; `qkv` N x 3C x H x W.
batch attention(const batch& qkv);
batch sum(const batch& x, const batch& y);
/// The channels of x, then those of y.
batch channels(const batch& x, const batch& y);
/// Each element four times, in a square.
batch enlarged(const batch& x);
/// Squares of 2 x 2 elements become 4 channels, and back.
batch squares_to_channels(const batch& x);
batch channels_to_squares(const batch& x);
/// Sines, then cosines, of time / 1000^(i / 31) for i < 32: 1 x 64.
batch time_features(const pushforward::cuda::executor& on, double time);

} // namespace digits
