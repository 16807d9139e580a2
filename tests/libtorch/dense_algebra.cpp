// Least squares and eigenvalues of libtorch, against tests/support/matrix.hpp.

#include <support/catch.hpp>
#include <support/matrix.hpp>
#include <support/random.hpp>

#include <pushforward/libtorch/tensor.hpp>

#include <limits>
#include <vector>

using namespace pushforward;
using namespace testing_support;
using algebra = dense_algebra<at::Tensor>;

TEST_CASE("libtorch: least squares cut off small singular values, for any shape of matrix") {
  for (const auto& [rows, columns] : std::vector<std::pair<std::size_t, std::size_t>>{{6, 6}, {8, 5}, {4, 7}})
    for (const double cutoff : {0.0, 0.2, 0.5}) {
      const matrix a(rows, columns, random_numbers(rows * columns, 3));
      const auto b = random_numbers(rows, 4);
      CHECK(largest_difference(algebra::least_squares(rows, columns, a.values, b, cutoff),
                               truncated_least_squares(a, b, cutoff)) < 1e-9);
    }
  CHECK(algebra::least_squares(2, 3, std::vector<double>(6), std::vector<double>{1, 2}, 0.5) ==
        std::vector<double>{0, 0, 0});
}

TEST_CASE("libtorch: eigenvalues, complex ones too") {
  const matrix a(7, 7, random_numbers(49, 5));
  auto is = algebra::eigenvalues(7, a.values), wanted = eigenvalues(a);
  REQUIRE(is.size() == 7);
  for (const auto& w : wanted) {
    double nearest = 1.0;
    for (const auto& v : is) nearest = std::min(nearest, std::abs(v - w));
    CHECK(nearest < 1e-8);
  }
  CHECK(algebra::eigenvalues(0, {}).empty());
}

TEST_CASE("libtorch: a matrix of another size, or with a NaN, is refused") {
  const std::vector<double> four(4, 1.0);
  CHECK_THROWS_AS(algebra::eigenvalues(3, four), shape_mismatch);
  CHECK_THROWS_AS(algebra::least_squares(2, 2, four, four, 0.5), shape_mismatch);
  const std::vector<double> bad{1.0, std::numeric_limits<double>::quiet_NaN(), 0.0, 1.0};
  CHECK_THROWS_WITH(algebra::eigenvalues(2, bad), contains_text("not finite"));
  CHECK_THROWS_WITH(algebra::least_squares(2, 2, bad, std::vector<double>{1, 1}, 0.5),
                    contains_text("not finite"));
}
