// Update policies: each direction against dense algebra.

#include <support/backend.hpp>
#include <support/linear_denoiser.hpp>
#include <support/steering_task.hpp>

#include <pushforward/estimate.hpp>
#include <pushforward/paths/rectified_flow.hpp>
#include <pushforward/sample.hpp>
#include <pushforward/samplers/rectified_flow_euler.hpp>

using namespace pushforward;
using namespace testing_support;

namespace {

constexpr std::size_t n = 4, samples = 2;

/// M e for each sample of e.
vector times(const matrix& M, const vector& e) {
  vector all;
  for (std::size_t j = 0; j < e.size() / n; ++j) {
    const vector y = M * std::span(e).subspan(j * n, n);
    all.insert(all.end(), y.begin(), y.end());
  }
  return all;
}

/// The direction that a policy makes of an error, and the passes it took.
template <class Backend, class Policy, class Denoiser>
std::pair<vector, pass_counts> direction_of(Policy policy, const Denoiser& net, const vector& x,
                                            const vector& e) {
  using T = typename Backend::tensor;
  const rectified_flow path;
  pass_counts counts;
  const estimator<T, Denoiser, rectified_flow> m({net, path}, counts);
  const auto at = m.evaluate(Backend::make({samples, n}, x), 0.5);
  counts = {};
  const auto d = elements(policy.direction(m, at, Backend::make({samples, n}, e)));
  return {d, counts};
}

} // namespace

TEMPLATE_LIST_TEST_CASE("the directions of a denoiser whose J is not symmetric: J e, J^T e, J^-1 e", "",
                        backends) {
  const matrix M = combined(1.0, matrix(n, n, random_numbers(n * n, 1)), 2.0, matrix::identity(n));
  const linear_denoiser<TestType> net(M, random_numbers(n, 2));
  const auto x = random_numbers(samples * n, 3), e = random_numbers(samples * n, 4);
  const double tolerance = 30.0 * TestType::tolerance, probe_tolerance = 30.0 * TestType::probe_tolerance;

  const auto [inexact, inexact_passes] = direction_of<TestType>(inexact_newton{}, net, x, e);
  CHECK(largest_difference(inexact, times(M, e)) <= probe_tolerance);
  CHECK(inexact_passes == pass_counts{.forward = samples});

  const auto [vae, vae_passes] = direction_of<TestType>(vae_newton{}, net, x, e);
  CHECK(vae == inexact);
  CHECK(vae_passes == inexact_passes);

  const auto [exact, exact_passes] = direction_of<TestType>(forward_mode_newton{}, net, x, e);
  CHECK(largest_difference(exact, times(M, e)) <= tolerance);
  CHECK(exact_passes == pass_counts{.forward_mode = samples});

  const auto [gradient, gradient_passes] = direction_of<TestType>(gradient_descent{}, net, x, e);
  CHECK(largest_difference(gradient, times(transposed(M), e)) <= tolerance);
  CHECK(gradient_passes == pass_counts{.forward = samples, .backward = samples});

  if constexpr (has_dense_algebra<typename TestType::tensor>) {
    const auto [newton, newton_passes] = direction_of<TestType>(exact_newton{.cutoff = 0.0}, net, x, e);
    CHECK(largest_difference(newton, times(inverse(M), e)) <= 10.0 * probe_tolerance);
    CHECK(newton_passes == pass_counts{.forward = samples * n});
  }
}

TEMPLATE_LIST_TEST_CASE("inexact Newton and gradient descent agree where J is symmetric", "", backends) {
  const matrix half(n, n, random_numbers(n * n, 1));
  const linear_denoiser<TestType> net(combined(0.5, half, 0.5, transposed(half)));
  const auto x = random_numbers(samples * n, 3), e = random_numbers(samples * n, 4);
  CHECK(largest_difference(direction_of<TestType>(inexact_newton{}, net, x, e).first,
                           direction_of<TestType>(gradient_descent{}, net, x, e).first) <=
        30.0 * TestType::probe_tolerance);
}

TEMPLATE_LIST_TEST_CASE("exact Newton leaves out singular values below its cut-off", "", backends) {
  if constexpr (has_dense_algebra<typename TestType::tensor>) {
    // singular values 4, 3, 1.9 and 0.1, with known directions: M = U diag(s) V^T
    const matrix U = svd(matrix(n, n, random_numbers(n * n, 1))).v,
                 V = svd(matrix(n, n, random_numbers(n * n, 2))).v;
    const vector s{4.0, 3.0, 1.9, 0.1};
    matrix diagonal(n, n);
    for (std::size_t i = 0; i < n; ++i) diagonal(i, i) = s[i];
    const linear_denoiser<TestType> net(U * diagonal * transposed(V));
    const auto x = random_numbers(samples * n, 3), e = random_numbers(samples * n, 4);
    for (const auto& [cutoff, kept] : {std::pair{0.5, 2U}, {0.4, 3U}, {0.0, 4U}}) {
      matrix inverted(n, n);
      for (std::size_t i = 0; i < kept; ++i) inverted(i, i) = 1.0 / s[i];
      const auto wanted = times(V * inverted * transposed(U), e);
      const auto d = direction_of<TestType>(exact_newton{.cutoff = cutoff, .batch = 3}, net, x, e).first;
      // what a forward difference is off by, J^-1 makes larger: 1 / 0.1^2 at most
      CHECK(largest_difference(d, wanted) <= (kept == 4 ? 300.0 : 30.0) * TestType::probe_tolerance);
    }
  }
}

TEMPLATE_LIST_TEST_CASE("exact Newton spends nothing on a sample without an error", "", backends) {
  if constexpr (has_dense_algebra<typename TestType::tensor>) {
    const linear_denoiser<TestType> net(matrix::identity(n));
    auto e = random_numbers(samples * n, 4);
    std::fill_n(e.begin(), n, 0.0);
    const auto [d, passes] = direction_of<TestType>(exact_newton{}, net, random_numbers(samples * n, 3), e);
    CHECK(vector(d.begin(), d.begin() + n) == vector(n, 0.0));
    CHECK(largest_difference(std::span(d).subspan(n), std::span(e).subspan(n)) <= TestType::probe_tolerance);
    CHECK(passes == pass_counts{.forward = n});
  }
}

TEMPLATE_LIST_TEST_CASE(
    "one full step of exact Newton solves a linear problem, one of the others only nears it", "", backends) {
  using T = typename TestType::tensor;
  // with eigenvalue mu of a symmetric J, a step lambda J e multiplies the error along it by 1 - lambda mu^2
  const vector mu{1.2, 0.9, 0.5, 0.2};
  matrix M(n, n);
  for (std::size_t i = 0; i < n; ++i) M(i, i) = mu[i];
  const linear_denoiser<TestType> net(M);
  const rectified_flow path;
  const T y = TestType::make({1, n}, {1.0, -1.0, 0.5, 2.0});
  const masked<T> all(y, TestType::make({1, n}, vector(n, 1.0)));
  const T start = TestType::make({1, n}, random_numbers(n, 8));
  const auto errors = [&](auto policy, double lambda) {
    std::pair<vector, vector> e; // before and after
    const auto watch = [&](const progress<T>& p) {
      if (p.when == moment::estimated) e.first = elements(all(p.at.x0).error);
      if (p.when == moment::iterated) e.second = elements(all(p.at.x0).error);
    };
    sample(start, model(net, path), rectified_flow_euler(path, {.steps = 1}), all,
           update{policy, constant_step{constant_rate(lambda)}, 1}, {}, watch);
    return e;
  };
  const double lambda = 0.8;
  const auto inexact = errors(inexact_newton{}, lambda), gradient = errors(gradient_descent{}, lambda),
             exact = errors(forward_mode_newton{}, lambda);
  for (std::size_t i = 0; i < n; ++i) {
    const double factor = 1.0 - lambda * mu[i] * mu[i], margin = 30.0 * TestType::probe_tolerance;
    CHECK(inexact.second[i] == Approx(factor * inexact.first[i]).margin(margin));
    CHECK(gradient.second[i] == Approx(factor * gradient.first[i]).margin(margin));
    CHECK(exact.second[i] == Approx(factor * exact.first[i]).margin(margin));
  }
  if constexpr (has_dense_algebra<T>)
    CHECK(max_abs(errors(exact_newton{.cutoff = 0.0}, 1.0).second) <= 100.0 * TestType::probe_tolerance);
}

namespace {

/// x0 = x, and remembers the last point where it was asked.
template <class Backend> struct remembering {
  using T = typename Backend::tensor;
  prediction_type prediction = prediction_type::sample;
  mutable vector asked{};

  T predict(const T& x, double) const {
    asked = elements(x);
    return x;
  }
};

} // namespace

TEMPLATE_LIST_TEST_CASE("a policy probes as far from x as it is told", "", backends) {
  const remembering<TestType> net;
  const vector x(samples * n, 0.0);
  vector e(samples * n, 0.0);
  e[1] = -8.0;
  e[4] = 0.25;
  const auto farthest = [&](auto policy) {
    direction_of<TestType>(policy, net, x, e);
    return max_abs(net.asked);
  };
  for (double probe : {0.125, 0.5}) {
    CHECK(farthest(inexact_newton{probe}) == Approx(probe));
    CHECK(farthest(vae_newton{.probe = probe}) == Approx(probe));
    if constexpr (has_dense_algebra<typename TestType::tensor>)
      CHECK(farthest(exact_newton{.probe = probe}) == Approx(probe));
  }
  CHECK(farthest(inexact_newton{}) == Approx(0.005));
}

TEMPLATE_LIST_TEST_CASE("exact Newton is not made for a tensor without dense algebra", "", backends) {
  using m = estimator<typename TestType::tensor, linear_denoiser<TestType>, rectified_flow>;
  CHECK(update_policy<exact_newton, m> == has_dense_algebra<typename TestType::tensor>);
  CHECK(update_policy<inexact_newton, m>);
}

// --- VAE-Newton --------------------------------------------------------------------------------------------

namespace {

/// D(z) = A z, and an encoder that is its exact inverse. Counts its calls in samples.
template <class Backend> struct linear_decoder {
  using T = typename Backend::tensor;
  matrix A, inverted = inverse(A);
  mutable std::size_t decoded = 0, encoded = 0;

  T decode(const T& z) const {
    decoded += tensor_traits<T>::shape_of(z).samples();
    return affine(A, z, vector(n, 0.0));
  }
  T encode(const T& image) const {
    encoded += tensor_traits<T>::shape_of(image).samples();
    return affine(inverted, image, vector(n, 0.0));
  }
};

} // namespace

TEMPLATE_LIST_TEST_CASE("VAE-Newton pulls the pixel error back by the encoder, and then is inexact Newton",
                        "", backends) {
  using T = typename TestType::tensor;
  const linear_decoder<TestType> vae{
      combined(1.0, matrix(n, n, random_numbers(n * n, 5)), 2.0, matrix::identity(n))};
  const vector y = random_numbers(samples * n, 6), z = random_numbers(samples * n, 7);
  const T ones = TestType::make({samples, n}, vector(samples * n, 1.0));
  const vae_newton policy{};
  const auto constraint = policy.constraint(masked<T>(TestType::make({samples, n}, y), ones), vae);
  pass_counts counts;
  const auto value = constraint(TestType::make({samples, n}, z), counts);
  // D^-1 (y - D z) = D^-1 y - z, scaled to max |.| = 1 per sample
  auto wanted = combined(1.0, times(vae.inverted, y), -1.0, z);
  for (std::size_t j = 0; j < samples; ++j) {
    const double size = max_abs(std::span(wanted).subspan(j * n, n));
    for (std::size_t i = 0; i < n; ++i) wanted[j * n + i] /= size;
  }
  CHECK(largest_difference(elements(value.error), wanted) <= 100.0 * TestType::probe_tolerance);
  CHECK(counts == pass_counts{.decoder_forward = samples, .encoder_forward = 2 * samples});
}

TEMPLATE_LIST_TEST_CASE("an inner iteration of VAE-Newton costs 1 decoder, 2 encoder and 2 denoiser passes",
                        "", backends) {
  using T = typename TestType::tensor;
  const steering_task<TestType> task;
  const linear_decoder<TestType> vae{
      combined(0.3, matrix(n, n, random_numbers(n * n, 5)), 1.0, matrix::identity(n))};
  // the image that the known latent decodes to; a pixel mask of ones
  vector latent; // near the middle of a component
  for (std::size_t j = 0; j < task.samples; ++j) {
    const auto near = combined(1.0, task.prior.components()[j % 2].mean, 0.2, random_numbers(n, 6 + j));
    latent.insert(latent.end(), near.begin(), near.end());
  }
  const T image = affine(vae.A, TestType::make(task.extents(), latent), vector(n, 0.0));
  const T ones = TestType::make(task.extents(), vector(task.samples * n, 1.0));
  const vae_newton policy{};
  const std::size_t steps = 20, K = 5, N = task.samples;
  const auto constraint = policy.constraint(masked<T>(image, ones), vae);
  const auto r = sample(task.start(), task.model(), ddim(task.path, {.steps = steps}), constraint,
                        update{policy, infinity_norm{}, K});
  CHECK(r.passes == pass_counts{.forward = N * steps * (1 + 2 * K),
                                .decoder_forward = N * steps * K,
                                .encoder_forward = N * steps * 2 * K});
  CHECK(vae.decoded == r.passes.decoder_forward);
  CHECK(vae.encoded == r.passes.encoder_forward);
  CHECK(task.net.calls().backward == 0);
  CHECK(largest_difference(elements(r.x), latent) < 0.15); // and it gets there
}

// --- a policy of one's own ---------------------------------------------------------------------------------

TEMPLATE_LIST_TEST_CASE("a user's policy starts each run with a memory of its own, which lasts for the run",
                        "", backends) {
  using T = typename TestType::tensor;
  const steering_task<TestType> task;
  std::size_t starts = 0;
  const double decay = 0.5;
  const update u{momentum<TestType>{.decay = decay, .starts = &starts}, constant_step{constant_rate(0.1)}, 2};
  const auto run = [&](auto&& watch) {
    return elements(
        sample(task.start(), task.model(), ddim(task.path, {.steps = 2}), task.constraint(), u, {}, watch).x);
  };
  // d_k = J e_k + decay d_{k-1}, also over the step from one time to the next
  pass_counts counts;
  const estimator<T, complete_mixture<TestType, variance_preserving>, variance_preserving> e(task.model(),
                                                                                             counts);
  vector before(task.samples * n, 0.0);
  std::optional<estimate<T>> at;
  const auto first = run([&](const progress<T>& p) {
    if (p.when == moment::iterated) {
      const auto Je = elements(e.jvp(*at, p.constraint->error, 0.005));
      const auto d = elements(*p.direction);
      CHECK(largest_difference(d, combined(1.0, Je, decay, before)) <=
            10.0 * TestType::tolerance * (1.0 + max_abs(d)));
      before = d;
    }
    at = p.at;
  });
  CHECK(starts == 1);
  const auto second = run(no_observer{});
  CHECK(starts == 2);
  CHECK(second == first); // nothing is left over from the run before
}

TEMPLATE_LIST_TEST_CASE("gradient descent inside sample uses the backward pass of the estimate it has", "",
                        backends) {
  const steering_task<TestType> task;
  sample(task.start(), task.model(), ddim(task.path, {.steps = 2}), task.constraint(),
         update{gradient_descent{}, infinity_norm{}, 3});
  CHECK(task.net.calls().forward == task.samples * 2 * (1 + 3)); // no pass for a vjp
  CHECK(task.net.calls().backward == task.samples * 2 * 3);
}
