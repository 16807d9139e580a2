#pragma once
// A right one of everything that `sample` takes, on the archetype of a tensor. Only declared.

#include <support/archetype_backend.hpp>
#include <support/near_misses.hpp>

#include <pushforward/pushforward.hpp>

#include <vector>

namespace parts {

using T = testing_support::archetype_tensor;

struct forward_only {
  pushforward::prediction_type prediction = pushforward::prediction_type::epsilon;
  T predict(const T&, double) const;
};
struct constraint {
  pushforward::constraint_value<T> operator()(const T&) const;
};

inline const forward_only denoiser{};
inline const pushforward::variance_preserving path = pushforward::variance_preserving::linear();
inline const pushforward::path_sampler sampler = pushforward::ddim(path);
inline const constraint known{};
inline const pushforward::update update{pushforward::inexact_newton{}};
inline const pushforward::model model(denoiser, path);

/// A tensor without dense algebra.
using bare = testing_support::lacking<testing_support::member::nothing>;
struct bare_denoiser {
  pushforward::prediction_type prediction;
  bare predict(const bare&, double) const;
};
struct bare_constraint {
  pushforward::constraint_value<bare> operator()(const bare&) const;
};

} // namespace parts
