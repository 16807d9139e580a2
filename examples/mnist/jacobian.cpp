#include "jacobian.hpp"

#include <pushforward/analysis/jacobian.hpp>
#include <pushforward/estimate.hpp>
#include <pushforward/libtorch/tensor.hpp>

#include <common/console.hpp>

#include <ATen/ATen.h>

#include <algorithm>

namespace mnist {

namespace pf = pushforward;
using traits = pf::tensor_traits<at::Tensor>;
using estimator = pf::estimator<at::Tensor, pf::libtorch::differentiable_denoiser, examples::any_path>;

namespace {

/// The estimator, for `dense_jacobian`: `before` hears how many columns are done.
struct column_counter {
  using tensor_type = at::Tensor;
  const estimator& e;
  std::function<void(std::int64_t)> before;
  mutable std::int64_t columns = 0;

  at::Tensor jvp(const pf::estimate<at::Tensor>& at, const at::Tensor& v, double probe) const {
    before(columns);
    columns += v.size(0);
    return e.jvp(at, v, probe);
  }
};

} // namespace

directions directions_at(const digit_model& m, const at::Tensor& image, const directions_options& o,
                         const std::function<void(const std::string&, double)>& tell) {
  if (m.latent()) throw pf::bad_option("directions are drawn for the pixel models, ddpm and flow");
  const auto rows = image.size(2), columns = image.size(3);
  if (o.row < 0 || o.column < 0 || o.row >= rows || o.column >= columns)
    throw pf::bad_option("the pixel must lie within " + std::to_string(rows) + " x " +
                         std::to_string(columns));
  if (!(o.quantile > 0.0 && o.quantile <= 1.0)) throw pf::bad_option("the quantile must lie in (0, 1]");
  for (const double cutoff : o.cutoffs)
    if (!(cutoff >= 0.0 && cutoff < 1.0)) throw pf::bad_option("each cut-off must lie in [0, 1)");

  pf::pass_counts counts;
  const estimator e(pf::model(m.denoiser(), m.path()), counts);
  const auto at = e.evaluate(pf::noised(m.path(), image, o.time, o.seed), o.time);
  at::Tensor error = at::zeros_like(image);
  error[0][0][o.row][o.column] = 1.0;

  directions d{o.time, at.x, at.x0, error, {}, {}, 0, 0};
  const at::Tensor push = e.jvp(at, error, 0.0);
  const auto tried = [&](const std::string& name, const std::string& scaling, const at::Tensor& direction,
                         double divisor) {
    const at::Tensor scaled = divisor > 0.0 ? direction / divisor : direction;
    const at::Tensor after = e.evaluate(at.x + scaled, o.time).x0;
    const at::Tensor change = after - at.x0;
    return tried_direction{name,
                           scaling,
                           scaled,
                           after,
                           change,
                           change[0][0][o.row][o.column].item<double>(),
                           change.norm().item<double>(),
                           at::cosine_similarity(direction.flatten(), push.flatten(), 0).item<double>(),
                           0.0,
                           0};
  };
  d.tried.push_back(tried("J e", "its " + std::to_string(o.quantile).substr(0, 4) + " quantile", push,
                          push.abs().flatten().quantile(o.quantile).item<double>()));
  const at::Tensor pulled = e.vjp(at, error);
  d.tried.push_back(tried("J^T e", "its largest value", pulled, pulled.abs().max().item<double>()));
  try {
    const double all = static_cast<double>(image.numel());
    const auto jacobian = pf::dense_jacobian(
        column_counter{e,
                       [&](std::int64_t done) { tell("dense Jacobian", static_cast<double>(done) / all); }},
        at);
    tell("singular values", 1.0);
    const auto n = image.numel();
    at::Tensor matrix = at::empty({n, n}, at::kDouble);
    std::copy(jacobian.values.begin(), jacobian.values.end(), matrix.data_ptr<double>());
    const at::Tensor sigma = at::linalg_svdvals(matrix).contiguous();
    d.singular_values.assign(sigma.const_data_ptr<double>(), sigma.const_data_ptr<double>() + n);
    for (const double cutoff : o.cutoffs) {
      tell("least squares with the dense Jacobian", 1.0);
      const at::Tensor solved = traits::from_elements(
          image, traits::shape_of(image),
          pf::dense_algebra<at::Tensor>::least_squares(jacobian.size, jacobian.size, jacobian.values,
                                                       traits::elements(error), cutoff));
      auto t = tried("J^-1 e", "its largest value", solved, solved.abs().max().item<double>());
      t.cutoff = cutoff;
      t.kept = static_cast<std::size_t>(
          std::count_if(d.singular_values.begin(), d.singular_values.end(),
                        [&](double s) { return s > cutoff * d.singular_values.front(); }));
      d.tried.insert(d.tried.end() - 1, std::move(t));
    }
    d.completed = true;
  } catch (const examples::stopped_early&) {
  }
  d.passes = counts.forward;
  d.backward = counts.backward;
  return d;
}

examples::spectrum spectrum_at(const digit_model& m, const at::Tensor& image, double time,
                               const std::string& of, std::size_t krylov, std::uint64_t seed,
                               const std::function<void(double)>& tell) {
  pf::pass_counts counts;
  const estimator e(pf::model(m.denoiser(), m.path()), counts);
  const at::Tensor clean = m.latent() ? m.decoder().encode(image) : image;
  const auto at = e.evaluate(pf::noised(m.path(), clean, time, seed), time);
  return examples::spectrum_of(e, at, at.x0, of, krylov, 0.0, tell);
}

} // namespace mnist
