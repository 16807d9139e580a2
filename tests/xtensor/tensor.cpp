#include <support/xtensor_backend.hpp>

#include <support/axis.hpp>
#include <support/catch.hpp>
#include <support/matrix.hpp>
#include <support/random.hpp>

#include <pushforward/constraints/separable.hpp>

#include <algorithm>
#include <tuple>
#include <utility>
#include <vector>

using namespace testing_support;
using pushforward::axis_matrix;
using pushforward::shape;
using pushforward::shape_mismatch;
using pushforward::tensor_traits;

static_assert(pushforward::tensor<pushforward::xtensor::tensor<float>>);
static_assert(pushforward::image_tensor<pushforward::xtensor::tensor<double>>);
static_assert(pushforward::tensor<xt::xarray<float>> && pushforward::tensor<xt::xarray<double>>);
static_assert(pushforward::has_dense_algebra<xt::xarray<double>>);
// Integers, long double and column-major arrays are not.
static_assert(!pushforward::xarray_of_real<xt::xarray<int>>);
static_assert(!pushforward::xarray_of_real<xt::xarray<long double>>);
static_assert(!pushforward::xarray_of_real<xt::xarray<float, xt::layout_type::column_major>>);

namespace {

template <class T> std::vector<double> elements(const T& x) { return tensor_traits<T>::elements(x); }

} // namespace

TEMPLATE_LIST_TEST_CASE("an rvalue's buffer is used for the result", "", backends) {
  using T = typename TestType::tensor;
  using traits = tensor_traits<T>;
  T x = TestType::make({2, 5}, random_numbers(10, 1));
  const T y = TestType::make({2, 5}, random_numbers(10, 2));
  const auto* buffer = x.data();
  T z = traits::combine(2.0, std::move(x), 1.0, y);
  CHECK(z.data() == buffer);
  z = traits::scale(2.0, std::move(z));
  CHECK(z.data() == buffer);
  z = traits::multiply(std::move(z), y);
  CHECK(z.data() == buffer);
}

TEMPLATE_LIST_TEST_CASE("an lvalue is left as it is", "", backends) {
  using T = typename TestType::tensor;
  using traits = tensor_traits<T>;
  const T x = TestType::make({2, 5}, random_numbers(10, 1));
  const T y = TestType::make({2, 5}, random_numbers(10, 2));
  const auto before = elements(x);
  const auto scalars = traits::from_values(x, std::vector<double>{2.0, 3.0});
  traits::combine(2.0, x, scalars, y);
  traits::scale(scalars, x);
  traits::multiply(x, y);
  traits::normal(x, {});
  CHECK(elements(x) == before);
}

TEMPLATE_LIST_TEST_CASE("per-sample factors act on their own sample", "", backends) {
  using T = typename TestType::tensor;
  using traits = tensor_traits<T>;
  const T x = TestType::make({3, 2}, {1, 2, 3, 4, 5, 6});
  const T y = TestType::make({3, 2}, {1, 1, 1, 1, 1, 1});
  const auto a = traits::from_values(x, std::vector<double>{1.0, 0.0, -2.0});
  const auto b = traits::from_values(x, std::vector<double>{0.0, 0.5, 1.0});
  CHECK(elements(traits::combine(a, x, b, y)) == std::vector<double>{1, 2, 0.5, 0.5, -9, -11});
  CHECK(elements(traits::combine(1.0, x, b, y)) == std::vector<double>{1, 2, 3.5, 4.5, 6, 7});
  CHECK(elements(traits::combine(a, x, 1.0, y)) == std::vector<double>{2, 3, 1, 1, -9, -11});
  CHECK(elements(traits::scale(a, x)) == std::vector<double>{1, 2, 0, 0, -10, -12});
}

TEMPLATE_LIST_TEST_CASE("two halves put together are the whole", "", backends) {
  using T = typename TestType::tensor;
  using traits = tensor_traits<T>;
  const T x = TestType::make({4, 1, 3}, random_numbers(12, 1));
  const auto [first, second] = traits::halves(x);
  CHECK(traits::shape_of(first) == shape{2, 1, 3});
  CHECK(traits::shape_of(second) == shape{2, 1, 3});
  const T both = traits::concatenate(first, second);
  CHECK(traits::shape_of(both) == shape{4, 1, 3});
  CHECK(elements(both) == elements(x));
  CHECK(elements(traits::concatenate(second, first)) != elements(x));
}

TEMPLATE_LIST_TEST_CASE("a matrix acts along any axis, banded or full", "", backends) {
  using T = typename TestType::tensor;
  using traits = tensor_traits<T>;
  const shape s{2, 3, 12, 72}; // the last axis is longer than the loops' blocks
  const auto values = random_numbers(s.elements(), 1);
  const T x = TestType::make(s, values);
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const std::size_t n = s[s.size() - 1 - axis];
    auto numbers = random_numbers(5 * n, 2);
    const axis_matrix full(5, n, numbers);
    for (std::size_t i = 0; i < numbers.size(); ++i)
      if (i < n || i % 3 != 0) numbers[i] = 0.0; // all of the first row
    const axis_matrix holes(5, n, numbers);
    for (const axis_matrix& m : {full, holes, pushforward::averaging_matrix(n, 3),
                                 pushforward::averaging_matrix(3 * n, 3).transposed(),
                                 pushforward::gaussian_blur_matrix(n, 1.0, 2)}) {
      const T y = traits::along_axis(traits::make_axis_map(x, m), x, axis);
      shape wanted = s;
      wanted[s.size() - 1 - axis] = m.rows();
      CHECK(traits::shape_of(y) == wanted);
      CHECK(largest_difference(elements(y), applied(m, s, elements(x), axis)) <= 20.0 * TestType::tolerance);
    }
  }
}

TEMPLATE_LIST_TEST_CASE("tensors that do not fit are refused", "", backends) {
  using T = typename TestType::tensor;
  using traits = tensor_traits<T>;
  const T x = TestType::make({2, 6}, random_numbers(12, 1));
  const T other = TestType::make({2, 2, 3}, random_numbers(12, 1));
  const T three = TestType::make({3, 6}, random_numbers(18, 1));
  const auto scalars = traits::fill(three, 1.0);
  CHECK_THROWS_AS(traits::combine(1.0, x, 1.0, other), shape_mismatch);
  CHECK_THROWS_AS(traits::combine(scalars, x, 1.0, x), shape_mismatch);
  CHECK_THROWS_AS(traits::combine(1.0, x, scalars, x), shape_mismatch);
  CHECK_THROWS_AS(traits::scale(scalars, x), shape_mismatch);
  CHECK_THROWS_AS(traits::multiply(x, other), shape_mismatch);
  CHECK_THROWS_AS(traits::dot(x, other), shape_mismatch);
  CHECK_THROWS_AS(traits::concatenate(x, other), shape_mismatch);
  CHECK_THROWS_AS(traits::halves(three), shape_mismatch);
  CHECK_THROWS_AS(traits::from_elements(x, shape{5}, std::vector<double>(4)), shape_mismatch);
  CHECK_THROWS_AS(traits::from_values(x, std::vector<double>(3)), shape_mismatch);
  CHECK_THROWS_AS(traits::make_axis_map(x, axis_matrix{2, 6, std::vector<double>(11)}), shape_mismatch);
  const auto map = traits::make_axis_map(x, axis_matrix{4, 6, std::vector<double>(24, 1.0)});
  CHECK_THROWS_AS(traits::along_axis(map, other, 0), shape_mismatch);
  CHECK_THROWS_AS(traits::along_axis(map, x, 2), shape_mismatch);
  CHECK_THROWS_AS(traits::shape_of(T(std::vector<std::size_t>(9, 1))), shape_mismatch);
}

TEMPLATE_LIST_TEST_CASE("a tensor's noise is that of the counter, whatever the batch", "", backends) {
  using T = typename TestType::tensor;
  using traits = tensor_traits<T>;
  using real = typename T::value_type;
  const T like = TestType::make({3, 2, 3}, std::vector<double>(18));
  const auto z = elements(traits::normal(like, {11, 20, 4}));
  for (std::size_t i = 0; i < z.size(); ++i) {
    const auto block =
        pushforward::noise::normal_block(11, 20 + i / 6, 4, static_cast<std::uint32_t>(i % 6 / 4));
    CHECK(z[i] == static_cast<double>(static_cast<real>(block[i % 6 % 4])));
  }
}

TEST_CASE("tensors of the adapter mix with xtensor's own expressions") {
  pushforward::xtensor::tensor<float> x{{1, 2}, {3, 4}};
  const xt::xarray<float> y{{10, 20}, {30, 40}};
  pushforward::xtensor::tensor<float> z = 2 * x + y;
  CHECK(elements(z) == std::vector<double>{12, 24, 36, 48});
  z += x;
  CHECK(elements(z) == std::vector<double>{13, 26, 39, 52});
  const xt::xarray<float> back = z - y;
  CHECK(elements(back) == std::vector<double>{3, 6, 9, 12});
}
