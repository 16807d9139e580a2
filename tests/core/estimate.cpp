// The estimator: x0, J v and J^T w of the analytic denoiser, on both paths and under every prediction.

#include <support/backend.hpp>
#include <support/gaussian_mixture.hpp>
#include <support/linear_denoiser.hpp>

#include <pushforward/estimate.hpp>
#include <pushforward/paths/rectified_flow.hpp>
#include <pushforward/paths/variance_preserving.hpp>

#include <array>
#include <limits>
#include <type_traits>

using namespace pushforward;
using namespace testing_support;

namespace {

constexpr std::array all_types{prediction_type::epsilon, prediction_type::sample, prediction_type::v,
                               prediction_type::flow, prediction_type::reverse_flow};
constexpr std::size_t n = 3, samples = 2;

/// Calls f(path, t) at a few times of both paths.
template <class F> void on_both_paths(F f) {
  const auto vp = variance_preserving::scaled_linear();
  for (double t : {50.0, 400.5, 700.0}) f(vp, t);
  const rectified_flow rf(3.0);
  for (double sigma : {0.1, 0.5, 0.9}) f(rf, sigma);
}

/// f of each sample, one after the other.
template <class F> vector per_sample_of(const vector& x, F f) {
  vector all;
  for (std::size_t j = 0; j < x.size() / n; ++j) {
    const vector y = f(std::span(x).subspan(j * n, n), j);
    all.insert(all.end(), y.begin(), y.end());
  }
  return all;
}

std::span<const double> part(const vector& v, std::size_t j) { return std::span(v).subspan(j * n, n); }

} // namespace

TEMPLATE_LIST_TEST_CASE("every prediction gives the exact clean estimate and noise, on both paths", "",
                        backends) {
  const auto prior = gaussian_mixture::random(n, 2, 3);
  const auto x = random_numbers(samples * n, 4);
  on_both_paths([&](const auto& path, double t) {
    const auto c = path.at(t);
    const auto x0 = per_sample_of(x, [&](auto p, std::size_t) { return prior.clean(p, c.a, c.s); });
    const auto eps = combined(1.0 / c.s, x, -c.a / c.s, x0);
    for (auto type : all_types) {
      INFO(name_of(type) << " at " << t);
      const forward_mixture<TestType, std::decay_t<decltype(path)>> net(prior, path, type);
      pass_counts counts;
      const estimator<typename TestType::tensor, std::decay_t<decltype(net)>, std::decay_t<decltype(path)>> e(
          {net, path}, counts);
      const auto at = e.evaluate(TestType::make({samples, n}, x), t);
      const double tolerance = 20.0 * TestType::tolerance / std::min(c.a, c.s);
      CHECK(largest_difference(elements(at.x), x) <= TestType::tolerance);
      CHECK(largest_difference(elements(at.x0), x0) <= tolerance);
      CHECK(largest_difference(elements(e.noise_of(at)), eps) <= tolerance / std::min(c.a, c.s));
      CHECK(at.t == t);
      CHECK(at.c.a == c.a);
      CHECK(at.c.s == c.s);
      CHECK(counts == pass_counts{.forward = samples});
      CHECK(net.calls().forward == samples);
    }
  });
}

TEMPLATE_LIST_TEST_CASE("every prediction gives the dense Jacobian's products, on both paths", "", backends) {
  const auto prior = gaussian_mixture::random(n, 2, 3);
  const auto x = random_numbers(samples * n, 4), v = random_numbers(samples * n, 5);
  const auto tensor_of = [](const vector& values) { return TestType::make({samples, n}, values); };
  on_both_paths([&](const auto& path, double t) {
    using Path = std::decay_t<decltype(path)>;
    const auto c = path.at(t);
    const auto Jv =
        per_sample_of(x, [&](auto p, std::size_t j) { return prior.jacobian(p, c.a, c.s) * part(v, j); });
    for (auto type : all_types) {
      INFO(name_of(type) << " at " << t);
      const double tolerance = 20.0 * TestType::tolerance / (c.a * c.s) * std::max(1.0, max_abs(Jv));
      const differentiable_mixture<TestType, Path> net(prior, path, type);
      pass_counts counts;
      const estimator<typename TestType::tensor, differentiable_mixture<TestType, Path>, Path> e({net, path},
                                                                                                 counts);
      const auto at = e.evaluate(tensor_of(x), t);
      counts = {};
      // J is symmetric: J^T v = J v
      CHECK(largest_difference(elements(e.vjp(at, tensor_of(v))), Jv) <= tolerance);
      CHECK(counts == pass_counts{.forward = samples, .backward = samples});
      const auto ready = e.linearize(tensor_of(x), t);
      counts = {};
      CHECK(largest_difference(elements(ready.x0), elements(at.x0)) <= tolerance);
      CHECK(largest_difference(elements(e.vjp(ready, tensor_of(v))), Jv) <= tolerance);
      CHECK(counts == pass_counts{.backward = samples});
      CHECK(net.calls().forward == 3 * samples);
      CHECK(net.calls().backward == 2 * samples);

      const forward_mode_mixture<TestType, Path> forward(prior, path, type);
      const estimator<typename TestType::tensor, forward_mode_mixture<TestType, Path>, Path> f(
          {forward, path}, counts);
      counts = {};
      CHECK(largest_difference(elements(f.exact_jvp(at, tensor_of(v))), Jv) <= tolerance);
      CHECK(counts == pass_counts{.forward_mode = samples});
      counts = {};
      // a forward difference is off by h |v| |x0''| / 2, with h |v| <= 0.005 sqrt(n): here less than 1 in 50
      const auto difference = elements(f.jvp(at, tensor_of(v), 0.005));
      CHECK(largest_difference(difference, Jv) <= tolerance / 0.005 + 0.02 * std::max(1.0, max_abs(Jv)));
      CHECK(counts == pass_counts{.forward = samples});
    }
  });
}

TEMPLATE_LIST_TEST_CASE("J v and J^T w are told apart where J is not symmetric", "", backends) {
  const matrix M(n, n, random_numbers(n * n, 6));
  const vector b = random_numbers(n, 7), x = random_numbers(samples * n, 8),
               v = random_numbers(samples * n, 9);
  const auto Mv = per_sample_of(v, [&](auto p, std::size_t) { return M * p; });
  const auto MTv = per_sample_of(v, [&](auto p, std::size_t) { return transposed(M) * p; });
  const linear_denoiser<TestType> net(M, b);
  const rectified_flow path;
  pass_counts counts;
  const estimator<typename TestType::tensor, linear_denoiser<TestType>, rectified_flow> e({net, path},
                                                                                          counts);
  const auto at = e.evaluate(TestType::make({samples, n}, x), 0.5);
  const auto tensor_v = TestType::make({samples, n}, v);
  CHECK(largest_difference(elements(e.jvp(at, tensor_v, 0.005)), Mv) <= 20.0 * TestType::probe_tolerance);
  using limits = std::numeric_limits<double>;
  for (double bad : {limits::quiet_NaN(), limits::infinity(), -limits::infinity()})
    CHECK_THROWS_WITH(e.jvp(at, tensor_v, bad), contains_text("probe"));
  CHECK(largest_difference(elements(e.exact_jvp(at, tensor_v)), Mv) <= 10.0 * TestType::tolerance);
  CHECK(largest_difference(elements(e.vjp(at, tensor_v)), MTv) <= 10.0 * TestType::tolerance);
}

TEMPLATE_LIST_TEST_CASE("the forward difference moves the largest element of each sample by the probe", "",
                        backends) {
  // a network that remembers where it was asked
  using T = typename TestType::tensor;
  struct recorder {
    prediction_type prediction = prediction_type::sample;
    std::vector<vector>* asked;
    T predict(const T& x, double) const {
      asked->push_back(elements(x));
      return x;
    }
  };
  std::vector<vector> asked;
  const recorder net{prediction_type::sample, &asked};
  const rectified_flow path;
  pass_counts counts;
  const estimator<T, recorder, rectified_flow> e({net, path}, counts);
  const auto at = e.evaluate(TestType::make({3, 2}, {0.0, 0.0, 0.0, 0.0, 0.5, 0.25}), 0.5);
  const auto v = TestType::make({3, 2}, {3.0, -6.0, 1e-3, 0.0, 0.0, 0.0});
  e.jvp(at, v, 0.25);
  REQUIRE(asked.size() == 2);
  CHECK(largest_difference(asked[1], vector{0.125, -0.25, 0.25, 0.0, 0.5, 0.25}) <= TestType::tolerance);
  e.jvp(at, v, 0.0); // automatic
  CHECK(largest_difference(asked[2], vector{0.0025, -0.005, 0.005, 0.0, 0.5, 0.25}) <= TestType::tolerance);
}

TEMPLATE_LIST_TEST_CASE("a zero vector has the product zero, whatever else is in the batch", "", backends) {
  const auto path = variance_preserving::linear();
  const auto prior = gaussian_mixture::random(n, 2, 3);
  const forward_mixture<TestType, variance_preserving> net(prior, path, prediction_type::epsilon);
  pass_counts counts;
  const estimator<typename TestType::tensor, forward_mixture<TestType, variance_preserving>,
                  variance_preserving>
      e({net, path}, counts);
  const auto at = e.evaluate(TestType::make({samples, n}, random_numbers(samples * n, 1)), 500.0);
  auto v = random_numbers(samples * n, 2);
  std::fill_n(v.begin(), n, 0.0);
  const auto Jv = elements(e.jvp(at, TestType::make({samples, n}, v), 0.005));
  for (std::size_t i = 0; i < n; ++i) CHECK(Jv[i] == 0.0);
  for (std::size_t i = n; i < 2 * n; ++i) CHECK(Jv[i] != 0.0);
}

TEMPLATE_LIST_TEST_CASE("the forward difference converges to J v in proportion to its probe", "", backends) {
  if (TestType::tolerance > 1e-10) return; // single precision has no room for it
  const auto path = variance_preserving::linear();
  const auto prior = gaussian_mixture::random(n, 3, 11);
  const forward_mixture<TestType, variance_preserving> net(prior, path, prediction_type::v);
  pass_counts counts;
  const estimator<typename TestType::tensor, forward_mixture<TestType, variance_preserving>,
                  variance_preserving>
      e({net, path}, counts);
  const auto x = random_numbers(n, 1), v = random_numbers(n, 2);
  const auto at = e.evaluate(TestType::make({1, n}, x), 400.0);
  const auto Jv = prior.jacobian(x, at.c.a, at.c.s) * v;
  const auto error = [&](double probe) {
    return largest_difference(elements(e.jvp(at, TestType::make({1, n}, v), probe)), Jv);
  };
  CHECK(error(1e-2) / error(1e-3) == Approx(10.0).epsilon(0.1));
  CHECK(error(1e-3) / error(1e-4) == Approx(10.0).epsilon(0.1));
  // and does not depend on the length of v
  const auto longer = elements(e.jvp(at, TestType::make({1, n}, combined(1e6, v, 0.0, v)), 1e-3));
  const auto same = elements(e.jvp(at, TestType::make({1, n}, v), 1e-3));
  CHECK(largest_difference(combined(1e-6, longer, 0.0, longer), same) < 1e-9);
}

TEMPLATE_LIST_TEST_CASE("an output of another shape than x is an error that names both shapes", "",
                        backends) {
  using T = typename TestType::tensor;
  struct grows {
    prediction_type prediction = prediction_type::sample;
    T predict(const T& x, double) const { return tensor_traits<T>::concatenate(x, x); }
    linearization<T> linearize(const T& x, double t) const {
      return {predict(x, t), [](const T& w) { return w; }};
    }
  };
  const grows net;
  const rectified_flow path;
  pass_counts counts;
  const estimator<T, grows, rectified_flow> e({net, path}, counts);
  const T x = TestType::make({2, 3}, random_numbers(6, 1));
  CHECK_THROWS_AS(e.evaluate(x, 0.5), shape_mismatch);
  CHECK_THROWS_WITH(e.evaluate(x, 0.5),
                    contains_text("denoiser's output") && contains_text("4 x 3") && contains_text("2 x 3"));
  CHECK_THROWS_AS(e.linearize(x, 0.5), shape_mismatch);
}

TEMPLATE_LIST_TEST_CASE("a clean batch is noised to a x0 + s z, with the same z for a sample in any batch",
                        "", backends) {
  using T = typename TestType::tensor;
  const auto path = variance_preserving::linear();
  const auto clean = random_numbers(samples * n, 1);
  const T x0 = TestType::make({samples, n}, clean);
  const auto c = path.at(300.0);
  const auto z = elements(standard_normal(x0, {7, 5, 0}));
  const auto x = elements(noised(path, x0, 300.0, 7, 5));
  CHECK(largest_difference(x, combined(c.a, clean, c.s, z)) <= TestType::tolerance);
  const auto second = elements(noised(path, sample_of<TestType>(x0, 1), 300.0, 7, 6));
  CHECK(largest_difference(second, part(x, 1)) <= TestType::tolerance);
}

TEST_CASE("the automatic probe is the reference's, but stays above what the compute type resolves") {
  CHECK(automatic_probe(0x1p-23) == 0.005);            // float32
  CHECK(automatic_probe(0x1p-52) == 0.005);            // float64
  CHECK(automatic_probe(0x1p-10) == 0x1p-5);           // float16
  CHECK(automatic_probe(0x1p-7) == std::sqrt(0x1p-7)); // bfloat16
  CHECK(automatic_probe(0x1p-23, 0.5) == 0.005);       // an output that x0 damps
  CHECK(automatic_probe(0x1p-23, 100.0) == 0.5);       // and one that it amplifies
}

TEMPLATE_LIST_TEST_CASE("the automatic probe follows the resolution that the denoiser tells", "", backends) {
  using T = typename TestType::tensor;
  struct coarse {
    prediction_type prediction = prediction_type::sample;
    std::vector<vector>* asked;
    T predict(const T& x, double) const {
      asked->push_back(elements(x));
      return x;
    }
    double resolution() const { return 0x1p-10; }
  };
  std::vector<vector> asked;
  const coarse net{prediction_type::sample, &asked};
  const rectified_flow path;
  pass_counts counts;
  const estimator<T, coarse, rectified_flow> e({net, path}, counts);
  const auto at = e.evaluate(TestType::make({1, 2}, {0.0, 0.0}), 0.5);
  e.jvp(at, TestType::make({1, 2}, {1.0, 0.0}), 0.0);
  CHECK(asked[1][0] == Approx(0x1p-5));
}

namespace {

template <class Backend> struct of {
  using T = typename Backend::tensor;
  using path = rectified_flow;
  using forward = forward_mixture<Backend, path>;
  using both_ways = differentiable_mixture<Backend, path>;
  using exact = forward_mode_mixture<Backend, path>;

  static_assert(forward_model<estimator<T, forward, path>>);
  static_assert(!differentiable_model<estimator<T, forward, path>>, "a forward-only denoiser makes no vjp");
  static_assert(!forward_mode_model<estimator<T, forward, path>>);
  static_assert(differentiable_model<estimator<T, both_ways, path>>);
  static_assert(!forward_mode_model<estimator<T, both_ways, path>>);
  static_assert(forward_mode_model<estimator<T, exact, path>>);
  static_assert(!differentiable_model<estimator<T, exact, path>>);

  using m = model<forward, path>;
  static_assert(std::is_constructible_v<m, const forward&, const path&>);
  static_assert(!std::is_constructible_v<m, forward, const path&>, "a temporary denoiser would dangle");
  static_assert(!std::is_constructible_v<m, const forward&, path>, "a temporary path would dangle");
  static_assert(!std::is_constructible_v<m, forward, path>);
};
template struct of<std::tuple_element_t<0, backends>>;

} // namespace
