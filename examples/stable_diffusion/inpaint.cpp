// Fills in a part of a picture.

#include "masks.hpp"
#include "model.hpp"
#include "picture_arguments.hpp"
#include "room.hpp"
#include "run.hpp"

#include <common/command_line.hpp>

#include <pushforward/constraints/masked.hpp>

#include <ATen/ATen.h>

#include <cmath>
#include <iostream>

namespace {

using namespace stable_diffusion;
using namespace pushforward;
using json = nlohmann::ordered_json;

struct arguments {
  model_arguments model;
  run_arguments run;
  picture_arguments picture;
  mask_arguments mask;
  std::int64_t feather = 8;
  bool paste = true;
};

/// Root mean square of the difference of each image of a batch to one image, weighted by the mask.
json rms_of(const at::Tensor& images, const at::Tensor& image, const at::Tensor& mask) {
  const at::Tensor sums = ((images - image).to(at::kDouble).square() * mask).sum({1, 2, 3});
  const double values = mask.to(at::kDouble).sum().item<double>() * static_cast<double>(image.size(1));
  json list = json::array();
  for (std::int64_t i = 0; i < sums.size(0); ++i) list.push_back(std::sqrt(sums[i].item<double>() / values));
  return list;
}

int inpaint(const arguments& a) {
  require_files(a.run, a.model, {{"the picture", a.picture.picture}, {"the mask", a.mask.picture}});
  // all of the picture's own faults come before the minute that loading takes
  const at::Tensor original = image_of(read_picture(a.picture.picture));
  const auto size = a.picture.asked_size();
  const model_outline outline = outline_of(a.model);
  const picture_size own{original.size(2), original.size(3)},
      brought = fitted_size(own, size, outline.multiple);
  const known_part part(a.mask, own);
  require_servable(outline, a.model, a.run, brought);
  require_room(
      a.model,
      {brought, a.run.batch, false, a.run.update.policy == examples::policy_kind::forward_mode_newton},
      "ask for fewer pixels with --width and --height, or a smaller --batch");
  const at::Tensor mask = part.mask(a.picture.how, size, outline.multiple, outline.scale);
  part.tell();
  const latent_model m(a.model, [](const std::string& what) { std::cerr << "loading the " << what << "\n"; });
  const at::Tensor image = fitted(original, a.picture.how, size, m.multiple());
  const at::Tensor known = latent_mask(mask, m.scale());
  const double count = known.to(at::kDouble).sum().item<double>();

  task t{"inpaint", "Inpainting", {}, 0.0, "constraint RMSE in latents", {}, {}, {}};
  t.like = m.latents(a.run.batch, image.size(2), image.size(3));
  // what is known in part is seen as it is: its weight is the constraint's
  const at::Tensor target = m.encode(image * mask.gt(0.0));
  t.measured = count * static_cast<double>(target.size(1));
  t.guess = target.expand_as(t.like).contiguous();
  t.constraint = masked<at::Tensor>(t.guess, known.to(t.like.device()).expand_as(t.like).contiguous());
  t.settings = {{"picture", examples::name_of(a.picture.picture)},
                {"width", image.size(3)},
                {"height", image.size(2)},
                {"soft_mask", a.mask.soft},
                {"known_share", mask.mean().item<double>()},
                {"known_share_of_the_latent", known.mean().item<double>()},
                {"pasted", a.paste}};
  if (a.paste && !a.mask.soft) t.settings["feather"] = a.feather;

  const auto s = steer(m, t, a.run);
  const at::Tensor paste = a.mask.soft ? mask : feathered(mask, a.feather);
  findings f;
  f.inputs = {{"input", picture_of(image)}, {"known", picture_of(image * mask)}};
  for (std::int64_t i = 0; i < s.images.size(0); ++i) {
    const at::Tensor result = s.images.narrow(0, i, 1);
    f.pictures.push_back((a.paste ? paste * image + (1.0 - paste) * result : result).squeeze(0));
  }
  f.results["constraint_RMSE_in_latents"] = rms_of(s.latents.cpu(), target.cpu(), known);
  f.results["RMSE_of_known_pixels"] = rms_of(s.images, image, mask);
  f.results["RMSE_of_known_pixels_by_the_autoencoder_alone"] = rms_of(m.decode(target), image, mask)[0];
  if (a.paste) f.results["RMSE_of_known_pixels_after_pasting"] = rms_of(at::stack(f.pictures), image, mask);
  return write_results(m, t, a.run, s, f);
}

/// Refuses an option that another one leaves without an effect.
void check(const CLI::App& app, const arguments& a) {
  if (app.count("--feather") == 0) return;
  if (!a.paste)
    throw bad_option(
        "--feather says how pasted pixels fade, but --no-paste pastes none: leave out one of them");
  if (a.mask.soft)
    throw bad_option(
        "--feather says how pasted pixels fade, but with --soft-mask they fade as the mask does: "
        "leave out one of them");
}

} // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "Fills in a part of a picture with a Stable Diffusion model that was not trained "
      "for it, by\n"
      "forward passes only. The pixels that are known are put back into the result. Writes the picture "
      "(PNG), a\n"
      "report (HTML) and a trace (JSON).",
      "pushforward_inpaint"};
  app.footer(
      "Examples:\n"
      "  pushforward_inpaint --model stable-diffusion-v1-5 --known left --width 512 --height 512 cat.jpg\n"
      "  pushforward_inpaint --model v1-5.safetensors --tokenizer tokenizer --mask mask.png cat.png\n"
      "  pushforward_inpaint --model sd --box 100 200 128 128 --prompt \"a hat\" --guidance 5 cat.png\n"
      "  pushforward_inpaint --model sd --device cuda --dtype float16 --mask mask.png --batch 4 cat.png");
  arguments a;
  a.run.out = "inpainted";
  a.run.update.lr_last = 0.1;
  add_picture_options(app, a.picture, "what is to be completed");
  const std::string group = "What is known";
  app.add_option(
         "--mask", a.mask.picture,
         "picture of the same size: white is known, black is to be filled in; where it has transparent "
         "parts, those are")
      ->group(group);
  app.add_flag("--white-is-filled", a.mask.white_is_filled,
               "of the mask: white is to be filled in, as diffusers has it")
      ->group(group);
  app.add_option("--known", a.mask.known, "in place of a mask, the half that is known")
      ->check(CLI::IsMember({"left", "right", "upper", "lower"}))
      ->group(group);
  auto* box = examples::add_number(app, "--box", a.mask.box, examples::whole_numbers{0, 8192},
                                   "in place of a mask, what to fill in: top, left, height, width")
                  ->default_str("")
                  ->group(group);
  app.add_flag("--soft-mask", a.mask.soft,
               "of the mask: grey is a weight, of the constraint and of pasting; else it is white or black, "
               "whichever is nearer")
      ->group(group);
  const std::string no_pasting =
      "the result is the decoder's picture throughout; else the known pixels are put back into it";
  const std::string pasting = "puts the known pixels back into the result, as is done anyway";
  auto* no_paste = app.add_flag("--no-paste", no_pasting)->group(group);
  app.add_flag("--paste", pasting)->excludes(no_paste)->group(group);
  examples::add_number(app, "--feather", a.feather, examples::whole_numbers{0, 512},
                       "pixels over which pasted ones fade at the edge of the unknown part")
      ->group(group);
  add_model_options(app, a.model);
  add_run_options(app, a.run);
  return examples::run_with(app, argc, argv, [&] {
    a.mask.has_box = box->count() > 0;
    a.paste = no_paste->count() == 0;
    check(app, a);
    a.run.set_rates(app, 0.5, 0.1);
    if (a.run.update.policy == examples::policy_kind::vae_newton)
      throw bad_option("--policy vae_newton is for errors of pixels, and those here are of latents: take "
                       "inexact_newton");
    check_model_options(app, a.model);
    check_run_options(app, a.run);
    return inpaint(a);
  });
}
