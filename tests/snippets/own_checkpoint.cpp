// docs/stable-diffusion.md: in your own program. Run on the small checkpoint of the tests.

#include <pushforward/libtorch/denoiser.hpp>
#include <pushforward/libtorch/models/autoencoder_kl.hpp>
#include <pushforward/libtorch/models/sd3_checkpoint.hpp>
#include <pushforward/libtorch/models/sd3_transformer.hpp>
#include <pushforward/libtorch/tensor.hpp>
#include <pushforward/pushforward.hpp>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <filesystem>

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const std::filesystem::path folder = argv[1];
  const c10::NoGradGuard no_grad;
  at::manual_seed(1);
  const at::Tensor image = at::rand({1, 3, 64, 64}) * 2.0 - 1.0;
  //! [own_checkpoint]
  namespace pf = pushforward;
  namespace models = pushforward::libtorch::models;
  const models::placement where{at::kFloat, at::kCPU};
  const auto c = models::open_sd3_checkpoint(folder);
  const auto prompt = models::encode_prompts(c, {"a lighthouse"}, where);
  const models::autoencoder_kl vae(models::autoencoder_kl_config_of(c.vae), models::weights_of(c.vae, where));
  const models::sd3_transformer net(models::sd3_transformer_config_of(c.transformer),
                                    models::weights_of(c.transformer, where));
  const pf::libtorch::forward_denoiser denoiser(models::conditioned(net, prompt),
                                                {.prediction = pf::prediction_type::flow});

  const at::Tensor target = vae.encode(image); // [1, 3, H, W] in [-1, 1]
  at::Tensor known = at::ones_like(target);
  known.narrow(3, target.size(3) / 2, target.size(3) / 2).zero_(); // the left half
  const auto sampler = pf::rectified_flow_euler(c.path, {.steps = 20, .grid = pf::flow_grid::shifted_twice});
  const auto result = pf::sample(pf::standard_normal(target, {.seed = 1}), pf::model{denoiser, c.path},
                                 sampler, pf::masked<at::Tensor>(target, known), pf::posterior_step{});
  const at::Tensor picture = vae.decode(result.x);
  //! [own_checkpoint]
  const double left =
      (known * (result.x - target)).norm().item<double>() / (known * target).norm().item<double>();
  return picture.sizes() == image.sizes() && result.passes.forward == 40 && left < 0.1 ? 0 : 1;
}
