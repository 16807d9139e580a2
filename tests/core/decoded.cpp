// Constraints on decoded images, on a linear decoder, where both pullbacks are matrix products.

#include <support/backend.hpp>
#include <support/linear_denoiser.hpp>

#include <pushforward/constraints/decoded.hpp>
#include <pushforward/constraints/masked.hpp>
#include <pushforward/paths/rectified_flow.hpp>
#include <pushforward/sample.hpp>
#include <pushforward/samplers/rectified_flow_euler.hpp>
#include <pushforward/updates/gradient_descent.hpp>
#include <pushforward/updates/vae_newton.hpp>

#include <limits>

using namespace pushforward;
using namespace testing_support;

namespace {

/// M v, for each sample of (N, n).
template <class T> T product(const matrix& M, const T& v) {
  const auto s = tensor_traits<T>::shape_of(v);
  const std::size_t n = s.sample_elements();
  const auto all = elements(v);
  vector result;
  for (std::size_t j = 0; j < s.samples(); ++j) {
    const vector y = M * std::span(all).subspan(j * n, n);
    result.insert(result.end(), y.begin(), y.end());
  }
  return tensor_traits<T>::from_elements(v, {s.samples(), M.rows}, result);
}

/// D(z) = D z and E(x) = E x + offset + position * drift, where position is the sample's in the batch: as an
/// encoder whose rounding depends on the batch.
template <class T> struct linear_vae {
  matrix D;
  matrix E;
  double offset = 0.0;
  double drift = 0.0;
  mutable std::size_t decodes = 0, encodes = 0, encoded = 0;

  T decode(const T& z) const {
    ++decodes;
    return product(D, z);
  }
  T encode(const T& image) const {
    ++encodes;
    T z = product(E, image);
    const auto s = tensor_traits<T>::shape_of(z);
    encoded += s.samples();
    auto all = elements(z);
    for (std::size_t i = 0; i < all.size(); ++i)
      all[i] += offset + drift * static_cast<double>(i / s.sample_elements());
    return tensor_traits<T>::from_elements(z, s, all);
  }
  linearization<T> linearize_decode(const T& z) const {
    return {decode(z), [M = transposed(D)](const T& w) { return product(M, w); }};
  }
};

constexpr std::size_t pixels = 5;

/// masked on 2 images of 5 pixels: some known, none known.
template <class Backend> auto pixel_constraint() {
  using T = typename Backend::tensor;
  return masked<T>(Backend::make({2, pixels}, random_numbers(2 * pixels, 1)),
                   Backend::make({2, pixels}, {1, 0, 1, 1, 0, 0, 0, 0, 0, 0}));
}

/// Its error at D z, by hand.
vector pixel_error(const matrix& D, std::span<const double> z) {
  const vector image = D * z, y = random_numbers(2 * pixels, 1), mask{1, 0, 1, 1, 0};
  vector e(pixels);
  for (std::size_t i = 0; i < pixels; ++i) e[i] = mask[i] * (y[i] - image[i]);
  return e;
}

matrix pseudo_inverse(const matrix& D) { return inverse(transposed(D) * D) * transposed(D); }

vector scaled_to_one(const vector& e) { return combined(1.0 / max_abs(e), e, 0.0, e); }

/// count elements from `first`.
vector part(const vector& v, std::size_t first, std::size_t count) {
  const auto at = v.begin() + static_cast<std::ptrdiff_t>(first);
  return {at, at + static_cast<std::ptrdiff_t>(count)};
}

} // namespace

TEMPLATE_LIST_TEST_CASE("decoder_vjp: the error is D^T times the pixels' error", "", backends) {
  using T = typename TestType::tensor;
  const matrix D(pixels, 3, random_numbers(15, 2));
  const linear_vae<T> vae{D, pseudo_inverse(D)};
  const auto z = random_numbers(6, 3);
  pass_counts counts;
  const auto value =
      decoded(pixel_constraint<TestType>(), vae, decoder_vjp{})(TestType::make({2, 3}, z), counts);
  const vector e_x = pixel_error(D, std::span(z).first(3));
  const vector e = transposed(D) * e_x;
  CHECK(largest_difference(part(elements(value.error), 0, 3), e) <= 20 * TestType::tolerance);
  for (std::size_t i = 3; i < 6; ++i) CHECK(elements(value.error)[i] == 0.0);
  CHECK(tensor_traits<T>::values(value.loss)[0] ==
        Approx(0.5 * dot(e_x, e_x)).epsilon(50 * TestType::tolerance));
  CHECK(tensor_traits<T>::values(value.loss)[1] == 0.0);
  CHECK(counts == pass_counts{.decoder_forward = 2, .decoder_backward = 2});
  CHECK(vae.encodes == 0);
}

TEMPLATE_LIST_TEST_CASE("encoder_difference: the error is E times the pixels' error, scaled to 1", "",
                        backends) {
  using T = typename TestType::tensor;
  for (std::size_t latents : {pixels, std::size_t{3}}) {
    const matrix D(pixels, latents, random_numbers(pixels * latents, 4));
    const matrix E = latents == pixels ? inverse(D) : pseudo_inverse(D);
    const auto z = random_numbers(2 * latents, 3);
    const linear_vae<T> vae{D, E};
    pass_counts counts;
    const auto value = decoded(pixel_constraint<TestType>(), vae,
                               encoder_difference{})(TestType::make({2, latents}, z), counts);
    const auto e = scaled_to_one(E * pixel_error(D, std::span(z).first(latents)));
    INFO(latents << " latents");
    CHECK(largest_difference(part(elements(value.error), 0, latents), e) <= 20 * TestType::probe_tolerance);
    CHECK(max_abs(elements(value.error)) == Approx(1.0).epsilon(10 * TestType::tolerance));
    CHECK(tensor_traits<T>::values(value.loss)[1] == 0.0);
  }
}

TEMPLATE_LIST_TEST_CASE("encoder_difference: the autoencoder's own error cancels", "", backends) {
  using T = typename TestType::tensor;
  const matrix D(pixels, 3, random_numbers(15, 2));
  const matrix E = pseudo_inverse(D);
  const T z = TestType::make({2, 3}, random_numbers(6, 3));
  const linear_vae<T> good{D, E}, biased{D, E, 0.75};
  pass_counts counts;
  const auto with = [&](const linear_vae<T>& vae) {
    return elements(decoded(pixel_constraint<TestType>(), vae, encoder_difference{})(z, counts).error);
  };
  CHECK(largest_difference(with(good), with(biased)) <= 40 * TestType::probe_tolerance);
}

TEMPLATE_LIST_TEST_CASE("encoder_difference: no pixel error is no latent error, to the bit", "", backends) {
  using T = typename TestType::tensor;
  const matrix D(pixels, 3, random_numbers(15, 2));
  const linear_vae<T> vae{D, pseudo_inverse(D), 0.0, 1e-3};
  pass_counts counts;
  const auto error = elements(decoded(pixel_constraint<TestType>(), vae, encoder_difference{})(
                                  TestType::make({2, 3}, random_numbers(6, 3)), counts)
                                  .error);
  for (std::size_t i = 3; i < 6; ++i) CHECK(error[i] == 0.0);
  CHECK(max_abs(error) > 0.5);
}

TEMPLATE_LIST_TEST_CASE("encoder_difference: one decode and one encode of both, and no backward pass", "",
                        backends) {
  using T = typename TestType::tensor;
  const matrix D(pixels, 3, random_numbers(15, 2));
  const linear_vae<T> vae{D, pseudo_inverse(D)};
  pass_counts counts;
  const auto counting = [c = pixel_constraint<TestType>()](const T& x, pass_counts& inner) {
    ++inner.forward_mode;
    return c(x);
  };
  decoded(counting, vae, encoder_difference{})(TestType::make({2, 3}, random_numbers(6, 3)), counts);
  CHECK(counts == pass_counts{.forward_mode = 1, .decoder_forward = 2, .encoder_forward = 4});
  CHECK(vae.decodes == 1);
  CHECK(vae.encodes == 1);
  CHECK(vae.encoded == 4);
}

TEMPLATE_LIST_TEST_CASE("encoder_difference: the probe is the largest change of a pixel", "", backends) {
  using T = typename TestType::tensor;
  struct watched {
    mutable vector seen;
    T decode(const T& z) const { return z; }
    T encode(const T& image) const {
      seen = elements(image);
      return image;
    }
  } vae;
  const auto z = random_numbers(2 * pixels, 5);
  pass_counts counts;
  decoded(pixel_constraint<TestType>(), vae,
          encoder_difference{.probe = 0.01})(TestType::make({2, pixels}, z), counts);
  REQUIRE(vae.seen.size() == 4 * pixels);
  const auto moved = combined(1.0, std::span(vae.seen).first(2 * pixels), -1.0, z);
  CHECK(max_abs(std::span(moved).first(pixels)) == Approx(0.01).epsilon(1e-3));
  CHECK(max_abs(std::span(moved).subspan(pixels)) <= TestType::tolerance);
}

TEMPLATE_LIST_TEST_CASE("encoder_difference: a probe that is not positive is refused", "", backends) {
  using T = typename TestType::tensor;
  const linear_vae<T> vae{matrix::identity(pixels), matrix::identity(pixels)};
  for (double probe : {0.0, -1.0, std::numeric_limits<double>::quiet_NaN()}) {
    CHECK_THROWS_AS(decoded(pixel_constraint<TestType>(), vae, encoder_difference{.probe = probe}),
                    bad_option);
    CHECK_THROWS_AS((vae_newton{.encoder_probe = probe}.constraint(pixel_constraint<TestType>(), vae)),
                    bad_option);
  }
}

TEMPLATE_LIST_TEST_CASE("VAE-Newton runs forward only, and does what inexact Newton does with its constraint",
                        "", backends) {
  using T = typename TestType::tensor;
  const matrix D(pixels, 3, random_numbers(15, 2));
  const linear_vae<T> vae{D, pseudo_inverse(D)};
  const rectified_flow path;
  const linear_denoiser<TestType> net(combined(0.5, matrix::identity(3), 0.0, matrix::identity(3)));
  const T start = TestType::make({2, 3}, random_numbers(6, 7));
  const auto sampler = rectified_flow_euler(path, {.steps = 4});
  const auto run = [&](const auto& policy, const auto& c) {
    return sample(start, model{net, path}, sampler, c, update{policy, infinity_norm{}, 3});
  };
  const vae_newton policy;
  const auto newton = run(policy, policy.constraint(pixel_constraint<TestType>(), vae));
  const auto parts = run(inexact_newton{}, decoded(pixel_constraint<TestType>(), vae, encoder_difference{}));
  CHECK(elements(newton.x) == elements(parts.x));
  CHECK(newton.passes ==
        pass_counts{.forward = 2 * 4 * 7, .decoder_forward = 2 * 4 * 3, .encoder_forward = 2 * 2 * 4 * 3});

  const auto descent = run(gradient_descent{}, decoded(pixel_constraint<TestType>(), vae, decoder_vjp{}));
  CHECK(descent.passes == pass_counts{.forward = 2 * 4 * 4,
                                      .backward = 2 * 4 * 3,
                                      .decoder_forward = 2 * 4 * 3,
                                      .decoder_backward = 2 * 4 * 3});
}
