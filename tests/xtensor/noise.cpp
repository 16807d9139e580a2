#include <pushforward/noise/philox_normal.hpp>

#include <support/catch.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <span>
#include <vector>

using pushforward::noise_key;
using namespace pushforward::noise;

namespace {

template <class Real = double>
std::vector<Real> noise_of(std::size_t samples, std::size_t elements, const noise_key& key) {
  std::vector<Real> values(samples * elements);
  fill_normal(std::span<Real>(values), elements, key);
  return values;
}

double correlation(std::span<const double> x, std::span<const double> y) {
  double sum = 0.0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += x[i] * y[i];
  return sum / static_cast<double>(x.size());
}

} // namespace

// Random123's kat_vectors: "philox4x32 10", counter, key, result. Counter words are (block, draw, sample,
// sample's high half), key words the seed's halves.
TEST_CASE("noise comes from the words that Philox's authors give for its counter and key") {
  CHECK(philox_words(0, 0, 0, 0) == words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox_words(0xffffffffffffffff, 0xffffffffffffffff, 0xffffffff, 0xffffffff) ==
        words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox_words(0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3, 0x243f6a88) ==
        words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

// The formula for the words above, worked out with 50 digits.
TEST_CASE("normals are Box and Muller's of those words") {
  const auto zero = normal_block(0, 0, 0, 0);
  const auto pi = normal_block(0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3, 0x243f6a88);
  const std::array<double, 4> wanted_zero{0.99113767909666094859, -0.9246625882436944001,
                                          -0.6176089596525953872, -0.4820685869111552642};
  const std::array<double, 4> wanted_pi{-0.5514679005414910187, -0.3122491127435404446,
                                        0.96546714676957499172, 1.18067359423537899419};
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(zero[i] == Approx(wanted_zero[i]).epsilon(1e-14));
    CHECK(pi[i] == Approx(wanted_pi[i]).epsilon(1e-14));
  }
}

TEST_CASE("element i of sample n has number i % 4 of block i / 4 of that sample") {
  const noise_key key{7, 40, 3};
  const auto z = noise_of(3, 10, key);
  for (std::size_t n = 0; n < 3; ++n)
    for (std::size_t i = 0; i < 10; ++i)
      CHECK(z[n * 10 + i] == normal_block(7, 40 + n, 3, static_cast<std::uint32_t>(i / 4))[i % 4]);
}

TEST_CASE("noise does not depend on how samples are split into batches") {
  for (std::uint64_t first : {0ull, 5ull, 0xfffffffeull, 0xfffffffffffffffdull}) {
    const auto whole = noise_of(4, 21, {9, first, 2});
    for (std::size_t n = 0; n < 4; ++n) {
      const auto one = noise_of(1, 21, {9, first + n, 2});
      CHECK(std::equal(one.begin(), one.end(), whole.begin() + static_cast<std::ptrdiff_t>(n * 21)));
    }
  }
}

TEST_CASE("float noise is double noise, rounded") {
  const auto wide = noise_of<double>(2, 33, {3, 1, 4});
  const auto narrow = noise_of<float>(2, 33, {3, 1, 4});
  for (std::size_t i = 0; i < wide.size(); ++i) CHECK(narrow[i] == static_cast<float>(wide[i]));
}

TEST_CASE("noise is finite and at most 6.67 for every extreme of the words") {
  const std::array<std::uint32_t, 7> extremes{0,          1,          0x40000000, 0x7fffffff,
                                              0x80000000, 0xc0000000, 0xffffffff};
  for (std::uint32_t u : extremes)
    for (std::uint32_t v : extremes)
      for (double z : box_muller({u, v, v, u})) {
        CHECK(std::isfinite(z));
        CHECK(std::abs(z) < 6.67);
      }
  CHECK(box_muller({0, 0, 0, 0})[0] == Approx(std::sqrt(64.0 * std::numbers::ln2)));
}

TEST_CASE("noise has the moments of a standard normal") {
  const std::size_t n = 1 << 20;
  const auto z = noise_of(64, n / 64, {2026, 0, 1});
  std::array<double, 5> moment{};
  for (double v : z)
    for (std::size_t k = 1; k < 5; ++k)
      moment[k] += std::pow(v, static_cast<double>(k)) / static_cast<double>(n);
  // four standard errors: var(z^k) is 1, 2, 15, 96
  const double unit = 4.0 / std::sqrt(static_cast<double>(n));
  CHECK(std::abs(moment[1]) < unit);
  CHECK(std::abs(moment[2] - 1.0) < unit * std::sqrt(2.0));
  CHECK(std::abs(moment[3]) < unit * std::sqrt(15.0));
  CHECK(std::abs(moment[4] - 3.0) < unit * std::sqrt(96.0));
}

TEST_CASE("noise passes a Kolmogorov-Smirnov test against the standard normal") {
  for (std::uint64_t seed : {0ull, 1ull, 0xffffffffffffffffull}) {
    auto z = noise_of(16, 12500, {seed, 0, 0});
    std::sort(z.begin(), z.end());
    const double n = static_cast<double>(z.size());
    double distance = 0.0;
    for (std::size_t i = 0; i < z.size(); ++i) {
      const double below = 0.5 * std::erfc(-z[i] / std::numbers::sqrt2);
      distance = std::max({distance, std::abs(below - static_cast<double>(i) / n),
                           std::abs(below - static_cast<double>(i + 1) / n)});
    }
    CHECK(distance * std::sqrt(n) < 1.95); // exceeded by one sequence in a thousand
    CHECK(distance * std::sqrt(n) > 0.2);  // and this is missed by fewer: too even is not random either
  }
}

TEST_CASE("neighbouring elements, samples, draws and seeds are uncorrelated") {
  const std::size_t n = 200000;
  const double bound = 4.5 / std::sqrt(static_cast<double>(n));
  const auto z = noise_of(1, n, {5, 10, 6});
  for (std::size_t lag : {1u, 2u, 3u, 4u, 8u})
    CHECK(std::abs(correlation(std::span(z).first(n - lag), std::span(z).last(n - lag))) < bound);
  for (const noise_key& other :
       {noise_key{5, 11, 6}, noise_key{5, 10, 7}, noise_key{6, 10, 6}, noise_key{6, 5, 10},
        noise_key{5, 10 + (1ull << 32), 6}, noise_key{5 + (1ull << 32), 10, 6}})
    CHECK(std::abs(correlation(z, noise_of(1, n, other))) < bound);
}

TEST_CASE("a batch that its samples do not fill is refused") {
  std::vector<float> values(10);
  CHECK_THROWS_AS(fill_normal(std::span(values), 3, {}), pushforward::shape_mismatch);
  CHECK_THROWS_AS(fill_normal(std::span(values), 0, {}), pushforward::shape_mismatch);
  std::vector<float> nothing;
  CHECK_NOTHROW(fill_normal(std::span(nothing), 0, {}));
}
