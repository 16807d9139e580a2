// Noise is that of the counter; on a device to the last bit of float32.

#include <support/catch.hpp>
#include <support/cuda_device.hpp>

#include <pushforward/cuda/tensor.hpp>
#include <pushforward/noise/philox_normal.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

using namespace pushforward;
using cuda::array;
using testing_support::test_executor;

TEMPLATE_TEST_CASE("a tensor's noise is that of the counter, whatever its size", "[device]", float, double) {
  using Real = TestType;
  // on a device log, cos and sin may differ in their last bits, which rounding to float nearly always takes
  // away
  const double ulps = test_executor().is_host() ? 0.0 : sizeof(Real) == 4 ? 1.0 : 8.0;
  for (const shape& s : {shape{3, 2, 3}, shape{1, 1}, shape{2, 4}, shape{2, 1023}, shape{5, 3, 64, 7}})
    for (const noise_key& key :
         {noise_key{11, 20, 4}, noise_key{0xffffffffffffffff, 0xfffffffe, 0xffffffff}}) {
      const auto z = tensor_traits<array<Real>>::normal(array<Real>(test_executor(), s), key).to_host();
      std::vector<Real> wanted(s.elements());
      noise::fill_normal(std::span<Real>(wanted), s.sample_elements(), key);
      REQUIRE(z.size() == wanted.size());
      for (std::size_t i = 0; i < z.size(); ++i) {
        const auto difference = static_cast<double>(std::abs(z[i] - wanted[i]));
        const auto ulp = static_cast<double>(
            std::nextafter(std::abs(wanted[i]), std::numeric_limits<Real>::infinity()) - std::abs(wanted[i]));
        CHECK(difference <= ulps * ulp);
      }
    }
}

TEST_CASE("noise for samples beyond 2^34 elements is refused") {
  // nothing is written: the refusal comes first
  CHECK_THROWS_AS(
      cuda::kernels::normal<float>(cuda::executor::host(), {1, (std::size_t{1} << 34U) + 1}, {}, nullptr),
      shape_mismatch);
}
