#pragma once
/// \file
/// The version. It stands here alone: CMake and the packages read it from these lines.

namespace pushforward {

inline constexpr int version_major = 0;
inline constexpr int version_minor = 1;
inline constexpr int version_patch = 0;

} // namespace pushforward
