// Things that are no update rule, and rules that ask for what the model or the constraint does not have.
#include "parts.hpp"

#include <pushforward/updates/posterior_step.hpp>
#include <pushforward/updates/replacement.hpp>

using parts::T;

template <class Rule> void run(T x, const Rule& u) {
  pushforward::sample(x, parts::model, parts::sampler, parts::known, u);
}

struct without_iterations {};
// error: the update rule has no members `iterations` and `tolerance`
template void run(T, const without_iterations&);

struct without_steps {
  static constexpr std::size_t iterations = 1;
  static constexpr double tolerance = -1.0;
};
// error: the update rule has no `at_step(model, estimate)` that returns an object
template void run(T, const without_steps&);

// error: this update rule needs backward passes, and the denoiser can only run forward
template void run(T, const pushforward::posterior_step_by_vjp&);

// error: replacement needs a constraint with `replacement(x0) const`
void replace(T x, const parts::constraint& c) {
  pushforward::sample(x, parts::model, parts::sampler, c, pushforward::replacement{});
}
