// The trait of cuda::array: whose buffers it writes to, what it refuses, and where per-sample scalars go.

#include <support/cuda_backend.hpp>

#include <support/axis.hpp>
#include <support/catch.hpp>
#include <support/random.hpp>

#include <pushforward/constraints/separable.hpp>

#include <cmath>
#include <limits>
#include <vector>

using namespace testing_support;
using pushforward::axis_matrix;
using pushforward::shape;
using pushforward::shape_mismatch;
using pushforward::tensor_traits;
namespace cuda = pushforward::cuda;

static_assert(pushforward::image_tensor<cuda::array<float>>);
static_assert(pushforward::image_tensor<cuda::array<double>>);
static_assert(!cuda::real<int> && !cuda::real<long double>);

namespace {

template <class T> std::vector<double> elements(const T& x) { return tensor_traits<T>::elements(x); }

} // namespace

TEMPLATE_LIST_TEST_CASE("an rvalue's buffer is used for the result", "[device]", backends) {
  using T = typename TestType::tensor;
  using traits = tensor_traits<T>;
  T x = TestType::make({2, 5}, random_numbers(10, 1));
  const T y = TestType::make({2, 5}, random_numbers(10, 2));
  const auto p = traits::fill(y, 2.0);
  const auto* buffer = x.data();
  T z = traits::combine(2.0, std::move(x), 1.0, y);
  CHECK(z.data() == buffer);
  z = traits::combine(p, std::move(z), p, y);
  CHECK(z.data() == buffer);
  z = traits::scale(2.0, std::move(z));
  CHECK(z.data() == buffer);
  z = traits::multiply(std::move(z), y);
  CHECK(z.data() == buffer);

  auto q = traits::from_values(y, std::vector{4.0, 9.0});
  const double* scalars = q.values.data();
  q = traits::combine(1.0, std::move(q), 1.0, p);
  q = traits::multiply(std::move(q), p);
  q = traits::ratio(std::move(q), p);
  q = traits::ratio(1.0, std::move(q));
  q = traits::square_root(std::move(q));
  q = traits::clamp(std::move(q), 0.0, 1.0);
  CHECK(q.values.data() == scalars);
}

TEMPLATE_LIST_TEST_CASE("a buffer that somebody else sees is never written to", "[device]", backends) {
  using T = typename TestType::tensor;
  using traits = tensor_traits<T>;
  const T kept = TestType::make({4, 5}, random_numbers(20, 1));
  const auto before = elements(kept);
  const auto use = [&](const auto& make, const T& y) {
    const auto p = traits::fill(y, 2.0);
    traits::combine(2.0, make(), 1.0, y);
    traits::combine(p, make(), p, y);
    traits::scale(2.0, make());
    traits::scale(p, make());
    traits::multiply(make(), y);
    traits::normal(make(), {});
    traits::zeros(make());
  };
  use([&] { return T(kept); }, kept);
  const auto [first, second] = traits::halves(kept);
  CHECK(first.data() == kept.data()); // no copy
  use([&, &half = first] { return T(half); }, first);
  use([&, &half = second] { return T(half); }, second);
  CHECK(elements(kept) == before);

  auto [left, right] = traits::halves(TestType::make({4, 5}, before));
  traits::scale(3.0, std::move(left));
  CHECK(elements(right) == std::vector<double>(before.begin() + 10, before.end()));
  const auto* last = right.data();
  CHECK(traits::scale(3.0, std::move(right)).data() == last); // nobody else is left

  const auto p = traits::from_values(kept, std::vector{4.0, 9.0, 0.0, -1.0});
  auto copy = p;
  traits::ratio(1.0, std::move(copy));
  CHECK(traits::values(p) == std::vector{4.0, 9.0, 0.0, -1.0});
}

TEMPLATE_LIST_TEST_CASE(
    "per-sample scalars are double, and follow the other adapters where they are no numbers", "[device]",
    backends) {
  using T = typename TestType::tensor;
  using traits = tensor_traits<T>;
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  const T like = TestType::make({6, 1}, vector(6, 0.0));
  const std::vector<double> of_p{1.0, 0.0, nan, inf, -4.0, 2.0}, of_q{0.0, 0.0, 0.0, 2.0, nan, -0.0};
  const auto p = traits::from_values(like, of_p), q = traits::from_values(like, of_q);
  using host = pushforward::host_per_sample_traits<T>;
  const pushforward::host_scalars hp(of_p.begin(), of_p.end()), hq(of_q.begin(), of_q.end());
  const auto same = [](const std::vector<double>& is, const pushforward::host_scalars& wanted) {
    REQUIRE(is.size() == wanted.size());
    for (std::size_t i = 0; i < is.size(); ++i)
      CHECK((std::isnan(is[i]) ? std::isnan(wanted[i]) : is[i] == wanted[i]));
  };
  same(traits::values(traits::ratio(p, q)), host::ratio(hp, hq));
  same(traits::values(traits::ratio(3.0, q)), host::ratio(3.0, hq));
  same(traits::values(traits::ratio(nan, q)), host::ratio(nan, hq));
  same(traits::values(traits::clamp(p, -1.0, 1.5)), host::clamp(hp, -1.0, 1.5));
  same(traits::values(traits::clamp(p, 0.0, inf)), host::clamp(hp, 0.0, inf));
  same(traits::values(traits::square_root(p)), host::square_root(hp));
  same(traits::values(traits::combine(0.5, p, 0.0, q)), host::combine(0.5, hp, 0.0, hq));
  same(traits::values(traits::multiply(p, q)), host::multiply(hp, hq));
  CHECK(traits::values(traits::fill(like, 0.1))[0] == 0.1); // not rounded to float
}

TEMPLATE_LIST_TEST_CASE("two halves put together are the whole", "[device]", backends) {
  using T = typename TestType::tensor;
  using traits = tensor_traits<T>;
  const T x = TestType::make({4, 3, 111}, random_numbers(1332, 1));
  const auto [first, second] = traits::halves(x);
  CHECK(traits::shape_of(first) == shape{2, 3, 111});
  CHECK(elements(traits::concatenate(first, second)) == elements(x));
  CHECK(elements(traits::concatenate(second, first)) != elements(x));
  // of unequal size, and not side by side in memory
  const T more = TestType::make({1, 3, 111}, random_numbers(333, 2));
  const T three = traits::concatenate(second, more);
  CHECK(traits::shape_of(three) == shape{3, 3, 111});
  auto wanted = elements(second);
  for (double v : elements(more)) wanted.push_back(v);
  CHECK(elements(three) == wanted);
}

TEMPLATE_LIST_TEST_CASE("a matrix acts along any axis, banded or full", "[device]", backends) {
  using T = typename TestType::tensor;
  using traits = tensor_traits<T>;
  const shape s{2, 3, 12, 72};
  const T x = TestType::make(s, random_numbers(s.elements(), 1));
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const std::size_t n = s[s.size() - 1 - axis];
    auto numbers = random_numbers(5 * n, 2);
    const axis_matrix full(5, n, numbers);
    for (std::size_t i = 0; i < numbers.size(); ++i)
      if (i < n || i % 3 != 0) numbers[i] = 0.0; // all of the first row
    const axis_matrix holes(5, n, numbers);
    for (const axis_matrix& m :
         {full, holes, axis_matrix(2, n, vector(2 * n, 0.0)), pushforward::averaging_matrix(n, 3),
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

TEMPLATE_LIST_TEST_CASE("an element that is no number stays where the matrix looks at it", "[device]",
                        backends) {
  using T = typename TestType::tensor;
  using traits = tensor_traits<T>;
  const T x = TestType::make({1, 4}, {std::numeric_limits<double>::quiet_NaN(), 1.0, 2.0, 3.0});
  const auto y =
      elements(traits::along_axis(traits::make_axis_map(x, pushforward::averaging_matrix(4, 2)), x, 0));
  CHECK(std::isnan(y[0]));
  CHECK(y[1] == 2.5);
}

TEMPLATE_LIST_TEST_CASE("arrays that do not fit are refused", "[device]", backends) {
  using T = typename TestType::tensor;
  using traits = tensor_traits<T>;
  const T x = TestType::make({2, 6}, random_numbers(12, 1));
  const T other = TestType::make({2, 2, 3}, random_numbers(12, 1));
  const T three = TestType::make({3, 6}, random_numbers(18, 1));
  const auto p = traits::fill(x, 1.0), of_three = traits::fill(three, 1.0);
  CHECK_THROWS_WITH(traits::combine(1.0, x, 1.0, other),
                    contains_text("2 x 2 x 3") && contains_text("2 x 6"));
  CHECK_THROWS_WITH(traits::combine(of_three, x, 1.0, x), contains_text("3 per-sample values"));
  CHECK_THROWS_AS(traits::combine(1.0, x, of_three, x), shape_mismatch);
  CHECK_THROWS_AS(traits::scale(of_three, x), shape_mismatch);
  CHECK_THROWS_AS(traits::multiply(x, other), shape_mismatch);
  CHECK_THROWS_AS(traits::dot(x, other), shape_mismatch);
  CHECK_THROWS_AS(traits::concatenate(x, other), shape_mismatch);
  CHECK_THROWS_AS(traits::halves(three), shape_mismatch);
  CHECK_THROWS_AS(traits::from_elements(x, shape{5}, vector(4)), shape_mismatch);
  CHECK_THROWS_AS(traits::from_values(x, vector(3)), shape_mismatch);
  CHECK_THROWS_AS(traits::combine(1.0, p, 1.0, of_three), shape_mismatch);
  CHECK_THROWS_AS(traits::multiply(p, of_three), shape_mismatch);
  CHECK_THROWS_AS(traits::ratio(p, of_three), shape_mismatch);
  const auto map = traits::make_axis_map(x, axis_matrix{4, 6, vector(24, 1.0)});
  CHECK_THROWS_AS(traits::along_axis(map, other, 0), shape_mismatch);
  CHECK_THROWS_AS(traits::along_axis(map, x, 2), shape_mismatch);
  const T six = TestType::make({6, 6}, random_numbers(36, 1));
  CHECK_THROWS_AS(traits::along_axis(map, six, 1), shape_mismatch); // the samples
}

TEMPLATE_LIST_TEST_CASE("arrays on different executors are refused with both named", "[device]", backends) {
  using T = typename TestType::tensor;
  using traits = tensor_traits<T>;
  if (test_executor().is_host()) return;
  const T x = TestType::make({2, 6}, random_numbers(12, 1));
  const T there = make_cuda<typename T::value_type>(cuda::executor::host(), {2, 6}, random_numbers(12, 1));
  CHECK_THROWS_WITH(traits::combine(1.0, x, 1.0, there),
                    contains_text("the host") && contains_text("device 0"));
  CHECK_THROWS_AS(traits::scale(traits::fill(there, 1.0), x), shape_mismatch);
  CHECK_THROWS_AS(traits::multiply(traits::fill(there, 1.0), traits::fill(x, 1.0)), shape_mismatch);
}
