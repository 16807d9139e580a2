// A device and the host's executor, element by element: the same bits, but for log, cos and sin of the noise.

#include "words.hpp"

#include <support/catch.hpp>
#include <support/cuda_backend.hpp>
#include <support/random.hpp>

#include <pushforward/pushforward.hpp>

#include <cmath>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

using namespace testing_support;
using namespace pushforward;

namespace {

const cuda::executor& device() {
  static const cuda::executor on = [] {
    require_device();
    return cuda::executor::on_device();
  }();
  return on;
}
const cuda::executor host = cuda::executor::host();

template <class V> bool same_bits(const std::vector<V>& x, const std::vector<V>& y) {
  return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size() * sizeof(V)) == 0;
}

/// f(x, y, p, q) on both, for samples around the sizes of blocks and parts.
template <class Real, class F> void compare(F f) {
  using T = cuda::array<Real>;
  using traits = tensor_traits<T>;
  for (const shape& s : {shape{1, 1}, shape{3, 5}, shape{2, 256}, shape{5, 1, 257}, shape{2, 4, 64, 64},
                         shape{3, 4, 64, 65}, shape{2, 3, 128, 130}, shape{70000, 2}}) {
    const auto of_x = random_numbers(s.elements(), 1), of_y = random_numbers(s.elements(), 2);
    auto of_p = random_numbers(s.samples(), 3), of_q = random_numbers(s.samples(), 4);
    of_q[0] = 0.0;
    const auto run = [&](const cuda::executor& on) {
      const T x = make_cuda<Real>(on, s, of_x), y = make_cuda<Real>(on, s, of_y);
      return f(x, y, traits::from_values(x, of_p), traits::from_values(x, of_q)).to_host();
    };
    const auto there = run(device()), here = run(host);
    CHECK(same_bits(there, here));
    CHECK(same_bits(there, run(device()))); // and in every run
  }
}

} // namespace

TEMPLATE_TEST_CASE("operations on elements give the host's bits", "", float, double) {
  using Real = TestType;
  using traits = tensor_traits<cuda::array<Real>>;
  compare<Real>([](const auto& x, const auto& y, const auto&, const auto&) {
    return traits::combine(1.7, x, -0.3, y);
  });
  compare<Real>([](const auto& x, const auto& y, const auto& p, const auto&) {
    return traits::combine(p, x, -0.3, y);
  });
  compare<Real>(
      [](const auto& x, const auto& y, const auto& p, const auto&) { return traits::combine(1.7, x, p, y); });
  compare<Real>(
      [](const auto& x, const auto& y, const auto& p, const auto& q) { return traits::combine(p, x, q, y); });
  compare<Real>([](const auto& x, const auto&, const auto&, const auto&) { return traits::scale(0.1, x); });
  compare<Real>([](const auto& x, const auto&, const auto& p, const auto&) { return traits::scale(p, x); });
  compare<Real>(
      [](const auto& x, const auto& y, const auto&, const auto&) { return traits::multiply(x, y); });
  compare<Real>(
      [](const auto& x, const auto& y, const auto&, const auto&) { return traits::concatenate(x, y); });
  compare<Real>([](const auto& x, const auto&, const auto&, const auto&) { return traits::zeros(x); });
}

TEMPLATE_TEST_CASE("reductions and per-sample arithmetic give the host's bits", "", float, double) {
  using Real = TestType;
  using traits = tensor_traits<cuda::array<Real>>;
  compare<Real>(
      [](const auto& x, const auto&, const auto&, const auto&) { return traits::max_abs(x).values; });
  compare<Real>(
      [](const auto& x, const auto& y, const auto&, const auto&) { return traits::dot(x, y).values; });
  compare<Real>([](const auto&, const auto&, const auto& p, const auto& q) {
    return traits::combine(1.7, p, -0.3, q).values;
  });
  compare<Real>(
      [](const auto&, const auto&, const auto& p, const auto& q) { return traits::multiply(p, q).values; });
  compare<Real>(
      [](const auto&, const auto&, const auto& p, const auto& q) { return traits::ratio(p, q).values; });
  compare<Real>(
      [](const auto&, const auto&, const auto&, const auto& q) { return traits::ratio(0.3, q).values; });
  compare<Real>([](const auto&, const auto&, const auto& p, const auto&) {
    return traits::square_root(traits::multiply(p, p)).values;
  });
  compare<Real>([](const auto&, const auto&, const auto& p, const auto&) {
    return traits::clamp(p, -0.5, 0.5).values;
  });
  compare<Real>(
      [](const auto& x, const auto&, const auto&, const auto&) { return traits::fill(x, 0.1).values; });
}

TEMPLATE_TEST_CASE("a matrix along an axis gives the host's bits", "", float, double) {
  using Real = TestType;
  using T = cuda::array<Real>;
  const shape s{2, 3, 48, 65};
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const std::size_t n = s[s.size() - 1 - axis];
    const axis_matrix m(7, n, random_numbers(7 * n, 5));
    const auto run = [&](const cuda::executor& on) {
      const T x = make_cuda<Real>(on, s, random_numbers(s.elements(), 1));
      return tensor_traits<T>::along_axis(tensor_traits<T>::make_axis_map(x, m), x, axis).to_host();
    };
    CHECK(same_bits(run(device()), run(host)));
  }
}

TEST_CASE("the random words behind the noise are the host's") {
  for (const noise_key& key : {noise_key{}, noise_key{0x299f31d0a4093822, 0x0370734413198a2e, 0x85a308d3},
                               noise_key{0xffffffffffffffff, 0xfffffffffffffff0, 0xffffffff}})
    CHECK(same_bits(words_on(device(), key).to_host(), words_on(host, key).to_host()));
}

TEST_CASE("float32 noise is the host's to one unit in the last place") {
  using T = cuda::array<float>;
  const shape s{4, 3, 257, 129};
  const noise_key key{7, 40, 3};
  const auto there = tensor_traits<T>::normal(T(device(), s), key).to_host();
  const auto here = tensor_traits<T>::normal(T(host, s), key).to_host();
  std::size_t different = 0;
  for (std::size_t i = 0; i < here.size(); ++i)
    if (there[i] != here[i]) {
      ++different;
      CHECK(there[i] == std::nextafter(here[i], there[i]));
    }
  CHECK(different * 1000 < here.size());
}

TEMPLATE_TEST_CASE("a steered run gives the host's samples", "", float, double) {
  using Real = TestType;
  using T = cuda::array<Real>;
  const shape s{2, 1, 16, 16};
  const auto run = [&](const cuda::executor& on, const auto& rule) {
    struct prior {
      prediction_type prediction = prediction_type::sample;
      T predict(const T& x, double time) const {
        const double sigma = time / 1000.0, a = 1.0 - sigma;
        return tensor_traits<T>::scale(a / (a * a + sigma * sigma), x);
      }
    } const net;
    const rectified_flow path;
    const T y = make_cuda<Real>(on, s, random_numbers(s.elements(), 1));
    const auto average = averaging(y, 4);
    // the start from numbers of the host, so that nothing differs but the operations
    const T start = make_cuda<Real>(on, s, random_numbers(s.elements(), 2));
    return sample(start, model{net, path}, rectified_flow_euler(path, {.steps = 6}),
                  linear(average, average.apply(y)), rule)
        .x.to_host();
  };
  const update newton{inexact_newton{}, infinity_norm{}, 3};
  CHECK(same_bits(run(device(), newton), run(host, newton)));
  CHECK(same_bits(run(device(), posterior_step{.krylov = 3}), run(host, posterior_step{.krylov = 3})));
}
