#include <support/xtensor_backend.hpp>

#include <support/catch.hpp>
#include <support/matrix.hpp>
#include <support/random.hpp>

#include <algorithm>
#include <complex>
#include <limits>
#include <vector>

using namespace testing_support;
using algebra = pushforward::dense_algebra<pushforward::xtensor::tensor<float>>;

TEST_CASE("least squares gives the solution of smallest norm, for any shape of matrix") {
  struct size {
    std::size_t rows, columns;
  };
  for (const auto& [rows, columns] : {size{6, 6}, size{9, 4}, size{1, 1}, size{5, 1}}) {
    const matrix a(rows, columns, random_numbers(rows * columns, 1));
    const auto b = random_numbers(rows, 2);
    CHECK(largest_difference(algebra::least_squares(rows, columns, a.values, b, 0.0),
                             truncated_least_squares(a, b, 0.0)) < 1e-11);
  }
  // fewer rows than columns: x = A^T (A A^T)^-1 b
  const matrix a(3, 7, random_numbers(21, 3));
  const auto b = random_numbers(3, 4);
  const auto wanted = transposed(a) * (inverse(a * transposed(a)) * b);
  CHECK(largest_difference(algebra::least_squares(3, 7, a.values, b, 0.0), wanted) < 1e-11);
}

TEST_CASE("least squares takes singular values below the cut-off as zero") {
  const svd d(matrix(5, 5, random_numbers(25, 5)));
  matrix a(5, 5);
  const std::vector<double> singular{4.0, 2.1, 1.9, 0.5, 1e-9};
  for (std::size_t k = 0; k < 5; ++k)
    for (std::size_t i = 0; i < 5; ++i)
      for (std::size_t j = 0; j < 5; ++j) a(i, j) += d.u(i, k) * singular[k] * d.v(j, k);
  const auto b = random_numbers(5, 6);
  for (double cutoff : {0.5, 0.2, 1e-6}) {
    const auto x = algebra::least_squares(5, 5, a.values, b, cutoff);
    std::vector<double> wanted(5, 0.0);
    for (std::size_t k = 0; k < 5; ++k) {
      if (singular[k] < cutoff * 4.0) continue;
      double c = 0.0;
      for (std::size_t i = 0; i < 5; ++i) c += d.u(i, k) * b[i];
      for (std::size_t i = 0; i < 5; ++i) wanted[i] += c / singular[k] * d.v(i, k);
    }
    CHECK(largest_difference(x, wanted) < 1e-11);
  }
}

TEST_CASE("eigenvalues of a matrix that is not symmetric, complex pairs too") {
  const matrix a(8, 8, random_numbers(64, 7));
  auto found = algebra::eigenvalues(8, a.values);
  auto wanted = eigenvalues(a);
  REQUIRE(found.size() == wanted.size());
  const auto order = [](const auto& x, const auto& y) {
    return std::pair(std::round(x.real() * 1e8), x.imag()) < std::pair(std::round(y.real() * 1e8), y.imag());
  };
  std::sort(found.begin(), found.end(), order);
  std::sort(wanted.begin(), wanted.end(), order);
  bool complex = false;
  for (std::size_t i = 0; i < found.size(); ++i) {
    CHECK(std::abs(found[i] - wanted[i]) < 1e-10);
    complex = complex || std::abs(found[i].imag()) > 0.1;
  }
  CHECK(complex);
}

TEST_CASE("empty systems have empty answers") {
  CHECK(algebra::least_squares(0, 3, {}, {}, 0.5) == std::vector<double>(3, 0.0));
  CHECK(algebra::eigenvalues(0, {}).empty());
}

TEST_CASE("systems of the wrong size or with values that are not finite are refused") {
  const std::vector<double> four(4, 1.0), two(2, 1.0);
  std::vector<double> bad = four;
  bad[3] = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_AS(algebra::least_squares(2, 3, four, two, 0.5), pushforward::shape_mismatch);
  CHECK_THROWS_AS(algebra::least_squares(2, 2, four, four, 0.5), pushforward::shape_mismatch);
  CHECK_THROWS_AS(algebra::eigenvalues(3, four), pushforward::shape_mismatch);
  CHECK_THROWS_AS(algebra::least_squares(2, 2, bad, two, 0.5), pushforward::error);
  CHECK_THROWS_AS(algebra::eigenvalues(2, bad), pushforward::error);
}
