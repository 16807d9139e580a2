// Things that are no path, each for want of one member.
#include "parts.hpp"

using parts::T;

template <class Path> void run(T x, const Path& p) {
  pushforward::sample(x, pushforward::model(parts::denoiser, p), parts::sampler, parts::known, parts::update);
}

struct without_at {
  double model_time(double) const;
  double time_at(double) const;
};
// error: the path has no `at(t) const` that returns coefficients
template void run(T, const without_at&);

struct without_model_time {
  pushforward::coefficients at(double) const;
  double time_at(double) const;
};
// error: the path has no `model_time(t) const`
template void run(T, const without_model_time&);

struct without_time_at {
  pushforward::coefficients at(double) const;
  double model_time(double) const;
};
// error: the path has no `time_at(fraction) const`
template void run(T, const without_time_at&);
