// Things of the user's own: a constraint, a policy, a step size, a path, an observer.

#include "toy.hpp"

#include <csignal>
#include <optional>

//! [constraint]
// The mean of each sample shall be `wanted`: loss = 1/2 (wanted - mean)^2, error = -gradient.
struct mean_is {
  tensor ones; // of the samples' shape
  double wanted = 0.0;

  pf::constraint_value<tensor> operator()(const tensor& x0) const {
    using traits = pf::tensor_traits<tensor>;
    const double n = static_cast<double>(traits::shape_of(x0).sample_elements());
    const auto gap = traits::combine(-1 / n, traits::dot(ones, x0), wanted, traits::fill(x0, 1.0));
    const auto loss = traits::combine(0.5, traits::multiply(gap, gap), 0.0, gap);
    const auto slope = traits::combine(1 / n, gap, 0.0, gap);
    return {loss, traits::scale(slope, ones)};
  }
};
//! [constraint]

//! [policy]
// Heavy ball: J e, and a share of the direction before. `start` makes what remembers it within one run.
struct heavy_ball {
  double share = 0.3;

  struct running {
    double share;
    std::optional<tensor> before;

    template <pf::forward_model Model>
    tensor direction(const Model& m, const pf::estimate<tensor>& at, const tensor& error) {
      tensor d = m.jvp(at, error, 0.0);
      if (before) d = pf::tensor_traits<tensor>::combine(1.0, std::move(d), share, *before);
      before = d;
      return d;
    }
  };

  void check() const {
    if (!(share >= 0.0 && share < 1.0)) throw pf::bad_option("heavy_ball: share must lie in [0, 1)");
  }
  running start() const { return {share, {}}; }
};
//! [policy]

//! [step_size]
// rate s / max|d|: steps that shrink with the noise.
struct noise_scaled {
  double rate = 0.5;

  struct rule {
    double length;
    template <pf::tensor T> pf::per_sample_t<T> scale(const T& d, std::size_t, std::size_t) const {
      return pf::tensor_traits<T>::ratio(length, pf::tensor_traits<T>::max_abs(d));
    }
  };

  template <class Model>
  rule at_step(const Model&, const pf::estimate<typename Model::tensor_type>& at) const {
    return {rate * at.c.s};
  }
};
//! [step_size]

//! [path]
// Variance exploding: x = x0 + sigma eps. Times are sigma; the network is fed ln(sigma) / 4.
struct variance_exploding {
  double largest = 80.0;

  pf::coefficients at(double sigma) const { return {1.0, sigma}; }
  double model_time(double sigma) const { return std::log(sigma) / 4; }
  double time_at(double fraction) const { return largest * std::pow(fraction, 7.0); }
};
//! [path]

//! [observer]
volatile std::sig_atomic_t interrupted = 0;

// A progress line; stops cleanly on Ctrl-C, with the clean estimate that stands then.
struct progress_line {
  pf::verdict operator()(const pf::progress<tensor>& p) const {
    if (p.when == pf::moment::stepped) std::cerr << "step " << p.step + 1 << " of " << p.steps << '\r';
    return interrupted ? pf::verdict::stop : pf::verdict::go_on;
  }
};
//! [observer]

struct exploding_network {
  pf::prediction_type prediction = pf::prediction_type::sample;
  tensor predict(const tensor& x, double time) const {
    const double s = std::exp(4 * time);
    const tensor sum = xt::sum(x, {1}, xt::keep_dims);
    return 1 / (4 + s * s) * (xt::zeros_like(x) + sum);
  }
};

int main() {
  const network net;
  const pf::rectified_flow path;
  const pf::model model{net, path};
  const auto sampler = pf::rectified_flow_euler(path);
  const tensor y{{0.5F, 0, 0, 0}, {-1, 0, 0, 0}}, known{{1, 0, 0, 0}, {1, 0, 0, 0}};
  const tensor ends{{0.5F, 0.5F, 0.5F, 0.5F}, {-1, -1, -1, -1}};
  const pf::masked<tensor> first_element(y, known);
  const tensor start = pf::standard_normal(y, {.seed = 1});
  const pf::infinity_norm step{.rate = {0.5, 0.02}};

  //! [use_constraint]
  const mean_is mean{xt::ones_like(y), 0.25};
  const auto steered = pf::sample(start, model, sampler, mean, pf::update{pf::inexact_newton{}, step, 5});
  //! [use_constraint]
  expect(near(steered.x, 0.25F * xt::ones_like(y), 0.1), "the mean is 0.25");

  //! [compose]
  const pf::weighted_sum both(pf::weighted{1.0, pf::normalized{first_element}},
                              pf::weighted{0.2, pf::normalized{mean}});
  //! [compose]
  pf::sample(start, model, sampler, both, pf::update{pf::inexact_newton{}, step, 5});

  const auto ball = pf::sample(start, model, sampler, first_element, pf::update{heavy_ball{}, step, 5});
  expect(near(ball.x, ends, 0.2), "heavy ball");
  const auto scaled =
      pf::sample(start, model, sampler, first_element, pf::update{pf::inexact_newton{}, noise_scaled{}, 5});
  expect(near(scaled.x, ends, 0.2), "steps that shrink with the noise");

  //! [use_path]
  const variance_exploding exploding;
  const exploding_network ve_net;
  const pf::path_sampler ve_sampler(exploding, pf::time_grid(exploding, {.steps = 20}),
                                    [](std::size_t) { return 0.0; });
  const tensor ve_start = exploding.largest * start;
  const auto exploded = pf::sample(ve_start, pf::model{ve_net, exploding}, ve_sampler, first_element,
                                   pf::update{pf::inexact_newton{}, noise_scaled{}, 5});
  //! [use_path]
  expect(near(exploded.x, ends, 0.2), "the variance exploding path");

  //! [use_observer]
  std::signal(SIGINT, [](int) { interrupted = 1; });
  const auto watched = pf::sample(start, model, sampler, first_element,
                                  pf::update{pf::inexact_newton{}, step, 5}, {.seed = 1}, progress_line{});
  if (watched.reason == pf::ending::stopped_by_observer) std::cerr << "stopped\n";
  //! [use_observer]
  expect(watched.reason == pf::ending::completed, "the run completes");

  //! [middle]
  const double from = 0.6; // of the way to noise
  const tensor picture{{1, 1, 1, 1}, {0, 0, 0, 0}};
  const tensor noisy = pf::noised(path, picture, path.time_at(from), 7);
  const auto varied = pf::sample(noisy, model, pf::rectified_flow_euler(path, {.steps = 12, .start = from}),
                                 first_element, pf::update{pf::inexact_newton{}, step, 5});
  //! [middle]
  expect(near(varied.x, ends, 0.2), "a start in the middle");

  //! [analysis]
  pf::pass_counts counts;
  const pf::estimator<tensor, network, pf::rectified_flow> estimator(model, counts);
  const auto at = estimator.evaluate(start, 0.5);
  const pf::dense_matrix J = pf::dense_jacobian(estimator, at); // of sample 0
  //! [analysis]
  expect(std::abs(J(0, 1) - 0.4) < 1e-3, "a / (4 a a + s s) = 0.4");
}
