// The loop does not wait for the device: between the first and the last event of a run it calls none of the
// trait's members that may, where neither a finite check nor a tolerance asks for it.

#include <support/archetype_backend.hpp>
#include <support/catch.hpp>
#include <support/random.hpp>

#include <pushforward/pushforward.hpp>

#include <optional>
#include <utility>
#include <vector>

namespace {

std::size_t waits = 0; ///< calls of `all_finite`, `elements` and `values` of the tensor below

/// The archetype, watched.
struct watched_tensor : testing_support::archetype_tensor {
  watched_tensor(testing_support::archetype_tensor x) : archetype_tensor(std::move(x)) {}
};

} // namespace

namespace pushforward {

template <> struct tensor_traits<watched_tensor> : private tensor_traits<testing_support::archetype_tensor> {
  using base = tensor_traits<testing_support::archetype_tensor>;
  using T = watched_tensor;
  using base::axis_map;
  using base::clamp;
  using base::dot;
  using base::fill;
  using base::from_values;
  using base::make_axis_map;
  using base::max_abs;
  using base::per_sample;
  using base::ratio;
  using base::shape_of;
  using base::square_root;

  static bool all_finite(const T& x) { return ++waits, base::all_finite(x); }
  static std::vector<double> elements(const T& x) { return ++waits, base::elements(x); }
  static std::vector<double> values(const per_sample& p) { return ++waits, base::values(p); }

  static T zeros(const T& x) { return base::zeros(x); }
  template <class A, class B> static T combine(const A& a, T x, const B& b, const T& y) {
    return base::combine(a, std::move(x), b, y);
  }
  template <class A> static T scale(const A& a, T x) { return base::scale(a, std::move(x)); }
  static T multiply(T x, const T& y) { return base::multiply(std::move(x), y); }
  static T normal(const T& x, const noise_key& key) { return base::normal(x, key); }
  static T concatenate(const T& x, const T& y) { return base::concatenate(x, y); }
  static std::pair<T, T> halves(const T& x) {
    auto [first, second] = base::halves(x);
    return {std::move(first), std::move(second)};
  }
  static T from_elements(const T& x, const shape& s, std::span<const double> v) {
    return base::from_elements(x, s, v);
  }
  static T along_axis(const axis_map& m, const T& x, std::size_t axis) {
    return base::along_axis(m, x, axis);
  }
  static per_sample combine(double a, const per_sample& p, double b, const per_sample& q) {
    return base::combine(a, p, b, q);
  }
  static per_sample multiply(const per_sample& p, const per_sample& q) { return base::multiply(p, q); }
};

} // namespace pushforward

namespace {

using namespace pushforward;
using T = watched_tensor;
using traits = tensor_traits<T>;
static_assert(image_tensor<T>);

const auto path = variance_preserving::linear();
constexpr std::size_t steps = 4;
constexpr std::size_t iterations = 3;

/// The posterior mean's noise of x0 ~ N(0, I), eps = s x / (a^2 + s^2): forward, backward and in branches.
struct normal_prior {
  prediction_type prediction = prediction_type::epsilon;

  static double factor(double t) {
    const auto c = path.at(t);
    return c.s / (c.a * c.a + c.s * c.s);
  }
  T predict(const T& x, double t) const { return traits::scale(factor(t), x); }
  linearization<T> linearize(const T& x, double t) const {
    return {predict(x, t), [t](const T& w) { return traits::scale(factor(t), w); }};
  }
  T jvp(const T&, double t, const T& v) const { return predict(v, t); }
  T predict_branches(const T& x, double t) const { return predict(x, t); }
  linearization<T> linearize_branches(const T& x, double t) const { return linearize(x, t); }
};

/// Images of twice the latent's sides: D repeats its elements, E takes means of 2 x 2.
struct enlarging_autoencoder {
  separable_operator<T> means;

  T decode(const T& z) const { return traits::scale(4.0, means.adjoint(z)); }
  linearization<T> linearize_decode(const T& z) const {
    return {decode(z), [this](const T& w) { return traits::scale(4.0, means.apply(w)); }};
  }
  T encode(const T& image) const { return means.apply(image); }
};

T random_batch(const shape& s, std::uint64_t seed) {
  return testing_support::archetype::make(s, testing_support::random_numbers(s.elements(), seed));
}

/// Waits between the first event of a run and the last, which are all there.
template <class Constraint, class Update, class Denoiser = normal_prior>
std::size_t waits_of_a_run(const T& x, const Constraint& c, const Update& u,
                           finite_check check = finite_check::off, const Denoiser& net = {}) {
  std::optional<std::size_t> first;
  std::size_t last = 0, events = 0;
  sample(x, model{net, path}, ddim(path, {.steps = steps, .eta = 1.0}), c, u, {.seed = 1, .check = check},
         [&](const progress<T>&) {
           if (!first) first = waits;
           last = waits;
           ++events;
         });
  CHECK(events == steps * (iterations + 2));
  return last - first.value();
}

const shape extents{2, 1, 4, 4};
const T image = random_batch(extents, 1);
const T start = random_batch(extents, 2);
const T everywhere = testing_support::archetype::make(extents, std::vector<double>(32, 1.0));
const masked<T> known(image, everywhere);
const update newton{inexact_newton{}, infinity_norm{}, iterations};

} // namespace

TEST_CASE("the loop does not wait for the device") {
  const auto small = resizing(image, 3, 3);
  const linear measured(small, small.apply(image), 0.05);

  SECTION("whatever the policy and the step size") {
    for (double rate : {0.1, 0.5}) {
      const infinity_norm by_norm{constant_rate(rate)};
      const constant_step constant{constant_rate(rate)};
      CHECK(waits_of_a_run(start, known, update{inexact_newton{}, by_norm, iterations}) == 0);
      CHECK(waits_of_a_run(start, known, update{inexact_newton{}, constant, iterations}) == 0);
      CHECK(waits_of_a_run(start, known, update{gradient_descent{}, by_norm, iterations}) == 0);
      CHECK(waits_of_a_run(start, known, update{gradient_descent{}, constant, iterations}) == 0);
      CHECK(waits_of_a_run(start, known, update{forward_mode_newton{}, by_norm, iterations}) == 0);
    }
  }
  SECTION("whatever the constraint") {
    const enlarging_autoencoder vae{averaging(random_batch({2, 1, 8, 8}, 3), 2)};
    const masked<T> pixels(random_batch({2, 1, 8, 8}, 4),
                           testing_support::archetype::make({2, 1, 8, 8}, std::vector<double>(128, 1.0)));
    CHECK(waits_of_a_run(start, measured, newton) == 0);
    CHECK(waits_of_a_run(start, weighted_sum(weighted{1.0, normalized{measured}}, weighted{2.0, known}),
                         newton) == 0);
    CHECK(waits_of_a_run(start, vae_newton{}.constraint(pixels, vae),
                         update{vae_newton{}, infinity_norm{}, iterations}) == 0);
    CHECK(waits_of_a_run(start, decoded(pixels, vae, decoder_vjp{}), newton) == 0);
  }
  SECTION("nor under guidance") {
    const classifier_free_guidance guided(normal_prior{}, 7.5, guidance_convention::usual);
    CHECK(waits_of_a_run(start, known, newton, finite_check::off, guided) == 0);
    CHECK(waits_of_a_run(start, known, update{gradient_descent{}, infinity_norm{}, iterations},
                         finite_check::off, guided) == 0);
  }
}

TEST_CASE("what waits for the device is counted, and waits no more often than it says") {
  // the first estimate is looked at before the first event
  CHECK(waits_of_a_run(start, known, newton, finite_check::every_pass) == steps * (1 + 2 * iterations) - 1);
  CHECK(waits_of_a_run(start, known, newton, finite_check::every_step) == steps);
  const update until_met{inexact_newton{}, infinity_norm{}, iterations, 0.0};
  CHECK(waits_of_a_run(start, known, until_met) == steps * iterations);
}
