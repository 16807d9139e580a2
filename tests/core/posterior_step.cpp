// The posterior step against exact posteriors, and where J is not what its theory assumes.

#include <support/backend.hpp>
#include <support/gaussian_mixture.hpp>
#include <support/linear_denoiser.hpp>
#include <support/steering_task.hpp>

#include <pushforward/constraints/decoded.hpp>
#include <pushforward/constraints/linear.hpp>
#include <pushforward/constraints/masked.hpp>
#include <pushforward/constraints/separable.hpp>
#include <pushforward/constraints/weighted_sum.hpp>
#include <pushforward/paths/rectified_flow.hpp>
#include <pushforward/paths/variance_preserving.hpp>
#include <pushforward/sample.hpp>
#include <pushforward/samplers/ddim.hpp>
#include <pushforward/samplers/karras_euler.hpp>
#include <pushforward/samplers/rectified_flow_euler.hpp>
#include <pushforward/updates/posterior_step.hpp>
#include <pushforward/updates/replacement.hpp>

#include <cmath>
#include <stdexcept>
#include <string>
#include <utility>

using namespace pushforward;
using namespace testing_support;

namespace {

constexpr std::size_t n = 4;

/// A x for each sample, and A^T r.
template <class T> struct dense_operator {
  matrix A;

  T apply(const T& x) const { return product(A, x); }
  T adjoint(const T& r) const { return product(transposed(A), r); }
  shape output_shape(const shape& s) const { return {s.samples(), A.rows}; }

private:
  static T product(const matrix& M, const T& x) {
    const auto s = tensor_traits<T>::shape_of(x);
    const auto all = elements(x);
    vector result;
    for (std::size_t j = 0; j < s.samples(); ++j) {
      const vector y = M * std::span(all).subspan(j * M.columns, M.columns);
      result.insert(result.end(), y.begin(), y.end());
    }
    return tensor_traits<T>::from_elements(x, {s.samples(), M.rows}, result);
  }
};

/// D(z) = D z, E(x) = E x.
template <class T> struct linear_vae {
  matrix D, E;

  T decode(const T& z) const { return dense_operator<T>{D}.apply(z); }
  T encode(const T& image) const { return dense_operator<T>{E}.apply(image); }
  /// To be used once, as autograd's are.
  linearization<T> linearize_decode(const T& z) const {
    return {decode(z), [M = D, used = false](const T& w) mutable {
              if (std::exchange(used, true)) throw std::logic_error("a linearization was used twice");
              return dense_operator<T>{M}.adjoint(w);
            }};
  }
};

/// A denoiser whose linearizations serve once.
template <class Denoiser> struct linearized_once : Denoiser {
  template <class T> linearization<T> linearize(const T& x, double time) const {
    auto whole = Denoiser::linearize(x, time);
    return {whole.value, [vjp = whole.vjp, used = false](const T& w) mutable {
              if (std::exchange(used, true)) throw std::logic_error("a linearization was used twice");
              return vjp(w);
            }};
  }
};

/// The clean estimate after one move of `rule` at time t, and the x that goes with it.
template <class Backend, class Rule, class Denoiser, class Path, class Constraint>
std::pair<vector, vector> moved_by(const Rule& rule, const Denoiser& net, const Path& path,
                                   const Constraint& c, const vector& x, double t, pass_counts& counts) {
  using T = typename Backend::tensor;
  const estimator<T, Denoiser, Path> m({net, path}, counts);
  auto at = m.evaluate(Backend::make({x.size() / n, n}, x), t);
  counts = {};
  const auto seen = rule.look_at(c, at.x0, counts);
  const auto after = rule.move(m, std::move(at), seen, 0, nullptr);
  return {elements(after.at.x0), elements(after.at.x)};
}

} // namespace

TEMPLATE_LIST_TEST_CASE("with as many steps as measurements, x0 of a Gaussian prior is its posterior's mean",
                        "", backends) {
  using T = typename TestType::tensor;
  const auto prior = gaussian_mixture::random(n, 1, 3);
  const variance_preserving path = variance_preserving::scaled_linear();
  const linearized_once<complete_mixture<TestType, variance_preserving>> net{
      {prior, path, prediction_type::epsilon}};
  const matrix A(2, n, random_numbers(2 * n, 5));
  const vector y = random_numbers(2, 6), x = random_numbers(n, 7);
  const double deviation = GENERATE(0.0, 0.3), t = GENERATE(100.0, 600.0);
  const auto c = path.at(t);
  const auto wanted =
      prior.given_noisy(x, c.a, c.s).given_linear(A, y, deviation == 0.0 ? 1e-7 : deviation).mean();
  const linear<T, dense_operator<T>> measured({A}, TestType::make({1, 2}, y), deviation);
  // both terms of a sum with the same rows say the same
  const linear<T, dense_operator<T>> first({matrix(1, n, vector(A.values.begin(), A.values.begin() + n))},
                                           TestType::make({1, 1}, {y[0]}), deviation),
      second({matrix(1, n, vector(A.values.begin() + n, A.values.end()))}, TestType::make({1, 1}, {y[1]}),
             deviation);
  const weighted_sum sum(weighted{1.0, first}, weighted{1.0, second});
  const double tolerance = 100.0 * TestType::probe_tolerance;
  pass_counts counts;
  const posterior_step rule{.krylov = 2, .damping = 0.0};
  const auto [x0, moved_x] = moved_by<TestType>(rule, net, path, measured, x, t, counts);
  CHECK(largest_difference(x0, wanted) <= tolerance);
  CHECK(counts == pass_counts{.forward = 2});
  CHECK(largest_difference(moved_by<TestType>(rule, net, path, sum, x, t, counts).first, wanted) <=
        tolerance);
  CHECK(largest_difference(moved_by<TestType>(rule, net, path, normalized{measured}, x, t, counts).first,
                           wanted) <= tolerance);
  const auto [by_vjp, unused] = moved_by<TestType>(posterior_step_by_vjp{.krylov = 2, .damping = 0.0}, net,
                                                   path, measured, x, t, counts);
  CHECK(largest_difference(by_vjp, wanted) <= tolerance);
  CHECK(counts == pass_counts{.forward = 2, .backward = 2}); // linearized anew for the second

  // what the sampler takes for the noise is what it was before
  const vector before = combined(1.0 / c.s, x, -c.a / c.s, prior.given_noisy(x, c.a, c.s).mean());
  CHECK(largest_difference(combined(1.0 / c.s, moved_x, -c.a / c.s, x0), before) <= tolerance / c.s);
}

TEMPLATE_LIST_TEST_CASE("a constraint that only has loss and error takes the step of one product", "",
                        backends) {
  using T = typename TestType::tensor;
  const auto prior = gaussian_mixture::random(n, 2, 3);
  const rectified_flow path;
  const complete_mixture<TestType, rectified_flow> net(prior, path, prediction_type::flow);
  const masked<T> known(TestType::make({1, n}, {0.5, -0.5, 9.0, 9.0}),
                        TestType::make({1, n}, {1.0, 1.0, 0.0, 0.0}));
  const auto plain = [&](const T& x0) { return known(x0); };
  const auto x = random_numbers(n, 7);
  pass_counts counts;
  const auto whole = moved_by<TestType>(posterior_step{}, net, path, known, x, 0.5, counts);
  CHECK(counts == pass_counts{.forward = 1});
  CHECK(largest_difference(moved_by<TestType>(posterior_step{}, net, path, plain, x, 0.5, counts).first,
                           whole.first) <= 10.0 * TestType::tolerance);
  CHECK_THROWS_WITH(moved_by<TestType>(posterior_step{.krylov = 2}, net, path, plain, x, 0.5, counts),
                    Catch::Contains("krylov is 2") && Catch::Contains("least_squares"));
  CHECK_THROWS_WITH(moved_by<TestType>(posterior_step{}, net, path, normalized{plain}, x, 0.5, counts),
                    Catch::Contains("the length of this constraint's error"));
}

TEMPLATE_LIST_TEST_CASE("the posterior step along which the loss does not fall is not taken", "", backends) {
  using T = typename TestType::tensor;
  // J skew: <e, J e> is 0 but for rounding. J negative: the curvature is. Half of a batch of two is
  // well-behaved
  matrix skew(n, n), negative(n, n);
  for (std::size_t i = 0; i < n; ++i) negative(i, i) = -1.0;
  skew(0, 1) = skew(2, 3) = 1.0;
  skew(1, 0) = skew(3, 2) = -1.0;
  const rectified_flow path;
  const masked<T> all(TestType::make({1, n}, random_numbers(n, 4)), TestType::make({1, n}, vector(n, 1.0)));
  const auto x = random_numbers(n, 3);
  pass_counts counts;
  for (const auto& M : {skew, negative}) {
    const linear_denoiser<TestType> net(M);
    for (const std::size_t krylov : {1U, 3U}) {
      const auto [x0, moved_x] = moved_by<TestType>(posterior_step{.krylov = krylov, .damping = 0.0}, net,
                                                    path, all, x, 0.5, counts);
      CHECK(largest_difference(x0, M * x) <= 10.0 * TestType::tolerance);
      CHECK(largest_difference(moved_x, x) <= 10.0 * TestType::tolerance);
    }
  }
}

TEMPLATE_LIST_TEST_CASE("a sample that is met stays, and the others of its batch move as alone", "",
                        backends) {
  steering_task<TestType> task{.samples = 3, .met = {1}};
  const auto sampler = ddim(task.path, {.steps = 6});
  for (const std::size_t krylov : {1U, 2U}) {
    const posterior_step rule{.krylov = krylov};
    const auto all = sample(task.start(), task.model(), sampler, task.constraint(), rule);
    const auto plain = sample(task.start(), task.model(), sampler, task.constraint(), update{none{}});
    CHECK(all.passes.forward == 3 * 6 * (1 + krylov));
    CHECK(largest_difference(elements(sample_of<TestType>(all.x, 1)),
                             elements(sample_of<TestType>(plain.x, 1))) <= 100.0 * TestType::tolerance);
    for (std::size_t j = 0; j < 3; ++j) {
      const auto alone =
          sample(sample_of<TestType>(task.start(), j), task.model(), sampler, task.constraint(j), rule);
      const auto together = elements(sample_of<TestType>(all.x, j));
      if (TestType::exact)
        CHECK(elements(alone.x) == together);
      else
        CHECK(largest_difference(elements(alone.x), together) <= 1000.0 * TestType::probe_tolerance);
    }
  }
}

TEMPLATE_LIST_TEST_CASE("conjugate gradients that grow, as those of a J that is not symmetric, are not taken",
                        "", backends) {
  using T = typename TestType::tensor;
  // eigenvalues far apart, and a strong part that is not symmetric: what J of a trained network is late on
  // the path
  matrix M(n, n);
  for (std::size_t i = 0; i < n; ++i) {
    M(i, i) = std::pow(0.1, static_cast<double>(i));
    for (std::size_t j = i + 1; j < n; ++j) M(i, j) = 1.5;
  }
  const vector x = random_numbers(n, 3), y = random_numbers(n, 4), r = combined(1.0, y, -1.0, M * x);
  // they do grow: plain conjugate gradients on M u = r, in plain numbers
  const auto grown = [&](double delta) {
    vector u(n, 0.0), left = r, p = r;
    for (int j = 0; j < 3; ++j) {
      const vector q = combined(1.0, M * p, delta, p);
      const double alpha = dot(left, left) / dot(p, q), before = dot(left, left);
      u = combined(1.0, u, alpha, p);
      left = combined(1.0, left, -alpha, q);
      p = combined(1.0, left, dot(left, left) / before, p);
    }
    const vector missing = combined(1.0, r, -1.0, M * u);
    return dot(missing, missing) / dot(r, r);
  };
  const double rayleigh = dot(r, M * r) / dot(r, r);
  CHECK(grown(0.0) > 100.0);
  CHECK(grown(0.3 * rayleigh) > 100.0);

  const linear_denoiser<TestType> net(M);
  const rectified_flow path;
  const masked<T> all(TestType::make({1, n}, y), TestType::make({1, n}, vector(n, 1.0)));
  pass_counts counts;
  const auto by = [&](const posterior_step& rule) {
    return moved_by<TestType>(rule, net, path, all, x, 0.5, counts).first;
  };
  for (const double damping : {0.0, 0.3})
    CHECK(largest_difference(by({.krylov = 3, .damping = damping}), by({.krylov = 1, .damping = damping})) <=
          TestType::tolerance);
}

TEMPLATE_LIST_TEST_CASE("through a decoder's vjp it is the posterior's mean, too", "", backends) {
  using T = typename TestType::tensor;
  const auto prior = gaussian_mixture::random(n, 1, 3);
  const rectified_flow path;
  const complete_mixture<TestType, rectified_flow> net(prior, path, prediction_type::flow);
  const linear_vae<T> vae{matrix(5, n, random_numbers(5 * n, 8)), {}};
  const vector mask{1, 0, 1, 0, 0}, y = random_numbers(5, 9), x = random_numbers(n, 7);
  matrix A(2, n);
  for (std::size_t j = 0; j < n; ++j) {
    A(0, j) = vae.D(0, j);
    A(1, j) = vae.D(2, j);
  }
  const double t = 0.6, deviation = GENERATE(0.0, 0.2);
  const decoded c(masked<T>(TestType::make({1, 5}, y), TestType::make({1, 5}, mask), deviation), vae,
                  decoder_vjp{});
  pass_counts counts;
  const auto x0 =
      moved_by<TestType>(posterior_step{.krylov = 2, .damping = 0.0}, net, path, c, x, t, counts).first;
  const auto wanted = prior.given_noisy(x, 1.0 - t, t)
                          .given_linear(A, vector{y[0], y[2]}, deviation == 0.0 ? 1e-7 : deviation)
                          .mean();
  CHECK(largest_difference(x0, wanted) <= 100.0 * TestType::probe_tolerance);
  // one decode and backward pass to look, A d and again such a pair for the second step, and A to see what is
  // left
  CHECK(counts == pass_counts{.forward = 2, .decoder_forward = 4, .decoder_backward = 2});
}

TEMPLATE_LIST_TEST_CASE("through an encoder's difference its length leaves the least of the residual", "",
                        backends) {
  using T = typename TestType::tensor;
  const auto prior = gaussian_mixture::random(n, 1, 3);
  const rectified_flow path;
  const complete_mixture<TestType, rectified_flow> net(prior, path, prediction_type::flow);
  const linear_vae<T> vae{matrix(5, n, random_numbers(5 * n, 8)), matrix(n, 5, random_numbers(5 * n, 10))};
  const vector mask{1, 0, 1, 1, 1}, y = random_numbers(5, 9), x = random_numbers(n, 7);
  const masked<T> pixels(TestType::make({1, 5}, y), TestType::make({1, 5}, mask));
  const double t = 0.4;
  pass_counts counts;
  const auto x0 = moved_by<TestType>(posterior_step{}, net, path, decoded(pixels, vae, encoder_difference{}),
                                     x, t, counts)
                      .first;
  CHECK(counts == pass_counts{.forward = 1, .decoder_forward = 2, .encoder_forward = 2});
  // by hand: J as a matrix, from products with unit vectors
  const vector before = prior.given_noisy(x, 1.0 - t, t).mean();
  const auto r_of = [&](const vector& z) {
    vector r = combined(1.0, y, -1.0, vae.D * z);
    for (std::size_t i = 0; i < 5; ++i) r[i] *= mask[i];
    return r;
  };
  const estimator<T, decltype(net), rectified_flow> m({net, path}, counts);
  const auto at = m.evaluate(TestType::make({1, n}, x), t);
  const vector e = vae.E * r_of(before), d = elements(m.exact_jvp(at, TestType::make({1, n}, e)));
  const vector q = combined(1.0, r_of(before), -1.0, r_of(combined(1.0, before, 1.0, d)));
  const double gamma = dot(r_of(before), q) / dot(q, q);
  REQUIRE(gamma > 0.0);
  CHECK(largest_difference(x0, combined(1.0, before, gamma, d)) <= 100.0 * TestType::probe_tolerance);
  CHECK_THROWS_WITH(moved_by<TestType>(posterior_step{.krylov = 2}, net, path,
                                       decoded(pixels, vae, encoder_difference{}), x, t, counts),
                    Catch::Contains("krylov is 2"));
}

TEMPLATE_LIST_TEST_CASE("with the noise of the moved estimate, many steps end in the posterior of a Gaussian",
                        "", backends) {
  using T = typename TestType::tensor;
  // x0' is the posterior's denoiser, so that the deterministic steps carry the standard normal distribution
  // to the posterior: an affine map, whose mean and covariance are seen from its values at 0 and the unit
  // vectors
  const auto prior = gaussian_mixture::random(n, 1, 3);
  const rectified_flow path;
  const complete_mixture<TestType, rectified_flow> net(prior, path, prediction_type::flow);
  const matrix A(1, n, random_numbers(n, 5));
  const vector y{0.7};
  const double deviation = 0.3;
  const auto posterior = prior.given_linear(A, y, deviation);
  const linear<T, dense_operator<T>> c({A}, TestType::make({n + 1, 1}, vector(n + 1, y[0])), deviation);
  vector starts((n + 1) * n, 0.0);
  for (std::size_t i = 0; i < n; ++i) starts[(i + 1) * n + i] = 1.0;
  const auto distance = [&](std::size_t steps, bool keeps_noise) {
    const posterior_step rule{.damping = 0.0, .keeps_noise = keeps_noise};
    const auto ends = elements(sample(TestType::make({n + 1, n}, starts), model(net, path),
                                      rectified_flow_euler(path, {.steps = steps}), c, rule)
                                   .x);
    const vector mean(ends.begin(), ends.begin() + n);
    matrix map(n, n);
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < n; ++j) map(j, i) = ends[(i + 1) * n + j] - mean[j];
    const matrix covariance = map * transposed(map);
    return std::max(largest_difference(mean, posterior.mean()),
                    largest_difference(covariance.values, posterior.covariance().values));
  };
  const double few = distance(20, false), more = distance(80, false), kept = distance(80, true);
  INFO("20 steps " << few << ", 80 steps " << more << ", with the noise kept " << kept);
  CHECK(more < 0.35 * few); // Euler's error is of first order
  CHECK(more < 0.05);
  CHECK(kept > 2.0 * more);
}

TEMPLATE_LIST_TEST_CASE("replacement towards the end meets masks and means of blocks exactly", "", backends) {
  using T = typename TestType::tensor;
  steering_task<TestType> task{.samples = 2};
  const auto sampler = ddim(task.path, {.steps = 8});
  const with_replacement<posterior_step> rule{{}, 0.5};
  const auto met = [&](const auto& c) {
    const auto result = sample(task.start(), task.model(), sampler, c, rule);
    CHECK(result.passes.forward == 2 * 8 * 2);
    return max_abs(elements(c(result.x).error));
  };
  CHECK(met(task.constraint()) <= 10.0 * TestType::tolerance);
  if constexpr (image_tensor<T>) {
    const auto blocks = averaging(task.target(), 2);
    const linear c(blocks, TestType::make({2, 1, 1}, {0.3, -0.2}));
    CHECK(met(c) <= 10.0 * TestType::tolerance);
    const auto blurred = gaussian_blur(task.target(), 1.0, 1);
    CHECK_THROWS_WITH(sample(task.start(), task.model(), sampler, linear(blurred, task.target()), rule),
                      Catch::Contains("orthogonal"));
  }
  // above its noise level it does nothing, and to the posterior step nothing but that
  const auto plain = sample(task.start(), task.model(), sampler, task.constraint(), posterior_step{});
  const auto never = sample(task.start(), task.model(), sampler, task.constraint(),
                            with_replacement<posterior_step>{{}, 0.0});
  CHECK(elements(plain.x) == elements(never.x));
}

TEMPLATE_LIST_TEST_CASE("replacement at every step, with new noise, is DDNM", "", backends) {
  steering_task<TestType> task{.samples = 1};
  const double eta = 0.85;
  const auto times = time_grid(task.path, {.steps = 5});
  const path_sampler sampler(task.path, times,
                             [&](std::size_t i) { return eta * task.path.at(times[i + 1]).s; });
  const sample_options options{.seed = 4};
  const auto result = sample(task.start(), task.model(), sampler, task.constraint(), replacement{}, options);
  CHECK(result.passes.forward == 5);
  // the published loop: x0 += A^+ (y - A x0), x' = a' x0 + s' (eta xi + sqrt(1 - eta^2) eps)
  vector x = elements(task.start());
  const vector y = elements(task.target()), mask = elements(task.mask());
  for (std::size_t i = 0; i < 5; ++i) {
    const auto c = task.path.at(times[i]), next = task.path.at(times[i + 1]);
    vector x0 = task.prior.given_noisy(x, c.a, c.s).mean();
    const vector eps = combined(1.0 / c.s, x, -c.a / c.s, x0);
    for (std::size_t j = 0; j < x0.size(); ++j)
      if (mask[j] == 1.0) x0[j] = y[j];
    const vector xi =
        elements(standard_normal(TestType::make({1, 2, 2}, x), {4, 0, static_cast<std::uint32_t>(i + 1)}));
    x = combined(next.a, x0, next.s, combined(eta, xi, std::sqrt(1.0 - eta * eta), eps));
  }
  CHECK(largest_difference(elements(result.x), x) <= 1000.0 * TestType::tolerance);
}

TEMPLATE_LIST_TEST_CASE("on the variance exploding path the posterior step is right, too", "", backends) {
  using T = typename TestType::tensor;
  const auto prior = gaussian_mixture::random(n, 1, 3);
  const variance_exploding path(20.0);
  const complete_mixture<TestType, variance_exploding> net(prior, path, prediction_type::sample);
  const matrix A(2, n, random_numbers(2 * n, 5));
  const vector y = random_numbers(2, 6);
  const double sigma = GENERATE(0.05, 1.0, 15.0);
  const vector x = combined(sigma, random_numbers(n, 7), 1.0, random_numbers(n, 8));
  pass_counts counts;
  const auto x0 =
      moved_by<TestType>(posterior_step{.krylov = 2, .damping = 0.0}, net, path,
                         linear<T, dense_operator<T>>({A}, TestType::make({1, 2}, y), 0.1), x, sigma, counts)
          .first;
  CHECK(largest_difference(x0, prior.given_noisy(x, 1.0, sigma).given_linear(A, y, 0.1).mean()) <=
        100.0 * TestType::probe_tolerance);

  // plain sampling from the largest sigma ends in the prior: as above, an affine map
  vector starts((n + 1) * n, 0.0);
  for (std::size_t i = 0; i < n; ++i) starts[(i + 1) * n + i] = 1.0;
  const T like = TestType::make({n + 1, n}, starts);
  const auto ends = elements(sample(tensor_traits<T>::scale(path.last(), like), model(net, path),
                                    karras_euler(path, {.steps = 60}), masked<T>(like, like), update{none{}})
                                 .x);
  // the start's mean is 0 and not the prior's, of which a part of deviation / sigma is left
  CHECK(largest_difference(vector(ends.begin(), ends.begin() + n), prior.mean()) <=
        0.05 * max_abs(prior.mean()));
}
