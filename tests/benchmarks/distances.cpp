// Distances between sets of vectors, against closed forms.

#include <support/catch.hpp>

#include <distances.hpp>

#include <cmath>

using namespace policies;

namespace {

/// Mean 0, and covariance diag(2 a^2 / 3, 2 b^2 / 3).
at::Tensor cross(double a, double b) {
  return at::tensor({a, 0.0, -a, 0.0, 0.0, b, 0.0, -b}, at::kDouble).view({4, 2});
}

} // namespace

TEST_CASE("the Frechet distance of covariances that commute is that of their roots") {
  const auto a = cross(1.0, 2.0), b = cross(4.0, 3.0) + at::tensor({3.0, 4.0}, at::kDouble);
  CHECK(frechet_distance(a, a) == Approx(0.0).margin(1e-12));
  CHECK(frechet_distance(a, b) == Approx(25.0 + 2.0 / 3.0 * (9.0 + 1.0)));
}

TEST_CASE("the Frechet distance of covariances that do not commute is the closed form in two dimensions") {
  const double p = 2.0 / 3.0, q = 4.0 * p, r = 16.0 * p, s = 9.0 * p, root = std::sqrt(0.5);
  const auto turn = at::tensor({root, -root, root, root}, at::kDouble).view({2, 2});
  const double of_product = std::sqrt((p + q) * (r + s) / 2.0 + 2.0 * std::sqrt(p * q * r * s));
  CHECK(frechet_distance(cross(1.0, 2.0), cross(4.0, 3.0).mm(turn.t())) ==
        Approx(p + q + r + s - 2.0 * of_product));
}

TEST_CASE("the energy distance counts no vector with itself") {
  const auto a = at::tensor({0.0F, 0.0F, 3.0F, 4.0F}).view({2, 2});
  const auto b = at::tensor({0.0F, 0.0F, 6.0F, 8.0F}).view({2, 2});
  CHECK(energy_distance(a, b) == Approx(2.0 * 5.0 - 5.0 - 10.0));
}
