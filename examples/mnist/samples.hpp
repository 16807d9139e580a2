#pragma once
/// \file
/// Plain samples of the trained networks, to look at.

#include "common.hpp"
#include "networks.hpp"

#include <pushforward/prediction.hpp>

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>

namespace mnist {

/// `count` samples [count, channels, side, side] without any constraint: DDIM for a network that predicts
/// epsilon, Euler for one that predicts the flow. The same for a seed, whatever the count.
at::Tensor plain_samples(const unet& network, pushforward::prediction_type prediction, std::int64_t count,
                         std::int64_t channels, std::int64_t side, std::size_t steps = 50,
                         std::uint64_t seed = 1);

/// Sheet of 8 x 8 digits [64, 1, 32, 32].
picture square_sheet(const at::Tensor& digits);

/// Sheet of digits [64, 1, 32, 32] in rows of 16, each above what the autoencoder makes of it.
picture reconstruction_sheet(const vae& autoencoder, const at::Tensor& digits);

} // namespace mnist
