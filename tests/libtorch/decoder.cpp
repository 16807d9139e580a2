// Decoders from callables.

#include "tensors.hpp"

#include <pushforward/constraints/decoded.hpp>
#include <pushforward/constraints/masked.hpp>
#include <pushforward/libtorch/denoiser.hpp>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <vector>

using namespace pushforward;
using namespace testing_support;
using recorded_decoder = libtorch::differentiable_decoder; // the core has a concept of that name
using libtorch::forward_decoder;

static_assert(encoding_decoder<forward_decoder, at::Tensor>);
static_assert(!differentiable_decoder<forward_decoder, at::Tensor>);
static_assert(differentiable_decoder<recorded_decoder, at::Tensor>);

TEST_CASE("a decoder's product is J_D^T w: the images' shape in, the latents' out", "[device]") {
  const at::Tensor matrix = random_tensor({3, 5}, 1);
  const recorded_decoder d([&](const at::Tensor& z) { return at::matmul(z.square(), matrix); }, {},
                           {.compute = at::kDouble});
  const at::Tensor z = random_tensor({2, 3}, 2), w = random_tensor({2, 5}, 3);
  const auto image = d.linearize_decode(z);
  CHECK(image.value.equal(d.decode(z)));
  CHECK_FALSE(image.value.requires_grad());
  CHECK(distance(image.vjp(w), 2 * z * at::matmul(w, matrix.t())) < 1e-12);
  CHECK_THROWS_WITH(image.vjp(w), contains_text("linearize again"));
}

TEST_CASE("decoder and encoder compute in their type and record nothing", "[device]") {
  const auto compute = GENERATE(values<c10::ScalarType>({at::kFloat, at::kBFloat16}));
  std::vector<c10::ScalarType> seen;
  bool recording = false;
  const auto watched = [&](const at::Tensor& t) {
    seen.push_back(t.scalar_type());
    recording = recording || c10::GradMode::is_enabled();
    return 2 * t;
  };
  const forward_decoder d(watched, watched, {.compute = compute});
  const at::Tensor z = random_tensor({2, 3}, 1, at::kFloat);
  CHECK(d.decode(z).scalar_type() == at::kFloat);
  CHECK(d.encode(z).scalar_type() == at::kFloat);
  CHECK(seen == std::vector{compute, compute});
  CHECK_FALSE(recording);
}

TEST_CASE("both pullbacks run on libtorch decoders, and agree where the encoder is the decoder's inverse",
          "[device]") {
  // an orthogonal decoder: its inverse is its transpose
  const at::Tensor q = std::get<0>(at::linalg_qr(random_tensor({4, 4}, 1)));
  const recorded_decoder d([&](const at::Tensor& z) { return at::matmul(z, q); },
                           [&](const at::Tensor& image) { return at::matmul(image, q.t()); },
                           {.compute = at::kDouble});
  const at::Tensor z = random_tensor({2, 4}, 2), y = random_tensor({2, 4}, 3);
  const masked<at::Tensor> c(y, at::ones_like(y));
  pass_counts counts;
  const at::Tensor by_vjp = decoder_vjp{}(d, c, z, counts).error;
  const at::Tensor by_encoder = encoder_difference{}(d, c, z, counts).error;
  CHECK(distance(by_vjp, at::matmul(y - at::matmul(z, q), q.t())) < 1e-12);
  CHECK(distance(by_encoder, by_vjp / by_vjp.abs().amax(1, true)) < 1e-9);
  CHECK(counts.decoder_backward == 2);
  CHECK(counts.encoder_forward == 4);
}

TEST_CASE("a decoder without a function, and encoding without an encoder, are refused", "[device]") {
  CHECK_THROWS_AS(forward_decoder(libtorch::map{}), bad_option);
  const auto same = [](const at::Tensor& t) { return t; };
  CHECK_THROWS_WITH(forward_decoder(same, same, {.compute = at::kLong}), contains_text("compute type"));
  CHECK_THROWS_WITH(forward_decoder(same).encode(at::ones({1, 2})), contains_text("without an encoder"));
  CHECK_THROWS_WITH(forward_decoder([](const at::Tensor&) { return at::Tensor(); }).decode(at::ones({1, 2})),
                    contains_text("decoder returned no tensor"));
}
