#include <pushforward/xtensor/loops.hpp>

#include <support/catch.hpp>
#include <support/random.hpp>

#include <cmath>
#include <limits>
#include <tuple>
#include <vector>

using namespace pushforward::xtensor::loops;

namespace {

using reals = std::tuple<float, double>;

template <class Real> std::vector<Real> numbers(std::size_t n, std::uint64_t seed) {
  std::vector<Real> values;
  for (double v : testing_support::random_numbers(n, seed)) values.push_back(static_cast<Real>(v));
  return values;
}

/// A vectorised loop has a body and rests of every length.
constexpr std::size_t longest = 70;

} // namespace

TEMPLATE_LIST_TEST_CASE("loops over any number of elements do what their formula says", "", reals) {
  for (std::size_t n = 0; n <= longest; ++n) {
    const auto x = numbers<TestType>(n, 1), y = numbers<TestType>(n, 2);
    const TestType a = TestType(0.75), b = TestType(-1.5);
    auto combined = x, scaled = x, product = x;
    combine(a, combined.data(), b, y.data(), n);
    scale(a, scaled.data(), n);
    multiply(product.data(), y.data(), n);
    double sum = 0.0, size = 0.0;
    TestType largest = 0;
    for (std::size_t i = 0; i < n; ++i) {
      CHECK(combined[i] == Approx(a * x[i] + b * y[i]).epsilon(1e-5).margin(1e-6));
      CHECK(scaled[i] == a * x[i]);
      CHECK(product[i] == x[i] * y[i]);
      sum += static_cast<double>(x[i]) * static_cast<double>(y[i]);
      size += std::abs(static_cast<double>(x[i]) * static_cast<double>(y[i]));
      largest = std::max(largest, std::abs(x[i]));
    }
    CHECK(std::abs(dot(x.data(), y.data(), n) - sum) <= 1e-15 * size * static_cast<double>(n));
    CHECK(max_abs(x.data(), n) == largest);
    CHECK(all_finite(x.data(), n));
  }
}

TEMPLATE_LIST_TEST_CASE("sums of many float numbers keep the precision of double", "", reals) {
  std::vector<TestType> x(1 << 20, TestType(0.1F));
  const double v = static_cast<double>(TestType(0.1F)) * static_cast<double>(TestType(0.1F));
  CHECK(dot(x.data(), x.data(), x.size()) == Approx(v * static_cast<double>(x.size())).epsilon(1e-10));
}

TEMPLATE_LIST_TEST_CASE("a NaN or an infinity is found wherever it stands", "", reals) {
  using limits = std::numeric_limits<TestType>;
  for (std::size_t n : {1u, 7u, 8u, 33u, 70u})
    for (std::size_t i = 0; i < n; ++i)
      for (TestType bad : {limits::quiet_NaN(), -limits::quiet_NaN(), limits::signaling_NaN(),
                           limits::infinity(), -limits::infinity()}) {
        auto x = numbers<TestType>(n, 3);
        x[i] = bad;
        CHECK_FALSE(all_finite(x.data(), n));
        const TestType m = max_abs(x.data(), n);
        CHECK((std::isnan(bad) ? std::isnan(m) : m == limits::infinity()));
      }
}

TEMPLATE_LIST_TEST_CASE("a NaN beside an infinity makes the maximum NaN", "", reals) {
  using limits = std::numeric_limits<TestType>;
  std::vector<TestType> x{1, limits::quiet_NaN(), limits::infinity(), 2};
  CHECK(std::isnan(max_abs(x.data(), x.size())));
}

TEMPLATE_LIST_TEST_CASE("the largest and the smallest numbers are finite, and their size is kept", "",
                        reals) {
  using limits = std::numeric_limits<TestType>;
  for (TestType v : {limits::max(), limits::min(), limits::denorm_min(), TestType(0)}) {
    std::vector<TestType> x{-v, 0, -TestType(0)};
    CHECK(all_finite(x.data(), x.size()));
    CHECK(max_abs(x.data(), x.size()) == v);
  }
}
