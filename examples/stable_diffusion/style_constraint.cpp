#include "style_constraint.hpp"

#include <common/console.hpp>

#include <pushforward/constraints/separable.hpp>
#include <pushforward/error.hpp>
#include <pushforward/safetensors/regular_file.hpp>

#include <ATen/ATen.h>

namespace stable_diffusion {

namespace models = pushforward::libtorch::models;
using traits = pushforward::tensor_traits<at::Tensor>;

namespace {

at::Tensor resized(const at::Tensor& picture, std::int64_t size) {
  const auto side = static_cast<std::size_t>(size);
  return pushforward::resizing(picture, side, side, pushforward::resize_kernel::cubic,
                               pushforward::boundary::mirrored)
      .apply(picture);
}

} // namespace

models::clip_vision read_clip(const std::filesystem::path& folder, c10::Device device) {
  const auto config = folder / "config.json", weights = folder / "model.safetensors";
  using pushforward::safetensors::is_there;
  if (!is_there(config) || !is_there(weights))
    throw pushforward::bad_file(
        folder.string() +
        ": is no folder of a CLIP vision encoder as transformers writes it; it needs config.json and "
        "model.safetensors (pickled weights, pytorch_model.bin, are not read)");
  const models::weights stored({weights}, {at::kFloat, device});
  return {models::clip_vision_config::read(config), stored.watched(examples::stop_if_interrupted)};
}

style_constraint::style_constraint(models::clip_vision encoder, std::int64_t block, const at::Tensor& picture,
                                   style_loss loss)
    : gram_{[encoder, block](const at::Tensor& images) {
        return models::gram(models::patch_tokens(
            encoder.tokens_after(models::clip_pixels(images, encoder.config().image_size), block)));
      }},
      picture_{resized(picture, encoder.config().image_size)}, wanted_{gram_.decode(picture_)}, loss_{loss} {}

pushforward::constraint_value<at::Tensor> style_constraint::operator()(const at::Tensor& images) const {
  const auto at_images = gram_.linearize_decode(images);
  const auto samples = static_cast<std::size_t>(images.size(0));
  passes_->forward += samples;
  passes_->backward += samples;
  const at::Tensor difference = wanted_ - at_images.value;
  auto square = traits::dot(difference, difference);
  if (loss_ == style_loss::half_square)
    return {traits::combine(0.5, square, 0.0, square), at_images.vjp(difference)};
  auto loss = traits::square_root(std::move(square));
  at::Tensor error = at_images.vjp(traits::scale(traits::ratio(1.0, loss), difference));
  return {std::move(loss), std::move(error)};
}

at::Tensor style_constraint::distance(const at::Tensor& images) const {
  return (gram_.decode(images) - wanted_).to(at::kDouble).flatten(1).norm(2, 1);
}

double style_constraint::size() const { return wanted_.to(at::kDouble).norm().item<double>(); }

} // namespace stable_diffusion
