// Every policy and step size, for docs/policies.md.

#include "toy.hpp"

#include <pushforward/xtensor/dense_algebra.hpp>

int main() {
  //! [setup]
  const network net;
  const pf::rectified_flow path;
  const pf::model model{net, path};
  const auto sampler = pf::rectified_flow_euler(path, {.steps = 20});
  const tensor y{{0.5F, 0, 0, 0}, {-1, 0, 0, 0}}, known{{1, 0, 0, 0}, {1, 0, 0, 0}};
  const pf::masked<tensor> constraint(y, known);
  const tensor start = pf::standard_normal(y, {.seed = 1});
  const auto run = [&](const auto& update) { return pf::sample(start, model, sampler, constraint, update); };
  //! [setup]

  const auto ends_well = [](const auto& result, const char* what) {
    expect(near(result.x, {{0.5F, 0.5F, 0.5F, 0.5F}, {-1, -1, -1, -1}}, 0.2), what);
  };

  //! [inexact_newton]
  const auto newton = run(pf::update{pf::inexact_newton{.probe = 0.005}, pf::infinity_norm{}, 5});
  std::cout << newton.passes.forward << '\n'; // 2 samples x 20 steps x (1 + 2 x 5) = 440
  //! [inexact_newton]
  ends_well(newton, "inexact Newton");
  expect(newton.passes.forward == 440, "440 passes");

  //! [forward_mode_newton]
  const auto exact = run(pf::update{pf::forward_mode_newton{}, pf::infinity_norm{}, 5});
  //! [forward_mode_newton]
  ends_well(exact, "forward-mode Newton");
  expect(exact.passes.forward == 240 && exact.passes.forward_mode == 200, "passes of forward-mode Newton");

  //! [gradient_descent]
  const auto descent = run(pf::update{pf::gradient_descent{}, pf::infinity_norm{}, 5});
  std::cout << descent.passes.forward << ' ' << descent.passes.backward << '\n'; // 240 200
  //! [gradient_descent]
  ends_well(descent, "gradient descent");
  expect(descent.passes.forward == 240 && descent.passes.backward == 200, "passes of gradient descent");

  //! [exact_newton]
  const auto dense = run(pf::update{pf::exact_newton{.cutoff = 0.5}, pf::infinity_norm{}, 5});
  //! [exact_newton]
  ends_well(dense, "exact Newton");
  expect(dense.passes.forward == 2 * 20 * (1 + 5 * (1 + 4)), "passes of exact Newton");

  //! [posterior_step]
  const auto posterior = run(pf::posterior_step{});
  std::cout << posterior.passes.forward << '\n'; // 2 samples x 20 steps x 2 = 80
  //! [posterior_step]
  expect(posterior.passes.forward == 80, "passes of the posterior step");
  ends_well(posterior, "the posterior step");

  //! [replacement]
  const auto exact_at_the_end = run(pf::with_replacement<pf::posterior_step>{{}, 0.3});
  //! [replacement]
  expect(pf::tensor_traits<tensor>::values(constraint(exact_at_the_end.x).loss)[1] < 1e-10,
         "replacement is exact");

  //! [none]
  const auto plain = run(pf::update{pf::none{}});
  //! [none]
  expect(plain.passes.forward == 40, "passes of plain sampling");

  //! [vae_newton]
  struct {
    tensor decode(const tensor& z) const { return 2 * z; }
    tensor encode(const tensor& image) const { return image / 2; }
  } vae;
  const pf::vae_newton policy{.encoder_probe = 0.005};
  const pf::masked<tensor> pixels(2 * y, known);
  const auto latent = pf::sample(start, model, sampler, policy.constraint(pixels, vae),
                                 pf::update{policy, pf::infinity_norm{}, 5});
  //! [vae_newton]
  ends_well(latent, "VAE-Newton");
  expect(latent.passes.backward == 0 && latent.passes.decoder_backward == 0, "VAE-Newton runs forward only");
  expect(latent.passes.decoder_forward == 200 && latent.passes.encoder_forward == 400, "passes of the VAE");

  //! [infinity_norm]
  run(pf::update{pf::inexact_newton{}, pf::infinity_norm{.rate = {.first = 0.5, .last = 0.1}}, 5});
  run(pf::update{pf::inexact_newton{}, pf::infinity_norm{pf::constant_rate(0.1)}, 10});
  //! [infinity_norm]

  //! [constant_step]
  const auto fixed = run(pf::update{pf::inexact_newton{}, pf::constant_step{pf::constant_rate(0.5)}, 5});
  //! [constant_step]
  expect(fixed.steps == 20, "a constant step");

  //! [spectral]
  const auto spectral = run(pf::update{pf::inexact_newton{}, pf::spectral{.c = 0.5, .krylov = 2}, 5});
  //! [spectral]
  ends_well(spectral, "the spectral step");

  //! [tolerance]
  const auto until = run(pf::update{pf::inexact_newton{}, pf::infinity_norm{}, 20, 1e-3});
  //! [tolerance]
  expect(until.passes.forward < 2 * 20 * 41, "the tolerance ends inner loops");
  ends_well(until, "tolerance");
}
