#pragma once
/// \file
/// A Gaussian mixture, whose denoiser and whose posterior are known in closed form, as a domain of
/// `policies::bench`.

#include "distances.hpp"
#include "policies.hpp"

#include <support/gaussian_mixture.hpp>

#include <c10/core/GradMode.h>

namespace policies {

/// Images of 4 x 4 from a mixture of 6 Gaussians, in float64, on the variance exploding path.
class mixture {
public:
  static constexpr std::int64_t side = 4, dimensions = side * side;

  /// \param repeated of each measurement, so many samples of its posterior are drawn
  explicit mixture(std::int64_t repeated)
      : repeated_{repeated}, prior_{testing_support::gaussian_mixture::random(dimensions, 6, 1)} {
    for (const auto& g : prior_.components()) {
      const auto [values, vectors] = at::linalg_eigh(tensor_of(g.covariance));
      parts_.push_back({g.weight, tensor_of(g.mean), values, vectors});
    }
  }

  pf::variance_exploding path{20.0, 0.01};
  std::vector<double> rates{4.0, 2.0, 0.8};
  double last_rate = 0.08;
  inline static const std::vector<std::string> task_names{"half", "x2", "x2_noise"};
  pf::path_sampler sampler(std::size_t steps, double renoise) const {
    return pf::karras_euler(path, {.steps = steps, .renoise = renoise});
  }
  std::vector<double> times(std::size_t steps) const { return pf::karras_times(path, steps); }
  Tensor like(const samples& s) const { return s.images; }

  /// E[x0 | x0 + sigma eps] of x [N, 1, 4, 4], sigma [N].
  Tensor operator()(const Tensor& x, const Tensor& sigma) const {
    const Tensor flat = x.flatten(1), variance = sigma.to(at::kDouble).square().unsqueeze(1);
    std::vector<Tensor> means, logs;
    for (const auto& p : parts_) {
      const Tensor of = p.values + variance, d = (flat - p.mean).mm(p.vectors);
      means.push_back(p.mean + (d * (p.values / of)).mm(p.vectors.t()));
      logs.push_back(std::log(p.weight) - 0.5 * (d.square() / of + at::log(of)).sum(1));
    }
    const Tensor shares = at::softmax(at::stack(logs, 1), 1).unsqueeze(2);
    return (shares * at::stack(means, 1)).sum(1).view_as(x);
  }

  /// `truths` draws from the prior, each `repeated` times in turn.
  samples draw(std::int64_t truths, std::uint64_t seed) const {
    at::manual_seed(seed);
    return {drawn_from(prior_, truths).repeat_interleave(repeated_, 0)};
  }

  template <class Wanted, class F>
  void each_task(const samples& s, std::uint64_t, const Wanted& wanted, F f) const {
    const Tensor& x = s.images;
    if (wanted("half")) {
      Tensor known = at::ones_like(x);
      known.narrow(2, side / 2, side / 2).zero_();
      f("half", pf::masked<Tensor>(x, known), 0.0);
    }
    for (const char* task : {"x2", "x2_noise"}) {
      if (!wanted(task)) continue;
      const auto m = measured(s, task);
      f(task, pf::linear(pf::averaging(x, 2), m.y, m.noise), m.noise);
    }
  }

  /// Energy distance of each truth's samples to four times as many exact ones of its posterior.
  json scores(const Tensor& x, const samples& s, const std::string& task) const {
    const auto m = measured(s, task);
    std::vector<double> energy;
    at::manual_seed(5);
    for (std::int64_t i = 0; i < x.size(0); i += repeated_) {
      const Tensor y = m.y[i].flatten();
      const auto posterior = prior_.given_linear(
          m.A, {y.const_data_ptr<double>(), y.const_data_ptr<double>() + y.numel()}, m.noise);
      energy.push_back(energy_distance(x.narrow(0, i, repeated_).flatten(1),
                                       drawn_from(posterior, 4 * repeated_).flatten(1)));
    }
    return {{"energy", energy}};
  }
  double merit(const json& scores) const { return -100.0 * mean(scores.at("energy")); }

private:
  struct part {
    double weight;
    Tensor mean, values, vectors;
  };
  /// y = A x + noise eps.
  struct measurement {
    testing_support::matrix A;
    Tensor y; ///< [N, 1, h, w], h w rows of A
    double noise;
  };

  /// What a task knows of the samples; noise is the same for all samples of a truth.
  measurement measured(const samples& s, const std::string& task) const {
    const Tensor& x = s.images;
    if (task == "half") {
      testing_support::matrix upper(dimensions / 2, dimensions);
      for (std::size_t i = 0; i < dimensions / 2; ++i) upper(i, i) = 1.0;
      return {upper, x.narrow(2, 0, side / 2).contiguous(), 0.0};
    }
    testing_support::matrix means(dimensions / 4, dimensions);
    for (std::size_t i = 0; i < dimensions; ++i) means(i / 8 * 2 + i % 4 / 2, i) = 0.25;
    const Tensor y = pf::averaging(x, 2).apply(x);
    if (task == "x2") return {means, y, 0.0};
    at::manual_seed(17);
    const Tensor noise = 0.2 * at::randn({x.size(0) / repeated_, 1, side / 2, side / 2}, at::kDouble);
    return {means, y + noise.repeat_interleave(repeated_, 0), 0.2};
  }

  static Tensor tensor_of(const testing_support::matrix& m) {
    return at::tensor(m.values).view({static_cast<std::int64_t>(m.rows), -1});
  }
  static Tensor tensor_of(const testing_support::vector& v) { return at::tensor(v); }

  static Tensor drawn_from(const testing_support::gaussian_mixture& m, std::int64_t count) {
    std::vector<double> weights;
    for (const auto& g : m.components()) weights.push_back(g.weight);
    const Tensor which = at::multinomial(at::tensor(weights), count, true);
    Tensor all = at::empty({count, dimensions}, at::kDouble);
    for (std::size_t k = 0; k < weights.size(); ++k) {
      const auto& g = m.components()[k];
      const auto [values, vectors] = at::linalg_eigh(tensor_of(g.covariance));
      const Tensor root = vectors * values.clamp_min(0.0).sqrt();
      const Tensor here = which.eq(static_cast<std::int64_t>(k)).unsqueeze(1);
      all =
          at::where(here, tensor_of(g.mean) + at::randn({count, dimensions}, at::kDouble).mm(root.t()), all);
    }
    return all.view({count, 1, side, side});
  }

  std::int64_t repeated_;
  testing_support::gaussian_mixture prior_;
  std::vector<part> parts_;
};

} // namespace policies
