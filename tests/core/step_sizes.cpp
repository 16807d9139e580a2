// What scales the direction.

#include <support/backend.hpp>
#include <support/gaussian_mixture.hpp>
#include <support/linear_denoiser.hpp>

#include <pushforward/constraints/masked.hpp>
#include <pushforward/paths/rectified_flow.hpp>
#include <pushforward/sample.hpp>
#include <pushforward/samplers/rectified_flow_euler.hpp>
#include <pushforward/step_sizes.hpp>
#include <pushforward/updates/inexact_newton.hpp>

#include <limits>

using namespace pushforward;
using namespace testing_support;

namespace {

constexpr double no_number = std::numeric_limits<double>::quiet_NaN();

double largest_magnitude(const matrix& m) {
  double mu = 0.0;
  for (const auto& e : eigenvalues(m)) mu = std::max(mu, std::abs(e));
  return mu;
}

} // namespace

TEST_CASE("linear_decay goes from its first to its last value on a line") {
  const linear_decay d{0.5, 0.1};
  CHECK(d.at(0, 5) == 0.5);
  CHECK(d.at(2, 5) == Approx(0.3));
  CHECK(d.at(4, 5) == Approx(0.1));
  CHECK(d.at(1, 2) == Approx(0.1));
  CHECK(d.at(0, 1) == 0.5);
  for (std::size_t k : {0U, 3U, 9U}) CHECK(constant_rate(0.2).at(k, 10) == 0.2);
}

TEMPLATE_LIST_TEST_CASE("infinity_norm: the largest change is the rate, and no direction is no change", "",
                        backends) {
  using traits = tensor_traits<typename TestType::tensor>;
  const auto d = TestType::make({3, 2}, {4, -8, 0, 0, 1e-3, 5e-4});
  const infinity_norm rule{.rate = {0.5, 0.1}};
  const auto first = traits::values(rule.scale(d, 0, 3)), last = traits::values(rule.scale(d, 2, 3));
  CHECK(largest_difference(first, vector{0.5 / 8, 0, 500}) <= 500 * TestType::tolerance);
  CHECK(largest_difference(last, vector{0.1 / 8, 0, 100}) <= 500 * TestType::tolerance);
  CHECK(first[1] == 0.0);
}

TEMPLATE_LIST_TEST_CASE("constant_step: lambda, whatever the direction", "", backends) {
  using traits = tensor_traits<typename TestType::tensor>;
  const constant_step rule{{2.0, 1.0}};
  for (double size : {0.0, 1.0, 1e6}) {
    const auto d = TestType::make({2, 1}, {size, -size});
    CHECK(largest_difference(traits::values(rule.scale(d, 0, 2)), vector{2, 2}) <= TestType::tolerance);
    CHECK(largest_difference(traits::values(rule.scale(d, 1, 2)), vector{1, 1}) <= TestType::tolerance);
  }
}

TEMPLATE_LIST_TEST_CASE("spectral: c over the square of J's largest eigenvalue", "", backends) {
  using T = typename TestType::tensor;
  const rectified_flow path;
  const matrix M(4, 4, random_numbers(16, 3));
  const linear_denoiser<TestType> net(M);
  pass_counts counts;
  const estimator<T, linear_denoiser<TestType>, rectified_flow> e({net, path}, counts);
  const auto at = e.evaluate(TestType::make({2, 4}, random_numbers(8, 4)), 0.5);
  counts = {};
  const auto rule = spectral{.c = 1.5, .krylov = 4}.at_step(e, at);
  CHECK(counts == pass_counts{.forward = 2 * 4});
  const double mu = largest_magnitude(M);
  const auto lambda = tensor_traits<T>::values(rule.scale(at.x, 0, 1));
  for (double l : lambda) CHECK(l == Approx(1.5 / (mu * mu)).epsilon(100 * TestType::probe_tolerance));
}

TEMPLATE_LIST_TEST_CASE("spectral: each sample has its own spectrum", "", backends) {
  using T = typename TestType::tensor;
  using net_type = forward_mixture<TestType, rectified_flow>;
  const rectified_flow path;
  const auto prior = gaussian_mixture::random(3, 2, 8);
  const net_type net(prior, path, prediction_type::sample);
  const auto x = random_numbers(6, 9);
  pass_counts counts;
  const estimator<T, net_type, rectified_flow> e({net, path}, counts);
  const auto at = e.evaluate(TestType::make({2, 3}, x), 0.4);
  const auto lambda =
      tensor_traits<T>::values(spectral{.c = 0.5, .krylov = 3}.at_step(e, at).scale(at.x, 0, 1));
  const auto wanted = [&](std::size_t j) {
    const double mu = largest_magnitude(prior.jacobian(std::span(x).subspan(3 * j, 3), 0.6, 0.4));
    return 0.5 / (mu * mu);
  };
  CHECK(lambda[0] == Approx(wanted(0)).epsilon(0.03)); // the forward difference of a curved function
  CHECK(lambda[1] == Approx(wanted(1)).epsilon(0.03));
  CHECK(std::abs(wanted(0) - wanted(1)) > 0.1 * wanted(0));
}

TEMPLATE_LIST_TEST_CASE("spectral: a sample without a spectrum is not moved", "", backends) {
  using T = typename TestType::tensor;
  const rectified_flow path;
  const linear_denoiser<TestType> net(combined(0.8, matrix::identity(2), 0.0, matrix::identity(2)));
  pass_counts counts;
  const estimator<T, linear_denoiser<TestType>, rectified_flow> e({net, path}, counts);
  const auto at = e.evaluate(TestType::make({2, 2}, {0, 0, 1, 2}), 0.5);
  const auto lambda =
      tensor_traits<T>::values(spectral{.c = 0.5, .krylov = 2}.at_step(e, at).scale(at.x, 0, 1));
  CHECK(lambda[0] == 0.0);
  CHECK(lambda[1] == Approx(0.5 / 0.64).epsilon(100 * TestType::probe_tolerance));
}

TEST_CASE("step sizes that cannot work are refused") {
  for (double bad : {0.0, -0.5, no_number, std::numeric_limits<double>::infinity()}) {
    CHECK_THROWS_AS((infinity_norm{.rate = {bad, 0.1}}.check()), bad_option);
    CHECK_THROWS_AS((infinity_norm{.rate = {0.1, bad}}.check()), bad_option);
    CHECK_THROWS_AS((constant_step{{bad, 1.0}}.check()), bad_option);
    CHECK_THROWS_AS((constant_step{{1.0, bad}}.check()), bad_option);
  }
  for (double c : {0.0, 2.0, -1.0, no_number}) CHECK_THROWS_AS((spectral{.c = c}.check()), bad_option);
  CHECK_THROWS_AS((spectral{.krylov = 0}.check()), bad_option);
  CHECK_NOTHROW(infinity_norm{}.check());
  CHECK_NOTHROW(constant_step{}.check());
  CHECK_NOTHROW(spectral{}.check());
}

TEMPLATE_LIST_TEST_CASE("a run asks the step size before any pass", "", backends) {
  using T = typename TestType::tensor;
  const rectified_flow path;
  const forward_mixture<TestType, rectified_flow> net(gaussian_mixture::random(2, 1, 1), path,
                                                      prediction_type::sample);
  const T y = TestType::make({1, 2}, {1, 1});
  const auto run = [&](const auto& step) {
    return sample(y, model{net, path}, rectified_flow_euler(path), masked<T>(y, y),
                  update{inexact_newton{}, step, 2});
  };
  CHECK_THROWS_AS(run(infinity_norm{.rate = {-1.0, 1.0}}), bad_option);
  CHECK_THROWS_AS(run(constant_step{{0.0, 1.0}}), bad_option);
  CHECK_THROWS_AS(run(spectral{.c = 3.0}), bad_option);
  CHECK(net.calls().forward == 0);
}

TEMPLATE_LIST_TEST_CASE("spectral: an error along an eigenvector shrinks by 1 - c (mu / mu_max)^2", "",
                        backends) {
  using T = typename TestType::tensor;
  const rectified_flow path;
  const linear_denoiser<TestType> net(matrix(2, 2, {0.9, 0, 0, 0.3}));
  const T start = TestType::make({1, 2}, {0.2, 0.4}), y = TestType::make({1, 2}, {1, 1});
  const auto result = sample(start, model{net, path}, rectified_flow_euler(path, {.steps = 1}),
                             masked<T>(y, y), update{inexact_newton{}, spectral{.c = 0.5, .krylov = 2}, 3});
  // e_0 = y - M x; the single step ends at the clean estimate
  const double share = (0.3 / 0.9) * (0.3 / 0.9);
  const vector e{(1 - 0.9 * 0.2) * std::pow(0.5, 3), (1 - 0.3 * 0.4) * std::pow(1 - 0.5 * share, 3)};
  CHECK(largest_difference(elements(result.x), combined(1.0, vector{1, 1}, -1.0, e)) <=
        100 * TestType::probe_tolerance);
}
