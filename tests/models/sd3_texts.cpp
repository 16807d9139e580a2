// What Stable Diffusion 3's text encoders say of a prompt, joined as diffusers' pipeline does.
#include <pushforward/libtorch/models/sd3_transformer.hpp>

#include "cases.hpp"

using namespace pushforward;
using namespace pushforward::libtorch;
using models::joined_texts;
using namespace testing_support;

TEST_CASE("three encoders' answers are joined as diffusers' pipeline does") {
  for (const char* name : {"with_t5.safetensors", "without_t5.safetensors"}) {
    INFO(name);
    const io in(cases_of("texts") / name);
    const auto condition = joined_texts(in["l"], in["g"], in["pooled_l"], in["pooled_g"], in["t5"]);
    CHECK(at::equal(condition.states, in["states"]));
    CHECK(at::equal(condition.pooled, in["pooled"]));
  }
}

TEST_CASE("encoders' answers that do not go together are refused") {
  const auto l = at::ones({2, 5, 12}), g = at::ones({2, 5, 20}), t5 = at::ones({2, 7, 40});
  const auto pl = at::ones({2, 6}), pg = at::ones({2, 10});
  CHECK_NOTHROW(joined_texts(l, g, pl, pg, t5));
  CHECK_THROWS_AS(joined_texts(at::ones({1, 5, 12}), g, pl, pg, t5), shape_mismatch);
  CHECK_THROWS_AS(joined_texts(l, at::ones({2, 6, 20}), pl, pg, t5), shape_mismatch);
  CHECK_THROWS_AS(joined_texts(l, g, pl, pg, at::ones({2, 7, 31})), shape_mismatch); // narrower than 12 + 20
  CHECK_THROWS_AS(joined_texts(l, g, pl, pg, at::ones({1, 7, 40})), shape_mismatch);
  CHECK_THROWS_AS(joined_texts(l, g, at::ones({1, 6}), pg, t5), shape_mismatch);
  CHECK_THROWS_AS(joined_texts(l, g, pl, at::ones({10}), t5), shape_mismatch);
  CHECK_THROWS_AS(joined_texts(at::ones({5, 12}), g, pl, pg, t5), shape_mismatch);
}
