// The loop: what it computes, what it keeps still, what it counts, what it reports.

#include <support/backend.hpp>
#include <support/gaussian_mixture.hpp>
#include <support/steering_task.hpp>

#include <pushforward/paths/rectified_flow.hpp>
#include <pushforward/sample.hpp>
#include <pushforward/samplers/rectified_flow_euler.hpp>

#include <cmath>
#include <limits>

using namespace pushforward;
using namespace testing_support;

namespace {

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

vector part(const vector& v, std::size_t j, std::size_t n) {
  return vector(v.begin() + static_cast<std::ptrdiff_t>(j * n),
                v.begin() + static_cast<std::ptrdiff_t>((j + 1) * n));
}

/// How far two results may be apart: not at all where the backend is exact.
template <class Backend> constexpr double slack() { return Backend::exact ? 0.0 : 1e3 * Backend::tolerance; }

const gaussian one_gaussian{1.0, {1.0, -0.5}, matrix(2, 2, {1.0, 0.6, 0.6, 0.8})};

} // namespace

// --- plain sampling ----------------------------------------------------------------------------------------

TEMPLATE_LIST_TEST_CASE("plain sampling takes the noise of a Gaussian to its mean and covariance", "",
                        backends) {
  using T = typename TestType::tensor;
  const gaussian_mixture prior({one_gaussian});
  // Its clean estimate is affine in x, hence so is a run without noise: x -> A x + b. Three starts give A and
  // b.
  const auto moments_error = [&](const auto& path, const auto& sampler, prediction_type prediction) {
    const forward_mixture<TestType, std::decay_t<decltype(path)>> net(prior, path, prediction);
    const T start = TestType::make({3, 2}, {0.0, 0.0, 1.0, 0.0, 0.0, 1.0});
    const auto end = elements(sample(start, model(net, path), sampler,
                                     masked<T>(start, tensor_traits<T>::zeros(start)), update{none{}})
                                  .x);
    const vector b = part(end, 0, 2);
    const matrix A(2, 2, {end[2] - b[0], end[4] - b[0], end[3] - b[1], end[5] - b[1]});
    const auto c = path.at(sampler.time(0));
    const matrix at_start = combined(c.a * c.a, one_gaussian.covariance, c.s * c.s, matrix::identity(2));
    const vector mean = combined(1.0, A * combined(c.a, one_gaussian.mean, 0.0, b), 1.0, b);
    const matrix covariance = A * at_start * transposed(A);
    return std::max(largest_difference(mean, one_gaussian.mean),
                    largest_difference(covariance.values, one_gaussian.covariance.values));
  };
  const auto vp = variance_preserving::scaled_linear();
  const rectified_flow rf(3.0);
  const double ddim_100 = moments_error(vp, ddim(vp, {.steps = 100}), prediction_type::epsilon);
  const double ddim_200 = moments_error(vp, ddim(vp, {.steps = 200}), prediction_type::v);
  CHECK(ddim_200 < 0.02);
  CHECK(ddim_100 / ddim_200 == Approx(2.0).epsilon(0.15)); // a method of first order
  const double euler_100 = moments_error(rf, rectified_flow_euler(rf, {.steps = 100}), prediction_type::flow);
  const double euler_200 =
      moments_error(rf, rectified_flow_euler(rf, {.steps = 200}), prediction_type::reverse_flow);
  CHECK(euler_200 < 0.02);
  CHECK(euler_100 / euler_200 == Approx(2.0).epsilon(0.15));
}

TEMPLATE_LIST_TEST_CASE("sampling with noise has the spread that its steps' weights add up to", "",
                        backends) {
  using T = typename TestType::tensor;
  const gaussian_mixture prior({one_gaussian});
  const auto path = variance_preserving::scaled_linear();
  const auto sampler = ddim(path, {.steps = 20, .eta = 1.0});
  const forward_mixture<TestType, variance_preserving> net(prior, path, prediction_type::epsilon);
  const std::size_t count = 800;
  const T zero = TestType::make({count, 2}, vector(2 * count, 0.0));
  const auto result = sample(standard_normal(zero, {5, 0, 0}), model(net, path), sampler,
                             masked<T>(zero, zero), update{none{}}, {.seed = 5});
  // x' = w0 (J x + ...) + wx x + wn z: the covariance goes through each step by itself
  matrix wanted = matrix::identity(2);
  for (std::size_t i = 0; i < 20; ++i) {
    const auto c = path.at(sampler.time(i));
    const auto w = sampler.weights(i);
    const matrix J = prior.jacobian(vector{0.0, 0.0}, c.a, c.s);
    const matrix step = combined(w.of_x0, J, w.of_x, matrix::identity(2));
    wanted = combined(1.0, step * wanted * transposed(step), w.of_noise * w.of_noise, matrix::identity(2));
  }
  const auto x = elements(result.x);
  double mean[2] = {0.0, 0.0}, is[3] = {0.0, 0.0, 0.0};
  for (std::size_t j = 0; j < count; ++j)
    for (std::size_t i = 0; i < 2; ++i) mean[i] += x[2 * j + i] / static_cast<double>(count);
  for (std::size_t j = 0; j < count; ++j) {
    const double p = x[2 * j] - mean[0], q = x[2 * j + 1] - mean[1];
    is[0] += p * p / static_cast<double>(count);
    is[1] += p * q / static_cast<double>(count);
    is[2] += q * q / static_cast<double>(count);
  }
  // a variance from 800 samples has a relative standard deviation of sqrt(2 / 800) = 5 %
  CHECK(is[0] == Approx(wanted(0, 0)).epsilon(0.2));
  CHECK(is[1] == Approx(wanted(0, 1)).epsilon(0.3));
  CHECK(is[2] == Approx(wanted(1, 1)).epsilon(0.2));
  CHECK(mean[0] == Approx(one_gaussian.mean[0]).margin(0.15));
  CHECK(mean[1] == Approx(one_gaussian.mean[1]).margin(0.15));
}

// --- steering ----------------------------------------------------------------------------------------------

TEMPLATE_LIST_TEST_CASE("inexact Newton meets a mask, and the unknown elements follow the known ones", "",
                        backends) {
  using T = typename TestType::tensor;
  const gaussian_mixture prior({{1.0, {0.0, 0.0}, matrix(2, 2, {1.0, 0.9, 0.9, 1.0})}});
  const auto path = variance_preserving::scaled_linear();
  const forward_mixture<TestType, variance_preserving> net(prior, path, prediction_type::epsilon);
  const std::size_t count = 40;
  vector y, m;
  for (std::size_t j = 0; j < count; ++j) {
    y.insert(y.end(), {2.0, 0.0});
    m.insert(m.end(), {1.0, 0.0});
  }
  const T target = TestType::make({count, 2}, y);
  const masked<T> constraint(target, TestType::make({count, 2}, m));
  const T start = standard_normal(target, {3, 0, 0});
  const auto means = [&](const vector& x) {
    std::pair<double, double> mean{0.0, 0.0};
    for (std::size_t j = 0; j < count; ++j) {
      mean.first += x[2 * j] / static_cast<double>(count);
      mean.second += x[2 * j + 1] / static_cast<double>(count);
    }
    return mean;
  };
  const auto plain = elements(sample(start, model(net, path), ddim(path), constraint, update{none{}}).x);
  CHECK(std::abs(means(plain).first) < 0.5);
  CHECK(std::abs(means(plain).second) < 0.5);
  const auto steered =
      elements(sample(start, model(net, path), ddim(path), constraint, update{inexact_newton{}}).x);
  // the last inner iteration moves x by 0.1, and J is below 1 there: the estimate stays that near
  for (std::size_t j = 0; j < count; ++j) CHECK(steered[2 * j] == Approx(2.0).margin(0.11));
  // E(x1 | x0 = 2) = 0.9 * 2
  CHECK(means(steered).second == Approx(1.8).margin(0.4));
}

TEMPLATE_LIST_TEST_CASE("every policy brings the estimate to the known elements", "", backends) {
  const steering_task<TestType> task;
  const auto plain = task.constraint()(
      sample(task.start(), task.model(), ddim(task.path), task.constraint(), update{none{}}).x);
  for_each_policy<TestType>([&](const char* name, auto policy) {
    INFO(name);
    const auto r = sample(task.start(), task.model(), ddim(task.path), task.constraint(), update{policy});
    const auto error = elements(task.constraint()(r.x).error);
    CHECK(max_abs(error) < 0.12);
    CHECK(max_abs(error) < 0.5 * max_abs(elements(plain.error)));
  });
}

TEMPLATE_LIST_TEST_CASE("with an empty mask every policy samples as without one, bit for bit", "", backends) {
  using T = typename TestType::tensor;
  const steering_task<TestType> task;
  const masked<T> nothing(task.target(), tensor_traits<T>::zeros(task.target()));
  const auto sampler = ddim(task.path, {.steps = 4, .eta = 0.5});
  const auto plain =
      elements(sample(task.start(), task.model(), sampler, nothing, update{none{}}, {.seed = 9}).x);
  for_each_policy<TestType>([&](const char* name, auto policy) {
    INFO(name);
    const auto x =
        sample(task.start(), task.model(), sampler, nothing, update{policy, infinity_norm{}, 2}, {.seed = 9})
            .x;
    CHECK(elements(x) == plain);
  });
}

TEMPLATE_LIST_TEST_CASE("a sample whose error is zero does not move, whatever the others do", "", backends) {
  steering_task<TestType> task;
  task.met = {1};
  const auto sampler = ddim(task.path, {.steps = 4, .eta = 0.5});
  const auto plain =
      elements(sample(task.start(), task.model(), sampler, task.constraint(), update{none{}}, {.seed = 9}).x);
  for_each_policy<TestType>([&](const char* name, auto policy) {
    INFO(name);
    const auto x = elements(sample(task.start(), task.model(), sampler, task.constraint(),
                                   update{policy, infinity_norm{}, 2}, {.seed = 9})
                                .x);
    CHECK(part(x, 1, 4) == part(plain, 1, 4));
    CHECK(part(x, 0, 4) != part(plain, 0, 4));
    CHECK(part(x, 2, 4) != part(plain, 2, 4));
  });
}

TEMPLATE_LIST_TEST_CASE("with everything known the result is what is known", "", backends) {
  using T = typename TestType::tensor;
  const steering_task<TestType> task;
  const T y = TestType::make({1, 2, 2}, {0.5, -0.25, 0.125, 0.75});
  const masked<T> all(y, TestType::make({1, 2, 2}, {1.0, 1.0, 1.0, 1.0}));
  const T start = standard_normal(y, {1, 0, 0});
  const auto r = sample(start, task.model(), ddim(task.path), all, update{inexact_newton{}});
  CHECK(largest_difference(elements(r.x), elements(y)) < 0.12);
}

TEMPLATE_LIST_TEST_CASE("a batch gives what its samples give alone, under every policy", "", backends) {
  const steering_task<TestType> task;
  const auto start = task.start();
  const auto sampler = ddim(task.path, {.steps = 4, .eta = 0.5});
  for_each_policy<TestType>([&](const char* name, auto policy) {
    INFO(name);
    const update u{policy, infinity_norm{}, 2};
    const auto together =
        sample(start, task.model(), sampler, task.constraint(), u, {.seed = 9, .first_sample = 4});
    for (std::size_t j = 0; j < task.samples; ++j) {
      const auto alone = sample(sample_of<TestType>(start, j), task.model(), sampler, task.constraint(j), u,
                                {.seed = 9, .first_sample = 4 + j});
      CHECK(largest_difference(part(elements(together.x), j, 4), elements(alone.x)) <= slack<TestType>());
      REQUIRE(alone.trace.size() == together.trace.size());
      for (std::size_t r = 0; r < alone.trace.size(); ++r)
        CHECK(std::abs(alone.trace[r].loss[0] - together.trace[r].loss[j]) <= slack<TestType>());
    }
  });
}

TEMPLATE_LIST_TEST_CASE("samples know their number: a batch may be split in any way", "", backends) {
  using T = typename TestType::tensor;
  steering_task<TestType> task;
  task.samples = 4;
  const auto sampler = ddim(task.path, {.steps = 4, .eta = 1.0});
  const update u{inexact_newton{}, infinity_norm{}, 2};
  const auto whole =
      elements(sample(task.start(7), task.model(), sampler, task.constraint(), u, {.seed = 7}).x);
  task.samples = 2;
  const T like = task.target();
  const auto [y_first, y_second] = [&] {
    steering_task<TestType> four;
    four.samples = 4;
    return tensor_traits<T>::halves(four.target());
  }();
  const auto first = sample(standard_normal(like, {7, 0, 0}), task.model(), sampler,
                            masked<T>(y_first, task.mask()), u, {.seed = 7});
  const auto second = sample(standard_normal(like, {7, 2, 0}), task.model(), sampler,
                             masked<T>(y_second, task.mask()), u, {.seed = 7, .first_sample = 2});
  CHECK(largest_difference(part(whole, 0, 8), elements(first.x)) <= slack<TestType>());
  CHECK(largest_difference(part(whole, 1, 8), elements(second.x)) <= slack<TestType>());
  // the seed is what the noise hangs on
  const auto again = sample(standard_normal(like, {7, 0, 0}), task.model(), sampler,
                            masked<T>(y_first, task.mask()), u, {.seed = 7});
  CHECK(elements(again.x) == elements(first.x));
  const auto other = sample(standard_normal(like, {7, 0, 0}), task.model(), sampler,
                            masked<T>(y_first, task.mask()), u, {.seed = 8});
  CHECK(largest_difference(elements(other.x), elements(first.x)) > 1e-3);
}

TEMPLATE_LIST_TEST_CASE("a run can start in the middle, from a noised clean batch", "", backends) {
  using T = typename TestType::tensor;
  const steering_task<TestType> task;
  const auto sampler = ddim(task.path, {.steps = 3, .start = 0.3});
  const T clean = task.target();
  const auto r = sample(noised(task.path, clean, sampler.time(0), 2), task.model(), sampler,
                        task.constraint(), update{inexact_newton{}, infinity_norm{}, 1});
  CHECK(r.steps == 3);
  CHECK(r.trace.front().t == 300.0);
  CHECK(r.trace.back().t == 100.0);
}

// --- tolerance ---------------------------------------------------------------------------------------------

TEMPLATE_LIST_TEST_CASE("a tolerance works per sample: a batch gives what its samples give alone", "",
                        backends) {
  const steering_task<TestType> task;
  const auto start = task.start();
  const auto sampler = ddim(task.path, {.steps = 6, .eta = 0.5});
  const update u{inexact_newton{}, infinity_norm{}, 6, 0.02};
  const auto together = sample(start, task.model(), sampler, task.constraint(), u, {.seed = 3});
  std::vector<std::size_t> passes;
  for (std::size_t j = 0; j < task.samples; ++j) {
    const auto alone = sample(sample_of<TestType>(start, j), task.model(), sampler, task.constraint(j), u,
                              {.seed = 3, .first_sample = j});
    CHECK(largest_difference(part(elements(together.x), j, 4), elements(alone.x)) <= slack<TestType>());
    passes.push_back(alone.passes.forward);
  }
  // the test is one only if the samples needed different numbers of iterations, and fewer than all
  CHECK(*std::min_element(passes.begin(), passes.end()) < *std::max_element(passes.begin(), passes.end()));
  CHECK(*std::max_element(passes.begin(), passes.end()) < 6 * (1 + 2 * 6));
}

TEMPLATE_LIST_TEST_CASE("the inner loop ends when every sample is within the tolerance", "", backends) {
  const steering_task<TestType> task;
  const auto sampler = ddim(task.path, {.steps = 3});
  const auto run = [&](double tolerance) {
    return sample(task.start(), task.model(), sampler, task.constraint(),
                  update{inexact_newton{}, infinity_norm{}, 4, tolerance});
  };
  const auto loose = run(1e6);
  CHECK(loose.passes.forward == 3 * task.samples);
  CHECK(loose.trace.size() == 3); // the loss that was looked at, once a step
  const auto plain = sample(task.start(), task.model(), sampler, task.constraint(), update{none{}});
  CHECK(elements(loose.x) == elements(plain.x));
  CHECK(run(-1.0).passes.forward == 3 * task.samples * (1 + 2 * 4));
  CHECK(run(0.0).passes.forward == 3 * task.samples * (1 + 2 * 4)); // never met exactly
  const auto some = run(0.05);
  for (const auto& r : some.trace)
    if (r.iteration == 3 || &r == &some.trace.back() || (&r + 1)->step != r.step)
      for (double loss : r.loss) CHECK((loss <= 0.05 || r.iteration == 3));
}

TEMPLATE_LIST_TEST_CASE("a tolerance of zero ends the loop where the constraint is met exactly", "",
                        backends) {
  steering_task<TestType> task;
  task.met = {0, 1, 2};
  const auto r = sample(task.start(), task.model(), ddim(task.path, {.steps = 3}), task.constraint(),
                        update{inexact_newton{}, infinity_norm{}, 4, 0.0});
  CHECK(r.passes.forward == 3 * task.samples);
}

// --- counts ------------------------------------------------------------------------------------------------

TEMPLATE_LIST_TEST_CASE("every pass is counted: 1 + 2K a step for inexact Newton", "", backends) {
  const std::size_t steps = 3, K = 4;
  const auto counted = [&](auto policy) {
    const steering_task<TestType> task;
    const auto r = sample(task.start(), task.model(), ddim(task.path, {.steps = steps}), task.constraint(),
                          update{policy, infinity_norm{}, K});
    CHECK(r.reason == ending::completed);
    CHECK(r.steps == steps);
    CHECK(r.trace.size() == (std::same_as<decltype(policy), none> ? 0 : steps * K));
    // what the network itself saw
    CHECK(task.net.calls().forward == r.passes.forward);
    CHECK(task.net.calls().backward == r.passes.backward);
    CHECK(task.net.calls().forward_mode == r.passes.forward_mode);
    CHECK(r.passes.decoder_forward + r.passes.decoder_backward + r.passes.encoder_forward == 0);
    return r.passes;
  };
  const std::size_t N = steering_task<TestType>{}.samples, n = steering_task<TestType>::size;
  CHECK(counted(none{}) == pass_counts{.forward = N * steps});
  CHECK(counted(inexact_newton{}) == pass_counts{.forward = N * steps * (1 + 2 * K)});
  CHECK(counted(vae_newton{}) == pass_counts{.forward = N * steps * (1 + 2 * K)});
  CHECK(counted(gradient_descent{}) ==
        pass_counts{.forward = N * steps * (1 + K), .backward = N * steps * K});
  CHECK(counted(forward_mode_newton{}) ==
        pass_counts{.forward = N * steps * (1 + K), .forward_mode = N * steps * K});
  if constexpr (has_dense_algebra<typename TestType::tensor>)
    CHECK(counted(exact_newton{.batch = 3}) == pass_counts{.forward = N * steps * (1 + K * (1 + n))});
}

TEMPLATE_LIST_TEST_CASE("without inner iterations a run is plain sampling", "", backends) {
  const steering_task<TestType> task;
  const auto sampler = ddim(task.path, {.steps = 3});
  const auto r = sample(task.start(), task.model(), sampler, task.constraint(),
                        update{inexact_newton{}, infinity_norm{}, 0});
  const auto plain = sample(task.start(), task.model(), sampler, task.constraint(), update{none{}});
  CHECK(elements(r.x) == elements(plain.x));
  CHECK(r.passes == plain.passes);
  CHECK(r.trace.empty());
}

TEMPLATE_LIST_TEST_CASE("the trace holds the loss before each inner iteration", "", backends) {
  const steering_task<TestType> task;
  std::vector<vector> losses;
  vector known(task.samples * 4), y = elements(task.target()), m = elements(task.mask());
  const auto loss_of = [&](const auto& x0) {
    const auto v = elements(x0);
    vector loss(task.samples, 0.0);
    for (std::size_t i = 0; i < v.size(); ++i) loss[i / 4] += 0.5 * m[i] * (y[i] - v[i]) * (y[i] - v[i]);
    return loss;
  };
  vector before;
  const auto watch = [&](const auto& p) {
    if (p.when == moment::iterated) losses.push_back(before);
    if (p.when != moment::stepped) before = loss_of(p.at.x0);
  };
  const auto sampler = ddim(task.path, {.steps = 3});
  const auto r = sample(task.start(), task.model(), sampler, task.constraint(),
                        update{inexact_newton{}, infinity_norm{}, 2}, {}, watch);
  REQUIRE(r.trace.size() == 6);
  for (std::size_t i = 0; i < 6; ++i) {
    CHECK(r.trace[i].step == i / 2);
    CHECK(r.trace[i].iteration == i % 2);
    CHECK(r.trace[i].t == sampler.time(i / 2));
    CHECK(largest_difference(r.trace[i].loss, losses[i]) <=
          10.0 * TestType::tolerance * (1.0 + max_abs(losses[i])));
  }
}

// --- observers ---------------------------------------------------------------------------------------------

namespace {

struct event {
  moment when;
  std::size_t step, iteration, passes;
  friend bool operator==(const event&, const event&) = default;
};

} // namespace

TEMPLATE_LIST_TEST_CASE("an observer sees every event in order, with what belongs to it", "", backends) {
  using T = typename TestType::tensor;
  const steering_task<TestType> task;
  std::vector<event> seen;
  const auto watch = [&](const progress<T>& p) {
    seen.push_back({p.when, p.step, p.iteration, p.passes.forward});
    CHECK(p.steps == 2);
    CHECK(p.iterations == 2);
    CHECK((p.next != nullptr) == (p.when == moment::stepped));
    CHECK((p.constraint != nullptr) == (p.when == moment::iterated));
    CHECK((p.direction != nullptr) == (p.when == moment::iterated));
    CHECK(p.at.t == (p.step == 0 ? 1000.0 : 500.0));
  };
  const auto r = sample(task.start(), task.model(), ddim(task.path, {.steps = 2}), task.constraint(),
                        update{inexact_newton{}, infinity_norm{}, 2}, {}, watch);
  const std::size_t N = task.samples;
  const std::vector<event> wanted{{moment::estimated, 0, 0, N},     {moment::iterated, 0, 0, 3 * N},
                                  {moment::iterated, 0, 1, 5 * N},  {moment::stepped, 0, 0, 5 * N},
                                  {moment::estimated, 1, 0, 6 * N}, {moment::iterated, 1, 0, 8 * N},
                                  {moment::iterated, 1, 1, 10 * N}, {moment::stepped, 1, 0, 10 * N}};
  CHECK((seen == wanted)); // in brackets: c10 makes every vector look printable
  CHECK(r.reason == ending::completed);
  CHECK(r.passes.forward == 10 * N);
}

TEMPLATE_LIST_TEST_CASE("an observer sees the direction and the error that x was moved by", "", backends) {
  using T = typename TestType::tensor;
  const steering_task<TestType> task;
  vector x_before, x0_before;
  const double rate = 0.25;
  const auto watch = [&](const progress<T>& p) {
    if (p.when == moment::iterated) {
      const auto error = elements(task.constraint()(TestType::make(task.extents(), x0_before)).error);
      CHECK(largest_difference(elements(p.constraint->error), error) <= 10.0 * TestType::tolerance);
      const auto d = elements(*p.direction);
      for (std::size_t j = 0; j < task.samples; ++j) {
        const auto dj = part(d, j, 4);
        const auto moved = combined(1.0, part(x_before, j, 4), rate / max_abs(dj), dj);
        CHECK(largest_difference(part(elements(p.at.x), j, 4), moved) <= 10.0 * TestType::tolerance);
      }
    }
    if (p.when == moment::stepped) CHECK(elements(p.at.x0) == x0_before);
    x_before = elements(p.at.x);
    x0_before = elements(p.at.x0);
  };
  sample(task.start(), task.model(), ddim(task.path, {.steps = 2}), task.constraint(),
         update{inexact_newton{}, infinity_norm{constant_rate(rate)}, 2}, {}, watch);
}

TEMPLATE_LIST_TEST_CASE("an observer can stop a run at every moment, and gets the estimate that stood then",
                        "", backends) {
  using T = typename TestType::tensor;
  const steering_task<TestType> task;
  const std::size_t events = 8; // 2 steps of: estimated, 2 x iterated, stepped
  for (std::size_t stop_at = 0; stop_at < events; ++stop_at) {
    std::size_t count = 0, steps = 0, iterated = 0;
    vector x0, next;
    pass_counts passes;
    const auto watch = [&](const progress<T>& p) {
      x0 = elements(p.at.x0);
      passes = p.passes;
      steps += p.when == moment::stepped;
      iterated += p.when == moment::iterated;
      if (p.next) next = elements(*p.next);
      return count++ == stop_at ? verdict::stop : verdict::go_on;
    };
    const auto r = sample(task.start(), task.model(), ddim(task.path, {.steps = 2}), task.constraint(),
                          update{inexact_newton{}, infinity_norm{}, 2}, {}, watch);
    INFO("stopped at event " << stop_at);
    CHECK(count == stop_at + 1); // asked no more
    CHECK(r.passes == passes);
    CHECK(r.steps == steps);
    CHECK(r.trace.size() == iterated);
    const bool last = stop_at == events - 1; // all was done already
    CHECK(r.reason == (last ? ending::completed : ending::stopped_by_observer));
    CHECK(elements(r.x) == (last ? next : x0));
  }
}

TEMPLATE_LIST_TEST_CASE("an observer of plain sampling sees two events a step, and no iterations", "",
                        backends) {
  using T = typename TestType::tensor;
  const steering_task<TestType> task;
  std::vector<moment> seen;
  struct counter { // one that changes, given as an lvalue
    std::vector<moment>* seen;
    std::size_t calls = 0;
    void operator()(const progress<T>& p) {
      ++calls;
      seen->push_back(p.when);
      CHECK(p.iterations == 0);
    }
  } watch{&seen};
  sample(task.start(), task.model(), ddim(task.path, {.steps = 2}), task.constraint(), update{none{}}, {},
         watch);
  CHECK(watch.calls == 4);
  const std::vector wanted{moment::estimated, moment::stepped, moment::estimated, moment::stepped};
  CHECK((seen == wanted)); // in brackets: c10 makes every vector look printable
}

// --- faults ------------------------------------------------------------------------------------------------

namespace {

/// A sampler with nothing to do.
template <class T> struct no_steps {
  std::size_t steps() const { return 0; }
  double time(std::size_t) const { return 0.0; }
  template <class Noise> T step(std::size_t, estimate<T> at, Noise&&) const { return at.x0; }
};

/// Answers call number `at` (from 0) with NaN in the last element of the batch.
template <class Backend> struct poisoned {
  using T = typename Backend::tensor;
  const complete_mixture<Backend, variance_preserving>& net;
  std::size_t at;
  prediction_type prediction = net.prediction;
  mutable std::size_t calls = 0;

  T predict(const T& x, double model_time) const {
    T o = net.predict(x, model_time);
    if (calls++ != at) return o;
    auto values = elements(o);
    values.back() = not_a_number;
    return tensor_traits<T>::from_elements(o, tensor_traits<T>::shape_of(o), values);
  }
};

} // namespace

TEMPLATE_LIST_TEST_CASE("a NaN from the denoiser is reported with its step and iteration", "", backends) {
  const steering_task<TestType> task;
  const std::size_t K = 2;
  for (std::size_t step : {0U, 2U})
    for (std::size_t call = 0; call < 1 + 2 * K; ++call) {
      const poisoned<TestType> net{task.net, step * (1 + 2 * K) + call};
      INFO("step " << step << ", call " << call);
      // calls of a step: the estimate (0); then a probe and an estimate in each iteration. What a probe
      // spoils is seen in the estimate after it, which opens iteration k + 1.
      try {
        sample(task.start(), model(net, task.path), ddim(task.path, {.steps = 3}), task.constraint(),
               update{inexact_newton{}, infinity_norm{}, K});
        FAIL("no exception");
      } catch (const not_finite& e) {
        CHECK(e.step() == step);
        CHECK(e.iteration() == (call + 1) / 2);
        CHECK_THAT(e.what(), contains_text("clean estimate") &&
                                 contains_text("step " + std::to_string(step)) &&
                                 contains_text("iteration " + std::to_string((call + 1) / 2)));
      }
    }
}

TEMPLATE_LIST_TEST_CASE("a NaN from the constraint is reported with its step and iteration", "", backends) {
  using T = typename TestType::tensor;
  const steering_task<TestType> task;
  for (std::size_t at : {0U, 1U, 4U}) {
    std::size_t calls = 0;
    const auto constraint = [&](const T& x0) {
      auto value = task.constraint()(x0);
      if (calls++ == at) value.error = tensor_traits<T>::scale(not_a_number, std::move(value.error));
      return value;
    };
    try {
      sample(task.start(), task.model(), ddim(task.path, {.steps = 3}), constraint,
             update{inexact_newton{}, infinity_norm{}, 3});
      FAIL("no exception");
    } catch (const not_finite& e) {
      CHECK(e.step() == at / 3);
      CHECK(e.iteration() == at % 3);
      CHECK_THAT(e.what(), contains_text("error of the constraint"));
    }
  }
}

TEMPLATE_LIST_TEST_CASE("the finite check can look once a step, or not at all", "", backends) {
  const steering_task<TestType> task;
  const auto run = [&](finite_check check, auto policy) {
    const poisoned<TestType> net{task.net, 1};
    return sample(task.start(), model(net, task.path), ddim(task.path, {.steps = 2}), task.constraint(),
                  update{policy, infinity_norm{}, 2}, {.check = check});
  };
  try {
    run(finite_check::every_step, inexact_newton{});
    FAIL("no exception");
  } catch (const not_finite& e) {
    CHECK(e.step() == 0);
    CHECK(e.iteration() == 2);
  }
  try {
    run(finite_check::every_step, none{});
    FAIL("no exception");
  } catch (const not_finite& e) {
    CHECK(e.step() == 1);
    CHECK(e.iteration() == 0);
  }
  const auto unchecked = run(finite_check::off, inexact_newton{});
  CHECK(unchecked.reason == ending::completed);
  CHECK(std::isnan(elements(unchecked.x).back()));
  for (std::size_t i = 0; i < 8; ++i) CHECK(std::isfinite(elements(unchecked.x)[i])); // the other samples
}

TEMPLATE_LIST_TEST_CASE("options are checked on entry, before any pass", "", backends) {
  using T = typename TestType::tensor;
  const steering_task<TestType> task;
  const auto sampler = ddim(task.path, {.steps = 2});
  const double infinity = std::numeric_limits<double>::infinity();
  const auto refused = [&](auto policy, auto step, double tolerance, const char* named) {
    INFO(named);
    CHECK_THROWS_AS(
        sample(task.start(), task.model(), sampler, task.constraint(), update{policy, step, 2, tolerance}),
        bad_option);
    CHECK_THROWS_WITH(
        sample(task.start(), task.model(), sampler, task.constraint(), update{policy, step, 2, tolerance}),
        contains_text(named));
  };
  for (double bad : {-1.0, not_a_number, infinity}) {
    refused(inexact_newton{bad}, infinity_norm{}, -1.0, "inexact_newton: probe");
    refused(vae_newton{.probe = bad}, infinity_norm{}, -1.0, "probe");
    refused(vae_newton{.encoder_probe = bad}, infinity_norm{}, -1.0, "encoder_difference: probe");
    refused(inexact_newton{}, infinity_norm{{bad, 0.1}}, -1.0, "infinity_norm: rate");
    refused(inexact_newton{}, infinity_norm{{0.1, bad}}, -1.0, "infinity_norm: rate");
    refused(inexact_newton{}, constant_step{{bad, 0.1}}, -1.0, "constant_step: lambda");
    if constexpr (has_dense_algebra<T>) {
      refused(inexact_newton{}, spectral{.c = bad}, -1.0, "spectral: c");
      refused(inexact_newton{}, spectral{.probe = bad}, -1.0, "spectral: probe");
      refused(exact_newton{.cutoff = bad}, infinity_norm{}, -1.0, "exact_newton: cutoff");
      refused(exact_newton{.probe = bad}, infinity_norm{}, -1.0, "exact_newton: probe");
    }
  }
  if constexpr (has_dense_algebra<T>) {
    refused(exact_newton{.batch = 0}, infinity_norm{}, -1.0, "exact_newton: batch");
    refused(exact_newton{.cutoff = 1.0}, infinity_norm{}, -1.0, "exact_newton: cutoff");
    refused(inexact_newton{}, spectral{.krylov = 0}, -1.0, "spectral: krylov");
    refused(inexact_newton{}, spectral{.c = 2.0}, -1.0, "spectral: c");
  }
  for (double bad : {not_a_number, infinity, -infinity})
    refused(inexact_newton{}, infinity_norm{}, bad, "tolerance");

  const update u{inexact_newton{}};
  const T other = TestType::make({2, 2, 2}, vector(8, 1.0));
  CHECK_THROWS_AS(sample(task.start(), task.model(), sampler, masked<T>(other, other), u), shape_mismatch);
  CHECK_THROWS_WITH(sample(task.start(), task.model(), sampler, masked<T>(other, other), u),
                    contains_text("3 x 2 x 2") && contains_text("2 x 2 x 2"));
  CHECK_THROWS_AS(sample(TestType::make({0, 2, 2}, {}), task.model(), sampler, task.constraint(), u),
                  shape_mismatch);
  auto broken = elements(task.start());
  broken[5] = not_a_number;
  CHECK_THROWS_AS(sample(TestType::make(task.extents(), broken), task.model(), sampler, task.constraint(), u),
                  bad_option);
  CHECK_THROWS_AS(sample(task.start(), task.model(), no_steps<T>{}, task.constraint(), u), bad_option);
  CHECK(task.net.calls().forward == 0);
  CHECK(task.net.calls().backward == 0);
}

TEMPLATE_LIST_TEST_CASE("an error or output of another shape than x is refused", "", backends) {
  using T = typename TestType::tensor;
  const steering_task<TestType> task;
  const auto doubled = [&](const T& x0) {
    auto value = task.constraint()(x0);
    return constraint_value<T>{value.loss, tensor_traits<T>::concatenate(value.error, value.error)};
  };
  const update u{inexact_newton{}};
  CHECK_THROWS_AS(sample(task.start(), task.model(), ddim(task.path), doubled, u), shape_mismatch);
  CHECK_THROWS_WITH(sample(task.start(), task.model(), ddim(task.path), doubled, u),
                    contains_text("constraint's error") && contains_text("6 x 2 x 2"));
  struct doubling {
    prediction_type prediction = prediction_type::epsilon;
    T predict(const T& x, double) const { return tensor_traits<T>::concatenate(x, x); }
  };
  const doubling net;
  CHECK_THROWS_AS(sample(task.start(), model(net, task.path), ddim(task.path), task.constraint(), u),
                  shape_mismatch);
}

TEMPLATE_LIST_TEST_CASE("what a denoiser, a constraint or an observer throws comes out of sample", "",
                        backends) {
  using T = typename TestType::tensor;
  const steering_task<TestType> task;
  const update u{inexact_newton{}};
  const auto throwing = [](const T&) -> constraint_value<T> { throw std::range_error("mine"); };
  CHECK_THROWS_AS(sample(task.start(), task.model(), ddim(task.path), throwing, u), std::range_error);
  const auto impatient = [](const progress<T>&) { throw std::underflow_error("mine"); };
  CHECK_THROWS_AS(sample(task.start(), task.model(), ddim(task.path), task.constraint(), u, {}, impatient),
                  std::underflow_error);
}
