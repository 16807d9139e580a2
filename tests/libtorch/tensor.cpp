// The trait of at::Tensor: its numbers, whose buffers it writes to, and what it refuses.

#include <support/catch.hpp>
#include <support/device.hpp>
#include <support/random.hpp>

#include <pushforward/constraints/separable.hpp>
#include <pushforward/libtorch/tensor.hpp>
#include <pushforward/noise/philox_normal.hpp>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

using namespace pushforward;
using namespace testing_support;
using traits = tensor_traits<at::Tensor>;

static_assert(image_tensor<at::Tensor>);
static_assert(has_dense_algebra<at::Tensor>);

namespace {

at::Tensor random_tensor(at::IntArrayRef sizes, std::uint64_t seed, c10::ScalarType type = at::kFloat) {
  std::size_t n = 1;
  for (auto extent : sizes) n *= static_cast<std::size_t>(extent);
  const auto values = random_numbers(n, seed);
  return at::tensor(values, at::kDouble).view(sizes).to(test_device(), type);
}

double distance(const at::Tensor& x, const at::Tensor& y) { return (x - y).abs().max().item<double>(); }

/// The same numbers in other memory layouts.
std::vector<at::Tensor> layouts_of(const at::Tensor& x) {
  at::Tensor spaced = at::zeros({x.size(0), x.size(1), x.size(2), 2 * x.size(3)}, x.options());
  spaced = spaced.slice(3, 0, 2 * x.size(3), 2);
  spaced.copy_(x);
  return {x, x.contiguous(at::MemoryFormat::ChannelsLast), x.transpose(2, 3).contiguous().transpose(2, 3),
          spaced};
}

} // namespace

TEST_CASE("the trait's operations are at::'s, in every memory layout and both types", "[device]") {
  const auto type = GENERATE(values<c10::ScalarType>({at::kFloat, at::kDouble}));
  const double tolerance = type == at::kFloat ? 2e-6 : 1e-14;
  const at::Tensor first = random_tensor({2, 3, 4, 6}, 1, type),
                   second = random_tensor({2, 3, 4, 6}, 2, type);
  const auto weights = std::vector<double>{0.5, -2.0};
  const at::Tensor column = at::tensor(weights, on_device(type)).view({2, 1, 1, 1});
  for (const at::Tensor& x : layouts_of(first))
    for (const at::Tensor& y : layouts_of(second)) {
      const auto p = traits::from_values(x, weights);
      CHECK(distance(traits::combine(2.0, x, -3.0, y), 2 * first - 3 * second) <= tolerance);
      CHECK(distance(traits::combine(p, x, 1.0, y), column * first + second) <= tolerance);
      CHECK(distance(traits::combine(1.0, x, p, y), first + column * second) <= tolerance);
      CHECK(distance(traits::combine(p, x, p, y), column * (first + second)) <= tolerance);
      CHECK(distance(traits::multiply(x, y), first * second) <= tolerance);
      CHECK(distance(traits::scale(p, x), column * first) <= tolerance);
      CHECK(distance(traits::dot(x, y).value,
                     (first.to(at::kDouble) * second.to(at::kDouble)).flatten(1).sum(1)) <= 1e-12);
      CHECK(distance(traits::max_abs(x).value, first.abs().flatten(1).amax(1).to(at::kDouble)) == 0.0);
      CHECK(traits::elements(x) == traits::elements(first));
      CHECK(distance(traits::concatenate(x, y), at::cat({first, second})) == 0.0);
    }
}

TEST_CASE("per-sample scalars are float64, and a ratio by 0 is 0", "[device]") {
  const at::Tensor x = random_tensor({3, 2}, 1);
  const auto p = traits::from_values(x, std::vector<double>{1.0, -4.0, 0.0});
  const auto zero_in_it = traits::from_values(x, std::vector<double>{0.0, 2.0, 0.0});
  CHECK(p.value.scalar_type() == at::kDouble);
  CHECK(traits::max_abs(x).value.scalar_type() == at::kDouble);
  CHECK(traits::values(traits::ratio(p, zero_in_it)) == std::vector<double>{0.0, -2.0, 0.0});
  CHECK(traits::values(traits::ratio(3.0, zero_in_it)) == std::vector<double>{0.0, 1.5, 0.0});
  CHECK(traits::values(traits::combine(2.0, p, 1.0, zero_in_it)) == std::vector<double>{2.0, -6.0, 0.0});
  CHECK(traits::values(traits::clamp(p, -1.0, 0.5)) == std::vector<double>{0.5, -1.0, 0.0});
  CHECK(traits::values(traits::square_root(traits::multiply(p, p))) == std::vector<double>{1.0, 4.0, 0.0});
}

TEST_CASE("a sum of products does not overflow where float32 would", "[device]") {
  const at::Tensor x = at::full({1, 4}, 1e30, on_device(at::kFloat));
  CHECK(traits::values(traits::dot(x, x))[0] == Approx(4e60));
}

TEST_CASE("NaN and infinity are found wherever they stand", "[device]") {
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(),
                           -std::numeric_limits<double>::infinity()}) {
    at::Tensor x = random_tensor({2, 3, 4, 6}, 1);
    CHECK(traits::all_finite(x));
    x[1][2][3][5] = bad;
    CHECK_FALSE(traits::all_finite(x));
    CHECK_FALSE(std::isfinite(traits::values(traits::max_abs(x))[1]));
    CHECK(std::isfinite(traits::values(traits::max_abs(x))[0]));
  }
  CHECK(traits::all_finite(at::full({2, 2}, std::numeric_limits<float>::max(), on_device(at::kFloat))));
}

TEST_CASE("noise is the counter's, of the type and shape of the tensor", "[device]") {
  const auto type = GENERATE(values<c10::ScalarType>({at::kFloat, at::kDouble}));
  const at::Tensor like = random_tensor({3, 2, 1, 3}, 1, type).contiguous(at::MemoryFormat::ChannelsLast);
  const at::Tensor z = traits::normal(like, {11, 20, 4});
  CHECK(z.scalar_type() == type);
  const auto numbers = traits::elements(z);
  REQUIRE(numbers.size() == 18);
  for (std::size_t i = 0; i < 18; ++i) {
    const double wanted =
        noise::normal_block(11, 20 + i / 6, 4, static_cast<std::uint32_t>(i % 6 / 4))[i % 6 % 4];
    CHECK(numbers[i] == (type == at::kFloat ? static_cast<double>(static_cast<float>(wanted)) : wanted));
  }
}

TEST_CASE("a buffer that only the caller's moved handle holds is used for the result", "[device]") {
  const at::Tensor y = random_tensor({2, 6}, 2);
  const auto p = traits::fill(y, 2.0);
  const auto reuses = [&](auto operation) {
    at::Tensor x = random_tensor({2, 6}, 1);
    const void* buffer = x.const_data_ptr();
    return operation(std::move(x)).const_data_ptr() == buffer;
  };
  CHECK(reuses([&](at::Tensor x) { return traits::combine(2.0, std::move(x), 1.0, y); }));
  CHECK(reuses([&](at::Tensor x) { return traits::combine(1.0, std::move(x), p, y); }));
  CHECK(reuses([&](at::Tensor x) { return traits::scale(p, std::move(x)); }));
  CHECK(reuses([&](at::Tensor x) { return traits::multiply(std::move(x), y); }));
}

TEST_CASE("a buffer that somebody else sees is never written to", "[device]") {
  const at::Tensor y = random_tensor({2, 6}, 2);
  const auto p = traits::fill(y, 2.0);
  const auto use = [&](const auto& make) {
    traits::combine(2.0, make(), 1.0, y);
    traits::combine(1.0, make(), p, y);
    traits::combine(p, make(), 1.0, y);
    traits::combine(p, make(), p, y);
    traits::scale(2.0, make());
    traits::scale(p, make());
    traits::multiply(make(), y);
  };
  const at::Tensor kept = random_tensor({2, 6}, 1), before = kept.clone();
  SECTION("another handle") {
    use([&] { return at::Tensor(kept); });
  }
  SECTION("a view") {
    use([&] { return kept.view({2, 6}); });
  }
  SECTION("a detached tensor") {
    use([&] { return kept.detach(); });
  }
  SECTION("an expanded tensor") {
    const at::Tensor row = kept[0].clone();
    use([&] { return row.clone().expand({2, 6}); });
  }
  SECTION("halves, which share a buffer with the whole and each other") {
    const at::Tensor twice = at::cat({kept, kept});
    use([&] { return traits::halves(twice).first; });
    auto [first, second] = traits::halves(twice.clone());
    traits::scale(3.0, std::move(first));
    CHECK(second.equal(before));
    CHECK(twice.equal(at::cat({before, before})));
  }
  SECTION("memory of the caller's") {
    if (!test_device().is_cpu()) return;
    std::vector<float> mine(12);
    std::copy_n(before.const_data_ptr<float>(), 12, mine.begin());
    use([&] { return at::from_blob(mine.data(), {2, 6}, at::kFloat); });
    CHECK(at::from_blob(mine.data(), {2, 6}, at::kFloat).equal(before));
  }
  SECTION("a leaf that wants a gradient") {
    at::Tensor leaf = kept.clone().requires_grad_(true);
    const void* buffer = leaf.const_data_ptr();
    CHECK(traits::scale(2.0, std::move(leaf)).const_data_ptr() != buffer);
  }
  SECTION("a tensor of inference mode") {
    at::Tensor made;
    {
      const c10::InferenceMode on;
      made = kept.clone();
    }
    use([&] { return at::Tensor(made); });
    use([&] {
      const c10::InferenceMode on;
      return kept.clone();
    });
    CHECK(made.equal(before));
  }
  CHECK(kept.equal(before));
}

TEST_CASE("nothing is recorded for autograd", "[device]") {
  const at::Tensor x = random_tensor({2, 6}, 1).requires_grad_(true);
  const at::Tensor y = random_tensor({2, 6}, 2).requires_grad_(true);
  const auto p = traits::dot(x, y);
  CHECK_FALSE(p.value.requires_grad());
  CHECK_FALSE(traits::max_abs(x).value.requires_grad());
  for (const at::Tensor& result :
       {traits::combine(2.0, x, 1.0, y), traits::combine(1.0, x, p, y), traits::combine(p, x, 1.0, y),
        traits::scale(1.0, x), traits::scale(2.0, x), traits::scale(p, x), traits::multiply(x, y),
        traits::zeros(x), traits::normal(x, {}), traits::concatenate(x, y), traits::halves(x).first,
        traits::along_axis(traits::make_axis_map(x, averaging_matrix(6, 2)), x, 0)})
    CHECK_FALSE(result.requires_grad());
  CHECK(c10::GradMode::is_enabled());
}

TEST_CASE("no operation but elements, values and all_finite reads a tensor back", "[device]") {
  // the meta device has no data: whoever asks for it gets an exception
  const at::Tensor x = at::empty({2, 1, 4, 4}, at::TensorOptions().device(at::kMeta));
  const auto p = traits::max_abs(x);
  const auto q = traits::ratio(1.0, traits::square_root(traits::dot(x, x)));
  CHECK(p.value.is_meta());
  CHECK(traits::fill(x, 1.0).value.is_meta());
  CHECK(traits::from_values(x, std::vector<double>{1, 2}).value.is_meta());
  CHECK(traits::combine(1.0, p, 2.0, traits::clamp(traits::multiply(p, q), 0.0, 1.0)).value.is_meta());
  CHECK(traits::ratio(p, q).value.is_meta());
  CHECK(traits::combine(p, x, q, x).is_meta());
  CHECK(traits::combine(1.0, x, 2.0, x).is_meta());
  CHECK(traits::scale(q, traits::multiply(x, x)).is_meta());
  CHECK(traits::normal(x, {}).is_meta());
  CHECK(traits::zeros(x).is_meta());
  CHECK(traits::halves(traits::concatenate(x, x)).second.is_meta());
  CHECK(traits::from_elements(x, {1, 2}, std::vector<double>{1, 2}).is_meta());
  CHECK(traits::along_axis(traits::make_axis_map(x, averaging_matrix(4, 2)), x, 1).is_meta());
  CHECK_THROWS(traits::values(p));
  CHECK_THROWS(traits::all_finite(x));
}

TEST_CASE("a tensor that cannot be the loop's is refused with what to do", "[device]") {
  CHECK_THROWS_WITH(traits::shape_of(at::Tensor()), contains_text("undefined"));
  for (const auto type : {at::kHalf, at::kBFloat16})
    CHECK_THROWS_WITH(traits::shape_of(at::zeros({2, 2}, type)), contains_text("compute type"));
  CHECK_THROWS_WITH(traits::shape_of(at::zeros({2, 2}, at::kLong)), contains_text(".to(at::kFloat)"));
  CHECK_THROWS_AS(traits::shape_of(at::zeros({2, 2}, at::kComplexFloat)), shape_mismatch);
  CHECK_THROWS_WITH(traits::shape_of(at::zeros({2, 2}).to_sparse()), contains_text(".to_dense()"));
  CHECK_THROWS_AS(traits::shape_of(at::zeros({1, 1, 1, 1, 1, 1, 1, 1, 1})), shape_mismatch);
}

TEST_CASE("two tensors that do not fit are refused with both named", "[device]") {
  const at::Tensor x = random_tensor({2, 6}, 1);
  CHECK_THROWS_WITH(traits::combine(1.0, x, 1.0, random_tensor({2, 2, 3}, 1)),
                    contains_text("2 x 2 x 3") && contains_text("2 x 6"));
  CHECK_THROWS_WITH(traits::multiply(x, random_tensor({1, 6}, 1)), contains_text("1 x 6"));
  CHECK_THROWS_WITH(traits::dot(x, x.to(at::kDouble)), contains_text("Float") && contains_text("Double"));
  CHECK_THROWS_WITH(traits::combine(1.0, x, 1.0, x.to(at::kMeta)),
                    contains_text(x.device().str()) && contains_text("meta"));
  CHECK_THROWS_WITH(traits::combine(1.0, x, 1.0, at::Tensor()), contains_text("undefined"));
  const auto three = traits::fill(random_tensor({3, 6}, 1), 1.0);
  CHECK_THROWS_WITH(traits::scale(three, x), contains_text("3 for 2 samples"));
  CHECK_THROWS_AS(traits::combine(1.0, x, three, x), shape_mismatch);
  CHECK_THROWS_AS(traits::concatenate(x, random_tensor({2, 5}, 1)), shape_mismatch);
  CHECK_THROWS_AS(traits::halves(random_tensor({3, 2}, 1)), shape_mismatch);
  CHECK_THROWS_AS(traits::from_elements(x, {5}, std::vector<double>(4)), shape_mismatch);
  CHECK_THROWS_AS(traits::from_values(x, std::vector<double>(3)), shape_mismatch);
  const auto map = traits::make_axis_map(x, averaging_matrix(6, 2));
  CHECK_THROWS_WITH(traits::along_axis(map, random_tensor({2, 5}, 1), 0), contains_text("2 x 5"));
  CHECK_THROWS_AS(traits::along_axis(map, random_tensor({6, 6}, 1), 1), shape_mismatch); // the samples
  CHECK_THROWS_AS(traits::along_axis(map, x, 2), shape_mismatch);
  CHECK_THROWS_AS(traits::make_axis_map(x, axis_matrix{2, 6, std::vector<double>(11)}), shape_mismatch);
}
