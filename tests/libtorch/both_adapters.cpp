// The same seed gives the same picture on xtensor and on libtorch.

#include <support/catch.hpp>
#include <support/random.hpp>

#include <pushforward/libtorch/tensor.hpp>
#include <pushforward/pushforward.hpp>
#include <pushforward/xtensor/tensor.hpp>

#include <ATen/ATen.h>

#include <cmath>
#include <vector>

using namespace pushforward;
using namespace testing_support;

namespace {

using xtensor_float = pushforward::xtensor::tensor<float>;
using xtensor_double = pushforward::xtensor::tensor<double>;

/// A function of the elements and their neighbours, on the host in double for every tensor type.
template <class T> struct neighbourly {
  prediction_type prediction = prediction_type::v;

  T predict(const T& x, double time) const {
    const auto s = tensor_traits<T>::shape_of(x);
    const std::size_t n = s.sample_elements();
    const auto v = tensor_traits<T>::elements(x);
    std::vector<double> o(v.size());
    for (std::size_t j = 0; j < s.samples(); ++j)
      for (std::size_t i = 0; i < n; ++i) {
        const double left = v[j * n + (i + n - 1) % n], right = v[j * n + (i + 1) % n];
        o[j * n + i] = std::tanh(0.6 * v[j * n + i] + 0.3 * left - 0.2 * right) * (0.3 + time / 2000.0);
      }
    return tensor_traits<T>::from_elements(x, s, o);
  }
};

struct pictures {
  std::vector<double> start;
  std::vector<double> end;
  std::vector<double> losses;
};

/// A start and steps with noise, a masked and a resized constraint.
template <class T, class Policy> pictures run(const T& like, const Policy& policy) {
  using traits = tensor_traits<T>;
  const shape s{2, 1, 8, 8};
  const auto made = [&](const shape& extents, std::uint64_t seed) {
    return traits::from_elements(like, extents, random_numbers(extents.elements(), seed));
  };
  std::vector<double> mask(s.elements(), 0.0);
  for (std::size_t i = 0; i < mask.size(); i += 3) mask[i] = 1.0;
  const T x = made(s, 1);
  const auto c = weighted_sum(weighted(1.0, masked<T>(x, traits::from_elements(like, s, mask))),
                              weighted(0.5, linear(resizing(x, 3, 5), made({2, 1, 3, 5}, 2))));
  const auto path = variance_preserving::linear();
  const neighbourly<T> d;
  const T start = standard_normal(x, {.seed = 7, .first_sample = 3});
  const auto result = sample(start, model(d, path), ddim(path, {.steps = 8, .eta = 0.7}), c,
                             update{policy, infinity_norm{}, 3}, {.seed = 7, .first_sample = 3});
  pictures p{traits::elements(start), traits::elements(result.x), {}};
  for (const auto& record : result.trace)
    p.losses.insert(p.losses.end(), record.loss.begin(), record.loss.end());
  return p;
}

double distance(const std::vector<double>& x, const std::vector<double>& y) {
  REQUIRE(x.size() == y.size());
  double d = 0.0;
  for (std::size_t i = 0; i < x.size(); ++i) d = std::max(d, std::abs(x[i] - y[i]));
  return d;
}

} // namespace

TEST_CASE("the same seed gives the same picture on xtensor and on libtorch") {
  const auto ours = run(xtensor_float{}, inexact_newton{});
  const auto theirs = run(at::empty({0}, at::kFloat), inexact_newton{});
  CHECK(ours.start == theirs.start);
  CHECK(distance(ours.end, theirs.end) < 1e-3);
  const auto exactly = run(xtensor_double{}, inexact_newton{});
  const auto also = run(at::empty({0}, at::kDouble), inexact_newton{});
  CHECK(exactly.start == also.start);
  CHECK(distance(exactly.end, also.end) < 1e-9);
  CHECK(distance(exactly.losses, also.losses) < 1e-9);
  CHECK(distance(exactly.end, ours.end) < 1e-2);
}
