// Guidance of denoisers that lack a branching member.
#include "parts.hpp"

using parts::T;

template <class Denoiser, class Policy = pushforward::inexact_newton>
void run(T x, const pushforward::classifier_free_guidance<Denoiser>& d, Policy p = {}) {
  pushforward::sample(x, pushforward::model(d, parts::path), parts::sampler, parts::known,
                      pushforward::update{p});
}

// error: the denoiser under classifier_free_guidance has no `predict_branches(xx, model_time) const`
template void run(T, const pushforward::classifier_free_guidance<parts::forward_only>&,
                  pushforward::inexact_newton);

struct without_prediction {
  T predict_branches(const T&, double) const;
};
// error: the denoiser under classifier_free_guidance has no member `prediction` of type prediction_type
template void run(T, const pushforward::classifier_free_guidance<without_prediction>&,
                  pushforward::inexact_newton);

struct branching : without_prediction {
  pushforward::prediction_type prediction;
};
template void run(T, const pushforward::classifier_free_guidance<branching>&, pushforward::inexact_newton);
// error: give it a `linearize_branches(xx, model_time) const`, or use inexact_newton
// (docs/concepts/denoiser.md)
template void run(T, const pushforward::classifier_free_guidance<branching>&, pushforward::gradient_descent);

struct differentiable : branching {
  pushforward::linearization<T> linearize_branches(const T&, double) const;
};
template void run(T, const pushforward::classifier_free_guidance<differentiable>&,
                  pushforward::gradient_descent);

// made and used in one place, as programs do it
// error: the denoiser under classifier_free_guidance has no `predict_branches(xx, model_time) const`
void made_here(T x, const parts::forward_only& d) {
  struct other : parts::forward_only {};
  run(x, pushforward::classifier_free_guidance(other{d}, 7.5, pushforward::guidance_convention::usual));
}
