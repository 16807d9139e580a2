#include "jacobian.hpp"

#include <pushforward/analysis/jacobian.hpp>
#include <pushforward/estimate.hpp>
#include <pushforward/libtorch/tensor.hpp>

#include <ATen/ATen.h>

namespace mnist {

namespace pf = pushforward;
using traits = pf::tensor_traits<at::Tensor>;
using estimator = pf::estimator<at::Tensor, pf::libtorch::differentiable_denoiser, either_path>;

directions directions_at(const digit_model& m, const at::Tensor& image, const directions_options& o,
                         const std::function<void(const std::string&)>& tell) {
  if (m.latent()) throw pf::bad_option("directions are drawn for the pixel models, ddpm and flow");
  const auto rows = image.size(2), columns = image.size(3);
  if (o.row < 0 || o.column < 0 || o.row >= rows || o.column >= columns)
    throw pf::bad_option("the pixel must lie within " + std::to_string(rows) + " x " +
                         std::to_string(columns));
  if (!(o.quantile > 0.0 && o.quantile <= 1.0)) throw pf::bad_option("the quantile must lie in (0, 1]");

  pf::pass_counts counts;
  const estimator e(pf::model(m.denoiser(), m.path()), counts);
  const auto at = e.evaluate(pf::noised(m.path(), image, o.time, o.seed), o.time);
  at::Tensor error = at::zeros_like(image);
  error[0][0][o.row][o.column] = 1.0;

  tell("the dense Jacobian");
  const auto jacobian = pf::dense_jacobian(e, at);
  const auto n = static_cast<std::int64_t>(jacobian.size);
  const auto unit = traits::elements(error);
  const auto as_image = [&](const std::vector<double>& v) {
    return traits::from_elements(image, traits::shape_of(image), v);
  };

  directions d{o.time, at.x, at.x0, error, {}, {}, 0, 0};
  const auto add = [&](const std::string& name, const std::string& scaling, const at::Tensor& direction,
                       double divisor) {
    const at::Tensor scaled = divisor > 0.0 ? direction / divisor : direction;
    const at::Tensor after = e.evaluate(at.x + scaled, o.time).x0;
    const at::Tensor change = after - at.x0;
    d.tried.push_back({name, scaling, scaled, after, change, change[0][0][o.row][o.column].item<double>(),
                       change.norm().item<double>()});
  };
  const at::Tensor push = as_image(jacobian.times(unit));
  add("J e", "its " + std::to_string(o.quantile).substr(0, 4) + " quantile", push,
      push.abs().flatten().quantile(o.quantile).item<double>());
  tell("least squares with the dense Jacobian");
  const at::Tensor solved = as_image(pf::dense_algebra<at::Tensor>::least_squares(
      jacobian.size, jacobian.size, jacobian.values, unit, o.cutoff));
  add("J^-1 e", "its largest value", solved, solved.abs().max().item<double>());
  const at::Tensor pulled = e.vjp(at, error);
  add("J^T e", "its largest value", pulled, pulled.abs().max().item<double>());

  tell("singular values");
  at::Tensor matrix = at::empty({n, n}, at::kDouble);
  std::copy(jacobian.values.begin(), jacobian.values.end(), matrix.data_ptr<double>());
  const at::Tensor sigma = at::linalg_svdvals(matrix).contiguous();
  d.singular_values.assign(sigma.const_data_ptr<double>(), sigma.const_data_ptr<double>() + n);
  d.passes = counts.forward;
  d.backward = counts.backward;
  return d;
}

examples::spectrum spectrum_at(const digit_model& m, const at::Tensor& image, double time,
                               const std::string& of, std::size_t krylov, std::uint64_t seed) {
  pf::pass_counts counts;
  const estimator e(pf::model(m.denoiser(), m.path()), counts);
  const at::Tensor clean = m.latent() ? m.decoder().encode(image) : image;
  const auto at = e.evaluate(pf::noised(m.path(), clean, time, seed), time);
  return examples::spectrum_of(e, at, at.x0, of, krylov);
}

} // namespace mnist
