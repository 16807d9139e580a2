// Paths: (a, s) against closed forms and products that are recomputed here.

#include <support/catch.hpp>

#include <pushforward/concepts.hpp>
#include <pushforward/paths/rectified_flow.hpp>
#include <pushforward/paths/variance_preserving.hpp>
#include <pushforward/samplers/path_sampler.hpp>

#include <cmath>
#include <limits>
#include <numbers>

using namespace pushforward;
using testing_support::contains_text;

namespace {

const double not_a_number = std::numeric_limits<double>::quiet_NaN();

/// abar_t for t = 0..T as plain products in long double.
template <class Beta> std::vector<long double> products(int T, Beta beta) {
  std::vector<long double> abar{1.0L};
  for (int t = 1; t <= T; ++t) abar.push_back(abar.back() * (1.0L - beta(t)));
  return abar;
}

void check_against(const variance_preserving& p, const std::vector<long double>& abar) {
  REQUIRE(p.last() == static_cast<double>(abar.size() - 1));
  for (std::size_t t = 0; t < abar.size(); ++t) {
    const auto c = p.at(static_cast<double>(t));
    const auto a = static_cast<double>(std::sqrt(abar[t])),
               s = static_cast<double>(std::sqrt(1.0L - abar[t]));
    if (std::abs(c.a - a) > 1e-12 * a || std::abs(c.s - s) > 1e-12)
      FAIL("t = " << t << ": (" << c.a << ", " << c.s << ") instead of (" << a << ", " << s << ")");
  }
}

} // namespace

TEST_CASE("the linear path is the product of betas on a line from 1e-4 to 2e-2") {
  const auto p = variance_preserving::linear();
  check_against(p, products(1000, [](int t) { return 1e-4L + (2e-2L - 1e-4L) * (t - 1) / 999.0L; }));
  CHECK(p.alpha_bar(1000.0) == Approx(4.0358e-5).epsilon(1e-4)); // as published for DDPM
  CHECK(p.beta(1.0) == Approx(1e-4));
  CHECK(p.beta(1000.0) == Approx(2e-2));
  CHECK(p.beta(1.5) == p.beta(2.0));
}

TEST_CASE("the scaled linear path squares a line between roots, and feeds the index from 0") {
  const auto p = variance_preserving::scaled_linear();
  check_against(p, products(1000, [](int t) {
                  const long double from = std::sqrt(8.5e-4L), to = std::sqrt(1.2e-2L);
                  const long double root = from + (to - from) * (t - 1) / 999.0L;
                  return root * root;
                }));
  CHECK(p.alpha_bar(1000.0) == Approx(0.00466).epsilon(1e-3)); // as Stable Diffusion's scheduler has it
  CHECK(p.model_time(1000.0) == 999.0);
  CHECK(p.model_time(1.0) == 0.0);
  CHECK(p.with_time_offset(0.0).model_time(1.0) == 1.0);
  CHECK(p.with_time_offset(0.0).alpha_bar(700.0) == p.alpha_bar(700.0));
}

TEST_CASE("the cosine path is the squared cosine until its betas are clipped") {
  const auto p = variance_preserving::cosine();
  const auto f = [](long double t) {
    const long double c = std::cos((t / 1000.0L + 0.008L) / 1.008L * std::numbers::pi_v<long double> / 2.0L);
    return c * c;
  };
  for (int t = 0; t <= 999; ++t)
    CHECK(p.alpha_bar(t) == Approx(static_cast<double>(f(t) / f(0))).epsilon(1e-9));
  CHECK(p.beta(1000.0) == 0.999); // the formula would have 1
  CHECK(p.alpha_bar(1000.0) == Approx(1e-3 * p.alpha_bar(999.0)));
}

TEST_CASE("a variance preserving path takes any betas, and is clean at time 0") {
  const variance_preserving p({0.5, 0.25}, -1.0);
  CHECK(p.at(0.0).a == 1.0);
  CHECK(p.at(0.0).s == 0.0);
  CHECK(p.at(1.0).a == Approx(std::sqrt(0.5)));
  CHECK(p.at(2.0).a == Approx(std::sqrt(0.5 * 0.75)));
  CHECK(p.at(2.0).s == Approx(std::sqrt(1.0 - 0.5 * 0.75)));
  CHECK(p.last() == 2.0);
  CHECK(p.model_time(2.0) == 1.0);
  CHECK(variance_preserving::linear(0.3, 0.5, 1).beta(1.0) == 0.3);
}

TEST_CASE("between whole times the logarithm of abar runs on a line") {
  const variance_preserving p({0.5, 0.25});
  CHECK(p.alpha_bar(0.25) == Approx(std::pow(0.5, 0.25)));
  CHECK(p.alpha_bar(1.5) == Approx(0.5 * std::sqrt(0.75)));
  CHECK(p.at(1.5).a == Approx(std::sqrt(0.5 * std::sqrt(0.75))));
}

TEST_CASE("a variance preserving path keeps a^2 + s^2 = 1 and loses signal at every step") {
  for (const auto& p : {variance_preserving::linear(), variance_preserving::scaled_linear(),
                        variance_preserving::cosine(), variance_preserving::linear(1e-4, 2e-2, 50)}) {
    double before = 2.0;
    for (double t = 0.0; t <= p.last(); t += 0.5) {
      const auto c = p.at(t);
      if (std::abs(c.a * c.a + c.s * c.s - 1.0) > 1e-14 || !(c.a < before)) FAIL("t = " << t);
      before = c.a;
    }
  }
}

TEST_CASE("near the clean end s keeps its digits") {
  // 1 - abar = 1e-12 to all digits: subtracting abar from 1 would leave four
  const variance_preserving p({1e-12});
  CHECK(p.at(1.0).s == Approx(1e-6).epsilon(1e-13));
}

TEST_CASE("a last beta of 1 ends in noise alone, from which v determines the sample and epsilon does not") {
  const variance_preserving p({0.5, 0.5, 1.0});
  CHECK(p.alpha_bar(3.0) == 0.0);
  CHECK(p.at(3.0).a == 0.0);
  CHECK(p.at(3.0).s == 1.0);
  CHECK(p.at(2.0).a == Approx(0.5));
  CHECK(p.alpha_bar(2.5) == Approx(0.125));
  const auto row = row_of(prediction_type::v, p.at(3.0));
  CHECK(row.of_x == 0.0);
  CHECK(row.of_output == -1.0);
  CHECK_THROWS_AS(row_of(prediction_type::epsilon, p.at(3.0)), bad_option);
}

TEST_CASE("times outside a variance preserving path are refused") {
  const auto p = variance_preserving::linear(1e-4, 2e-2, 10);
  for (double t : {-0.001, 10.001, not_a_number, std::numeric_limits<double>::infinity()}) {
    CHECK_THROWS_AS(p.at(t), bad_option);
    CHECK_THROWS_AS(p.alpha_bar(t), bad_option);
    CHECK_THROWS_AS(p.beta(t), bad_option);
  }
  CHECK_THROWS_AS(p.beta(0.0), bad_option);
  CHECK_THROWS_WITH(p.at(11.0), contains_text("11") && contains_text("10"));
  CHECK_NOTHROW(p.at(10.0));
}

TEST_CASE("betas outside (0, 1), and none at all, are refused") {
  CHECK_THROWS_AS(variance_preserving(std::vector<double>{}), bad_option);
  for (double beta : {0.0, -0.1, 1.5, not_a_number})
    CHECK_THROWS_AS(variance_preserving({0.1, beta}), bad_option);
  CHECK_THROWS_AS(variance_preserving({1.0, 0.1}), bad_option);
  CHECK_THROWS_AS(variance_preserving::linear(1e-4, 2e-2, 0), bad_option);
  CHECK_THROWS_AS(variance_preserving::scaled_linear(-1e-4, 2e-2), bad_option);
  CHECK_THROWS_AS(variance_preserving::cosine(0), bad_option);
}

TEST_CASE("a parameter of a variance preserving path that is not finite is refused by its name") {
  for (double bad : {not_a_number, std::numeric_limits<double>::infinity()}) {
    CHECK_THROWS_WITH(variance_preserving({0.1}, bad), contains_text("time_offset"));
    CHECK_THROWS_WITH(variance_preserving::linear(bad, 2e-2), contains_text("beta"));
    CHECK_THROWS_WITH(variance_preserving::scaled_linear(bad, 1.2e-2), contains_text("betas"));
    CHECK_THROWS_WITH(variance_preserving::scaled_linear(8.5e-4, bad), contains_text("betas"));
    CHECK_THROWS_WITH(variance_preserving::cosine(10, bad), contains_text("offset"));
    CHECK_THROWS_WITH(variance_preserving::cosine(10, 0.008, bad), contains_text("max_beta"));
  }
  CHECK_NOTHROW(variance_preserving::cosine(10, 0.0));
}

TEST_CASE("the rectified path is a straight line from the clean sample to noise") {
  const rectified_flow p;
  for (double sigma : {0.0, 0.25, 0.5, 1.0}) {
    CHECK(p.at(sigma).a == 1.0 - sigma);
    CHECK(p.at(sigma).s == sigma);
    CHECK(p.model_time(sigma) == 1000.0 * sigma);
  }
  CHECK(p.last() == 1.0);
  CHECK(rectified_flow(1.0, 1.0).model_time(0.25) == 0.25);
  for (double sigma : {-1e-9, 1.0 + 1e-9, not_a_number}) CHECK_THROWS_AS(p.at(sigma), bad_option);
}

TEST_CASE("the shift bends the times of the rectified path by k u / (1 + (k - 1) u)") {
  const rectified_flow p(3.0);
  CHECK(p.time_at(0.5) == Approx(0.75));
  CHECK(p.time_at(0.25) == Approx(0.5));
  CHECK(p.shift() == 3.0);
  for (double u : {0.1, 0.3, 0.9}) CHECK(rectified_flow(1.0).time_at(u) == Approx(u));
}

TEST_CASE("whatever the shift, the rectified path's times begin at 0, end at 1 and do not leave it") {
  for (double shift : {0.01, 0.1, 0.2, 0.3, 0.37, 0.7, 1.0, 1.15, 3.0, 7.3, 1e6}) {
    const rectified_flow p(shift);
    CHECK(p.time_at(0.0) == 0.0);
    CHECK(p.time_at(1.0) == 1.0);
    double before = -1.0;
    for (int i = 0; i <= 1000; ++i) {
      const double t = p.time_at(i / 1000.0);
      if (!(t > before && t <= 1.0)) FAIL("shift " << shift << ", fraction " << i / 1000.0 << ": " << t);
      before = t;
    }
  }
}

TEST_CASE("a shift or time scale that is not positive and finite is refused") {
  for (double bad : {0.0, -1.0, not_a_number, std::numeric_limits<double>::infinity()}) {
    CHECK_THROWS_AS(rectified_flow(bad), bad_option);
    CHECK_THROWS_AS(rectified_flow(1.0, bad), bad_option);
  }
}

TEST_CASE("fractions of the variance preserving path are whole times") {
  const auto p = variance_preserving::linear();
  CHECK(p.time_at(0.0) == 0.0);
  CHECK(p.time_at(1.0) == 1000.0);
  CHECK(p.time_at(0.95) == 950.0);
  CHECK(p.time_at(1.0 / 3.0) == 333.0);
}

namespace {

/// The smallest path.
class archetype_path {
public:
  archetype_path(const archetype_path&) = default;
  archetype_path& operator=(const archetype_path&) = delete;
  coefficients at(double) const { return {}; }
  float model_time(double) const { return 0.0F; }
  float time_at(double) const { return 0.0F; }
};
struct path_that_changes {
  coefficients at(double) { return {}; }
  double model_time(double) const { return 0.0; }
  double time_at(double) const { return 0.0; }
};
struct path_without_model_time {
  coefficients at(double) const { return {}; }
  double time_at(double) const { return 0.0; }
};
struct path_without_time_at {
  coefficients at(double) const { return {}; }
  double model_time(double) const { return 0.0; }
};
struct path_of_pairs {
  std::pair<double, double> at(double) const { return {}; }
  double model_time(double) const { return 0.0; }
  double time_at(double) const { return 0.0; }
};

static_assert(path<variance_preserving> && path<rectified_flow> && path<archetype_path>);
static_assert(!path<path_that_changes>, "at must be const");
static_assert(!path<path_without_model_time>);
static_assert(!path<path_without_time_at>);
static_assert(!path<path_of_pairs>, "at must return coefficients");
static_assert(!path<int>);

} // namespace
