#pragma once
/// \file
/// The random words behind the noise, by a kernel of the tests' own.

#include <pushforward/cuda/array.hpp>

#include <cstdint>

/// Four words for each of 64 blocks of 3 samples.
pushforward::cuda::array<std::uint32_t> words_on(const pushforward::cuda::executor& on,
                                                 const pushforward::noise_key& key);
