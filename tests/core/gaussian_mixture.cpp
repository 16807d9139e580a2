// The oracle of the other tests, tested itself: by formulas that must agree, and by finite differences.

#include <support/backend.hpp>
#include <support/gaussian_mixture.hpp>

#include <pushforward/paths/variance_preserving.hpp>

using namespace testing_support;

TEST_CASE("the mixture's clean estimate is the mean of its posterior, and J a multiple of its covariance") {
  const auto prior = gaussian_mixture::random(3, 3, 5);
  for (const auto& [a, s] : {std::pair{0.8, 0.6}, {0.3, 0.7}, {1.0, 2.0}}) {
    const auto x = random_numbers(3, 77);
    const auto posterior = prior.given_noisy(x, a, s);
    CHECK(largest_difference(prior.clean(x, a, s), posterior.mean()) < 1e-12);
    const matrix covariance = posterior.covariance();
    CHECK(largest_difference(prior.jacobian(x, a, s).values,
                             combined(a / (s * s), covariance, 0.0, covariance).values) < 1e-12);
  }
}

TEST_CASE("the mixture's J is what central differences of its clean estimate give") {
  const auto prior = gaussian_mixture::random(4, 2, 8);
  const double a = 0.6, s = 0.8, h = 1e-5;
  const auto x = random_numbers(4, 3);
  const matrix J = prior.jacobian(x, a, s);
  for (std::size_t j = 0; j < 4; ++j) {
    auto up = x, down = x;
    up[j] += h;
    down[j] -= h;
    const auto slope = combined(0.5 / h, prior.clean(up, a, s), -0.5 / h, prior.clean(down, a, s));
    for (std::size_t i = 0; i < 4; ++i) CHECK(J(i, j) == Approx(slope[i]).margin(1e-8));
  }
}

TEST_CASE(
    "the mixture given some elements has those, and the conditional means of a Gaussian for the others") {
  const double rho = 0.6;
  const gaussian_mixture prior({{1.0, {1.0, 2.0}, matrix(2, 2, {1.0, rho, rho, 1.0})}});
  const auto posterior = prior.given_elements(vector{0.0, 1.0}, vector{0.0, 3.0});
  CHECK(largest_difference(posterior.mean(), vector{1.0 + rho, 3.0}) < 1e-14);
  CHECK(largest_difference(posterior.covariance().values, vector{1.0 - rho * rho, 0.0, 0.0, 0.0}) < 1e-14);
}

TEST_CASE("the tests' own linear algebra: singular values, truncated least squares, eigenvalues") {
  const matrix a(3, 3, random_numbers(9, 4));
  const svd d(a);
  matrix back(3, 3);
  for (std::size_t i = 0; i < 3; ++i)
    for (std::size_t j = 0; j < 3; ++j)
      for (std::size_t k = 0; k < 3; ++k) back(i, j) += d.u(i, k) * d.s[k] * d.v(j, k);
  CHECK(largest_difference(back.values, a.values) < 1e-13);
  CHECK(largest_difference((transposed(d.v) * d.v).values, matrix::identity(3).values) < 1e-13);

  const matrix diagonal(3, 3, {4.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 2.0});
  CHECK(largest_difference(truncated_least_squares(diagonal, vector{4.0, 1.0, 1.0}, 0.5),
                           vector{1.0, 0.0, 0.5}) < 1e-14);

  // companion matrix of (z - 2)(z^2 + 1): one real and two imaginary eigenvalues
  auto roots = eigenvalues(matrix(3, 3, {2.0, -1.0, 2.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0}));
  std::sort(roots.begin(), roots.end(), [](auto p, auto q) { return p.imag() < q.imag(); });
  CHECK(std::abs(roots[0] - std::complex<double>(0.0, -1.0)) < 1e-12);
  CHECK(std::abs(roots[1] - 2.0) < 1e-12);
  CHECK(std::abs(roots[2] - std::complex<double>(0.0, 1.0)) < 1e-12);
  // a random one: sum and product are trace and determinant
  const matrix b(8, 8, random_numbers(64, 6));
  std::complex<double> sum{}, product{1.0};
  for (auto z : eigenvalues(b)) {
    sum += z;
    product *= z;
  }
  double trace = 0.0, determinant = 0.0;
  for (std::size_t i = 0; i < 8; ++i) trace += b(i, i);
  inverse(b, &determinant);
  CHECK(std::abs(sum - trace) < 1e-10);
  CHECK(std::abs(product - determinant) < 1e-8 * std::abs(determinant));
}

TEST_CASE("the mixture's denoiser gives the output that its prediction is defined by") {
  using Backend = std::tuple_element_t<0, backends>;
  using path = pushforward::variance_preserving;
  static_assert(pushforward::denoiser<forward_mixture<Backend, path>, typename Backend::tensor>);
  static_assert(
      !pushforward::differentiable_denoiser<forward_mixture<Backend, path>, typename Backend::tensor>);
  static_assert(
      pushforward::differentiable_denoiser<differentiable_mixture<Backend, path>, typename Backend::tensor>);
  static_assert(
      pushforward::forward_mode_denoiser<forward_mode_mixture<Backend, path>, typename Backend::tensor>);

  const auto p = path::scaled_linear();
  const auto prior = gaussian_mixture::random(3, 2, 1);
  const auto x = random_numbers(3, 9);
  const double t = 400.0, a = p.at(t).a, s = p.at(t).s;
  const auto x0 = prior.clean(x, a, s);
  const vector eps = combined(1.0 / s, x, -a / s, x0);
  using pushforward::prediction_type;
  for (const auto& [type, wanted] : {std::pair{prediction_type::sample, x0},
                                     {prediction_type::epsilon, eps},
                                     {prediction_type::v, combined(a, eps, -s, x0)},
                                     {prediction_type::flow, combined(1.0, eps, -1.0, x0)},
                                     {prediction_type::reverse_flow, combined(1.0, x0, -1.0, eps)}}) {
    const forward_mixture<Backend, path> net(prior, p, type);
    const auto o = elements(net.predict(Backend::make({1, 3}, x), t - 1.0));
    CHECK(largest_difference(o, wanted) < 100.0 * Backend::tolerance);
  }
}
