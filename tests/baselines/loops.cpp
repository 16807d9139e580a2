// The baselines that are samplers or loops of their own, each against its published loop in plain numbers.

#include "plain.hpp"

#include <baselines/blended_diffusion.hpp>
#include <baselines/ding.hpp>
#include <baselines/flair.hpp>
#include <baselines/lanpaint.hpp>
#include <baselines/latino.hpp>

#include <pushforward/paths/rectified_flow.hpp>
#include <pushforward/paths/variance_preserving.hpp>
#include <pushforward/sample.hpp>
#include <pushforward/samplers/ddim.hpp>
#include <pushforward/samplers/rectified_flow_euler.hpp>
#include <pushforward/updates/none.hpp>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

using namespace pushforward;
using namespace testing_support;

namespace {

template <class Backend> baseline_task<Backend, variance_preserving> diffusion_task() {
  return {variance_preserving::scaled_linear(), prediction_type::epsilon};
}
template <class Backend> baseline_task<Backend, rectified_flow> flow_task() {
  return {rectified_flow(), prediction_type::flow};
}
template <class Backend> constexpr double slack = 1000.0 * Backend::tolerance;

sample_options seeded() { return {.seed = 4}; }

std::uint32_t draw_of(std::size_t i) { return static_cast<std::uint32_t>(i + 1); }

} // namespace

TEMPLATE_LIST_TEST_CASE("blended diffusion re-noises the known part after each step", "", backends) {
  const auto task = diffusion_task<TestType>();
  const double eta = GENERATE(0.0, 1.0);
  const auto inner = ddim(task.path, {.steps = 6, .eta = eta});
  const baselines::blended sampler(task.path, inner, task.target(), task.masks());
  const auto result = sample(task.start(), task.model(), sampler, task.known(), update{none{}}, seeded());
  CHECK(result.passes == pass_counts{.forward = 2 * 6});
  CHECK(task.distance(result.x, [&](vector x, std::size_t j) {
    for (std::size_t i = 0; i < 6; ++i) {
      const auto c = task.path.at(inner.time(i)), next = task.path.at(inner.time(i + 1));
      const vector x0 = task.clean(x, c), xi = task.noise(j, draw_of(i));
      x = ddim_step(x0, noise_in(x, x0, c), xi, c, next, eta);
      for (std::size_t k = 0; k < 2; ++k) x[k] = next.a * task.y[j][k] + next.s * xi[k];
    }
    return x;
  }) <= slack<TestType>);
  for (std::size_t j = 0; j < 2; ++j) CHECK(task.part(result.x, j)[1] == Approx(task.y[j][1]));
}

TEMPLATE_LIST_TEST_CASE("RePaint walks the published schedule of jumps", "", backends) {
  const auto task = diffusion_task<TestType>();
  const int steps = 9, length = 3, resamplings = 2;
  // the published schedule: indices of times, of which -1 is clean
  std::map<int, int> jumps;
  for (int j = 0; j < steps - length; j += length) jumps[j] = resamplings - 1;
  std::vector<int> schedule{steps - 1};
  for (int t = steps - 1; t >= 1;) {
    schedule.push_back(--t);
    if (jumps[t] > 0) {
      --jumps[t];
      for (int k = 0; k < length; ++k) schedule.push_back(++t);
    }
  }
  schedule.push_back(-1);

  const auto times = time_grid(task.path, {.steps = static_cast<std::size_t>(steps)});
  const auto at = [&](int index) { return task.path.at(times[static_cast<std::size_t>(steps - 1 - index)]); };
  const baselines::repaint sampler(task.path, times, task.target(), task.masks(),
                                   {.jump = 3, .times = 2, .seed = 4});
  const auto result = sample(task.start(), task.model(), sampler, task.known(), update{none{}}, seeded());
  std::size_t passes = 0;
  const double distance = task.distance(result.x, [&](vector x, std::size_t j) {
    std::uint32_t draw = 0;
    for (std::size_t i = 0; i + 1 < schedule.size();) {
      const auto c = at(schedule[i]);
      if (schedule[i + 1] < schedule[i]) {
        const auto next = at(schedule[i + 1]);
        const vector x0 = task.clean(x, c), xi = task.noise(j, ++draw);
        ++passes;
        x = ddim_step(x0, noise_in(x, x0, c), xi, c, next, 1.0);
        for (std::size_t k = 0; k < 2; ++k) x[k] = next.a * task.y[j][k] + next.s * xi[k];
        ++i;
      } else { // all steps of a jump in one: products of sqrt(1 - beta)
        double kept = 1.0;
        while (schedule[i + 1] > schedule[i]) {
          kept *= at(schedule[i + 1]).a / at(schedule[i]).a;
          ++i;
        }
        x = combined(kept, x, std::sqrt(1.0 - kept * kept), task.noise(j, draw | 0x80000000U));
      }
    }
    return x;
  });
  CHECK(distance <= slack<TestType>);
  CHECK(result.passes == pass_counts{.forward = passes});
  CHECK(passes == 2 * (9 + 2 * 3)); // jumps where 1 and 4 steps are left, not 7
}

TEMPLATE_LIST_TEST_CASE("DING draws from the product of the step and the draft's observation", "", backends) {
  const auto task = flow_task<TestType>();
  const auto times = time_grid(task.path, {.steps = 7});
  const auto result =
      baselines::ding(task.start(), task.model(), times, task.target(), task.masks(), {}, seeded());
  CHECK(result.passes == pass_counts{.forward = 2 * (2 * 5 + 1)});
  CHECK(result.steps == 5);
  CHECK(task.distance(result.x, [&](vector x, std::size_t j) {
    for (std::size_t i = 0; i < 5; ++i) {
      const double t = times[i], s = times[i + 1], eta = s * s, c = std::sqrt(s * s - eta * eta) / t;
      const vector mu = combined(c, x, (1.0 - s) - c * (1.0 - t), task.clean(x, {1.0 - t, t}));
      const vector z = combined(1.0, mu, eta, task.noise(j, draw_of(2 * i)));
      const vector n = noise_in(z, task.clean(z, {1.0 - s, s}), {1.0 - s, s});
      const vector xi = task.noise(j, draw_of(2 * i + 1));
      for (std::size_t k = 0; k < 4; ++k) {
        double precision = 1.0 / (eta * eta), sum = mu[k] * precision;
        if (task.mask[k] == 1.0) {
          const double of_y = 1.0 / std::pow(0.01 * (1.0 - s), 2.0);
          sum += ((1.0 - s) * task.y[j][k] + s * n[k]) * of_y;
          precision += of_y;
        }
        x[k] = sum / precision + xi[k] / std::sqrt(precision);
      }
    }
    return task.clean(x, task.path.at(times[5]));
  }) <= slack<TestType>);
}

TEMPLATE_LIST_TEST_CASE("LanPaint takes its Langevin moves before each step", "", backends) {
  const auto check = [](const auto& task, const auto& sampler, double tolerance) {
    const auto result =
        baselines::lanpaint(task.start(), task.model(), sampler, task.target(), task.masks(), {}, seeded());
    std::size_t passes = 0;
    const double distance = task.distance(result.x, [&](vector x, std::size_t j) {
      std::uint32_t draw = 0;
      for (std::size_t i = 0; i < sampler.steps(); ++i) {
        const auto c = task.path.at(sampler.time(i)), next = task.path.at(sampler.time(i + 1));
        // u = x / scale is of the variance preserving path
        const double scale = std::sqrt(c.a * c.a + c.s * c.s), abar = std::pow(c.a / scale, 2.0);
        vector xi = task.noise(j, ++draw);
        for (std::size_t k = 0; k < 2; ++k) x[k] = c.a * task.y[j][k] + c.s * xi[k];
        const double dt = 0.2 * (1.0 - abar), lambda = 5.0;
        for (long move = 0; move < std::lround(5.0 * (1.0 - abar)); ++move) {
          const vector x0 = task.clean(x, c);
          ++passes;
          xi = task.noise(j, ++draw);
          for (std::size_t k = 0; k < 4; ++k) {
            const bool known = task.mask[k] == 1.0;
            const double u = x[k] / scale, A = (known ? 1.0 + lambda : 1.0) / (1.0 - abar);
            const double wanted = known ? (1.0 + lambda) * task.y[j][k] - lambda * x0[k] : x0[k];
            const double C = (std::sqrt(abar) * wanted - u) / (1.0 - abar) + A * u;
            const double k1 = (1.0 - std::exp(-A * dt)) / A, k2 = (1.0 - std::exp(-2.0 * A * dt)) / (2.0 * A);
            x[k] = scale * (std::exp(-A * dt) * u + k1 * C + std::sqrt(2.0 * k2) * xi[k]);
          }
        }
        const vector x0 = task.clean(x, c);
        ++passes;
        x = combined(next.a, x0, next.s, noise_in(x, x0, c));
      }
      return x;
    });
    CHECK(distance <= tolerance);
    CHECK(result.passes == pass_counts{.forward = passes});
    CHECK(result.steps == sampler.steps());
  };
  const auto diffusion = diffusion_task<TestType>();
  check(diffusion, ddim(diffusion.path, {.steps = 5}), slack<TestType>);
  const auto flow = flow_task<TestType>();
  check(flow, rectified_flow_euler(flow.path, {.steps = 5}), slack<TestType>);
}

namespace {

/// FLAIR's published weights.
double weight_at(double t) {
  const vector at{1.0, 0.91, 0.82, 0.73, 0.64, 0.55, 0.45, 0.36, 0.27, 0.18, 0.0};
  const vector w{0.106, 0.480, 0.568, 0.566, 0.525, 0.462, 0.385, 0.301, 0.215, 0.132, 0.0};
  for (std::size_t i = 0;; ++i)
    if (t >= at[i + 1]) return (w[i] * (t - at[i + 1]) + w[i + 1] * (at[i] - t)) / (at[i] - at[i + 1]);
}

/// FLAIR's published loop, for y = M x of `values` values in each sample, which starts at mu. At time i,
/// `looks[i]` becomes the most that a sample of the batch looked at its gradient.
template <class Task>
auto flair_loop(const Task& task, const matrix& M, const std::vector<vector>& y, double values, double rate,
                double enough, const std::vector<vector>& mu, std::vector<std::size_t>& looks) {
  return [&, rate, values, enough](vector n, std::size_t j) {
    vector m = mu[j];
    for (std::size_t i = 0; i < looks.size(); ++i) {
      const double t = 1.0 - 0.82 * static_cast<double>(i + 1) / static_cast<double>(looks.size() + 1);
      const double w = weight_at(t), a = 1.0 - t;
      n = combined(a, n, std::sqrt(1.0 - a * a), task.noise(j, draw_of(i)));
      const vector z = combined(a, m, t, n), x0 = task.clean(z, {a, t});
      const vector v = combined(1.0 / t, z, -1.0 / t, x0);
      m = combined(1.0 - w, m, w, combined(1.0, n, -1.0, v));
      n = combined(1.0, z, a, v);
      for (std::size_t k = 0; k < 15; ++k) {
        looks[i] = std::max(looks[i], k + 1);
        const vector r = combined(1.0, M * m, -1.0, y[j]);
        if (dot(r, r) < enough * values) break;
        m = combined(1.0, m, -rate * w * 2.0, transposed(M) * r);
      }
    }
    return m;
  };
}

} // namespace

TEMPLATE_LIST_TEST_CASE("FLAIR moves its mean by the velocity and then by gradients of the measurement", "",
                        backends) {
  const auto task = flow_task<TestType>();
  const std::size_t steps = 7;
  const auto times = baselines::flair_times(steps);
  std::vector<vector> mu;
  std::vector<std::size_t> looks(steps, 0);
  SECTION("a mask, of whose y as many values count as are known") {
    const double enough = GENERATE(1e-4, 0.02);
    const auto result =
        baselines::flair(task.start(), task.model(), times, task.known(), {.enough = enough}, seeded());
    CHECK(result.passes == pass_counts{.forward = 2 * 7});
    CHECK(result.steps == 7);
    const matrix M(4, 4, {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
    std::vector<vector> y;
    for (const auto& all : task.y) y.push_back(M * all);
    CHECK(task.distance(result.x, flair_loop(task, M, y, 2.0, 0.1, enough, y, looks)) <= slack<TestType>);
    const bool early = std::any_of(looks.begin(), looks.end(), [](std::size_t n) { return n < 15; });
    CHECK(early == (enough > 1e-4)); // the second case is one of samples that stop
  }
  SECTION("any measurement, from A^+ y or from a multiple of A^T y") {
    const bool inverted = GENERATE(true, false);
    const auto result = baselines::flair(task.start(), task.model(), times, task.measured(),
                                         {.rate = 0.3, .krylov = inverted ? 10U : 1U}, seeded());
    const matrix &A = task.A, At = transposed(A);
    for (const auto& b : task.b)
      mu.push_back(inverted ? At * (inverse(A * At) * b)
                            : combined(dot(b, b) / dot(At * b, At * b), At * b, 0.0, At * b));
    CHECK(task.distance(result.x, flair_loop(task, A, task.b, 2.0, 0.3, 1e-4, mu, looks)) <=
          10.0 * slack<TestType>);
  }
}

TEMPLATE_LIST_TEST_CASE(
    "FLAIR on decoded images starts at the encoded inverse and differentiates the decoder", "", backends) {
  using T = typename TestType::tensor;
  const auto task = flow_task<TestType>();
  const std::size_t steps = 6;
  const linear_autoencoder<T> vae{matrix(5, 4, random_numbers(20, 8)), matrix(4, 5, random_numbers(20, 10))};
  const matrix M(5, 5, {1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0});
  const std::vector<vector> all{random_numbers(5, 9), random_numbers(5, 11)};
  const vector mask{1.0, 0.0, 1.0, 1.0, 0.0};
  const baselines::by_pixels c(masked<T>(task.joined(all), task.joined({mask, mask})), vae);
  const double enough = 0.15;
  const auto result = baselines::flair(task.start(), task.model(), baselines::flair_times(steps), c,
                                       {.enough = enough}, seeded());
  std::vector<vector> y, mu;
  for (const auto& image : all) {
    y.push_back(M * image);
    mu.push_back(vae.E * y.back());
  }
  std::vector<std::size_t> looks(steps, 0);
  CHECK(task.distance(result.x, flair_loop(task, M * vae.D, y, 3.0, 0.1, enough, mu, looks)) <=
        10.0 * slack<TestType>);
  const std::size_t sum = std::accumulate(looks.begin(), looks.end(), std::size_t{0});
  CHECK(sum > steps);      // some are not met at once,
  CHECK(sum < 15 * steps); // and some before all 15
  CHECK(result.passes == pass_counts{.forward = 2 * 6,
                                     .decoder_forward = 2 * (1 + sum),
                                     .decoder_backward = 2 * sum,
                                     .encoder_forward = 2});
}

TEMPLATE_LIST_TEST_CASE("FLAIR has the published grid, and refuses bad options and other paths", "",
                        backends) {
  const auto times = baselines::flair_times(50); // linspace(1, 0.18, 52)[1:-1]
  REQUIRE(times.size() == 50);
  CHECK(times.front() == Approx(1.0 - 0.82 / 51.0));
  CHECK(times.back() == Approx(0.18 + 0.82 / 51.0));
  CHECK(baselines::flair_weight(0.91) == Approx(0.480));
  CHECK(baselines::flair_weight(1.0) == Approx(0.106));
  CHECK(baselines::flair_weight(0.18) == Approx(0.132));

  const auto run = [](const auto& task, const vector& at, const baselines::flair_options& o) {
    baselines::flair(task.start(), task.model(), at, task.known(), o, seeded());
  };
  const auto task = flow_task<TestType>();
  CHECK_NOTHROW(run(task, {0.5}, {}));
  CHECK_THROWS_AS(run(task, {}, {}), bad_option);
  CHECK_THROWS_AS(run(task, {0.5, 0.0}, {}), bad_option);
  CHECK_THROWS_AS(run(task, {1.5}, {}), bad_option);
  CHECK_THROWS_AS(run(task, {0.5}, {.rate = -0.1}), bad_option);
  CHECK_THROWS_AS(run(task, {0.5}, {.enough = std::nan("")}), bad_option);
  CHECK_THROWS_AS(run(diffusion_task<TestType>(), {500.0}, {}), bad_option);
  CHECK_THROWS_AS(run(task, {0.5}, {.rate = 1e100}), not_finite); // of mu, after the last pass
}

TEMPLATE_LIST_TEST_CASE("the baselines for masks want zeros and ones, and targets of their shape", "",
                        backends) {
  using T = typename TestType::tensor;
  const T y = TestType::make({1, 2}, {1.0, std::nan("")});
  const auto made = [&](const vector& mask) {
    return baselines::known_part<T>(y, TestType::make({1, mask.size()}, mask));
  };
  CHECK_NOTHROW(made({1.0, 0.0}));
  CHECK_THROWS_AS(made({0.5, 0.0}), bad_option);
  CHECK_THROWS_AS(made({1.0, 1.0}), bad_option);
  CHECK_THROWS_AS(made({1.0, 0.0, 0.0}), shape_mismatch);
}
