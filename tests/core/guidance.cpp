// Classifier-free guidance against a combination by hand.

#include <support/backend.hpp>
#include <support/linear_denoiser.hpp>

#include <pushforward/estimate.hpp>
#include <pushforward/guidance.hpp>
#include <pushforward/paths/rectified_flow.hpp>

#include <limits>

using namespace pushforward;
using namespace testing_support;

namespace {

constexpr std::size_t n = 3, samples = 2;

/// A x + b under the condition, B x without it; can only run forward.
template <class Backend> struct two_branches {
  using T = typename Backend::tensor;
  matrix A, B;
  vector b;
  prediction_type prediction = prediction_type::sample;

  T predict_branches(const T& xx, double) const {
    auto [first, last] = tensor_traits<T>::halves(xx);
    return tensor_traits<T>::concatenate(affine(A, first, b), affine(B, last, vector(n, 0.0)));
  }
  double resolution() const { return 0x1p-10; }
};

/// The same, backward too.
template <class Backend> struct two_differentiable_branches : two_branches<Backend> {
  using T = typename Backend::tensor;

  linearization<T> linearize_branches(const T& xx, double t) const {
    return {this->predict_branches(xx, t), [A = transposed(this->A), B = transposed(this->B)](const T& ww) {
              auto [first, last] = tensor_traits<T>::halves(ww);
              return tensor_traits<T>::concatenate(affine(A, first, vector(n, 0.0)),
                                                   affine(B, last, vector(n, 0.0)));
            }};
  }
};

template <class Backend> two_differentiable_branches<Backend> branches() {
  return {
      {matrix(n, n, random_numbers(n * n, 1)), matrix(n, n, random_numbers(n * n, 2)), random_numbers(n, 3)}};
}

/// f of each sample.
template <class F> vector each(const vector& x, F f) {
  vector all;
  for (std::size_t j = 0; j < samples; ++j) {
    const vector y = f(std::span(x).subspan(j * n, n));
    all.insert(all.end(), y.begin(), y.end());
  }
  return all;
}

} // namespace

TEMPLATE_LIST_TEST_CASE("guidance combines both branches, in either convention", "", backends) {
  const auto net = branches<TestType>();
  const auto x = random_numbers(samples * n, 4);
  const auto conditional = each(x, [&](auto p) { return combined(1.0, net.A * p, 1.0, net.b); });
  const auto unconditional = each(x, [&](auto p) { return net.B * p; });
  const auto tensor = TestType::make({samples, n}, x);
  for (double g : {0.0, 0.5, 1.0, 7.5}) {
    // o_uncond + g (o_cond - o_uncond)
    const auto wanted = combined(1.0, unconditional, g, combined(1.0, conditional, -1.0, unconditional));
    const classifier_free_guidance usual(net, g, guidance_convention::usual);
    CHECK(largest_difference(elements(usual.predict(tensor, 5.0)), wanted) <= 50.0 * TestType::tolerance);
    CHECK(largest_difference(elements(usual.linearize(tensor, 5.0).value), wanted) <=
          50.0 * TestType::tolerance);
    // (1 + w) o_cond - w o_uncond
    const double w = g - 1.0;
    const auto as_reference = combined(1.0 + w, conditional, -w, unconditional);
    const classifier_free_guidance reference(net, w, guidance_convention::reference);
    CHECK(largest_difference(elements(reference.predict(tensor, 5.0)), as_reference) <=
          50.0 * TestType::tolerance);
  }
  const auto none =
      elements(classifier_free_guidance(net, 1.0, guidance_convention::usual).predict(tensor, 5.0));
  CHECK(largest_difference(none, conditional) <= 10.0 * TestType::tolerance);
}

TEMPLATE_LIST_TEST_CASE("guidance has the products of its combined Jacobian, and counts two passes a sample",
                        "", backends) {
  using T = typename TestType::tensor;
  const auto net = branches<TestType>();
  const double g = 3.0;
  const classifier_free_guidance guided(net, g, guidance_convention::usual);
  using denoiser_type = std::remove_const_t<decltype(guided)>;
  const rectified_flow path;
  pass_counts counts;
  const estimator<T, denoiser_type, rectified_flow> e({guided, path}, counts);
  const auto at = e.evaluate(TestType::make({samples, n}, random_numbers(samples * n, 4)), 0.5);
  CHECK(counts == pass_counts{.forward = 2 * samples});
  const auto v = random_numbers(samples * n, 5);
  const matrix J = combined(g, net.A, 1.0 - g, net.B);
  counts = {};
  CHECK(largest_difference(elements(e.jvp(at, TestType::make({samples, n}, v), 0.005)),
                           each(v, [&](auto p) { return J * p; })) <= 100.0 * TestType::probe_tolerance);
  CHECK(counts == pass_counts{.forward = 2 * samples});
  counts = {};
  CHECK(largest_difference(elements(e.vjp(at, TestType::make({samples, n}, v))), each(v, [&](auto p) {
                             return transposed(J) * p;
                           })) <= 100.0 * TestType::tolerance);
  CHECK(counts == pass_counts{.forward = 2 * samples, .backward = 2 * samples});
}

TEMPLATE_LIST_TEST_CASE(
    "guidance is what its network is: its prediction, its resolution, forward or both ways", "", backends) {
  using T = typename TestType::tensor;
  using forward = two_branches<TestType>;
  using both = two_differentiable_branches<TestType>;
  static_assert(branching_denoiser<forward, T> && !differentiable_branching_denoiser<forward, T>);
  static_assert(differentiable_branching_denoiser<both, T>);
  static_assert(denoiser<classifier_free_guidance<forward>, T>);
  static_assert(!differentiable_denoiser<classifier_free_guidance<forward>, T>);
  static_assert(differentiable_denoiser<classifier_free_guidance<both>, T>);
  static_assert(!branching_denoiser<linear_denoiser<TestType>, T>);

  auto net = branches<TestType>();
  net.prediction = prediction_type::v;
  const classifier_free_guidance guided(net, 2.0, guidance_convention::usual);
  CHECK(guided.prediction == prediction_type::v);
  CHECK(guided.resolution() == 0x1p-10);
}

TEMPLATE_LIST_TEST_CASE("a guidance scale that is not finite is refused", "", backends) {
  const auto net = branches<TestType>();
  for (double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    CHECK_THROWS_AS(classifier_free_guidance(net, bad, guidance_convention::usual), bad_option);
    CHECK_THROWS_AS(classifier_free_guidance(net, bad, guidance_convention::reference), bad_option);
  }
}
