// Policies that ask for what the model or the tensor does not have, and things that are no policy.
#include "parts.hpp"

#include <support/near_misses.hpp>

using parts::T;

template <class Policy> void run(T x, const Policy& p) {
  pushforward::sample(x, parts::model, parts::sampler, parts::known, pushforward::update{p});
}

struct without_direction {};
// error: the update policy has no `direction(model, estimate, error)` that returns a tensor for this model
template void run(T, const without_direction&);

// error: a policy that names what it needs of the model may need exact jvps or dense_algebra
template void run(T, const pushforward::forward_mode_newton&);

struct remembers_nothing_useful {
  int start() const;
};
// error: the update policy has no `direction(model, estimate, error)` that returns a tensor for this model
template void run(T, const remembers_nothing_useful&);

struct starts_a_backward_policy {
  pushforward::gradient_descent start() const;
};
// error: this update policy needs backward passes, and the denoiser can only run forward
template void run(T, const starts_a_backward_policy&);

// a tensor without dense algebra
using bare = testing_support::lacking<testing_support::member::nothing>;
struct bare_denoiser {
  pushforward::prediction_type prediction;
  bare predict(const bare&, double) const;
};
struct bare_constraint {
  pushforward::constraint_value<bare> operator()(const bare&) const;
};
// error: a policy that names what it needs of the model may need exact jvps or dense_algebra
void exact(bare x, const bare_denoiser& d, const bare_constraint& c) {
  pushforward::sample(x, pushforward::model(d, parts::path), parts::sampler, c,
                      pushforward::update{pushforward::exact_newton{}});
}
// error: spectral also asks for dense_algebra of the tensor
void spectral(bare x, const bare_denoiser& d, const bare_constraint& c) {
  pushforward::sample(x, pushforward::model(d, parts::path), parts::sampler, c,
                      pushforward::update{pushforward::inexact_newton{}, pushforward::spectral{}});
}
