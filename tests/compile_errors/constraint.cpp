// Things that are no constraint.
#include "parts.hpp"

using parts::T;

template <class Constraint> void run(T x, const Constraint& c) {
  pushforward::sample(x, parts::model, parts::sampler, c, parts::update);
}

struct returns_the_error_alone {
  T operator()(const T&) const;
};
// error: the constraint is not callable as `c(x0)` or `c(x0, counts)` with a constraint_value<T> for an
// answer
template void run(T, const returns_the_error_alone&);

// as a term of a sum, and on decoded images
struct another {};
// error: the constraint is not callable as `c(x0)` or `c(x0, counts)` with a constraint_value<T> for an
// answer
template void run(T, const pushforward::weighted_sum<parts::constraint, pushforward::normalized<another>>&);

struct third {};
struct decoder {
  T decode(const T&) const;
  T encode(const T&) const;
};
// error: the constraint is not callable as `c(x0)` or `c(x0, counts)` with a constraint_value<T> for an
// answer
template void run(T, const pushforward::decoded<third, decoder, pushforward::encoder_difference>&);
