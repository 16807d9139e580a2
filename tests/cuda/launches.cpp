// How much is launched, and that nothing waits, in the loop.

#include <support/cuda_backend.hpp>

#include <support/catch.hpp>
#include <support/random.hpp>

#include <pushforward/cuda/reduce.hpp>
#include <pushforward/pushforward.hpp>

#include <vector>

using namespace testing_support;
using namespace pushforward;

namespace {

constexpr std::size_t steps = 4;
constexpr std::size_t iterations = 3;

/// The posterior mean's noise of x0 ~ N(0, I): one launch a pass.
template <class T> struct normal_prior {
  prediction_type prediction = prediction_type::epsilon;
  const variance_preserving& path;

  T predict(const T& x, double t) const {
    const auto c = path.at(t);
    return tensor_traits<T>::scale(c.s / (c.a * c.a + c.s * c.s), x);
  }
};

/// What each inner iteration was given to do: the same for all of them.
template <class T, class Constraint, class Update>
cuda::work of_an_iteration(const T& x, const Constraint& c, const Update& u, finite_check check) {
  const auto path = variance_preserving::linear();
  const normal_prior<T> prior{.path = path};
  std::vector<cuda::work> seen;
  cuda::work last;
  sample(x, model{prior, path}, ddim(path, {.steps = steps}), c, u, {.seed = 1, .check = check},
         [&](const progress<T>& p) {
           const cuda::work now = x.on().done();
           if (p.when == moment::iterated && p.iteration > 0)
             seen.push_back({now.launches - last.launches, now.copies - last.copies,
                             now.allocations - last.allocations,
                             now.synchronisations - last.synchronisations});
           last = now;
         });
  REQUIRE(seen.size() == steps * (iterations - 1));
  for (const auto& w : seen) CHECK(w == seen.front());
  return seen.front();
}

/// And a time step without inner iterations, or all of one with the posterior step.
template <class T, class Constraint, class Update>
cuda::work of_a_time_step(const T& x, const Constraint& c, const Update& u, double eta = 0.0) {
  const auto path = variance_preserving::linear();
  const normal_prior<T> prior{.path = path};
  std::vector<cuda::work> seen;
  cuda::work last;
  sample(x, model{prior, path}, ddim(path, {.steps = steps, .eta = eta}), c, u,
         {.seed = 1, .check = finite_check::off}, [&](const progress<T>& p) {
           if (p.when != moment::stepped) return;
           const cuda::work now = x.on().done();
           seen.push_back({now.launches - last.launches, now.copies - last.copies,
                           now.allocations - last.allocations, now.synchronisations - last.synchronisations});
           last = now;
         });
  REQUIRE(seen.size() == steps);
  return seen[1];
}

} // namespace

TEMPLATE_LIST_TEST_CASE(
    "an inner iteration of inexact Newton takes 16 launches beside its passes, and waits for "
    "nothing",
    "[device]", backends) {
  using T = typename TestType::tensor;
  const shape s{2, 1, 8, 8};
  const T y = TestType::make(s, random_numbers(128, 1)),
          known = TestType::make(s, std::vector<double>(128, 1.0));
  const T x = standard_normal(y, {.seed = 2});
  const update newton{inexact_newton{}, infinity_norm{}, iterations};

  // constraint: residual 2, loss 2, error 1; J e: 7; step size 2; move 1; estimate 1; and 2 passes
  const auto w = of_an_iteration(x, masked<T>(y, known), newton, finite_check::off);
  CHECK(w.launches == 16 + 2);
  CHECK(w.copies == 0);
  CHECK(w.synchronisations == 0);

  SECTION("a finite check waits where it looks: at the error and at the estimate") {
    const auto checked = of_an_iteration(x, masked<T>(y, known), newton, finite_check::every_pass);
    CHECK(checked.synchronisations == 2);
    CHECK(checked.launches == w.launches + 2);
  }
  SECTION("a tolerance waits for the losses") {
    const update tolerant{inexact_newton{}, infinity_norm{}, iterations, 0.0};
    const auto looked = of_an_iteration(x, masked<T>(y, known), tolerant, finite_check::off);
    CHECK(looked.synchronisations == 1);
    CHECK(looked.launches == w.launches + 1); // the step size of the samples that are left
  }
  SECTION("operators on images are a launch for each axis") {
    const auto average = averaging(y, 2);
    const auto there = of_an_iteration(x, linear(average, average.apply(y)), newton, finite_check::off);
    CHECK(there.launches == w.launches + 2); // apply 2, adjoint 2, for two products with a mask
    CHECK(there.synchronisations == 0);
  }
}

TEMPLATE_LIST_TEST_CASE("a time step of plain sampling takes two launches beside its pass, and two for noise",
                        "[device]", backends) {
  using T = typename TestType::tensor;
  const T x = TestType::make({2, 1, 8, 8}, random_numbers(128, 1));
  const masked<T> c(x, TestType::make({2, 1, 8, 8}, std::vector<double>(128, 1.0)));
  const auto w = of_a_time_step(x, c, update{none{}});
  CHECK(w.launches == 2 + 1);
  CHECK(w.synchronisations == 0);
  CHECK(of_a_time_step(x, c, update{none{}}, 1.0).launches == 2 + 1 + 2);
}

TEMPLATE_LIST_TEST_CASE("a time step of the posterior step waits for nothing", "[device]", backends) {
  using T = typename TestType::tensor;
  const T y = TestType::make({2, 1, 8, 8}, random_numbers(128, 1));
  const masked<T> known(y, TestType::make({2, 1, 8, 8}, std::vector<double>(128, 1.0)));
  const T x = standard_normal(y, {.seed = 2});
  for (const std::size_t krylov : {1U, 3U})
    CHECK(of_a_time_step(x, known, posterior_step{.krylov = krylov}).synchronisations == 0);
  CHECK(of_a_time_step(x, known, posterior_step{}).launches <= 40);
}

TEST_CASE("reductions of large samples take two launches, of others one", "[device]") {
  using T = cuda::array<float>;
  for (const auto& [elements, launches] : std::vector<std::pair<std::size_t, std::size_t>>{
           {cuda::part_columns, 1}, {cuda::part_columns + 1, 2}}) {
    const T x = tensor_traits<T>::zeros(T(test_executor(), {2, elements}));
    const auto before = x.on().done();
    tensor_traits<T>::max_abs(x);
    CHECK(x.on().done().launches - before.launches == launches);
  }
}
