// Fills in a part of a picture.

#include "masks.hpp"
#include "model.hpp"
#include "picture_arguments.hpp"
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
  bool paste = false;
};

/// Root mean square of the masked difference of each image of a batch to one image.
json rms_of(const at::Tensor& images, const at::Tensor& image, const at::Tensor& mask) {
  const at::Tensor sums = ((images - image) * mask).to(at::kDouble).square().sum({1, 2, 3});
  const double values = mask.sum().item<double>() * static_cast<double>(image.size(1));
  json list = json::array();
  for (std::int64_t i = 0; i < sums.size(0); ++i) list.push_back(std::sqrt(sums[i].item<double>() / values));
  return list;
}

int inpaint(const arguments& a) {
  require_files(a.run, a.model, {{"the picture", a.picture.picture}, {"the mask", a.mask.picture}});
  // all of the picture's own faults come before the minute that loading takes
  const at::Tensor original = image_of(read_picture(a.picture.picture));
  const auto mask_for = [&](std::int64_t multiple) {
    return mask_of(a.mask, {original.size(2), original.size(3)}, a.picture.how, a.picture.asked_size(),
                   multiple);
  };
  mask_for(1);
  const latent_model m(a.model, [](const std::string& part) { std::cerr << "loading the " << part << "\n"; });
  const at::Tensor image = fitted(original, a.picture.how, a.picture.asked_size(), m.scale());
  const at::Tensor mask = mask_for(m.scale());
  const at::Tensor known = latent_mask(mask, m.scale());
  const double count = known.sum().item<double>();
  if (count == 0.0)
    throw bad_option("nothing is known: no block of " + std::to_string(m.scale()) + " x " +
                     std::to_string(m.scale()) + " pixels lies wholly in the known part");

  task t{"inpaint", "Inpainting", {}, 0.0, "constraint RMSE in latents", {}, {}, {}};
  t.like = m.latents(a.run.batch, image.size(2), image.size(3));
  const at::Tensor target = m.encode(image * mask);
  t.measured = count * static_cast<double>(target.size(1));
  t.guess = target.expand_as(t.like).contiguous();
  t.constraint = [c = masked<at::Tensor>(t.guess, known.to(t.like.device()).expand_as(t.like).contiguous())](
                     const at::Tensor& z, pass_counts&) { return c(z); };
  t.settings = {{"picture", a.picture.picture.filename().string()},
                {"width", image.size(3)},
                {"height", image.size(2)},
                {"known_share", mask.mean().item<double>()},
                {"known_share_of_the_latent", known.mean().item<double>()},
                {"pasted", a.paste}};
  if (a.paste) t.settings["feather"] = a.feather;

  const auto s = steer(m, t, a.run);
  const at::Tensor paste = feathered(mask, a.feather);
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

} // namespace

int main(int argc, char** argv) {
  CLI::App app{"Fills in a part of a picture with a Stable Diffusion 1.x or 2.x model that was not trained "
               "for it, by\n"
               "forward passes only. Writes the picture (PNG), a report (HTML) and a trace (JSON).",
               "pushforward_inpaint"};
  app.footer(
      "Examples:\n"
      "  pushforward_inpaint --model stable-diffusion-v1-5 --known left --width 512 --height 512 cat.jpg\n"
      "  pushforward_inpaint --model v1-5.safetensors --tokenizer tokenizer --mask mask.png --paste cat.png\n"
      "  pushforward_inpaint --model sd --box 100 200 128 128 --prompt \"a hat\" --guidance 5 cat.png\n"
      "  pushforward_inpaint --model sd --device cuda --dtype float16 --mask mask.png --batch 4 cat.png");
  arguments a;
  a.run.out = "inpainted";
  a.run.update.lr_last = 0.1;
  add_picture_options(app, a.picture, "what is to be completed");
  const std::string group = "What is known";
  app.add_option("--mask", a.mask.picture,
                 "picture of the same size: white is known, black is to be filled in")
      ->group(group);
  app.add_flag("--white-is-filled", a.mask.white_is_filled,
               "of the mask: white is to be filled in, as diffusers has it")
      ->group(group);
  app.add_option("--known", a.mask.known, "in place of a mask, the half that is known")
      ->check(CLI::IsMember({"left", "right", "upper", "lower"}))
      ->group(group);
  auto* box =
      app.add_option("--box", a.mask.box, "in place of a mask, what to fill in: top, left, height, width")
          ->group(group);
  app.add_flag("--paste", a.paste, "puts the known pixels back into the result")->group(group);
  app.add_option("--feather", a.feather, "pixels over which --paste fades at the edge")
      ->capture_default_str()
      ->check(CLI::Range(0, 512))
      ->group(group);
  add_model_options(app, a.model);
  add_run_options(app, a.run);
  return examples::run_with(app, argc, argv, [&] {
    a.mask.has_box = box->count() > 0;
    a.run.set_rates(app, 0.5, 0.1);
    return inpaint(a);
  });
}
