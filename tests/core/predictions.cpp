// Predictions: every way between a raw output, the clean estimate and the noise.

#include <support/catch.hpp>
#include <support/random.hpp>

#include <pushforward/prediction.hpp>

#include <array>
#include <cmath>

using namespace pushforward;
using testing_support::contains_text;

namespace {

constexpr std::array all_types{prediction_type::epsilon, prediction_type::sample, prediction_type::v,
                               prediction_type::flow, prediction_type::reverse_flow};

/// Each prediction by its definition.
double defined(prediction_type type, double a, double s, double x0, double eps) {
  switch (type) {
  case prediction_type::epsilon:
    return eps;
  case prediction_type::sample:
    return x0;
  case prediction_type::v:
    return a * eps - s * x0;
  case prediction_type::flow:
    return eps - x0;
  default:
    return x0 - eps;
  }
}

/// Points on the variance preserving path, on the rectified path, and on neither.
const std::array<coefficients, 6> points{
    {{0.8, 0.6}, {0.28, 0.96}, {0.75, 0.25}, {0.1, 0.9}, {1.3, 0.4}, {0.5, 2.5}}};

} // namespace

TEST_CASE("every prediction gives back the clean sample and the noise that it was made of") {
  const auto numbers = testing_support::random_numbers(20, 1);
  for (const auto& c : points)
    for (std::size_t i = 0; i < 10; ++i) {
      const double x0 = numbers[2 * i], eps = numbers[2 * i + 1], x = c.a * x0 + c.s * eps;
      for (auto type : all_types) {
        const double o = defined(type, c.a, c.s, x0, eps);
        const auto row = row_of(type, c);
        const double clean = row.of_x * x + row.of_output * o;
        CHECK(clean == Approx(x0).margin(1e-12));
        const auto rest = epsilon_of(c);
        CHECK(rest.of_x * x + rest.of_x0 * clean == Approx(eps).margin(1e-12));
      }
    }
}

TEST_CASE("every prediction converts to every other") {
  const auto numbers = testing_support::random_numbers(20, 2);
  for (const auto& c : points)
    for (std::size_t i = 0; i < 10; ++i) {
      const double x0 = numbers[2 * i], eps = numbers[2 * i + 1], x = c.a * x0 + c.s * eps;
      for (auto from : all_types)
        for (auto to : all_types) {
          const auto row = row_of(from, c);
          const double clean = row.of_x * x + row.of_output * defined(from, c.a, c.s, x0, eps);
          const auto rest = epsilon_of(c);
          const double noise = rest.of_x * x + rest.of_x0 * clean;
          const auto out = output_of(to, c);
          INFO(name_of(from) << " to " << name_of(to));
          CHECK(out.of_x0 * clean + out.of_eps * noise ==
                Approx(defined(to, c.a, c.s, x0, eps)).margin(1e-12));
        }
    }
}

TEST_CASE("on the rectified path the flow is the slope dx / dsigma, and the reverse flow its negative") {
  const double x0 = 0.7, eps = -1.2, sigma = 0.4, h = 1e-6;
  const auto x = [&](double at) { return (1.0 - at) * x0 + at * eps; };
  const double slope = (x(sigma + h) - x(sigma - h)) / (2.0 * h);
  const coefficients c{1.0 - sigma, sigma};
  const auto flow = output_of(prediction_type::flow, c),
             reverse = output_of(prediction_type::reverse_flow, c);
  CHECK(flow.of_x0 * x0 + flow.of_eps * eps == Approx(slope));
  CHECK(reverse.of_x0 * x0 + reverse.of_eps * eps == Approx(-slope));
}

TEST_CASE("an epsilon prediction at pure noise is an error that says what to do, and the others are not") {
  const coefficients noise{0.0, 1.0};
  CHECK_THROWS_AS(row_of(prediction_type::epsilon, noise), bad_option);
  CHECK_THROWS_WITH(row_of(prediction_type::epsilon, noise),
                    contains_text("epsilon") && contains_text("start the time grid below"));
  const double x0 = 0.3, eps = -0.8;
  for (auto type : all_types)
    if (type != prediction_type::epsilon) {
      const auto row = row_of(type, noise);
      CHECK(row.of_x * eps + row.of_output * defined(type, 0.0, 1.0, x0, eps) == Approx(x0));
    }
}

TEST_CASE("at the clean end every prediction says x0 = x, except sample, which says it itself") {
  for (auto type :
       {prediction_type::epsilon, prediction_type::v, prediction_type::flow, prediction_type::reverse_flow}) {
    CHECK(row_of(type, {1.0, 0.0}).of_x == 1.0);
    CHECK(row_of(type, {1.0, 0.0}).of_output == 0.0);
  }
  CHECK(row_of(prediction_type::sample, {1.0, 0.0}).of_x == 0.0);
  CHECK_THROWS_AS(epsilon_of({1.0, 0.0}), bad_option);
}

TEST_CASE("predictions have names, and an unknown name is an error that lists them") {
  for (auto type : all_types) CHECK(prediction_named(name_of(type)) == type);
  CHECK(name_of(prediction_type::v) == "v");
  CHECK_THROWS_AS(prediction_named("noise"), bad_option);
  CHECK_THROWS_WITH(prediction_named("noise"), contains_text("\"noise\"") && contains_text("reverse_flow"));
}
