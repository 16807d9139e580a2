// What is thrown, and what it says.

#include <support/catch.hpp>

#include <pushforward/error.hpp>
#include <pushforward/tensor.hpp>

#include <stdexcept>
#include <type_traits>

using namespace pushforward;
using testing_support::contains_text;

static_assert(std::is_base_of_v<std::runtime_error, error>);
static_assert(std::is_base_of_v<error, bad_option> && std::is_base_of_v<error, shape_mismatch> &&
              std::is_base_of_v<error, bad_file> && std::is_base_of_v<error, not_finite>);

TEST_CASE("not_finite tells what, when, and where to look") {
  const not_finite e("clean estimate", 3, 2);
  CHECK(e.step() == 3);
  CHECK(e.iteration() == 2);
  CHECK_THAT(e.what(), contains_text("clean estimate") && contains_text("step 3") &&
                           contains_text("iteration 2") && contains_text("step size"));
}

TEST_CASE("a shape counts its samples and elements, and reads well") {
  const shape s{2, 3, 4};
  CHECK(s.size() == 3);
  CHECK(s.samples() == 2);
  CHECK(s.sample_elements() == 12);
  CHECK(s.elements() == 24);
  CHECK(to_string(s) == "2 x 3 x 4");
  CHECK(s == shape{2, 3, 4});
  CHECK(!(s == shape{2, 3}));
  CHECK(!(s == shape{2, 3, 5}));
  CHECK(shape{5}.sample_elements() == 1);
  CHECK(shape{0, 3}.elements() == 0);
  CHECK(shape{}.elements() == 0);
  CHECK(shape{}.samples() == 0);
  CHECK(to_string(shape{}) == "no dimensions");
}

TEST_CASE("a shape has at most 8 dimensions") {
  shape s{1, 2, 3, 4, 5, 6, 7, 8};
  CHECK(s.elements() == 40320);
  CHECK_THROWS_AS(s.push_back(9), shape_mismatch);
  CHECK_THROWS_AS((shape{1, 2, 3, 4, 5, 6, 7, 8, 9}), shape_mismatch);
}

TEST_CASE("a shape mismatch names what has which shape and which is needed") {
  CHECK_NOTHROW(detail::require_same_shape("the mask", {2, 3}, {2, 3}));
  CHECK_THROWS_WITH(detail::require_same_shape("the mask", {2, 3}, {2, 4}),
                    contains_text("the mask") && contains_text("2 x 3") && contains_text("2 x 4"));
}
