// Things that are no step size, each for want of one member.
#include "parts.hpp"

using parts::T;

template <class StepSize> void run(T x, const StepSize& s) {
  pushforward::sample(x, parts::model, parts::sampler, parts::known,
                      pushforward::update{pushforward::inexact_newton{}, s});
}

// error: the step size has no `at_step(model, estimate) const` for this model
template void run(T, const double&);

struct at_step_not_const {
  const at_step_not_const& at_step(const auto&, const auto&);
  pushforward::per_sample_t<T> scale(const T&, std::size_t, std::size_t) const;
};
// error: the step size has no `at_step(model, estimate) const` for this model
template void run(T, const at_step_not_const&);

struct no_rule {
  const no_rule& at_step(const auto&, const auto&) const;
};
// error: what the step size's `at_step` returns has no `scale(direction, k, iterations) const`
template void run(T, const no_rule&);

struct one_number_for_all {
  const one_number_for_all& at_step(const auto&, const auto&) const;
  double scale(const T&, std::size_t, std::size_t) const;
};
// error: what the step size's `at_step` returns has no `scale(direction, k, iterations) const`
template void run(T, const one_number_for_all&);

// error: the step size spectral needs dense_algebra of this tensor type
void spectral(parts::bare x, const parts::bare_denoiser& d, const parts::bare_constraint& c) {
  pushforward::sample(x, pushforward::model(d, parts::path), parts::sampler, c,
                      pushforward::update{pushforward::inexact_newton{}, pushforward::spectral{}});
}
