// Samplers: grids, and steps against the formulas of DDIM and of Euler coded here.

#include <support/backend.hpp>

#include <pushforward/estimate.hpp>
#include <pushforward/samplers/ddim.hpp>
#include <pushforward/samplers/rectified_flow_euler.hpp>

#include <cmath>
#include <limits>

using namespace pushforward;
using namespace testing_support;

namespace {

const double not_a_number = std::numeric_limits<double>::quiet_NaN();

/// One step of a sampler from given x0 and eps, with the noise z; also checks that z is asked for only if
/// used.
template <class Backend>
vector stepped(const path_sampler& s, std::size_t i, const coefficients& c, const vector& x0,
               const vector& eps, const vector& z) {
  using T = typename Backend::tensor;
  const shape extents{2, x0.size() / 2};
  const T x = Backend::make(extents, combined(c.a, x0, c.s, eps));
  std::size_t asked = 0;
  const auto noise = [&](const T& like) {
    CHECK(tensor_traits<T>::shape_of(like) == extents);
    ++asked;
    return Backend::make(extents, z);
  };
  const auto next = elements(s.step(i, estimate<T>{x, Backend::make(extents, x0), s.time(i), c, {}}, noise));
  CHECK(asked == (s.weights(i).of_noise == 0.0 ? 0 : 1));
  return next;
}

} // namespace

TEMPLATE_LIST_TEST_CASE("a DDIM step is the published one, for eta 0, 1/2 and 1", "", backends) {
  const auto p = variance_preserving::scaled_linear();
  const auto x0 = random_numbers(6, 1), eps = random_numbers(6, 2), z = random_numbers(6, 3);
  for (double eta : {0.0, 0.5, 1.0}) {
    const auto sampler = ddim(p, {.steps = 20, .eta = eta});
    REQUIRE(sampler.steps() == 20);
    for (std::size_t i = 0; i < 20; ++i) {
      const double t = 1000.0 - 50.0 * static_cast<double>(i);
      CHECK(sampler.time(i) == t);
      const double abar = p.alpha_bar(t), next = p.alpha_bar(t - 50.0);
      // Song, Meng and Ermon 2021, equations 12 and 16
      const double sigma = eta * std::sqrt((1.0 - next) / (1.0 - abar)) * std::sqrt(1.0 - abar / next);
      const double kept = std::sqrt(std::max(1.0 - next - sigma * sigma, 0.0));
      const auto wanted = combined(1.0, combined(std::sqrt(next), x0, kept, eps), sigma, z);
      const auto is = stepped<TestType>(sampler, i, p.at(t), x0, eps, z);
      CHECK(largest_difference(is, wanted) <= 5.0 * TestType::tolerance / p.at(t).s);
    }
    CHECK(sampler.time(20) == 0.0);
  }
}

TEMPLATE_LIST_TEST_CASE("with one_step_beta a DDIM step is the reference's", "", backends) {
  const auto p = variance_preserving::scaled_linear();
  const auto x0 = random_numbers(6, 1), eps = random_numbers(6, 2), z = random_numbers(6, 3);
  const auto sampler = ddim(p, {.steps = 20, .noise = ddim_noise::one_step_beta});
  for (std::size_t i = 0; i < 20; ++i) {
    const double t = sampler.time(i);
    const double abar = p.alpha_bar(t), next = p.alpha_bar(sampler.time(i + 1));
    const double beta = 1.0 - abar / p.alpha_bar(t - 1.0);
    const double beta_tilde = beta * (1.0 - next) / (1.0 - abar);
    const auto deterministic = combined(std::sqrt(next), x0, std::sqrt(1.0 - next - beta_tilde), eps);
    const auto wanted = combined(1.0, deterministic, std::sqrt(beta_tilde), z);
    CHECK(largest_difference(stepped<TestType>(sampler, i, p.at(t), x0, eps, z), wanted) <=
          20.0 * TestType::tolerance);
  }
}

TEMPLATE_LIST_TEST_CASE("a step of the rectified flow is Euler's", "", backends) {
  for (double shift : {1.0, 3.0}) {
    const rectified_flow p(shift);
    const auto x0 = random_numbers(6, 1), eps = random_numbers(6, 2);
    const auto sampler = rectified_flow_euler(p, {.steps = 7});
    REQUIRE(sampler.steps() == 7);
    CHECK(sampler.time(0) == 1.0);
    CHECK(sampler.time(7) == 0.0);
    for (std::size_t i = 0; i < 7; ++i) {
      const double u = 1.0 - static_cast<double>(i) / 7.0;
      const double sigma = sampler.time(i);
      CHECK(sigma == Approx(shift * u / (1.0 + (shift - 1.0) * u)));
      // x' = x + (sigma' - sigma) dx/dsigma, dx/dsigma = eps - x0
      const auto x = combined(1.0 - sigma, x0, sigma, eps);
      const auto wanted = combined(1.0, x, sampler.time(i + 1) - sigma, combined(1.0, eps, -1.0, x0));
      CHECK(largest_difference(stepped<TestType>(sampler, i, p.at(sigma), x0, eps, x0), wanted) <=
            10.0 * TestType::tolerance);
    }
  }
}

TEST_CASE("the published grid of Stable Diffusion 3 ends where a shifted time is shifted again") {
  const auto f = [](double k, double u) { return k * u / (1.0 + (k - 1.0) * u); };
  for (double shift : {1.0, 3.0, 0.5}) {
    const double least = f(shift, 0.001);
    for (std::size_t steps : {1U, 2U, 7U, 28U, 1000U}) {
      const auto sampler =
          rectified_flow_euler(rectified_flow(shift), {.steps = steps, .grid = flow_grid::shifted_twice});
      REQUIRE(sampler.steps() == steps);
      CHECK(sampler.time(0) == 1.0);
      CHECK(sampler.time(steps) == 0.0);
      for (std::size_t i = 0; i < steps; ++i) {
        const double n = static_cast<double>(std::max<std::size_t>(steps, 2) - 1);
        CHECK(sampler.time(i) == Approx(f(shift, 1.0 + static_cast<double>(i) * (least - 1.0) / n)));
      }
    }
  }
  CHECK(f(3.0, 0.001) == Approx(0.0029940).epsilon(1e-4));
  CHECK(twice_shifted_times(rectified_flow(3.0), 28)[27] == Approx(0.0089286).epsilon(1e-4));
}

TEST_CASE("the published grid starts where it is told to, and refuses what has no grid") {
  const rectified_flow p(3.0);
  const auto times = twice_shifted_times(p, 4, 0.6);
  CHECK(times[0] == p.time_at(0.6));
  CHECK(times[3] == Approx(0.0089286).epsilon(1e-4));
  CHECK_THROWS_AS(twice_shifted_times(p, 0), bad_option);
  CHECK_THROWS_AS(twice_shifted_times(p, 1001), bad_option);
  CHECK_THROWS_AS(twice_shifted_times(p, 5, 1.1), bad_option);
  CHECK_THROWS_AS(twice_shifted_times(p, 5, 0.002), bad_option); // below where it ends
  CHECK_THROWS_AS(twice_shifted_times(p, 5, std::nan("")), bad_option);
}

TEMPLATE_LIST_TEST_CASE("a step with new noise has the next time's noise level, as its sample variance shows",
                        "", backends) {
  using T = typename TestType::tensor;
  const std::size_t count = 20000;
  const T x0 = TestType::make({1, count}, vector(count, 0.0));
  const auto check = [&](const path_sampler& sampler, const auto& path, std::size_t i) {
    const double t = sampler.time(i);
    const T x = noised(path, x0, t, 1);
    const auto noise = [](const T& like) { return standard_normal(like, {1, 0, 1}); };
    const auto next = elements(sampler.step(i, estimate<T>{x, x0, t, path.at(t), {}}, noise));
    const double variance = dot(next, next) / static_cast<double>(count);
    const double wanted = path.at(sampler.time(i + 1)).s * path.at(sampler.time(i + 1)).s;
    // the variance of `count` normal numbers has a relative standard deviation of sqrt(2 / count) = 1 %
    CHECK(variance == Approx(wanted).epsilon(0.04));
  };
  const rectified_flow rf(3.0);
  const auto vp = variance_preserving::scaled_linear();
  for (double share : {0.3, 0.7, 1.0}) {
    check(rectified_flow_euler(rf, {.steps = 5, .renoise = share}), rf, 2);
    check(ddim(vp, {.steps = 5, .eta = share}), vp, 2);
  }
  check(ddim(vp, {.steps = 5, .noise = ddim_noise::one_step_beta}), vp, 2);
}

TEST_CASE("old and new noise of a step add up to the next time's noise level exactly") {
  const auto check = [](const path_sampler& sampler, const auto& path) {
    for (std::size_t i = 0; i < sampler.steps(); ++i) {
      const auto now = path.at(sampler.time(i)), next = path.at(sampler.time(i + 1));
      const auto w = sampler.weights(i);
      // x' = of_x0 x0 + of_x (a x0 + s eps) + of_noise z
      CHECK(w.of_x0 + w.of_x * now.a == Approx(next.a).margin(1e-13));
      CHECK(w.of_x * now.s * w.of_x * now.s + w.of_noise * w.of_noise ==
            Approx(next.s * next.s).margin(1e-13));
    }
    CHECK(sampler.weights(sampler.steps() - 1).of_noise == 0.0); // the last step ends clean
  };
  const rectified_flow rf(3.0);
  const auto vp = variance_preserving::linear();
  for (double share : {0.0, 0.4, 1.0}) {
    check(rectified_flow_euler(rf, {.steps = 9, .renoise = share}), rf);
    check(ddim(vp, {.steps = 9, .eta = share}), vp);
  }
  check(ddim(vp, {.steps = 9, .noise = ddim_noise::one_step_beta}), vp);
  CHECK(rectified_flow_euler(rf, {.steps = 9, .renoise = 0.4}).weights(3).of_noise ==
        Approx(0.4 * rf.at(rf.time_at(5.0 / 9.0)).s));
}

TEST_CASE("a grid has any number of steps up to the number of distinct times") {
  const auto vp = variance_preserving::linear();
  for (std::size_t steps : {1U, 2U, 3U, 7U, 20U, 50U, 333U, 999U, 1000U}) {
    const auto sampler = ddim(vp, {.steps = steps});
    REQUIRE(sampler.steps() == steps);
    CHECK(sampler.time(0) == 1000.0);
    CHECK(sampler.time(steps) == 0.0);
    for (std::size_t i = 0; i < steps; ++i) {
      if (!(sampler.time(i + 1) < sampler.time(i))) FAIL("times do not decrease at " << i);
      const double straight = 1000.0 * (1.0 - static_cast<double>(i) / static_cast<double>(steps));
      if (std::abs(sampler.time(i) - straight) > 0.5) FAIL("time " << i << " is " << sampler.time(i));
      if (sampler.time(i) != std::round(sampler.time(i))) FAIL("time " << i << " is not whole");
    }
  }
  CHECK_THROWS_AS(ddim(vp, {.steps = 1001}), bad_option);
  CHECK_THROWS_WITH(ddim(vp, {.steps = 1001}), contains_text("1001") && contains_text("fewer steps"));
  CHECK(rectified_flow_euler(rectified_flow(), {.steps = 5000}).steps() == 5000);
}

TEST_CASE("a grid can start in the middle of the path") {
  const auto sampler = ddim(variance_preserving::linear(), {.steps = 3, .start = 0.6});
  CHECK(sampler.time(0) == 600.0);
  CHECK(sampler.time(1) == 400.0);
  CHECK(sampler.time(2) == 200.0);
  CHECK(sampler.time(3) == 0.0);
  const rectified_flow rf(3.0);
  const auto euler = rectified_flow_euler(rf, {.steps = 2, .start = 0.5});
  CHECK(euler.time(0) == Approx(0.75));
  CHECK(euler.time(1) == Approx(0.5));
}

TEST_CASE("options that no sampler can use are refused") {
  const auto vp = variance_preserving::linear();
  const rectified_flow rf;
  for (double bad : {-0.1, 1.1, not_a_number}) {
    CHECK_THROWS_AS(ddim(vp, {.eta = bad}), bad_option);
    CHECK_THROWS_AS(rectified_flow_euler(rf, {.renoise = bad}), bad_option);
    CHECK_THROWS_AS(ddim(vp, {.start = bad}), bad_option);
    CHECK_THROWS_AS(rectified_flow_euler(rf, {.start = bad}), bad_option);
  }
  CHECK_THROWS_AS(ddim(vp, {.start = 0.0}), bad_option);
  CHECK_THROWS_AS(ddim(vp, {.steps = 0}), bad_option);
  CHECK_THROWS_AS(rectified_flow_euler(rf, {.steps = 0}), bad_option);
  CHECK_THROWS_WITH(ddim(vp, {.eta = 1.5}), contains_text("eta is 1.5"));
  CHECK_THROWS_WITH(rectified_flow_euler(rf, {.renoise = -1.0}), contains_text("renoise is -1"));
}

TEST_CASE("a grid of one's own must decrease, and its noise must fit into the next time") {
  const rectified_flow p;
  const auto none = [](std::size_t) { return 0.0; };
  CHECK(path_sampler(p, {0.9, 0.5, 0.1}, none).steps() == 2);
  CHECK_THROWS_AS(path_sampler(p, {0.9}, none), bad_option);
  CHECK_THROWS_AS(path_sampler(p, {}, none), bad_option);
  CHECK_THROWS_AS(path_sampler(p, {0.9, 0.9}, none), bad_option);
  CHECK_THROWS_AS(path_sampler(p, {0.1, 0.9}, none), bad_option);
  CHECK_THROWS_AS(path_sampler(p, {0.9, not_a_number}, none), bad_option);
  CHECK_THROWS_AS(path_sampler(p, {1.1, 0.5}, none), bad_option); // outside the path
  CHECK_THROWS_AS(path_sampler(p, {0.9, 0.5}, [](std::size_t) { return 0.6; }), bad_option);
  CHECK_THROWS_AS(path_sampler(p, {0.9, 0.5}, [](std::size_t) { return -0.1; }), bad_option);
  CHECK_NOTHROW(path_sampler(p, {0.9, 0.5}, [](std::size_t) { return 0.5; }));
}

namespace {

using T = typename std::tuple_element_t<0, backends>::tensor;

struct archetype_sampler {
  unsigned steps() const { return 1; }
  float time(std::size_t) const { return 0.0F; }
  template <class Noise> T step(std::size_t, estimate<T> at, Noise&&) const { return at.x0; }
};
struct sampler_without_noise : archetype_sampler {
  T step(std::size_t, estimate<T> at) const { return at.x0; }
};
struct sampler_without_time {
  unsigned steps() const { return 1; }
  template <class Noise> T step(std::size_t, estimate<T> at, Noise&&) const { return at.x0; }
};
struct sampler_without_steps {
  double time(std::size_t) const { return 0.0; }
  template <class Noise> T step(std::size_t, estimate<T> at, Noise&&) const { return at.x0; }
};
struct sampler_that_changes : archetype_sampler {
  template <class Noise> T step(std::size_t, estimate<T> at, Noise&&) { return at.x0; }
};

static_assert(sampler<path_sampler, T> && sampler<archetype_sampler, T>);
static_assert(!sampler<sampler_without_noise, T>);
static_assert(!sampler<sampler_without_time, T>);
static_assert(!sampler<sampler_without_steps, T>);
static_assert(!sampler<sampler_that_changes, T>, "step must be const");
static_assert(!sampler<path_sampler, int>, "int is no tensor");

} // namespace
