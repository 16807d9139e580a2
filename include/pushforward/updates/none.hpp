#pragma once
/// \file
/// No update: plain sampling, the baseline of every comparison.

namespace pushforward {

/// Leaves x as the sampler made it: one pass a time step, the constraint is not evaluated.
struct none {};

} // namespace pushforward
