#pragma once
/// \file
/// Random numbers for tests: the same on every machine.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numbers>
#include <vector>

namespace testing_support {

/// SplitMix64 (Steele, Lea and Flood 2014): one step from state z.
inline std::uint64_t scrambled(std::uint64_t z) {
  z += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

/// In (0, 1).
inline double to_unit(std::uint64_t bits) { return (static_cast<double>(bits >> 11) + 0.5) * 0x1p-53; }

/// A standard normal number that belongs to `key`, by Box and Muller.
inline double normal_number(std::uint64_t key) {
  const std::uint64_t first = scrambled(key);
  return std::sqrt(-2.0 * std::log(to_unit(first))) *
         std::cos(2.0 * std::numbers::pi * to_unit(scrambled(first ^ 0x5bf0363529a85ac7u)));
}

/// n standard normal numbers.
inline std::vector<double> random_numbers(std::size_t n, std::uint64_t seed) {
  std::vector<double> values(n);
  for (std::size_t i = 0; i < n; ++i) values[i] = normal_number(scrambled(seed) + i);
  return values;
}

} // namespace testing_support
