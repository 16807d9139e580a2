// The times of Stable Diffusion 3's sampler against diffusers'.
#include <pushforward/samplers/rectified_flow_euler.hpp>

#include "cases.hpp"

using namespace pushforward;
using namespace testing_support;

TEST_CASE("the published grid of Stable Diffusion 3 is diffusers'") {
  const io expected(cases_of("times") / "sigmas.safetensors");
  for (const double shift : {1.0, 3.0})
    for (const std::size_t steps : {1U, 2U, 4U, 28U, 50U}) {
      INFO("shift " << shift << ", " << steps << " steps");
      const rectified_flow path(shift);
      const auto sampler = rectified_flow_euler(path, {.steps = steps, .grid = flow_grid::shifted_twice});
      const std::string name = (shift == 1.0 ? "1." : "3.") + std::to_string(steps);
      const at::Tensor sigmas = expected[name.c_str()], times = expected[(name + ".times").c_str()];
      REQUIRE(sigmas.size(0) == static_cast<std::int64_t>(steps) + 1);
      for (std::size_t i = 0; i <= steps; ++i) {
        const auto k = static_cast<std::int64_t>(i);
        CHECK(std::abs(sampler.time(i) - sigmas[k].item<double>()) < 1e-6);
        if (i < steps) CHECK(std::abs(path.model_time(sampler.time(i)) - times[k].item<double>()) < 1e-3);
      }
    }
}
