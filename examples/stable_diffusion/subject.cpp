#include "subject.hpp"

#include "room.hpp"

#include <common/command_line.hpp>
#include <common/console.hpp>

#include <pushforward/safetensors/file.hpp>

#include <ATen/ATen.h>

namespace stable_diffusion {

using namespace pushforward;

std::vector<examples::input_file> inputs_of(const model_arguments& m, const subject_arguments& a) {
  auto files = files_of(m);
  files.push_back({"the picture", a.picture.picture});
  files.push_back({"the latents", a.latents});
  return files;
}

void add_subject_options(CLI::App& app, subject_arguments& a) {
  add_picture_options(app, a.picture, "what is looked at [a sample of the model's own, 512 x 512]");
  app.get_option("picture")->required(false);
  const std::string group = "Picture";
  examples::add_number(app, "--seed", a.seed, examples::any_seed, "of the noise")->group(group);
  examples::add_name(
      app, "--latents", a.latents,
      "takes the noise from the tensor `start` of this .safetensors file, in place of the seed")
      ->group(group);
  examples::add_number(app, "--sample-steps", a.steps, examples::step_counts,
                       "time steps of the model's own sample")
      ->group(group);
}

void check_subject_options(const CLI::App& app, const subject_arguments& a, bool draws_more) {
  if (a.picture.picture.empty())
    examples::refuse_given(app, {"--fit"}, "without a picture: leave it out, or name a picture");
  else
    examples::refuse_given(app, {"--sample-steps"}, "with a picture, as nothing is sampled: leave it out");
  if (!a.latents.empty() && !draws_more)
    examples::refuse_given(app, {"--seed"}, "with --latents, as nothing is drawn: leave one of the two out");
}

subject::subject(const subject_arguments& a)
    : a_{a}, size_{a.picture.size.height > 0 ? a.picture.size.height : 512,
                   a.picture.size.width > 0 ? a.picture.size.width : 512} {
  if (!a.latents.empty()) safetensors::file{a.latents}; // its faults come before the minute of loading
  if (a.picture.picture.empty()) return;
  image_ = image_of(read_picture(a.picture.picture));
  size_ = fitted_size({image_.size(2), image_.size(3)}, a.picture.asked_size(), 1);
}

picture_size subject::require_servable(const model_outline& o, const std::vector<double>& times,
                                       const std::string& option) const {
  const picture_size own = image_.defined() ? picture_size{image_.size(2), image_.size(3)} : size_;
  const picture_size size =
      fitted_size(own, image_.defined() ? a_.picture.asked_size() : std::optional(size_), o.multiple);
  require_size(o, size);
  for (const double t : times) examples::as_option(option, [&] { return o.path.at(t); });
  if (!image_.defined()) sampler_of(o.path, own_sample(), "--sample-steps");
  require_start(a_.latents, {1, o.channels, size.height / o.scale, size.width / o.scale});
  return size;
}

void subject::require_room(const model_arguments& m) const {
  stable_diffusion::require_room(m, {size_}, "ask for fewer pixels with --width and --height");
}

at::Tensor subject::latent(const latent_model& m) const {
  if (image_.defined())
    return m.encode(fitted(image_, a_.picture.how, a_.picture.asked_size(), m.multiple()));
  const at::Tensor x = noise(m.latents(1, size_.height, size_.width));
  examples::progress_bar bar("sample");
  const auto observe = [&](const progress<at::Tensor>& p) {
    if (examples::interrupted()) throw examples::stopped_early{};
    bar.show(examples::share_done(p), 1.0);
  };
  return m.with_denoiser([&](const auto& denoiser) {
    return sample(x, model(denoiser, m.path()), sampler_of(m.path(), own_sample()),
                  examples::any_constraint{}, update{none{}}, {}, observe)
        .x;
  });
}

run_arguments subject::own_sample() const {
  run_arguments r;
  r.steps = a_.steps;
  r.eta = 0.0;
  return r;
}

at::Tensor subject::noise(const at::Tensor& like) const {
  return a_.latents.empty() ? standard_normal(like, {a_.seed, 0, 0}) : read_start(a_.latents, like);
}

at::Tensor subject::noised(const latent_model& m, const at::Tensor& clean, double t) const {
  const auto c = m.path().at(t);
  return c.a * clean + c.s * noise(clean);
}

std::string subject::name() const {
  return image_.defined() ? examples::name_of(a_.picture.picture) : "a sample of the model";
}

} // namespace stable_diffusion
