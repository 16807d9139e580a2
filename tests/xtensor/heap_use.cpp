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
template <class T, class Constraint, class Update>
heap_use watched_run(const T& x, const Constraint& c, const Update& u, double eta, finite_check check) {
  const auto path = variance_preserving::linear();
  const normal_prior<T> prior{.path = path};
  heap_use use{0, 0, 0};
  std::size_t last = 0;
  sample(x, model{prior, path}, ddim(path, {.steps = steps, .eta = eta}), c, u, {.seed = 1, .check = check},
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

/// The inner iterations are all taken, and take nothing; with and without noise between the time steps.
template <class T, class Constraint, class Update>
void takes_nothing(const T& x, const Constraint& c, const Update& u) {
  for (double eta : {0.0, 1.0}) {
    const auto use = watched_run(x, c, u, eta, finite_check::every_pass);
    CHECK(use.events == steps * (iterations + 2));
    if constexpr (pushforward::detail::recycle_blocks) {
      CHECK(use.inner == 0);
      CHECK(use.later == 0);
    }
  }
}

const update newton{inexact_newton{}, infinity_norm{}, iterations};

/// Images of twice the latent's sides: D repeats its elements, E takes means of 2 x 2.
template <class T> struct enlarging_autoencoder {
  separable_operator<T> means;

  explicit enlarging_autoencoder(const T& image) : means{averaging(image, 2)} {}

  T decode(const T& z) const { return tensor_traits<T>::scale(4.0, means.adjoint(z)); }
  T encode(const T& image) const { return means.apply(image); }
};

template <class Backend> heap_use watched_inpainting(const shape& s, double eta, finite_check check) {
  using T = typename Backend::tensor;
  std::vector<double> mask(s.elements());
  for (std::size_t i = 0; i < mask.size(); ++i) mask[i] = i % 2 == 0 ? 1.0 : 0.0;
  const T y = Backend::make(s, random_numbers(s.elements(), 1));
  return watched_run(standard_normal(y, {.seed = 2}), masked<T>(y, Backend::make(s, mask)), newton, eta,
                     check);
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

TEMPLATE_TEST_CASE("nor does it under other constraints, policies and step sizes", "", xtensor_float,
                   xtensor_double) {
  using T = typename TestType::tensor;
  const T image = TestType::make({2, 3, 16, 16}, random_numbers(1536, 1));
  const T x = standard_normal(image, {.seed = 2});
  const auto average = averaging(image, 4);
  const auto cubic = resizing(image, 6, 5);
  const T everywhere = TestType::make({2, 3, 16, 16}, std::vector<double>(1536, 1.0));
  const masked<T> known(image, everywhere);

  SECTION("averaging") { takes_nothing(x, linear(average, average.apply(image)), newton); }
  SECTION("resize") { takes_nothing(x, linear(cubic, cubic.apply(image)), newton); }
  SECTION("resize, with a back projection in place of the adjoint") {
    const auto back = resizing(cubic.apply(image), 16, 16);
    takes_nothing(
        x,
        linear(back_projected<separable_operator<T>, separable_operator<T>>{cubic, back}, cubic.apply(image)),
        newton);
  }
  SECTION("a noise level") {
    takes_nothing(x, linear(average, average.apply(image), 0.05), newton);
    takes_nothing(x, masked<T>(image, everywhere, 0.05), newton);
  }
  SECTION("a weighted sum") {
    takes_nothing(
        x, weighted_sum(weighted{0.5, normalized{linear(cubic, cubic.apply(image))}}, weighted{2.0, known}),
        newton);
  }
  SECTION("a constant step") {
    takes_nothing(x, known, update{inexact_newton{}, constant_step{constant_rate(0.2)}, iterations});
  }
  SECTION("the posterior step, with replacement or without") {
    const auto still = [&](const T& start, const auto& c, const auto& rule) {
      const auto use = watched_run(start, c, rule, 1.0, finite_check::every_pass);
      CHECK(use.events == steps * 3);
      if constexpr (pushforward::detail::recycle_blocks) CHECK(use.later == 0);
    };
    const linear noisy(cubic, cubic.apply(image), 0.05);
    for (const std::size_t krylov : {1U, 3U}) {
      still(x, known, posterior_step{.krylov = krylov});
      still(x, noisy, posterior_step{.krylov = krylov});
      still(x, weighted_sum(weighted{0.5, noisy}, weighted{2.0, known}), posterior_step{.krylov = krylov});
      still(x, known, with_replacement<posterior_step>{{.krylov = krylov}, 1e9});
    }
    const enlarging_autoencoder<T> vae(image);
    still(standard_normal(vae.encode(image), {.seed = 2}), decoded(known, vae, encoder_difference{}),
          posterior_step{});
  }
  SECTION("latents under a constraint on images, by VAE-Newton") {
    const enlarging_autoencoder<T> vae(image);
    const T z = standard_normal(vae.encode(image), {.seed = 2});
    takes_nothing(z, vae_newton{}.constraint(linear(cubic, cubic.apply(image)), vae),
                  update{vae_newton{}, infinity_norm{}, iterations});
    const auto use =
        watched_run(z, decoded(known, vae, encoder_difference{}), newton, 1.0, finite_check::off);
    CHECK(use.events == steps * (iterations + 2));
    if constexpr (pushforward::detail::recycle_blocks) CHECK(use.inner + use.later == 0);
  }
}

TEMPLATE_TEST_CASE("with a tolerance, each look at the loss takes the one vector of the trait's values", "",
                   xtensor_float, xtensor_double) {
  using T = typename TestType::tensor;
  const T image = TestType::make({2, 3, 16, 16}, random_numbers(1536, 1));
  const masked<T> known(image, TestType::make({2, 3, 16, 16}, std::vector<double>(1536, 1.0)));
  const auto use =
      watched_run(standard_normal(image, {.seed = 2}), known,
                  update{inexact_newton{}, infinity_norm{}, iterations, 0.0}, 1.0, finite_check::every_pass);
  CHECK(use.events == steps * (iterations + 2));
  if constexpr (pushforward::detail::recycle_blocks)
    if (heap::watched) {
      CHECK(use.inner == iterations - 1);
      CHECK(use.later == (steps - 1) * iterations);
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
