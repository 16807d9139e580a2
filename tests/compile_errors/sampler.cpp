// Things that are no sampler, each for want of one member.
#include "parts.hpp"

using parts::T;

template <class Sampler> void run(T x, const Sampler& s) {
  pushforward::sample(x, parts::model, s, parts::known, parts::update);
}

struct without_steps {
  double time(std::size_t) const;
  template <class Noise> T step(std::size_t, pushforward::estimate<T>, Noise&&) const;
};
// error: the sampler has no `steps() const`
template void run(T, const without_steps&);

struct without_time {
  std::size_t steps() const;
  template <class Noise> T step(std::size_t, pushforward::estimate<T>, Noise&&) const;
};
// error: the sampler has no `time(i) const`
template void run(T, const without_time&);

struct without_step {
  std::size_t steps() const;
  double time(std::size_t) const;
};
// error: the sampler has no `step(i, estimate, noise) const` that returns a tensor
template void run(T, const without_step&);
