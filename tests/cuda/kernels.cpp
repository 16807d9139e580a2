// The kernels against plain formulas, at sizes around those of blocks and parts.

#include <support/catch.hpp>
#include <support/cuda_device.hpp>
#include <support/random.hpp>

#include <pushforward/cuda/array.hpp>
#include <pushforward/cuda/kernels.hpp>
#include <pushforward/cuda/reduce.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

using namespace pushforward;
using namespace pushforward::cuda;
using testing_support::random_numbers;
using testing_support::test_executor;

namespace {

template <class Real> std::vector<Real> numbers_of(std::size_t n, std::uint64_t seed) {
  const auto values = random_numbers(n, seed);
  std::vector<Real> result;
  for (double v : values) result.push_back(static_cast<Real>(v));
  return result;
}

template <class T> array<T> placed(const std::vector<T>& values) {
  return {test_executor(), {values.size()}, values};
}

const std::vector<kernels::batch> sizes{{1, 1},
                                        {3, 255},
                                        {2, 256},
                                        {5, 257},
                                        {2, part_columns},
                                        {3, part_columns + 1},
                                        {2, 3 * part_columns + 17}};

} // namespace

TEMPLATE_TEST_CASE("kernels on elements give a x + b y, a x, x y and c to the last bit", "[device]", float,
                   double) {
  using Real = TestType;
  for (const auto& n : sizes) {
    const std::size_t all = n.samples * n.elements;
    const auto x = numbers_of<Real>(all, 1), y = numbers_of<Real>(all, 2);
    const auto a = random_numbers(n.samples, 3), b = random_numbers(n.samples, 4);
    const auto at_x = placed(x), at_y = placed(y);
    const auto at_a = placed(a), at_b = placed(b);
    array<Real> out(test_executor(), {all});
    const auto check = [&](auto formula) {
      std::vector<Real> wanted(all);
      for (std::size_t i = 0; i < all; ++i) wanted[i] = formula(i, i / n.elements);
      CHECK((out.to_host() == wanted)); // not to be printed: there are many
    };
    const auto real = [](double v) { return static_cast<Real>(v); };
    // products in variables of their own: nothing may be contracted to a fused multiply-add
    const auto sum = [](Real p, Real q) {
      const volatile Real first = p, second = q;
      return static_cast<Real>(first + second);
    };
    kernels::combine<Real>(out.on(), n, {1.7}, at_x.data(), {-0.3}, at_y.data(), out.writable());
    check([&](std::size_t i, std::size_t) { return sum(real(1.7) * x[i], real(-0.3) * y[i]); });
    kernels::combine<Real>(out.on(), n, {9, at_a.data()}, at_x.data(), {-0.3}, at_y.data(), out.writable());
    check([&](std::size_t i, std::size_t j) { return sum(real(a[j]) * x[i], real(-0.3) * y[i]); });
    kernels::combine<Real>(out.on(), n, {1.7}, at_x.data(), {9, at_b.data()}, at_y.data(), out.writable());
    check([&](std::size_t i, std::size_t j) { return sum(real(1.7) * x[i], real(b[j]) * y[i]); });
    kernels::combine<Real>(out.on(), n, {9, at_a.data()}, at_x.data(), {9, at_b.data()}, at_y.data(),
                           out.writable());
    check([&](std::size_t i, std::size_t j) { return sum(real(a[j]) * x[i], real(b[j]) * y[i]); });
    kernels::scale<Real>(out.on(), n, {1.7}, at_x.data(), out.writable());
    check([&](std::size_t i, std::size_t) { return real(1.7) * x[i]; });
    kernels::scale<Real>(out.on(), n, {9, at_a.data()}, at_x.data(), out.writable());
    check([&](std::size_t i, std::size_t j) { return real(a[j]) * x[i]; });
    kernels::multiply(out.on(), n, at_x.data(), at_y.data(), out.writable());
    check([&](std::size_t i, std::size_t) { return x[i] * y[i]; });
    kernels::fill(out.on(), all, 0.1, out.writable());
    check([&](std::size_t, std::size_t) { return real(0.1); });
  }
}

TEMPLATE_TEST_CASE("a kernel may write over its arguments", "[device]", float, double) {
  using Real = TestType;
  const auto x = numbers_of<Real>(1000, 1), y = numbers_of<Real>(1000, 2);
  auto at_x = placed(x);
  const auto at_y = placed(y);
  Real* data = at_x.writable();
  kernels::combine<Real>(at_x.on(), {4, 250}, {2.0}, data, {1.0}, at_y.data(), data);
  const auto got = at_x.to_host();
  for (std::size_t i = 0; i < 1000; ++i) CHECK(got[i] == Real(2) * x[i] + y[i]);
}

TEMPLATE_TEST_CASE("maxima and sums are those of each sample, in double", "[device]", float, double) {
  using Real = TestType;
  for (const auto& n : sizes) {
    const auto x = numbers_of<Real>(n.samples * n.elements, 1),
               y = numbers_of<Real>(n.samples * n.elements, 2);
    const auto at_x = placed(x), at_y = placed(y);
    array<double> largest(test_executor(), {n.samples}), sum(test_executor(), {n.samples});
    kernels::max_abs(at_x.on(), n, at_x.data(), largest.writable());
    kernels::dot(at_x.on(), n, at_x.data(), at_y.data(), sum.writable());
    const auto maxima = largest.to_host(), sums = sum.to_host();
    for (std::size_t j = 0; j < n.samples; ++j) {
      double wanted = 0.0;
      long double exact = 0.0L, size = 0.0L;
      for (std::size_t i = j * n.elements; i < (j + 1) * n.elements; ++i) {
        wanted = std::max(wanted, static_cast<double>(std::abs(x[i])));
        const long double product = static_cast<long double>(x[i]) * static_cast<long double>(y[i]);
        exact += product;
        size += std::abs(product);
      }
      CHECK(maxima[j] == wanted);
      CHECK(std::abs(static_cast<double>(static_cast<long double>(sums[j]) - exact)) <=
            1e-14 * static_cast<double>(size));
    }
  }
}

TEMPLATE_TEST_CASE("a sample's sum is the same bits in any batch and in every run", "[device]", float,
                   double) {
  using Real = TestType;
  for (const std::size_t elements : {std::size_t{1000}, part_columns, 2 * part_columns + 77}) {
    const auto x = numbers_of<Real>(5 * elements, 1), y = numbers_of<Real>(5 * elements, 2);
    const auto at_x = placed(x), at_y = placed(y);
    const auto sums = [&](std::size_t first, std::size_t count) {
      array<double> sum(test_executor(), {count});
      kernels::dot(at_x.on(), {count, elements}, at_x.data() + first * elements,
                   at_y.data() + first * elements, sum.writable());
      return sum.to_host();
    };
    const auto all = sums(0, 5);
    CHECK(all == sums(0, 5));
    for (std::size_t j = 0; j < 5; ++j) CHECK(sums(j, 1)[0] == all[j]);
    CHECK(sums(1, 3) == std::vector<double>(all.begin() + 1, all.begin() + 4));
  }
}

TEST_CASE("a sum of products does not overflow where float32 would", "[device]") {
  const auto x = placed(std::vector<float>(4, 1e30F));
  array<double> sum(test_executor(), {1});
  kernels::dot(x.on(), {1, 4}, x.data(), x.data(), sum.writable());
  CHECK(sum.to_host()[0] == Approx(4e60));
}

TEMPLATE_TEST_CASE("NaN and infinity are found wherever they stand", "[device]", float, double) {
  using Real = TestType;
  using limits = std::numeric_limits<Real>;
  const std::size_t elements = 2 * part_columns + 5;
  for (const std::size_t at :
       {std::size_t{0}, std::size_t{511}, std::size_t{512}, part_columns - 1, part_columns, elements - 1})
    for (const Real bad :
         {limits::quiet_NaN(), -limits::quiet_NaN(), limits::infinity(), -limits::infinity()}) {
      std::vector<Real> x(2 * elements, limits::max());
      x[elements + at] = bad;
      const auto at_x = placed(x);
      array<std::int32_t> found(test_executor(), {1});
      kernels::any_not_finite(at_x.on(), elements, at_x.data(), found.writable());
      CHECK(found.to_host()[0] == 0);
      kernels::any_not_finite(at_x.on(), x.size(), at_x.data(), found.writable());
      CHECK(found.to_host()[0] == 1);
      array<double> largest(test_executor(), {2});
      kernels::max_abs(at_x.on(), {2, elements}, at_x.data(), largest.writable());
      CHECK(largest.to_host()[0] == static_cast<double>(limits::max()));
      if (std::isnan(bad))
        CHECK(std::isnan(largest.to_host()[1]));
      else
        CHECK(largest.to_host()[1] == std::numeric_limits<double>::infinity());
    }
}

TEST_CASE("a maximum that is NaN stays one beside an infinity", "[device]") {
  const auto x = placed(std::vector<double>{std::numeric_limits<double>::infinity(),
                                            std::numeric_limits<double>::quiet_NaN(), 1.0});
  array<double> largest(test_executor(), {1});
  kernels::max_abs(x.on(), {1, 3}, x.data(), largest.writable());
  CHECK(std::isnan(largest.to_host()[0]));
}

TEST_CASE("types are converted by rounding", "[device]") {
  const auto wide = numbers_of<double>(3000, 1);
  const auto at = placed(wide);
  array<float> narrow(test_executor(), {wide.size()});
  kernels::convert(at.on(), wide.size(), at.data(), narrow.writable());
  const auto got = narrow.to_host();
  for (std::size_t i = 0; i < wide.size(); ++i) CHECK(got[i] == static_cast<float>(wide[i]));
  array<double> back(test_executor(), {wide.size()});
  kernels::convert(at.on(), wide.size(), narrow.data(), back.writable());
  const auto again = back.to_host();
  for (std::size_t i = 0; i < wide.size(); ++i) CHECK(again[i] == static_cast<double>(got[i]));
}
