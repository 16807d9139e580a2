// Makes a picture of a prompt in the style of a picture.

#include "model.hpp"
#include "pictures.hpp"
#include "room.hpp"
#include "run.hpp"
#include "style_constraint.hpp"

#include <common/command_line.hpp>

#include <pushforward/error.hpp>
#include <pushforward/safetensors/regular_file.hpp>

#include <ATen/ATen.h>

#include <algorithm>
#include <iostream>

namespace {

using namespace stable_diffusion;
using namespace pushforward;
using json = nlohmann::ordered_json;

struct arguments {
  model_arguments model;
  run_arguments run;
  std::filesystem::path picture, content, clip;
  fitting how = fitting::crop;
  picture_size size{512, 512};
  std::int64_t block = 2;
  pullback_arguments pullback;
};

int style(const arguments& a) {
  std::vector<examples::input_file> inputs = network_files(a.clip, "a file of CLIP");
  inputs.push_back({"the picture of the style", a.picture});
  inputs.push_back({"the content", a.content});
  require_files(a.run, a.model, inputs);
  // the pictures' own faults come before the minute that loading takes
  const at::Tensor original = image_of(read_picture(a.picture));
  at::Tensor content;
  if (!a.content.empty()) content = fitted(image_of(read_picture(a.content)), a.how, a.size, 1);
  if (a.content.empty() && a.run.start < 1.0 && a.run.latents.empty())
    throw bad_option("a start below 1 is from a picture: pass it as --content");
  const model_outline outline = outline_of(a.model);
  require_servable(outline, a.model, a.run, fitted_size(a.size, a.size, outline.multiple));
  require_room(a.model,
               {a.size, a.run.batch, a.pullback.kind == pullback_kind::decoder,
                a.run.update.policy == examples::policy_kind::forward_mode_newton},
               "ask for fewer pixels with --width and --height, for a smaller --batch, or for --pullback "
               "encoder");
  if (const auto config = a.clip / "config.json"; pushforward::safetensors::is_there(config)) {
    const auto blocks = libtorch::models::clip_vision_config::read(config).num_hidden_layers;
    if (a.block >= blocks)
      throw bad_option("--block: there is no residual block " + std::to_string(a.block) + " in " +
                       a.clip.string() + ", whose last is " + std::to_string(blocks - 1));
  }
  const auto clip = read_clip(a.clip, device_named(a.model.unet.device));
  const std::int64_t side = std::min(original.size(2), original.size(3));
  const at::Tensor square =
      a.how == fitting::crop ? fitted(original, a.how, picture_size{side, side}, 1) : original;
  const bool by_length = a.run.update.policy == examples::policy_kind::posterior_step;
  const style_constraint constraint(clip, a.block, square.to(device_named(a.model.unet.device)),
                                    by_length ? style_loss::half_square : style_loss::norm);
  const latent_model m(a.model, [](const std::string& part) { std::cerr << "loading the " << part << "\n"; });

  task t{"style", "Style", {}, 0.0, {}, {}, {}, {}};
  t.residual = by_length ? "half the squared distance of the Gram matrices" : "distance of the Gram matrices";
  t.like = m.latents(a.run.batch, a.size.height, a.size.width);
  if (content.defined()) t.guess = m.encode(content).expand_as(t.like).contiguous();
  t.constraint = pulled_back(constraint, m, a.pullback);
  t.settings = {{"picture", examples::name_of(a.picture)},
                {"clip", examples::name_of(a.clip)},
                {"block", a.block},
                {"width", a.size.width},
                {"height", a.size.height}};
  a.pullback.describe(t.settings);
  if (content.defined()) t.settings["content"] = examples::name_of(a.content);

  const auto s = steer(m, t, a.run);
  findings f;
  f.inputs = {{"style", picture_of(constraint.picture())}};
  if (content.defined()) f.inputs.push_back({"content", picture_of(content)});
  for (std::int64_t i = 0; i < s.images.size(0); ++i) f.pictures.push_back(s.images[i]);
  f.costs = {{"CLIP_passes", constraint.passes().forward},
             {"CLIP_backward_passes", constraint.passes().backward}};
  const at::Tensor loss = constraint.distance(s.images.to(t.like.device())).cpu();
  json losses = json::array(), shares = json::array();
  for (std::int64_t i = 0; i < loss.size(0); ++i) {
    losses.push_back(loss[i].item<double>());
    shares.push_back(loss[i].item<double>() / constraint.size());
  }
  f.results = {{"distance_of_the_Gram_matrices", losses}, {"relative_distance", shares}};
  return write_results(m, t, a.run, s, f);
}

} // namespace

int main(int argc, char** argv) {
  CLI::App app{"Makes a picture of a prompt in the style of a picture, with a Stable Diffusion "
               "model and a CLIP\n"
               "vision encoder: the Gram matrix of CLIP's features is led to that of the style. No backward "
               "pass goes\n"
               "through the UNet. Writes the picture (PNG), a report (HTML) and a trace (JSON).",
               "pushforward_style"};
  app.footer(
      "Examples:\n"
      "  pushforward_style --model stable-diffusion-v1-5 --clip clip-vit-base-patch16 --prompt \"a cat\" "
      "waves.jpg\n"
      "  pushforward_style --model sd --clip clip --prompt \"a house\" --pullback encoder --batch 4 ink.png\n"
      "  pushforward_style --model sd --clip clip --prompt \"a house\" --content house.jpg --start 0.6 "
      "ink.png");
  arguments a;
  a.model.guidance = 3.0;
  a.run.out = "styled";
  a.run.update.lr_last = 0.1;
  const std::string group = "Style";
  examples::add_name(app, "picture", a.picture, "whose style is wanted, JPEG or PNG")
      ->required()
      ->group(group);
  examples::add_name(app, "--clip", a.clip,
                     "folder of a CLIP vision encoder, or of a whole CLIP model, as transformers writes it: "
                     "config.json and model.safetensors (ViT-B/16 in the reference)")
      ->required()
      ->group(group);
  examples::add_number(app, "--block", a.block, examples::whole_numbers{0, 1000},
                       "residual block of CLIP whose features are compared, from 0")
      ->group(group);
  examples::add_name(app, "--content", a.content,
                     "with --start below 1: the picture that the run starts from")
      ->group(group);
  examples::add_choice<fitting>(app, "--fit", a.how, {{"crop", fitting::crop}, {"resize", fitting::resize}},
                                "how the style is made square, and the content brought to the result's size",
                                group);
  const examples::whole_numbers sides{1, 8192};
  examples::add_number(app, "--width", a.size.width, sides, "of the result")->group(group);
  examples::add_number(app, "--height", a.size.height, sides, "of the result")->group(group);
  add_pullback_options(app, a.pullback, group);
  add_model_options(app, a.model);
  add_run_options(app, a.run);
  return examples::run_with(app, argc, argv, [&] {
    choose_pullback(app, a.pullback, a.run.update.policy, a.model.vae_placement.type);
    if (a.run.update.policy == examples::policy_kind::posterior_step) {
      if (a.pullback.kind == pullback_kind::encoder)
        throw bad_option("--policy posterior_step takes its length from the error, and that of --pullback "
                         "encoder has none: leave it out, or take inexact_newton");
      if (a.run.update.krylov > 1)
        throw bad_option("--krylov must be 1 for a style, which is no linear measurement: leave it out");
    }
    a.run.set_rates(app, 0.5, 0.1);
    check_model_options(app, a.model);
    check_run_options(app, a.run);
    if (a.run.start == 1.0 || !a.run.latents.empty())
      examples::refuse_given(app, {"--content"},
                             "unless the run starts from it: pass --start below 1, and no --latents");
    return style(a);
  });
}
