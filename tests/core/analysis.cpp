// The Jacobian and its spectrum, against dense algebra.

#include <support/backend.hpp>
#include <support/gaussian_mixture.hpp>
#include <support/linear_denoiser.hpp>

#include <pushforward/analysis/arnoldi.hpp>
#include <pushforward/analysis/jacobian.hpp>
#include <pushforward/paths/rectified_flow.hpp>

#include <complex>
#include <functional>
#include <limits>

using namespace pushforward;
using namespace testing_support;

namespace {

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

using spectrum = std::vector<std::complex<double>>;

/// Largest distance of an eigenvalue to the nearest of the other spectrum, which has as many.
double distance(const spectrum& x, const spectrum& y) {
  REQUIRE(x.size() == y.size());
  double worst = 0.0;
  for (const auto* pair : {&x, &y})
    for (const auto& e : *pair) {
      double nearest = 1e300;
      for (const auto& f : pair == &x ? y : x) nearest = std::min(nearest, std::abs(e - f));
      worst = std::max(worst, nearest);
    }
  return worst;
}

/// v -> M v as an operator on batches, without forward differences.
template <class Backend> auto exact_operator(const matrix& M) {
  using T = typename Backend::tensor;
  return std::function<T(const T&)>([M](const T& v) { return affine(M, v, vector(M.rows, 0.0)); });
}

template <class Backend> struct linear_model {
  using T = typename Backend::tensor;
  using type = estimator<T, linear_denoiser<Backend>, rectified_flow>;

  explicit linear_model(matrix M) : net{std::move(M)} {}

  rectified_flow path;
  linear_denoiser<Backend> net;
  pass_counts counts;
  type e{{net, path}, counts};
};

matrix random_matrix(std::size_t n, std::uint64_t seed) { return {n, n, random_numbers(n * n, seed)}; }

} // namespace

TEST_CASE("dense_matrix multiplies from both sides") {
  const matrix M = random_matrix(3, 1);
  const dense_matrix dense{3, M.values};
  const auto v = random_numbers(3, 2);
  CHECK(largest_difference(dense.times(v), M * v) <= 1e-15);
  CHECK(largest_difference(dense.transposed_times(v), transposed(M) * v) <= 1e-15);
}

TEMPLATE_LIST_TEST_CASE("dense_jacobian is the analytic Jacobian, for any sample and batch", "", backends) {
  using T = typename TestType::tensor;
  using net_type = forward_mixture<TestType, rectified_flow>;
  const rectified_flow path;
  const auto prior = gaussian_mixture::random(4, 2, 8);
  const net_type net(prior, path, prediction_type::flow);
  const auto x = random_numbers(8, 9);
  pass_counts counts;
  const estimator<T, net_type, rectified_flow> e({net, path}, counts);
  const auto at = e.evaluate(TestType::make({2, 2, 2}, x), 0.4);
  for (std::size_t sample : {0U, 1U}) {
    const matrix wanted = prior.jacobian(std::span(x).subspan(4 * sample, 4), 0.6, 0.4);
    for (std::size_t batch : {1U, 3U, 128U}) {
      counts = {};
      const auto J = dense_jacobian(e, at, sample, {.batch = batch});
      CHECK(J.size == 4);
      CHECK(largest_difference(J.values, wanted.values) <=
            0.01);                // the forward difference of a curved function
      CHECK(counts.forward == 4); // one pass a column
    }
  }
  CHECK_THROWS_AS(dense_jacobian(e, at, 2), bad_option);
  CHECK_THROWS_AS(dense_jacobian(e, at, 0, {.batch = 0}), bad_option);
  for (double bad : {-1.0, not_a_number, infinity})
    CHECK_THROWS_WITH(dense_jacobian(e, at, 0, {.probe = bad}), contains_text("probe"));
}

TEMPLATE_LIST_TEST_CASE("dense_jacobian of a linear function is its matrix, rows and columns in place", "",
                        backends) {
  const matrix M = random_matrix(4, 11);
  linear_model<TestType> m(M);
  const auto at = m.e.evaluate(TestType::make({1, 4}, random_numbers(4, 12)), 0.5);
  CHECK(largest_difference(dense_jacobian(m.e, at).values, M.values) <= 10 * TestType::probe_tolerance);
}

TEMPLATE_LIST_TEST_CASE("products with J, J^T and their halves are those of the dense matrix", "", backends) {
  const matrix M = random_matrix(4, 11), turned = transposed(M);
  linear_model<TestType> m(M);
  const auto at = m.e.evaluate(TestType::make({2, 4}, random_numbers(8, 12)), 0.5);
  const auto v = random_numbers(8, 13);
  const auto direction = TestType::make({2, 4}, v);
  const auto check = [&](const auto& product, const matrix& wanted) {
    const auto is = elements(product(direction));
    for (std::size_t j = 0; j < 2; ++j)
      CHECK(largest_difference(std::span(is).subspan(4 * j, 4), wanted * std::span(v).subspan(4 * j, 4)) <=
            20 * TestType::probe_tolerance);
  };
  check(jacobian_product(m.e, at), M);
  check(transposed_product(m.e, at), turned);
  check(symmetric_product(m.e, at), combined(0.5, M, 0.5, turned));
  check(skew_product(m.e, at), combined(0.5, M, -0.5, turned));
}

TEMPLATE_LIST_TEST_CASE("arnoldi finds the eigenvalues of J, J^T and their halves", "", backends) {
  using T = typename TestType::tensor;
  const matrix M = random_matrix(5, 14), turned = transposed(M);
  linear_model<TestType> m(M);
  const auto start = TestType::make({1, 5}, random_numbers(5, 16));
  const auto at = m.e.evaluate(start, 0.5);
  const double tolerance = 200 * TestType::probe_tolerance;
  const auto found = [&](const auto& product) {
    const auto r = arnoldi<T>(product, start, 5).front();
    CHECK(r.steps == 5);
    for (std::size_t i = 1; i < r.eigenvalues.size(); ++i)
      CHECK(std::abs(r.eigenvalues[i]) <= std::abs(r.eigenvalues[i - 1]));
    return r.eigenvalues;
  };
  CHECK(distance(found(jacobian_product(m.e, at)), eigenvalues(M)) <= tolerance);
  CHECK(distance(found(transposed_product(m.e, at)), eigenvalues(M)) <= tolerance);
  const matrix symmetric = combined(0.5, M, 0.5, turned), skew = combined(0.5, M, -0.5, turned);
  CHECK(distance(found(symmetric_product(m.e, at)), eigenvalues(symmetric)) <= tolerance);
  const auto imaginary = found(skew_product(m.e, at));
  CHECK(distance(imaginary, eigenvalues(skew)) <= tolerance);
  spectrum conjugated;
  for (const auto& e : imaginary) {
    CHECK(std::abs(e.real()) <= tolerance);
    conjugated.push_back(std::conj(e));
  }
  CHECK(distance(imaginary, conjugated) <= tolerance);
  CHECK(std::abs(imaginary.front()) > 0.1);
}

TEMPLATE_LIST_TEST_CASE("arnoldi with one step gives the Rayleigh quotient", "", backends) {
  using T = typename TestType::tensor;
  const matrix M = random_matrix(4, 17);
  const auto v = random_numbers(4, 18);
  const auto r = arnoldi<T>(exact_operator<TestType>(M), TestType::make({1, 4}, v), 1).front();
  REQUIRE(r.steps == 1);
  CHECK_FALSE(r.invariant);
  CHECK(r.hessenberg[0] == Approx(dot(v, M * v) / dot(v, v)).epsilon(50 * TestType::tolerance));
  CHECK(r.spectral_radius() == Approx(std::abs(r.hessenberg[0])));
}

TEMPLATE_LIST_TEST_CASE("arnoldi stops in an invariant space, and has exactly its eigenvalues", "",
                        backends) {
  using T = typename TestType::tensor;
  matrix M(5, 5); // a turn by 3 in the first two coordinates, and a larger eigenvalue elsewhere
  M(0, 1) = -3.0;
  M(1, 0) = 3.0;
  for (std::size_t i = 2; i < 5; ++i) M(i, i) = 10.0 * static_cast<double>(i);
  const auto r =
      arnoldi<T>(exact_operator<TestType>(M), TestType::make({1, 5}, {0.3, -0.7, 0, 0, 0}), 5).front();
  CHECK(r.steps == 2);
  CHECK(r.invariant);
  CHECK(distance(r.eigenvalues, {{0, 3}, {0, -3}}) <= 10 * TestType::tolerance);
}

TEMPLATE_LIST_TEST_CASE("arnoldi refuses a breakdown that is negative or not finite", "", backends) {
  using T = typename TestType::tensor;
  for (double bad : {-1e-6, not_a_number, infinity})
    CHECK_THROWS_WITH(
        arnoldi<T>(exact_operator<TestType>(matrix(3, 3)), TestType::make({1, 3}, {1, 2, 3}), 3, bad),
        contains_text("breakdown"));
}

TEMPLATE_LIST_TEST_CASE("arnoldi of the zero operator, and from a zero start", "", backends) {
  using T = typename TestType::tensor;
  const auto none =
      arnoldi<T>(exact_operator<TestType>(matrix(3, 3)), TestType::make({1, 3}, {1, 2, 3}), 3).front();
  CHECK(none.steps == 1);
  CHECK(none.invariant);
  CHECK(none.spectral_radius() == 0.0);
  const auto nowhere =
      arnoldi<T>(exact_operator<TestType>(random_matrix(3, 1)), TestType::make({1, 3}, {0, 0, 0}), 3).front();
  CHECK(nowhere.steps == 0);
  CHECK_FALSE(nowhere.invariant);
  CHECK(nowhere.eigenvalues.empty());
  CHECK(nowhere.hessenberg.empty());
  CHECK(nowhere.spectral_radius() == 0.0);
}

TEMPLATE_LIST_TEST_CASE("arnoldi breaks down for each sample by itself", "", backends) {
  using T = typename TestType::tensor;
  matrix M(4, 4);
  for (std::size_t i = 0; i < 4; ++i) M(i, i) = static_cast<double>(i) - 1.5;
  M(2, 3) = 0.5;
  const auto v = random_numbers(4, 19);
  const vector starts{0, 2, 0, 0, 0, 0, 0, 0, v[0], v[1], v[2], v[3]};
  const auto all = arnoldi<T>(exact_operator<TestType>(M), TestType::make({3, 4}, starts), 4);
  REQUIRE(all.size() == 3);
  CHECK(all[0].steps == 1);
  CHECK(all[0].invariant);
  CHECK(distance(all[0].eigenvalues, {{-0.5, 0}}) <= 4 * TestType::tolerance);
  CHECK(all[1].steps == 0);
  CHECK(all[2].steps == 4);
  CHECK(distance(all[2].eigenvalues, eigenvalues(M)) <= 500 * TestType::tolerance);
  for (std::size_t j = 0; j < 3; ++j) {
    const auto single =
        arnoldi<T>(exact_operator<TestType>(M), sample_of<TestType>(TestType::make({3, 4}, starts), j), 4)
            .front();
    CHECK(single.steps == all[j].steps);
    CHECK(largest_difference(single.hessenberg, all[j].hessenberg) <= 500 * TestType::tolerance);
  }
}

TEMPLATE_LIST_TEST_CASE("arnoldi stops at the dimension when asked for more", "", backends) {
  using T = typename TestType::tensor;
  const matrix M = random_matrix(3, 20);
  const auto r =
      arnoldi<T>(exact_operator<TestType>(M), TestType::make({1, 3}, random_numbers(3, 21)), 10).front();
  CHECK(r.steps == 3);
  CHECK(r.invariant);
  CHECK(distance(r.eigenvalues, eigenvalues(M)) <= 500 * TestType::tolerance);
}
