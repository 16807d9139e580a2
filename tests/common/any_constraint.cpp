// A constraint chosen at run time says of its least-squares problem what the constraint itself says.

#include <support/catch.hpp>

#include <common/any_constraint.hpp>

#include <pushforward/constraints/masked.hpp>
#include <pushforward/constraints/weighted_sum.hpp>

#include <ATen/ATen.h>

#include <type_traits>

using namespace pushforward;
using examples::any_constraint;

namespace {

const at::Tensor x = at::arange(12, at::kFloat).view({1, 3, 2, 2});

/// A distance, not half its square.
constraint_value<at::Tensor> distance(const at::Tensor& x0) {
  using traits = tensor_traits<at::Tensor>;
  return {traits::square_root(traits::dot(x0, x0)), -x0};
}

template <class C> constexpr bool has_problem = least_squares_constraint<C, at::Tensor>;

} // namespace

TEST_CASE("any constraint has the least-squares problem of the one that it holds, or none") {
  const masked<at::Tensor> known(at::ones_like(x), (x > 5.0).to(at::kFloat));
  pass_counts counts;
  any_constraint(known).with_problem([&](const auto& c) {
    if constexpr (has_problem<std::decay_t<decltype(c)>>) {
      const auto p = c.least_squares(x, counts), q = known.least_squares(x, counts);
      CHECK(at::equal(p.residual, q.residual));
      CHECK(at::equal(p.value.error, q.value.error));
      CHECK(at::equal(p.apply(x, counts), q.apply(x, counts)));
    } else {
      FAIL("the problem is lost");
    }
  });
  any_constraint(distance).with_problem(
      [](const auto& c) { CHECK_FALSE(has_problem<std::decay_t<decltype(c)>>); });
}

TEST_CASE("any constraint says that the length of an error means nothing where it does not") {
  const auto has_length = [](const auto& c) {
    return pushforward::detail::error_has_length<std::decay_t<decltype(c)>>();
  };
  CHECK(any_constraint(distance).with_problem(has_length));
  CHECK_FALSE(any_constraint(normalized(distance)).with_problem(has_length));
}
