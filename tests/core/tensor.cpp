// What the tensor concept's operations must do, on every backend.

#include <support/backend.hpp>

#include <pushforward/tensor.hpp>

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
