// Things that are no denoiser, each for want of one member.
#include "parts.hpp"

using parts::T;

template <class Denoiser> void run(T x, const Denoiser& d) {
  pushforward::sample(x, pushforward::model(d, parts::path), parts::sampler, parts::known, parts::update);
}

struct without_prediction {
  T predict(const T&, double) const;
};
// error: the denoiser has no member `prediction` of type prediction_type
template void run(T, const without_prediction&);

struct without_predict {
  pushforward::prediction_type prediction;
};
// error: the denoiser has no `predict(x, model_time) const` that returns a tensor of x's type
template void run(T, const without_predict&);

struct predict_not_const {
  pushforward::prediction_type prediction;
  T predict(const T&, double);
};
// error: the denoiser has no `predict(x, model_time) const` that returns a tensor of x's type
template void run(T, const predict_not_const&);
