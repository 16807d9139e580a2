// Enlarges a picture.

#include "model.hpp"
#include "picture_arguments.hpp"
#include "room.hpp"
#include "run.hpp"

#include <common/command_line.hpp>

#include <pushforward/constraints/linear.hpp>
#include <pushforward/constraints/separable.hpp>

#include <ATen/ATen.h>

#include <cmath>
#include <iostream>
#include <numeric>

namespace {

using namespace stable_diffusion;
using namespace pushforward;
using json = nlohmann::ordered_json;

struct arguments {
  model_arguments model;
  run_arguments run;
  picture_arguments picture;
  std::int64_t factor = 8;
  bool shrink_first = false;
  bool averaging = false;
  double noise_level = 0.0;
  pullback_arguments pullback;
};

/// For each image of a batch.
template <class F> json each(const at::Tensor& images, const F& f) {
  json list = json::array();
  for (std::int64_t i = 0; i < images.size(0); ++i) list.push_back(f(images.narrow(0, i, 1)));
  return list;
}

int superres(const arguments& a) {
  require_files(a.run, a.model, {{"the picture", a.picture.picture}});
  const at::Tensor given = image_of(read_picture(a.picture.picture));
  const model_outline outline = outline_of(a.model);
  const auto side = [](std::int64_t n) { return static_cast<std::size_t>(n); };
  // sides of the result are multiples of both what the model takes and the factor
  const std::int64_t common = std::lcm(outline.multiple, a.factor), larger = a.shrink_first ? 1 : a.factor;
  const picture_size brought =
      fitted_size({given.size(2), given.size(3)}, a.picture.asked_size(), common / larger);
  const std::int64_t height = brought.height * larger, width = brought.width * larger;
  require_servable(outline, a.model, a.run, {height, width});
  require_room(a.model,
               {{height, width},
                a.run.batch,
                a.pullback.kind == pullback_kind::decoder,
                a.run.update.policy == examples::policy_kind::forward_mode_newton},
               "ask for fewer pixels with --width, --height and --factor, for a smaller --batch, or for "
               "--pullback encoder");
  const latent_model m(a.model, [](const std::string& part) { std::cerr << "loading the " << part << "\n"; });
  const at::Tensor input = fitted(given, a.picture.how, a.picture.asked_size(), common / larger);

  task t{"superres",
         "Super-resolution x" + std::to_string(a.factor),
         {},
         0.0,
         "constraint RMSE in pixels",
         {},
         {},
         {}};
  t.like = m.latents(a.run.batch, height, width);
  const at::Tensor large = at::zeros({1, 3, height, width}, t.like.options());
  const auto shrink = a.averaging ? averaging(large, side(a.factor))
                                  : resizing(large, side(height / a.factor), side(width / a.factor),
                                             resize_kernel::cubic, boundary::mirrored);
  const at::Tensor small = a.shrink_first ? shrink.apply(input.to(large.device())) : input.to(large.device());
  const at::Tensor enlarged = resizing(small, side(height), side(width)).apply(small).clamp(-1.0, 1.0);
  t.guess = m.encode(enlarged).expand_as(t.like).contiguous();
  t.measured = static_cast<double>(small.numel());
  const at::Tensor measured = small.expand({a.run.batch, -1, -1, -1}).contiguous();
  t.constraint = pulled_back(linear(shrink, measured, a.noise_level), m, a.pullback);
  t.settings = {{"picture", examples::name_of(a.picture.picture)},
                {"factor", a.factor},
                {"width", width},
                {"height", height},
                {"downsampling", a.averaging ? "block means" : "antialiased cubic"},
                {"noise_level", a.noise_level}};
  a.pullback.describe(t.settings);

  const auto s = steer(m, t, a.run);
  findings f;
  f.inputs = {{"input", picture_of(small.cpu())}, {"enlarged by a cubic resize", picture_of(enlarged.cpu())}};
  for (std::int64_t i = 0; i < s.images.size(0); ++i) f.pictures.push_back(s.images[i]);
  f.results["constraint_RMSE_in_pixels"] = each(s.images, [&](const at::Tensor& image) {
    return (shrink.apply(image.to(large.device())) - small)
        .to(at::kDouble)
        .square()
        .mean()
        .sqrt()
        .item<double>();
  });
  if (a.shrink_first) {
    f.inputs.insert(f.inputs.begin(), {"original", picture_of(input)});
    f.results["PSNR_dB"] = each(s.images, [&](const at::Tensor& image) { return psnr(image, input); });
    f.results["PSNR_dB_of_the_cubic_resize"] = psnr(enlarged.cpu(), input);
  }
  return write_results(m, t, a.run, s, f);
}

} // namespace

int main(int argc, char** argv) {
  CLI::App app{"Enlarges a picture with a Stable Diffusion model that was not trained for it. "
               "With --pullback\n"
               "encoder (VAE-Newton) there is no backward pass anywhere. Writes the picture (PNG), a report "
               "(HTML) and a\n"
               "trace (JSON).",
               "pushforward_superres"};
  app.footer(
      "Examples:\n"
      "  pushforward_superres --model stable-diffusion-v1-5 --pullback encoder thumbnail.png\n"
      "  pushforward_superres --model sd --factor 4 --prompt \"a portrait\" --guidance 3 face.jpg\n"
      "  pushforward_superres --model sd --shrink-first --width 512 --height 512 photo.jpg   (to compare)");
  arguments a;
  a.run.out = "enlarged";
  a.run.update.iterations = 10;
  a.run.update.lr = a.run.update.lr_last = 0.1;
  add_picture_options(app, a.picture, "what is to be enlarged");
  const std::string group = "Super-resolution";
  examples::add_number(app, "--factor", a.factor, examples::whole_numbers{2, 32}, "how many times larger")
      ->group(group);
  app.add_flag("--shrink-first", a.shrink_first,
               "the picture is the large one: shrink it, then compare the result with it")
      ->group(group);
  app.add_flag("--averaging", a.averaging,
               "small pixels are means of blocks, not an antialiased cubic resize")
      ->group(group);
  examples::add_number(app, "--noise-level", a.noise_level, examples::numbers{.least = 0.0, .most = 100.0},
                       "standard deviation of the noise of the picture, of a range of 2")
      ->group(group);
  add_pullback_options(app, a.pullback, group, " (with a rate of 0.5 unless --lr says else)");
  add_model_options(app, a.model);
  add_run_options(app, a.run);
  return examples::run_with(app, argc, argv, [&] {
    choose_pullback(app, a.pullback, a.run.update.policy, a.model.vae_placement.type);
    const double rate = a.pullback.kind == pullback_kind::encoder ? 0.5 : 0.1;
    a.run.set_rates(app, rate, rate);
    check_model_options(app, a.model);
    check_run_options(app, a.run);
    if (a.run.update.policy == examples::policy_kind::none)
      examples::refuse_given(app, {"--noise-level"},
                             "with --policy none, which looks at no error: leave it out");
    return superres(a);
  });
}
