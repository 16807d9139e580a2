#include <support/heap.hpp>
#include <support/xtensor_backend.hpp>

#include <support/catch.hpp>
#include <support/random.hpp>

#include <pushforward/pushforward.hpp>

#include <vector>

using namespace testing_support;
using namespace pushforward;

namespace {

/// The posterior mean's noise of x0 ~ N(0, I): eps = s x / (a^2 + s^2).
template <class T> struct normal_prior {
  prediction_type prediction = prediction_type::epsilon;
  const variance_preserving& path;

  T predict(const T& x, double t) const {
    const auto c = path.at(t);
    return tensor_traits<T>::scale(c.s / (c.a * c.a + c.s * c.s), x);
  }
};

const double* volatile escaped = nullptr;

constexpr std::size_t steps = 6;
constexpr std::size_t iterations = 5;

struct heap_use {
  std::size_t inner;  ///< blocks taken in inner iterations 2..K of the first time step
  std::size_t later;  ///< blocks taken from the second time step on
  std::size_t events; ///< that were looked at
};

/// Steers a batch of x's shape, and watches the heap from within.
template <class T, class Constraint>
heap_use watched_run(const T& x, const Constraint& c, double eta, finite_check check) {
  const auto path = variance_preserving::linear();
  const normal_prior<T> prior{.path = path};
  heap_use use{0, 0, 0};
  std::size_t last = 0;
  sample(x, model{prior, path}, ddim(path, {.steps = steps, .eta = eta}), c,
         update{inexact_newton{}, infinity_norm{}, iterations}, {.seed = 1, .check = check},
         [&](const progress<T>& p) {
           const std::size_t now = heap::blocks_taken();
           if (p.step > 0)
             use.later += now - last;
           else if (p.when == moment::iterated && p.iteration > 0)
             use.inner += now - last;
           ++use.events;
           last = now;
         });
  return use;
}

template <class Backend> heap_use watched_inpainting(const shape& s, double eta, finite_check check) {
  using T = typename Backend::tensor;
  std::vector<double> mask(s.elements());
  for (std::size_t i = 0; i < mask.size(); ++i) mask[i] = i % 2 == 0 ? 1.0 : 0.0;
  const T y = Backend::make(s, random_numbers(s.elements(), 1));
  return watched_run(standard_normal(y, {.seed = 2}), masked<T>(y, Backend::make(s, mask)), eta, check);
}

} // namespace

TEMPLATE_TEST_CASE("the loop takes nothing from the heap once it runs", "", xtensor_float, xtensor_double) {
  for (const shape& s : {shape{1, 4, 64, 64}, shape{3, 4, 8, 8}, shape{2, 1, 2, 3, 4, 5}})
    for (double eta : {0.0, 1.0})
      for (auto check : {finite_check::every_pass, finite_check::off}) {
        const auto use = watched_inpainting<TestType>(s, eta, check);
        CHECK(use.events == steps * (iterations + 2));
        if constexpr (pushforward::detail::recycle_blocks) {
          CHECK(use.inner == 0);
          CHECK(use.later == 0);
        }
      }
}

TEMPLATE_TEST_CASE("nor does it under a linear constraint", "", xtensor_float, xtensor_double) {
  using T = typename TestType::tensor;
  const T y = TestType::make({2, 3, 16, 16}, random_numbers(1536, 1));
  const auto average = averaging(y, 4);
  const auto use = watched_run(standard_normal(y, {.seed = 2}), linear(average, average.apply(y)), 0.0,
                               finite_check::every_pass);
  CHECK(use.events == steps * (iterations + 2));
  if constexpr (pushforward::detail::recycle_blocks) {
    CHECK(use.inner == 0);
    CHECK(use.later == 0);
  }
}

TEST_CASE("the watch sees what xtensor's own allocator takes") {
  const auto use = watched_inpainting<plain_xarray_double>({1, 4, 8, 8}, 0.0, finite_check::every_pass);
  if (heap::watched) {
    CHECK(use.inner >= iterations - 1);
    CHECK(use.later >= (steps - 1) * iterations);
  }
}

TEST_CASE("the watch counts blocks and the bytes they hold") {
  if (heap::watched) {
    heap::forget_peak();
    const std::size_t blocks = heap::blocks_taken(), bytes = heap::bytes_held();
    {
      const std::vector<double> v(100000, 1.0);
      escaped = v.data(); // else clang may leave the block out altogether
    }
    const std::size_t taken = heap::blocks_taken() - blocks, left = heap::bytes_held(),
                      peak = heap::peak_bytes();
    CHECK(taken == 1);
    CHECK(left == bytes);
    CHECK(peak - bytes >= 800000);
    CHECK(peak - bytes < 900000);
  }
}
