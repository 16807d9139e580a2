// Arrays share their elements, and change under nobody.

#include <support/catch.hpp>
#include <support/cuda_device.hpp>

#include <pushforward/cuda/array.hpp>

#include <vector>

using namespace pushforward;
using cuda::array;
using testing_support::test_executor;

namespace {

const shape two_by_three{2, 3};
const std::vector<float> numbers{1, 2, 3, 4, 5, 6};

array<float> made() { return {test_executor(), two_by_three, numbers}; }

} // namespace

TEST_CASE("an array holds the host's values, and gives them back", "[device]") {
  const array<float> x = made();
  CHECK(x.extents() == two_by_three);
  CHECK(x.to_host() == numbers);
  CHECK(x.on() == test_executor());
  CHECK(array<float>(test_executor(), {0, 3}).to_host().empty());
}

TEST_CASE("values that do not fill the shape are refused", "[device]") {
  CHECK_THROWS_AS(array<float>(test_executor(), {2, 2}, numbers), shape_mismatch);
}

TEST_CASE("copies share their elements until one is written to", "[device]") {
  array<float> x = made();
  CHECK(x.is_alone());
  array<float> y = x;
  CHECK(!x.is_alone());
  CHECK(y.data() == x.data());
  CHECK(y.writable() != x.data());
  CHECK(y.to_host() == numbers); // its own, of the same values
  CHECK(x.is_alone());
  const float* kept = x.data();
  CHECK(x.writable() == kept);
}

TEST_CASE("samples of an array share its elements", "[device]") {
  const array<float> x = made();
  const array<float> second = x.samples(1, 1);
  CHECK(second.extents() == shape{1, 3});
  CHECK(second.to_host() == std::vector<float>{4, 5, 6});
  CHECK(second.data() == x.data() + 3);
  CHECK(!second.is_alone());
  CHECK_THROWS_AS(x.samples(1, 2), shape_mismatch);
  CHECK_THROWS_AS(x.samples(3, 0), shape_mismatch);
  array<float> mine = second;
  mine.writable();
  CHECK(mine.to_host() == std::vector<float>{4, 5, 6});
}

TEST_CASE("a copy of elements that lie there is one of its own", "[device]") {
  const array<float> x = made();
  const auto y = array<float>::copy_of(x.on(), {6}, x.data());
  CHECK(y.to_host() == numbers);
  CHECK(y.data() != x.data());
  CHECK(y.is_alone());
}

TEST_CASE("what was moved from does not hold on to the buffer", "[device]") {
  array<float> x = made();
  const array<float> y = std::move(x);
  CHECK(y.is_alone());
}
