// Things that are no step size.
#include "parts.hpp"

using parts::T;

template <class StepSize> void run(T x, const StepSize& s) {
  pushforward::sample(x, parts::model, parts::sampler, parts::known,
                      pushforward::update{pushforward::inexact_newton{}, s});
}

// error: the step size has no `at_step(model, estimate) const` whose result has `scale(
template void run(T, const double&);

struct one_number_for_all {
  const one_number_for_all& at_step(const auto&, const auto&) const;
  double scale(const T&, std::size_t, std::size_t) const;
};
// error: the step size has no `at_step(model, estimate) const` whose result has `scale(
template void run(T, const one_number_for_all&);
