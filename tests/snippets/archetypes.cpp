// The smallest thing that models each concept, for docs/concepts/.

#include "toy.hpp"

namespace smallest {

//! [denoiser]
struct denoiser {
  pf::prediction_type prediction = pf::prediction_type::epsilon;
  tensor predict(const tensor& x, double) const { return x; }
};
static_assert(pf::denoiser<denoiser, tensor>);
//! [denoiser]
static_assert(!pf::differentiable_denoiser<denoiser, tensor> && !pf::forward_mode_denoiser<denoiser, tensor>);

//! [differentiable_denoiser]
struct differentiable_denoiser : denoiser {
  pf::linearization<tensor> linearize(const tensor& x, double time) const {
    return {predict(x, time), [](const tensor& w) { return w; }};
  }
};
static_assert(pf::differentiable_denoiser<differentiable_denoiser, tensor>);
//! [differentiable_denoiser]

//! [decoder]
struct decoder {
  tensor decode(const tensor& z) const { return z; }
};
static_assert(pf::decoder<decoder, tensor>);

struct encoding_decoder : decoder {
  tensor encode(const tensor& image) const { return image; }
};
static_assert(pf::encoding_decoder<encoding_decoder, tensor>);
//! [decoder]
static_assert(!pf::encoding_decoder<decoder, tensor> && !pf::differentiable_decoder<decoder, tensor>);

//! [path]
struct path {
  pf::coefficients at(double t) const { return {1 - t, t}; }
  double model_time(double t) const { return t; }
  double time_at(double fraction) const { return fraction; }
};
static_assert(pf::path<path>);
//! [path]

//! [constraint]
struct constraint {
  pf::constraint_value<tensor> operator()(const tensor& x0) const {
    return {pf::tensor_traits<tensor>::fill(x0, 0.0), pf::tensor_traits<tensor>::zeros(x0)};
  }
};
static_assert(pf::constraint<constraint, tensor>);
//! [constraint]
inline constexpr auto function = [](const tensor& x0) { return constraint{}(x0); };
static_assert(pf::constraint<decltype(function), tensor>);

//! [sampler]
struct sampler {
  std::size_t steps() const { return 1; }
  double time(std::size_t i) const { return i == 0 ? 0.5 : 0.0; }
  template <class Noise> tensor step(std::size_t, pf::estimate<tensor> at, Noise&&) const { return at.x0; }
};
static_assert(pf::sampler<sampler, tensor>);
//! [sampler]

//! [update_policy]
struct update_policy {
  template <pf::forward_model Model>
  tensor direction(const Model& m, const pf::estimate<tensor>& at, const tensor& error) const {
    return m.jvp(at, error, 0.0);
  }
};
static_assert(pf::update_policy<update_policy, pf::estimator<tensor, denoiser, path>>);
//! [update_policy]
static_assert(!pf::update_policy<pf::gradient_descent, pf::estimator<tensor, denoiser, path>>);

//! [step_size]
struct step_size {
  template <class Model>
  const step_size& at_step(const Model&, const pf::estimate<typename Model::tensor_type>&) const {
    return *this;
  }
  template <pf::tensor T> pf::per_sample_t<T> scale(const T& d, std::size_t, std::size_t) const {
    return pf::tensor_traits<T>::fill(d, 0.1);
  }
};
static_assert(pf::step_size<step_size, pf::estimator<tensor, denoiser, path>>);
//! [step_size]

//! [update_rule]
// Halves the distance of x0 from 0, and leaves its noise as it is.
struct update_rule {
  std::size_t iterations = 1;
  double tolerance = -1.0;

  template <class Model>
  const update_rule& at_step(const Model&, const pf::estimate<typename Model::tensor_type>&) const {
    return *this;
  }
  template <class Constraint>
  pf::look<tensor> look_at(const Constraint& c, const tensor& x0, pf::pass_counts& counts) const {
    return {pf::evaluate(c, x0, counts)};
  }
  template <class Model>
  pf::moved<tensor> move(const Model&, pf::estimate<tensor> at, const pf::look<tensor>&, std::size_t,
                         const pf::per_sample_t<tensor>* active) const {
    using traits = pf::tensor_traits<tensor>;
    tensor d = traits::scale(-0.5, at.x0);
    if (active != nullptr) d = traits::scale(*active, std::move(d));
    at.x0 = traits::combine(1.0, std::move(at.x0), 1.0, d);
    at.x = traits::combine(1.0, std::move(at.x), at.c.a, d);
    return {std::move(at), std::move(d)};
  }
};
static_assert(pf::update_rule<update_rule, pf::estimator<tensor, denoiser, path>, constraint>);
//! [update_rule]
static_assert(!pf::update_rule<update_policy, pf::estimator<tensor, denoiser, path>, constraint>);

//! [least_squares]
// y = x: A is the identity, and nothing is noisy.
struct least_squares_constraint {
  tensor y;

  struct problem {
    static constexpr bool exact_adjoint = true;
    tensor residual;
    pf::constraint_value<tensor> value;

    tensor apply(const tensor& v, pf::pass_counts&) const { return v; }
    tensor adjoint(const tensor& r, pf::pass_counts&) const { return r; }
    tensor covary(const tensor& r) const { return pf::tensor_traits<tensor>::zeros(r); }
    bool noisy() const { return false; }
  };
  problem least_squares(const tensor& x0, pf::pass_counts&) const {
    using traits = pf::tensor_traits<tensor>;
    tensor r = traits::combine(1.0, y, -1.0, x0);
    const auto squared = traits::dot(r, r);
    return {r, {traits::combine(0.5, squared, 0.0, squared), r}};
  }
  pf::constraint_value<tensor> operator()(const tensor& x0, pf::pass_counts& counts) const {
    return least_squares(x0, counts).value;
  }
};
static_assert(pf::least_squares_constraint<least_squares_constraint, tensor>);
//! [least_squares]
static_assert(!pf::least_squares_constraint<constraint, tensor>);

//! [observer]
struct observer {
  void operator()(const pf::progress<tensor>&) {}
};
static_assert(pf::observer<observer, tensor>);
//! [observer]

} // namespace smallest

int main() {
  const smallest::denoiser net;
  const smallest::path path;
  const auto result =
      pf::sample(tensor{{1, 2}}, pf::model{net, path}, smallest::sampler{}, smallest::constraint{},
                 pf::update{smallest::update_policy{}, smallest::step_size{}}, {}, smallest::observer{});
  // epsilon: x0 = (x - s x) / a = x at a = s = 0.5
  expect(near(result.x, {{1, 2}}, 1e-6) && result.passes.forward == 1 + 2 * 5, "the archetypes run");
  const auto halved = pf::sample(tensor{{1, 2}}, pf::model{net, path}, smallest::sampler{},
                                 smallest::constraint{}, smallest::update_rule{});
  expect(near(halved.x, {{0.5F, 1}}, 1e-6) && halved.passes.forward == 1, "the archetype of a rule runs");
  // J is the identity at a = s = 0.5, where x0 = x
  const auto met = pf::sample(tensor{{1, 2}}, pf::model{net, path}, smallest::sampler{},
                              smallest::least_squares_constraint{{{3, 4}}}, pf::posterior_step{});
  expect(near(met.x, {{3, 4}}, 1e-3) && met.passes.forward == 2,
         "the archetype of a least-squares problem runs");
}
