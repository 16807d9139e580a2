// Policies that ask for what the model or the tensor does not have, and things that are no policy.
#include "parts.hpp"

using parts::T;

template <class Policy> void run(T x, const Policy& p) {
  pushforward::sample(x, parts::model, parts::sampler, parts::known, pushforward::update{p});
}

struct without_direction {};
// error: the update policy has no `direction(model, estimate, error)` that returns a tensor for this model
template void run(T, const without_direction&);

// error: give the denoiser a `jvp(x, model_time, v) const` that returns a tensor of x's type
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

// error: exact_newton needs dense_algebra of this tensor type
void exact(parts::bare x, const parts::bare_denoiser& d, const parts::bare_constraint& c) {
  pushforward::sample(x, pushforward::model(d, parts::path), parts::sampler, c,
                      pushforward::update{pushforward::exact_newton{}});
}
