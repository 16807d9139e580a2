// Constraints on the clean estimate itself: known elements, linear measurements, sums, the user's own.

#include <support/backend.hpp>
#include <support/gaussian_mixture.hpp>
#include <support/linear_denoiser.hpp>

#include <pushforward/constraints/linear.hpp>
#include <pushforward/constraints/masked.hpp>
#include <pushforward/constraints/weighted_sum.hpp>
#include <pushforward/paths/rectified_flow.hpp>
#include <pushforward/paths/variance_preserving.hpp>
#include <pushforward/sample.hpp>
#include <pushforward/samplers/ddim.hpp>
#include <pushforward/samplers/rectified_flow_euler.hpp>
#include <pushforward/updates/inexact_newton.hpp>

#include <limits>

using namespace pushforward;
using namespace testing_support;

namespace {

constexpr double no_number = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

template <class T> vector losses(const constraint_value<T>& v) { return tensor_traits<T>::values(v.loss); }

/// A x for each sample of a batch (N, n).
template <class T> T product(const matrix& A, const T& x) {
  const auto s = tensor_traits<T>::shape_of(x);
  const std::size_t n = s.sample_elements();
  const auto all = elements(x);
  vector result;
  for (std::size_t j = 0; j < s.samples(); ++j) {
    const vector y = A * std::span(all).subspan(j * n, n);
    result.insert(result.end(), y.begin(), y.end());
  }
  return tensor_traits<T>::from_elements(x, {s.samples(), A.rows}, result);
}

/// Any matrix, on batches (N, n).
template <class T> struct dense_operator {
  matrix A;

  T apply(const T& x) const { return product(A, x); }
  T adjoint(const T& r) const { return product(transposed(A), r); }
  shape output_shape(const shape& s) const {
    if (s.sample_elements() != A.columns) throw shape_mismatch("the matrix does not fit");
    return {s.samples(), A.rows};
  }
};

/// Largest difference of the error and the loss's gradient with its sign turned, by central differences.
template <class Backend, class Constraint>
double distance_from_gradient(const Constraint& c, const shape& s, const vector& at, double h) {
  const vector error = elements(c(Backend::make(s, at)).error);
  const std::size_t n = s.sample_elements();
  double worst = 0.0;
  for (std::size_t i = 0; i < at.size(); ++i) {
    vector up = at, down = at;
    up[i] += h;
    down[i] -= h;
    const double difference =
        losses(c(Backend::make(s, up)))[i / n] - losses(c(Backend::make(s, down)))[i / n];
    worst = std::max(worst, std::abs(error[i] + difference / (2.0 * h)));
  }
  return worst;
}

/// count elements from `first`.
vector part(const vector& v, std::size_t first, std::size_t count) {
  const auto at = v.begin() + static_cast<std::ptrdiff_t>(first);
  return {at, at + static_cast<std::ptrdiff_t>(count)};
}

} // namespace

TEMPLATE_LIST_TEST_CASE("masked: the error is the residual of the known elements, the loss half its square",
                        "", backends) {
  using T = typename TestType::tensor;
  const auto x0 = random_numbers(6, 1), y = random_numbers(6, 2);
  const vector mask{1, 0, 1, 0, 1, 0};
  const masked<T> c(TestType::make({2, 3}, y), TestType::make({2, 3}, mask));
  const auto value = c(TestType::make({2, 3}, x0));
  vector error(6), loss(2, 0.0);
  for (std::size_t i = 0; i < 6; ++i) {
    error[i] = mask[i] * (y[i] - x0[i]);
    loss[i / 3] += 0.5 * error[i] * error[i];
  }
  CHECK(largest_difference(elements(value.error), error) <= TestType::tolerance);
  CHECK(largest_difference(losses(value), loss) <= 4.0 * TestType::tolerance);
}

TEMPLATE_LIST_TEST_CASE("masked: an empty mask asks for nothing, a full mask for all", "", backends) {
  using T = typename TestType::tensor;
  const auto x0 = random_numbers(6, 1), y = random_numbers(6, 2);
  const masked<T> c(TestType::make({2, 3}, y), TestType::make({2, 3}, {0, 0, 0, 1, 1, 1}));
  const auto value = c(TestType::make({2, 3}, x0));
  const auto error = elements(value.error);
  CHECK(losses(value)[0] == 0.0);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(error[i] == 0.0);
    CHECK(std::abs(error[3 + i] - (y[3 + i] - x0[3 + i])) <= TestType::tolerance);
  }
}

TEMPLATE_LIST_TEST_CASE("masked: a weight scales the error, which is minus the gradient of the loss", "",
                        backends) {
  using T = typename TestType::tensor;
  const auto x0 = random_numbers(6, 1), y = random_numbers(6, 2);
  const vector mask{1, 0.25, 0, 0.7, 0.1, 1};
  const double h = std::cbrt(TestType::tolerance);
  const masked<T> c(TestType::make({2, 3}, y), TestType::make({2, 3}, mask));
  const auto value = c(TestType::make({2, 3}, x0));
  vector error(6), loss(2, 0.0);
  for (std::size_t i = 0; i < 6; ++i) {
    error[i] = mask[i] * (y[i] - x0[i]);
    loss[i / 3] += 0.5 * mask[i] * (y[i] - x0[i]) * (y[i] - x0[i]);
  }
  CHECK(largest_difference(elements(value.error), error) <= 4.0 * TestType::tolerance);
  CHECK(largest_difference(losses(value), loss) <= 10.0 * TestType::tolerance);
  CHECK(distance_from_gradient<TestType>(c, {2, 3}, x0, h) <= 20.0 * h * h);

  // with noise, a sample counts as many measurements as its weights sum to
  const double sigma = 0.3;
  const masked<T> noisy(TestType::make({2, 3}, y), TestType::make({2, 3}, mask), sigma);
  CHECK(distance_from_gradient<TestType>(noisy, {2, 3}, x0, h) <= 20.0 * h * h);
  const double norm = std::sqrt(2.0 * loss[0]), rest = norm - std::sqrt(1.25) * sigma;
  REQUIRE(rest > 0.1);
  CHECK(losses(noisy(TestType::make({2, 3}, x0)))[0] ==
        Approx(0.5 * rest * rest).epsilon(50 * TestType::tolerance));
}

TEMPLATE_LIST_TEST_CASE("masked: what the mask hides may be anything", "", backends) {
  using T = typename TestType::tensor;
  const T mask = TestType::make({1, 4}, {1, 0, 0, 1}), x0 = TestType::make({1, 4}, {1, 2, 3, 4});
  const masked<T> c(TestType::make({1, 4}, {3, no_number, infinity, 4}), mask);
  const auto value = c(x0);
  CHECK(elements(value.error) == vector{2, 0, 0, 0});
  CHECK(losses(value) == vector{2});
}

TEMPLATE_LIST_TEST_CASE("masked: what cannot be a target, a mask or a noise level is refused", "", backends) {
  using T = typename TestType::tensor;
  const T y = TestType::make({1, 2}, {1, 2}), ones = TestType::make({1, 2}, {1, 1});
  CHECK_THROWS_AS(masked<T>(y, TestType::make({2, 1}, {1, 1})), shape_mismatch);
  CHECK_THROWS_AS(masked<T>(y, TestType::make({1, 2}, {1, 1.5})), bad_option);
  CHECK_THROWS_AS(masked<T>(y, TestType::make({1, 2}, {1, no_number})), bad_option);
  CHECK_THROWS_AS(masked<T>(y, TestType::make({1, 2}, {-1, 1})), bad_option);
  CHECK_THROWS_AS(masked<T>(TestType::make({1, 2}, {no_number, 2}), ones), bad_option);
  CHECK_THROWS_AS(masked<T>(TestType::make({1, 2}, {1, infinity}), ones), bad_option);
  for (double level : {-0.1, no_number, infinity}) CHECK_THROWS_AS(masked<T>(y, ones, level), bad_option);
  CHECK_THROWS_AS(masked<T>(y, ones).check({1, 3}), shape_mismatch);
  CHECK_NOTHROW(masked<T>(y, ones).check({1, 2}));
}

TEMPLATE_LIST_TEST_CASE("masked: with a noise level the residual is pulled to the noise ball and no further",
                        "", backends) {
  using T = typename TestType::tensor;
  // 4 known elements, 1 known element, and one that lies within its ball
  const vector mask{1, 1, 1, 1, 0, 0, 1, 0, 1, 1, 1, 1},
      y{3, -1, 2, 1, no_number, 5, 2, 5, 0.1, 0.2, 0.1, 0.2};
  const double sigma = 0.25;
  const masked<T> c(TestType::make({3, 4}, y), TestType::make({3, 4}, mask), sigma);
  const auto value = c(TestType::make({3, 4}, vector(12, 0.0)));
  const auto error = elements(value.error);
  const double norm = std::sqrt(15.0), radius = 2.0 * sigma; // sqrt(4) sigma
  for (std::size_t i = 0; i < 4; ++i)
    CHECK(error[i] == Approx(y[i] * (1.0 - radius / norm)).epsilon(20 * TestType::tolerance));
  CHECK(losses(value)[0] ==
        Approx(0.5 * (norm - radius) * (norm - radius)).epsilon(20 * TestType::tolerance));
  CHECK(error[4] == 0.0);
  CHECK(error[6] == Approx(2.0 - sigma).epsilon(20 * TestType::tolerance)); // sqrt(1) sigma
  for (std::size_t i = 8; i < 12; ++i) CHECK(error[i] == 0.0);
  CHECK(losses(value)[2] == 0.0);

  const auto there = elements(c(TestType::make({3, 4}, error)).error);
  CHECK(max_abs(there) <= 10 * TestType::tolerance);
}

TEMPLATE_LIST_TEST_CASE("masked: a run with a known noise level ends on the noise ball", "", backends) {
  using T = typename TestType::tensor;
  const auto path = variance_preserving::linear();
  const gaussian_mixture prior({{1.0, vector(6, 0.0), matrix::identity(6)}});
  const forward_mixture<TestType, variance_preserving> net(prior, path, prediction_type::epsilon);
  const T mask = TestType::make({1, 6}, {1, 1, 0, 1, 1, 0});
  const vector y(6, 3.0); // three deviations off, so that the prior holds it back
  const double sigma = 0.5, radius = 2.0 * sigma;
  const auto residual = [&](double level) {
    const auto result = sample(TestType::make({1, 6}, random_numbers(6, 8)), model{net, path},
                               ddim(path, {.steps = 40}), masked<T>(TestType::make({1, 6}, y), mask, level),
                               update{inexact_newton{}, infinity_norm{.rate = {0.06, 0.004}}, 10});
    const auto x = elements(result.x), m = elements(mask);
    double square = 0.0;
    for (std::size_t i = 0; i < 6; ++i) square += m[i] * (y[i] - x[i]) * (y[i] - x[i]);
    return std::sqrt(square);
  };
  CHECK(residual(sigma) == Approx(radius).epsilon(0.15));
  CHECK(residual(0.0) <= 0.2 * radius);
}

TEMPLATE_LIST_TEST_CASE("linear: loss and error are those of any matrix", "", backends) {
  using T = typename TestType::tensor;
  const matrix A(2, 3, random_numbers(6, 3));
  const auto x0 = random_numbers(6, 4), y = random_numbers(4, 5);
  const linear c(dense_operator<T>{A}, TestType::make({2, 2}, y));
  const auto value = c(TestType::make({2, 3}, x0));
  for (std::size_t j = 0; j < 2; ++j) {
    const vector r = combined(1.0, std::span(y).subspan(2 * j, 2), -1.0, A * std::span(x0).subspan(3 * j, 3));
    const vector error = transposed(A) * r;
    CHECK(losses(value)[j] == Approx(0.5 * dot(r, r)).epsilon(10 * TestType::tolerance));
    CHECK(largest_difference(part(elements(value.error), 3 * j, 3), error) <= 10 * TestType::tolerance);
  }
}

TEMPLATE_LIST_TEST_CASE("linear: the error is minus the gradient of the loss, with and without noise", "",
                        backends) {
  using T = typename TestType::tensor;
  const matrix A(4, 3, random_numbers(12, 6));
  const T y = TestType::make({2, 4}, random_numbers(8, 7));
  const auto x0 = random_numbers(6, 8);
  const double h = std::cbrt(TestType::tolerance);
  for (double level : {0.0, 0.2}) {
    const linear c(dense_operator<T>{A}, y, level);
    REQUIRE(losses(c(TestType::make({2, 3}, x0)))[0] > 0.1);
    CHECK(distance_from_gradient<TestType>(c, {2, 3}, x0, h) <= 20.0 * h * h);
  }
  const masked<T> c(TestType::make({2, 3}, random_numbers(6, 9)), TestType::make({2, 3}, {1, 1, 0, 1, 0, 1}),
                    0.1);
  CHECK(distance_from_gradient<TestType>(c, {2, 3}, x0, h) <= 20.0 * h * h);
}

TEMPLATE_LIST_TEST_CASE("linear: the noise ball counts the measurements, not the elements", "", backends) {
  using T = typename TestType::tensor;
  const matrix A(1, 3, {1, 0, 0});
  const linear c(dense_operator<T>{A}, TestType::make({1, 1}, {2}), 0.5);
  const auto value = c(TestType::make({1, 3}, {0, 0, 0}));
  CHECK(largest_difference(elements(value.error), vector{1.5, 0, 0}) <= 4 * TestType::tolerance);
}

TEMPLATE_LIST_TEST_CASE("linear: a measurement that does not fit, or is not finite, is refused", "",
                        backends) {
  using T = typename TestType::tensor;
  const dense_operator<T> A{matrix(2, 3, random_numbers(6, 3))};
  CHECK_THROWS_AS(linear(A, TestType::make({1, 2}, {1, no_number})), bad_option);
  CHECK_THROWS_AS(linear(A, TestType::make({1, 2}, {1, 1}), -1.0), bad_option);
  const linear c(A, TestType::make({1, 2}, {1, 1}));
  CHECK_NOTHROW(c.check({1, 3}));
  CHECK_THROWS_AS(c.check({1, 2}), shape_mismatch);
  CHECK_THROWS_AS(c.check({2, 3}), shape_mismatch);
}

TEMPLATE_LIST_TEST_CASE("back_projected: the error is the other operator's, the loss stays", "", backends) {
  using T = typename TestType::tensor;
  const matrix A(2, 3, random_numbers(6, 3)), B(3, 2, random_numbers(6, 4));
  const T y = TestType::make({1, 2}, {1, -2}), x0 = TestType::make({1, 3}, {0.5, 0.25, -1});
  const back_projected<dense_operator<T>, dense_operator<T>> both{{A}, {B}};
  const linear plain(dense_operator<T>{A}, y);
  const linear projected(both, y);
  const vector r = combined(1.0, vector{1, -2}, -1.0, A * vector{0.5, 0.25, -1});
  CHECK(losses(projected(x0)) == losses(plain(x0)));
  CHECK(largest_difference(elements(projected(x0).error), B * r) <= 10 * TestType::tolerance);
  CHECK(both.output_shape({1, 3}) == shape{1, 2});
  const back_projected<dense_operator<T>, dense_operator<T>> misfit{{A}, {matrix(2, 2, {1, 0, 0, 1})}};
  CHECK_THROWS_AS(misfit.output_shape({1, 3}), shape_mismatch);
}

TEMPLATE_LIST_TEST_CASE("weighted_sum adds losses and errors, of nested sums too", "", backends) {
  using T = typename TestType::tensor;
  const auto x0 = random_numbers(6, 1);
  const shape s{2, 3};
  const T x = TestType::make(s, x0), ones = TestType::make(s, vector(6, 1.0));
  const auto of = [&](std::uint64_t seed) {
    return masked<T>(TestType::make(s, random_numbers(6, seed)), ones);
  };
  const weighted_sum inner(weighted{2.0, of(11)}, weighted{0.0, of(12)});
  const weighted_sum sum(weighted{0.5, of(10)}, weighted{3.0, inner}, weighted{1.0, of(13)});
  pass_counts counts;
  const auto value = evaluate(sum, x, counts);

  vector error(6, 0.0), loss(2, 0.0);
  for (const auto& [weight, seed] : {std::pair{0.5, 10}, {6.0, 11}, {1.0, 13}}) {
    const auto r = combined(1.0, random_numbers(6, static_cast<std::uint64_t>(seed)), -1.0, x0);
    error = combined(1.0, error, weight, r);
    for (std::size_t i = 0; i < 6; ++i) loss[i / 3] += 0.5 * weight * r[i] * r[i];
  }
  CHECK(largest_difference(elements(value.error), error) <= 50 * TestType::tolerance);
  CHECK(largest_difference(losses(value), loss) <= 100 * TestType::tolerance);
}

TEMPLATE_LIST_TEST_CASE("weighted_sum counts the passes of its terms", "", backends) {
  using T = typename TestType::tensor;
  const auto costly = [](const T& x0, pass_counts& counts) {
    counts.encoder_forward += 3;
    return constraint_value<T>{tensor_traits<T>::fill(x0, 1.0), x0};
  };
  pass_counts counts;
  evaluate(weighted_sum(weighted{1.0, costly}, weighted{0.0, normalized{costly}}),
           TestType::make({1, 2}, {1, 2}), counts);
  CHECK(counts.encoder_forward == 6);
}

TEMPLATE_LIST_TEST_CASE("weighted_sum refuses negative weights and weights that are no numbers", "",
                        backends) {
  using T = typename TestType::tensor;
  const masked<T> c(TestType::make({1, 1}, {1}), TestType::make({1, 1}, {1}));
  for (double w : {-1.0, no_number, infinity})
    CHECK_THROWS_AS(weighted_sum(weighted{1.0, c}, weighted{w, c}), bad_option);
}

TEMPLATE_LIST_TEST_CASE("a shape that does not fit is found within sums, before any pass", "", backends) {
  using T = typename TestType::tensor;
  const auto path = variance_preserving::linear();
  const forward_mixture<TestType, variance_preserving> net(gaussian_mixture::random(3, 1, 5), path,
                                                           prediction_type::epsilon);
  const T good = TestType::make({1, 3}, {1, 1, 1}), bad = TestType::make({1, 2}, {1, 1});
  const weighted_sum sum(weighted{1.0, masked<T>(good, good)},
                         weighted{1.0, normalized{weighted_sum(weighted{1.0, masked<T>(bad, bad)})}});
  CHECK_THROWS_AS(sample(good, model{net, path}, ddim(path), sum, update{inexact_newton{}}), shape_mismatch);
  CHECK(net.calls().forward == 0);
}

TEMPLATE_LIST_TEST_CASE("normalized: the largest element of the error is 1, and no error stays none", "",
                        backends) {
  using T = typename TestType::tensor;
  const masked<T> c(TestType::make({3, 2}, {4, -8, 1, 1, 0.5, 0.25}),
                    TestType::make({3, 2}, {1, 1, 0, 0, 1, 1}));
  const T x0 = TestType::make({3, 2}, vector(6, 0.0));
  pass_counts counts;
  const auto value = evaluate(normalized{c}, x0, counts);
  CHECK(largest_difference(elements(value.error), vector{0.5, -1, 0, 0, 1, 0.5}) <= TestType::tolerance);
  CHECK(elements(value.error)[2] == 0.0);
  CHECK(losses(value) == losses(c(x0)));
}

TEMPLATE_LIST_TEST_CASE("a function of the user's is a constraint, with and without counting passes", "",
                        backends) {
  using T = typename TestType::tensor;
  using traits = tensor_traits<T>;
  const rectified_flow path;
  const linear_denoiser<TestType> net(combined(0.8, matrix::identity(3), 0.0, matrix::identity(3)));
  const T y = TestType::make({1, 3}, {0.5, 1, -0.5}), start = TestType::make({1, 3}, random_numbers(3, 6));
  const update steer{inexact_newton{}, infinity_norm{.rate = {0.3, 0.01}}, 6};
  std::size_t calls = 0;
  const auto towards_y = [&](const T& x0) {
    ++calls;
    const T r = traits::combine(1.0, y, -1.0, x0);
    const auto square = traits::dot(r, r);
    return constraint_value<T>{square, r};
  };
  const auto plain =
      sample(start, model{net, path}, rectified_flow_euler(path, {.steps = 10}), towards_y, steer);
  CHECK(calls == 60);
  CHECK(largest_difference(elements(plain.x), elements(y)) <= 0.1);

  const auto counting = [&](const T& x0, pass_counts& counts) {
    ++counts.decoder_forward;
    return towards_y(x0);
  };
  const auto counted =
      sample(start, model{net, path}, rectified_flow_euler(path, {.steps = 10}), counting, steer);
  CHECK(counted.passes.decoder_forward == 60);
  CHECK(elements(counted.x) == elements(plain.x));
}
