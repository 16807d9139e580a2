// Things that are no constraint.
#include "parts.hpp"

using parts::T;

template <class Constraint> void run(T x, const Constraint& c) {
  pushforward::sample(x, parts::model, parts::sampler, c, parts::update);
}

struct returns_the_error_alone {
  T operator()(const T&) const;
};
// error: the constraint is not callable as `c(x0)` or `c(x0, counts)`
template void run(T, const returns_the_error_alone&);

struct decodes_only {
  T decode(const T&) const;
};
// error: `linearize_decode` for decoder_vjp
template void run(T, const pushforward::decoded<parts::constraint, decodes_only, pushforward::decoder_vjp>&);
// error: `encode` for encoder_difference
template void
run(T, const pushforward::decoded<parts::constraint, decodes_only, pushforward::encoder_difference>&);
