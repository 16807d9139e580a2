// The baselines that are update rules, each against its published loop in plain numbers.

#include "plain.hpp"

#include <baselines/ddnm_plus.hpp>
#include <baselines/diffpir.hpp>
#include <baselines/dps.hpp>
#include <baselines/flowchef.hpp>
#include <baselines/flowdps.hpp>
#include <baselines/latino.hpp>
#include <baselines/mpgd.hpp>
#include <baselines/pigdm.hpp>

#include <pushforward/constraints/separable.hpp>
#include <pushforward/paths/rectified_flow.hpp>
#include <pushforward/paths/variance_preserving.hpp>
#include <pushforward/sample.hpp>
#include <pushforward/samplers/ddim.hpp>
#include <pushforward/samplers/rectified_flow_euler.hpp>

#include <algorithm>
#include <cmath>

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

/// A^T (A A^T + rho)^-1 r.
vector regularized(const matrix& A, double rho, const vector& r) {
  return transposed(A) * (inverse(combined(1.0, A * transposed(A), rho, matrix::identity(A.rows))) * r);
}

} // namespace

TEMPLATE_LIST_TEST_CASE("DDNM+ replaces less and adds less noise where the measurement is noisier than x", "",
                        backends) {
  const auto task = diffusion_task<TestType>();
  const double sigma_y = 0.2;
  const auto times = time_grid(task.path, {.steps = 6});
  const baselines::ddnm_plus_sampler sampler(task.path, times, sigma_y);
  const auto result =
      sample(task.start(), task.model(), sampler, task.known(), baselines::ddnm_plus{sampler, 1}, seeded());
  CHECK(result.passes == pass_counts{.forward = 2 * 6});
  bool whole = false, partial = false;
  CHECK(task.distance(result.x, [&](vector x, std::size_t j) {
    for (std::size_t i = 0; i < 6; ++i) {
      const auto now = task.path.at(times[i]), next = task.path.at(times[i + 1]);
      const double abar = now.a * now.a, abar_next = next.a * next.a, beta = 1.0 - abar / abar_next;
      const double a_t = next.a * beta / (1.0 - abar);
      const double b_t = std::sqrt(1.0 - beta) * (1.0 - abar_next) / (1.0 - abar);
      const double sigma = std::sqrt((1.0 - abar_next) / (1.0 - abar) * beta);
      const double lambda = sigma >= a_t * sigma_y ? 1.0 : sigma / (a_t * sigma_y);
      (lambda == 1.0 ? whole : partial) = true;
      const double gamma = std::max(sigma * sigma - std::pow(a_t * lambda * sigma_y, 2.0), 0.0);
      vector x0 = task.clean(x, now);
      for (std::size_t k = 0; k < 2; ++k) x0[k] += lambda * (task.y[j][k] - x0[k]);
      x = combined(a_t, x0, 1.0, combined(b_t, x, std::sqrt(gamma), task.noise(j, draw_of(i))));
    }
    return x;
  }) <= slack<TestType>);
  CHECK(whole);
  CHECK(partial);
}

TEMPLATE_LIST_TEST_CASE("DiffPIR is a proximal step with the noise of the moved estimate", "", backends) {
  const auto task = flow_task<TestType>();
  const double sigma_y = 0.3, zeta = 0.3;
  const auto times = time_grid(task.path, {.steps = 6});
  const auto sampler = baselines::diffpir_sampler(task.path, times, zeta);
  const auto loop = [&](const auto& proximal) {
    return [&](vector x, std::size_t j) {
      for (std::size_t i = 0; i < 6; ++i) {
        const auto c = task.path.at(times[i]), next = task.path.at(times[i + 1]);
        const double rho = std::max(1e-6, sigma_y * sigma_y * std::pow(c.a / c.s, 2.0));
        const vector x0 = proximal(task.clean(x, c), rho, j);
        const vector eps =
            combined(std::sqrt(1.0 - zeta), noise_in(x, x0, c), std::sqrt(zeta), task.noise(j, draw_of(i)));
        x = combined(next.a, x0, next.s, eps);
      }
      return x;
    };
  };
  const auto of_mask = sample(task.start(), task.model(), sampler, task.known(),
                              baselines::diffpir{.noise_level = sigma_y, .krylov = 1}, seeded());
  CHECK(of_mask.passes == pass_counts{.forward = 2 * 6});
  CHECK(task.distance(of_mask.x, loop([&](vector x0, double rho, std::size_t j) {
                        for (std::size_t k = 0; k < 2; ++k)
                          x0[k] = (task.y[j][k] + rho * x0[k]) / (1.0 + rho);
                        return x0;
                      })) <= slack<TestType>);
  const auto of_matrix = sample(task.start(), task.model(), sampler, task.measured(),
                                baselines::diffpir{.noise_level = sigma_y}, seeded());
  CHECK(task.distance(of_matrix.x, loop([&](const vector& x0, double rho, std::size_t j) {
                        const vector r = combined(1.0, task.b[j], -1.0, task.A * x0);
                        return combined(1.0, x0, 1.0, regularized(task.A, rho, r));
                      })) <= 10.0 * slack<TestType>);
}

TEMPLATE_LIST_TEST_CASE("where A A^T is a multiple of I, one step of conjugate gradients is the closed form",
                        "", backends) {
  using T = typename TestType::tensor;
  if constexpr (image_tensor<T>) {
    const T x0 = TestType::make({2, 4, 4}, random_numbers(32, 3));
    const linear c(averaging(x0, 2), TestType::make({2, 2, 2}, random_numbers(8, 4)));
    pass_counts counts;
    const auto seen = c.least_squares(x0, counts);
    const double rho = 0.3, gram = 0.25;
    const vector closed = elements(tensor_traits<T>::scale(1.0 / (gram + rho), seen.value.error));
    CHECK(largest_difference(elements(baselines::regularized_inverse<T>(seen, rho, 1, counts)), closed) <=
          10.0 * TestType::tolerance);
    // and further steps leave it
    CHECK(largest_difference(elements(baselines::regularized_inverse<T>(seen, rho, 6, counts)), closed) <=
          10.0 * TestType::tolerance);
    CHECK(largest_difference(elements(baselines::regularized_inverse<T>(seen, 0.0, 6, counts)),
                             elements(c.replacement(x0))) <= 10.0 * TestType::tolerance);
  }
}

TEMPLATE_LIST_TEST_CASE("FlowChef moves x by the gradient at the estimate and keeps the velocity", "",
                        backends) {
  const auto task = flow_task<TestType>();
  const auto sampler = rectified_flow_euler(task.path, {.steps = 8});
  const double scale = 0.4;
  const baselines::flowchef rule{baselines::next_coefficients(task.path, sampler), scale};
  const auto result = sample(task.start(), task.model(), sampler, task.measured(), rule, seeded());
  CHECK(result.passes == pass_counts{.forward = 2 * 8});
  CHECK(task.distance(result.x, [&](vector x, std::size_t j) {
    for (std::size_t i = 0; i < 8; ++i) {
      const double t = sampler.time(i), dt = sampler.time(i + 1) - t;
      const vector x0 = task.clean(x, task.path.at(t));
      const vector v = combined(1.0 / t, x, -1.0 / t, x0);
      // gradient of the mean of two squares
      const vector gradient = transposed(task.A) * combined(1.0, task.A * x0, -1.0, task.b[j]);
      if (i + 1 < 8) x = combined(1.0, x, -scale, gradient);
      x = combined(1.0, x, dt, v);
    }
    return x;
  }) <= slack<TestType>);
}

namespace {

/// FlowDPS's published loop, where `descent(z, j)` is the negative gradient at z.
template <class Task, class Descent>
auto flowdps_loop(const Task& task, const std::vector<double>& times, const Descent& descent) {
  return [&task, &times, descent](vector x, std::size_t j) {
    for (std::size_t i = 0; i + 1 < times.size(); ++i) {
      const double t = times[i], s = times[i + 1];
      const vector z0 = task.clean(x, {1.0 - t, t}), z1 = noise_in(x, z0, {1.0 - t, t});
      vector z0y = z0;
      for (int k = 0; k < 3; ++k) z0y = combined(1.0, z0y, 15.0, descent(z0y, j));
      const vector zbar = combined(1.0 - t, z0, t, z0y);
      const vector n = combined(std::sqrt(s), z1, std::sqrt(1.0 - s), task.noise(j, draw_of(i)));
      x = combined(1.0 - s, zbar, s, n);
    }
    return x;
  };
}

/// Negative gradient of |B (y - M z)|.
vector descent_of_norm(const matrix& B, const matrix& M, const vector& y, const vector& z) {
  const vector q = B * combined(1.0, y, -1.0, M * z);
  return combined(1.0 / norm(q), transposed(B * M) * q, 0.0, z);
}

} // namespace

TEMPLATE_LIST_TEST_CASE("FlowDPS descends along the norm of what is projected back, and mixes in old and new",
                        "", backends) {
  const auto task = flow_task<TestType>();
  const auto times = time_grid(rectified_flow(4.0), {.steps = 6});
  const auto sampler = baselines::flowdps_sampler(task.path, times);
  const matrix& A = task.A;
  for (const bool adjoint : {false, true}) {
    const auto result = sample(task.start(), task.model(), sampler, task.measured(),
                               baselines::flowdps{.adjoint = adjoint}, seeded());
    CHECK(result.passes == pass_counts{.forward = 2 * 6});
    const matrix B = adjoint ? transposed(A) : transposed(A) * inverse(A * transposed(A));
    CHECK(task.distance(result.x, flowdps_loop(task, times, [&](const vector& z, std::size_t j) {
                          return descent_of_norm(B, A, task.b[j], z);
                        })) <= 10.0 * slack<TestType>);
    const auto of_mask = sample(task.start(), task.model(), sampler, task.known(),
                                baselines::flowdps{.adjoint = adjoint, .krylov = 1}, seeded());
    CHECK(task.distance(of_mask.x, flowdps_loop(task, times, [&](vector z, std::size_t j) {
                          for (std::size_t k = 0; k < 4; ++k) z[k] = k < 2 ? task.y[j][k] - z[k] : 0.0;
                          return combined(1.0 / norm(z), z, 0.0, z);
                        })) <= 10.0 * slack<TestType>);
  }
}

TEMPLATE_LIST_TEST_CASE("FlowDPS differentiates the decoder and never the denoiser", "", backends) {
  using T = typename TestType::tensor;
  const auto task = flow_task<TestType>();
  const auto times = time_grid(task.path, {.steps = 5});
  const linear_autoencoder<T> vae{matrix(5, 4, random_numbers(20, 8)), matrix(4, 5, random_numbers(20, 10))};
  const matrix A(3, 5, random_numbers(15, 12));
  const std::vector<vector> y{random_numbers(3, 9), random_numbers(3, 11)};
  const baselines::by_pixels c(linear(dense_operator<T>{A}, task.joined(y)), vae);
  for (const bool adjoint : {false, true}) {
    const auto result = sample(task.start(), task.model(), baselines::flowdps_sampler(task.path, times), c,
                               baselines::flowdps{.adjoint = adjoint}, seeded());
    CHECK(result.passes ==
          pass_counts{.forward = 2 * 5, .decoder_forward = 2 * 5 * 3, .decoder_backward = 2 * 5 * 3});
    const matrix B = adjoint ? transposed(A) : transposed(A) * inverse(A * transposed(A));
    CHECK(task.distance(result.x, flowdps_loop(task, times, [&](const vector& z, std::size_t j) {
                          return descent_of_norm(B, A * vae.D, y[j], z);
                        })) <= 100.0 * slack<TestType>);
  }
}

TEMPLATE_LIST_TEST_CASE("FlowDPS leaves alone what meets the constraint, and wants a flow and a rate", "",
                        backends) {
  const auto task = flow_task<TestType>();
  const auto run = [](const auto& of, const baselines::flowdps& rule) {
    const auto sampler = baselines::flowdps_sampler(of.path, time_grid(of.path, {.steps = 3}));
    return sample(of.start(), of.model(), sampler, of.known(), rule, seeded()).x;
  };
  auto free = task;
  free.mask = {0.0, 0.0, 0.0, 0.0};
  CHECK(elements(run(free, {})) == elements(run(task, {.rate = 0.0})));
  CHECK_THROWS_AS(run(task, {.rate = -1.0}), bad_option);
  CHECK_THROWS_AS(run(diffusion_task<TestType>(), {}), bad_option);
}

TEMPLATE_LIST_TEST_CASE("MPGD moves the estimate along the gradient of the norm and keeps eps", "",
                        backends) {
  const auto task = diffusion_task<TestType>();
  const auto sampler = ddim(task.path, {.steps = 6, .eta = 0.5});
  const double scale = 0.3;
  const baselines::mpgd rule{baselines::next_coefficients(task.path, sampler), scale};
  const auto result = sample(task.start(), task.model(), sampler, task.measured(), rule, seeded());
  CHECK(result.passes == pass_counts{.forward = 2 * 6});
  CHECK(task.distance(result.x, [&](vector x, std::size_t j) {
    for (std::size_t i = 0; i < 6; ++i) {
      const auto c = task.path.at(sampler.time(i)), next = task.path.at(sampler.time(i + 1));
      const vector x0 = task.clean(x, c), eps = noise_in(x, x0, c);
      const vector r = combined(1.0, task.b[j], -1.0, task.A * x0);
      const vector moved_x0 = combined(1.0, x0, scale / next.a / norm(r), transposed(task.A) * r);
      x = ddim_step(moved_x0, eps, task.noise(j, draw_of(i)), c, next, 0.5);
    }
    return x;
  }) <= slack<TestType>);
}

TEMPLATE_LIST_TEST_CASE("DPS moves x after the step by the gradient of the norm through the denoiser", "",
                        backends) {
  const auto task = diffusion_task<TestType>();
  const auto sampler = ddim(task.path, {.steps = 6, .eta = 1.0});
  const double scale = 0.3;
  const baselines::dps rule{baselines::next_coefficients(task.path, sampler), scale};
  const auto result = sample(task.start(), task.model(), sampler, task.measured(), rule, seeded());
  CHECK(result.passes == pass_counts{.forward = 2 * 6, .backward = 2 * 6});
  CHECK(task.distance(result.x, [&](vector x, std::size_t j) {
    for (std::size_t i = 0; i < 6; ++i) {
      const auto c = task.path.at(sampler.time(i)), next = task.path.at(sampler.time(i + 1));
      const vector x0 = task.clean(x, c);
      const vector r = combined(1.0, task.b[j], -1.0, task.A * x0);
      const vector gradient = task.jacobian_times(x, c, transposed(task.A) * r); // of -|r|, times |r|
      x = combined(1.0, ddim_step(x0, noise_in(x, x0, c), task.noise(j, draw_of(i)), c, next, 1.0),
                   scale / norm(r), gradient);
    }
    return x;
  }) <= slack<TestType>);
}

TEMPLATE_LIST_TEST_CASE("PiGDM adds a' a J^T of the pseudoinverse of the residual to the step", "",
                        backends) {
  const auto task = diffusion_task<TestType>();
  const auto sampler = ddim(task.path, {.steps = 6, .eta = 1.0});
  for (const double sigma_y : {0.0, 0.2}) {
    const auto result = sample(task.start(), task.model(), sampler, task.measured(),
                               baselines::pigdm{.noise_level = sigma_y}, seeded());
    CHECK(result.passes == pass_counts{.forward = 2 * 6, .backward = 2 * 6});
    CHECK(task.distance(result.x, [&](vector x, std::size_t j) {
      for (std::size_t i = 0; i < 6; ++i) {
        const auto c = task.path.at(sampler.time(i)), next = task.path.at(sampler.time(i + 1));
        const vector x0 = task.clean(x, c);
        const vector r = combined(1.0, task.b[j], -1.0, task.A * x0);
        const double variance = 1.0 - c.a * c.a; // r_t^2
        const matrix in_y =
            combined(variance, task.A * transposed(task.A), sigma_y * sigma_y, matrix::identity(2));
        vector g = transposed(task.A) * (inverse(in_y) * r);
        for (double& v : g) v *= variance;
        x = combined(1.0, ddim_step(x0, noise_in(x, x0, c), task.noise(j, draw_of(i)), c, next, 1.0),
                     next.a * c.a, task.jacobian_times(x, c, g));
      }
      return x;
    }) <= 10.0 * slack<TestType>);
  }
}

TEMPLATE_LIST_TEST_CASE("PiGDM by Tweedie's weight is the posterior's mean of white data", "", backends) {
  using T = typename TestType::tensor;
  // with p(x0) = N(0, 1), p(x0 | x) is N(x0, r_t^2), and the guidance is exact
  const variance_preserving path = variance_preserving::scaled_linear();
  const gaussian_mixture prior({{1.0, vector(4, 0.0), matrix::identity(4)}});
  const complete_mixture<TestType, variance_preserving> net(prior, path, prediction_type::epsilon);
  const matrix A(2, 4, random_numbers(8, 5));
  const vector x = random_numbers(4, 7), b{0.4, -0.3};
  const double t = 500.0, sigma_y = 0.3;
  const auto c = path.at(t);
  pass_counts counts;
  const estimator<T, decltype(net), variance_preserving> m({net, path}, counts);
  const linear<T, dense_operator<T>> measured({A}, TestType::make({1, 2}, b));
  const baselines::pigdm rule{.noise_level = sigma_y, .weight = 1.0 / (c.a * c.a)};
  auto at = m.linearize(TestType::make({1, 4}, x), t);
  const auto seen = rule.look_at(measured, at.x0, counts);
  CHECK(largest_difference(elements(rule.move(m, std::move(at), seen, 0, nullptr).at.x0),
                           prior.given_noisy(x, c.a, c.s).given_linear(A, b, sigma_y).mean()) <=
        100.0 * TestType::tolerance);
}

TEMPLATE_LIST_TEST_CASE("the decoded proximal step goes through pixels by forward passes alone", "",
                        backends) {
  using T = typename TestType::tensor;
  const auto task = diffusion_task<TestType>();
  const linear_autoencoder<T> vae{matrix(5, 4, random_numbers(20, 8)), matrix(4, 5, random_numbers(20, 10))};
  const vector mask{1.0, 0.0, 1.0, 1.0, 0.0};
  const std::vector<vector> y{random_numbers(5, 9), random_numbers(5, 11)};
  const double sigma_y = 0.2;
  const baselines::by_pixels c(masked<T>(task.joined(y), task.joined({mask, mask})), vae);
  const auto sampler = ddim(task.path, {.steps = 5});
  const auto result =
      sample(task.start(), task.model(), sampler, c, baselines::latino{.noise_level = sigma_y}, seeded());
  CHECK(result.passes == pass_counts{.forward = 2 * 5, .decoder_forward = 2 * 5, .encoder_forward = 2 * 5});
  CHECK(task.distance(result.x, [&](vector x, std::size_t j) {
    for (std::size_t i = 0; i < 5; ++i) {
      const auto at = task.path.at(sampler.time(i)), next = task.path.at(sampler.time(i + 1));
      const double rho = std::max(1e-6, sigma_y * sigma_y * std::pow(at.a / at.s, 2.0));
      vector image = vae.D * task.clean(x, at);
      for (std::size_t k = 0; k < 5; ++k)
        if (mask[k] == 1.0) image[k] = (y[j][k] + rho * image[k]) / (1.0 + rho);
      const vector x0 = vae.E * image;
      x = combined(next.a, x0, next.s, noise_in(x, x0, at));
    }
    return x;
  }) <= 10.0 * slack<TestType>);
}
