// What the tensor concept's operations must do, on every backend.

#include <support/backend.hpp>

#include <pushforward/tensor.hpp>

#include <cmath>
#include <cstdint>
#include <limits>

using namespace pushforward;
using namespace testing_support;

TEMPLATE_LIST_TEST_CASE("combine adds two tensors with numbers and per-sample weights", "", backends) {
  using T = typename TestType::tensor;
  using traits = tensor_traits<T>;
  const shape s{2, 3};
  const auto p = random_numbers(6, 1), q = random_numbers(6, 2);
  const T x = TestType::make(s, p), y = TestType::make(s, q);
  const std::vector<double> a{2.0, -3.0}, b{0.5, 0.0};
  const auto of_x = traits::from_values(x, a), of_y = traits::from_values(x, b);
  for (std::size_t i = 0; i < 6; ++i) {
    CHECK(elements(traits::combine(2.0, x, -1.5, y))[i] == Approx(2.0 * p[i] - 1.5 * q[i]));
    CHECK(elements(traits::combine(of_x, x, -1.5, y))[i] == Approx(a[i / 3] * p[i] - 1.5 * q[i]));
    CHECK(elements(traits::combine(2.0, x, of_y, y))[i] == Approx(2.0 * p[i] + b[i / 3] * q[i]));
    CHECK(elements(traits::combine(of_x, x, of_y, y))[i] == Approx(a[i / 3] * p[i] + b[i / 3] * q[i]));
  }
}

TEMPLATE_LIST_TEST_CASE("scale and multiply act on every element, or with one number per sample", "",
                        backends) {
  using T = typename TestType::tensor;
  using traits = tensor_traits<T>;
  const auto p = random_numbers(6, 1), q = random_numbers(6, 2);
  const T x = TestType::make({2, 3}, p), y = TestType::make({2, 3}, q);
  const std::vector<double> a{2.0, -3.0};
  const auto per_sample = traits::from_values(x, a);
  for (std::size_t i = 0; i < 6; ++i) {
    CHECK(elements(traits::scale(0.5, x))[i] == Approx(0.5 * p[i]));
    CHECK(elements(traits::scale(per_sample, x))[i] == Approx(a[i / 3] * p[i]));
    CHECK(elements(traits::multiply(x, y))[i] == Approx(p[i] * q[i]));
    CHECK(elements(traits::zeros(x))[i] == 0.0);
  }
  CHECK(traits::shape_of(traits::zeros(x)) == shape{2, 3});
}

TEMPLATE_LIST_TEST_CASE("operations leave what they are given as it is", "", backends) {
  using T = typename TestType::tensor;
  using traits = tensor_traits<T>;
  const auto p = random_numbers(6, 1), q = random_numbers(6, 2);
  const T x = TestType::make({2, 3}, p), y = TestType::make({2, 3}, q);
  const auto before_x = elements(x), before_y = elements(y);
  T copy = x;
  copy = traits::scale(7.0, std::move(copy));
  traits::combine(2.0, x, 3.0, y);
  traits::scale(2.0, x);
  traits::multiply(x, y);
  traits::normal(x, {1, 0, 0});
  traits::zeros(x);
  CHECK(elements(x) == before_x);
  CHECK(elements(y) == before_y);
}

TEMPLATE_LIST_TEST_CASE("max_abs and dot are per sample", "", backends) {
  using T = typename TestType::tensor;
  using traits = tensor_traits<T>;
  const T x = TestType::make({3, 2}, {1.0, -4.0, 0.5, 0.25, 0.0, 0.0});
  const T y = TestType::make({3, 2}, {2.0, 1.0, -1.0, 4.0, 7.0, 8.0});
  CHECK(traits::values(traits::max_abs(x)) == std::vector{4.0, 0.5, 0.0});
  CHECK(traits::values(traits::dot(x, y)) == std::vector{-2.0, 0.5, 0.0});
}

TEMPLATE_LIST_TEST_CASE("per-sample scalars have their algebra, and a ratio with 0 below is 0", "",
                        backends) {
  using T = typename TestType::tensor;
  using traits = tensor_traits<T>;
  const T like = TestType::make({3, 1}, {0.0, 0.0, 0.0});
  const auto p = traits::from_values(like, std::vector{4.0, 9.0, -2.0}),
             q = traits::from_values(like, std::vector{2.0, 0.0, -4.0});
  CHECK(traits::values(traits::combine(2.0, p, -1.0, q)) == std::vector{6.0, 18.0, 0.0});
  CHECK(traits::values(traits::multiply(p, q)) == std::vector{8.0, 0.0, 8.0});
  CHECK(traits::values(traits::ratio(p, q)) == std::vector{2.0, 0.0, 0.5});
  CHECK(traits::values(traits::ratio(1.0, q)) == std::vector{0.5, 0.0, -0.25});
  CHECK(traits::values(traits::clamp(p, -1.0, 5.0)) == std::vector{4.0, 5.0, -1.0});
  CHECK(traits::values(traits::square_root(traits::multiply(p, p))) == std::vector{4.0, 9.0, 2.0});
  CHECK(traits::values(traits::fill(like, 2.5)) == std::vector{2.5, 2.5, 2.5});
}

TEMPLATE_LIST_TEST_CASE("a NaN or an infinity anywhere is found", "", backends) {
  using T = typename TestType::tensor;
  using traits = tensor_traits<T>;
  const auto with = [](double v) { return TestType::make({2, 2}, {1.0, 2.0, 3.0, v}); };
  CHECK(traits::all_finite(with(-5.0)));
  CHECK(!traits::all_finite(with(std::numeric_limits<double>::quiet_NaN())));
  CHECK(!traits::all_finite(with(std::numeric_limits<double>::infinity())));
  CHECK(!traits::all_finite(with(-std::numeric_limits<double>::infinity())));
  // nor may a maximum hide it
  CHECK(std::isnan(traits::values(traits::max_abs(with(std::numeric_limits<double>::quiet_NaN())))[1]));
}

TEMPLATE_LIST_TEST_CASE("a batch is put together and halved along its samples", "", backends) {
  using T = typename TestType::tensor;
  using traits = tensor_traits<T>;
  const T x = TestType::make({1, 2}, {1.0, 2.0}), y = TestType::make({1, 2}, {3.0, 4.0});
  const T both = traits::concatenate(x, y);
  CHECK(traits::shape_of(both) == shape{2, 2});
  CHECK(elements(both) == std::vector{1.0, 2.0, 3.0, 4.0});
  const auto [first, second] = traits::halves(both);
  CHECK(traits::shape_of(second) == shape{1, 2});
  CHECK(elements(first) == elements(x));
  CHECK(elements(second) == elements(y));
  CHECK_THROWS_AS(traits::halves(x), shape_mismatch);
  CHECK_THROWS_AS(traits::concatenate(x, TestType::make({1, 3}, {1.0, 2.0, 3.0})), shape_mismatch);
}

TEMPLATE_LIST_TEST_CASE("tensors that do not fit together are refused", "", backends) {
  using T = typename TestType::tensor;
  using traits = tensor_traits<T>;
  const T x = TestType::make({2, 3}, vector(6, 1.0)), y = TestType::make({3, 2}, vector(6, 1.0));
  CHECK_THROWS_AS(traits::combine(1.0, x, 1.0, y), shape_mismatch);
  CHECK_THROWS_AS(traits::multiply(x, y), shape_mismatch);
  CHECK_THROWS_AS(traits::dot(x, y), shape_mismatch);
  CHECK_THROWS_AS(traits::from_values(x, vector(3, 1.0)), shape_mismatch);
  CHECK_THROWS_AS(traits::from_elements(x, {2, 2}, vector(5, 1.0)), shape_mismatch);
}

TEMPLATE_LIST_TEST_CASE("noise hangs on the seed, the sample's number, the draw and the element alone", "",
                        backends) {
  using T = typename TestType::tensor;
  const T like = TestType::make({4, 2, 3}, vector(24, 0.0)), one = TestType::make({1, 2, 3}, vector(6, 0.0));
  const auto z = elements(standard_normal(like, {5, 10, 2}));
  for (std::uint64_t j = 0; j < 4; ++j) {
    const auto alone = elements(standard_normal(one, {5, 10 + j, 2}));
    CHECK(alone == vector(z.begin() + static_cast<std::ptrdiff_t>(6 * j),
                          z.begin() + static_cast<std::ptrdiff_t>(6 * j + 6)));
  }
  for (const noise_key& other : {noise_key{6, 10, 2}, noise_key{5, 14, 2}, noise_key{5, 10, 3}}) {
    const auto w = elements(standard_normal(like, other));
    for (std::size_t i = 0; i < 24; ++i) CHECK(w[i] != z[i]);
  }
}

TEMPLATE_LIST_TEST_CASE("noise is standard normal: its first four moments", "", backends) {
  using T = typename TestType::tensor;
  const std::size_t n = 40000;
  const T like = TestType::make({1, n}, vector(n, 0.0));
  const auto z = elements(standard_normal(like, {1, 0, 0}));
  double m[5] = {};
  for (double v : z)
    for (int k = 1; k <= 4; ++k) m[k] += std::pow(v, k) / static_cast<double>(n);
  // standard deviations of the moments: sqrt(1, 2, 15, 96) / sqrt(n); four of them
  CHECK(m[1] == Approx(0.0).margin(4.0 * std::sqrt(1.0 / static_cast<double>(n))));
  CHECK(m[2] == Approx(1.0).margin(4.0 * std::sqrt(2.0 / static_cast<double>(n))));
  CHECK(m[3] == Approx(0.0).margin(4.0 * std::sqrt(15.0 / static_cast<double>(n))));
  CHECK(m[4] == Approx(3.0).margin(4.0 * std::sqrt(96.0 / static_cast<double>(n))));
}

TEMPLATE_LIST_TEST_CASE("a matrix acts along an axis, counted from the end", "", backends) {
  using T = typename TestType::tensor;
  if constexpr (image_tensor<T>) {
    using traits = tensor_traits<T>;
    const T x = TestType::make({1, 2, 3}, {1.0, 2.0, 3.0, 4.0, 5.0, 6.0});
    const auto sums = traits::make_axis_map(x, {2, 3, {1.0, 1.0, 1.0, 0.0, 0.0, 2.0}});
    const T along_last = traits::along_axis(sums, x, 0);
    CHECK(traits::shape_of(along_last) == shape{1, 2, 2});
    CHECK(elements(along_last) == std::vector{6.0, 6.0, 15.0, 12.0});
    const auto difference = traits::make_axis_map(x, {1, 2, {-1.0, 1.0}});
    const T along_height = traits::along_axis(difference, x, 1);
    CHECK(traits::shape_of(along_height) == shape{1, 1, 3});
    CHECK(elements(along_height) == std::vector{3.0, 3.0, 3.0});
    CHECK_THROWS_AS(traits::along_axis(difference, x, 0), shape_mismatch);
  }
}
