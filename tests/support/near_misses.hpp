#pragma once
/// \file
/// Tensor types that lack just one member of tensor_traits. Only declared: nothing here is ever called.

#include <pushforward/tensor.hpp>

#include <span>
#include <utility>
#include <vector>

namespace testing_support {

/// One for each line of the tensor concept.
enum class member {
  nothing,
  shape_of,
  zeros,
  combine_numbers,
  combine_a_per_sample,
  combine_b_per_sample,
  combine_both_per_sample,
  scale_number,
  scale_per_sample,
  multiply,
  max_abs,
  dot,
  all_finite,
  normal,
  concatenate,
  halves,
  elements,
  from_elements,
  fill,
  from_values,
  values,
  combine_scalars,
  multiply_scalars,
  ratio_of_number,
  ratio_of_scalars,
  square_root,
  clamp,
  count ///< of the above
};

/// A tensor but for one member of its traits.
template <member Missing> struct lacking {};

/// No tensor at all: its traits lack the type of per-sample scalars.
struct without_scalars {};

/// No tensor at all: nobody specialised the traits.
struct without_traits {};

} // namespace testing_support

namespace pushforward {

template <testing_support::member Missing> struct tensor_traits<testing_support::lacking<Missing>> {
  using m = testing_support::member;
  using T = testing_support::lacking<Missing>;
  struct per_sample {};
  using P = per_sample;

  static shape shape_of(const T&) requires(Missing != m::shape_of);
  static T zeros(const T&) requires(Missing != m::zeros);
  static T combine(double, T, double, const T&) requires(Missing != m::combine_numbers);
  static T combine(const P&, T, double, const T&) requires(Missing != m::combine_a_per_sample);
  static T combine(double, T, const P&, const T&) requires(Missing != m::combine_b_per_sample);
  static T combine(const P&, T, const P&, const T&) requires(Missing != m::combine_both_per_sample);
  static T scale(double, T) requires(Missing != m::scale_number);
  static T scale(const P&, T) requires(Missing != m::scale_per_sample);
  static T multiply(T, const T&) requires(Missing != m::multiply);
  static P max_abs(const T&) requires(Missing != m::max_abs);
  static P dot(const T&, const T&) requires(Missing != m::dot);
  static bool all_finite(const T&) requires(Missing != m::all_finite);
  static T normal(const T&, const noise_key&) requires(Missing != m::normal);
  static T concatenate(const T&, const T&) requires(Missing != m::concatenate);
  static std::pair<T, T> halves(const T&) requires(Missing != m::halves);
  static std::vector<double> elements(const T&) requires(Missing != m::elements);
  static T from_elements(const T&, const shape&,
                         std::span<const double>) requires(Missing != m::from_elements);
  static P fill(const T&, double) requires(Missing != m::fill);
  static P from_values(const T&, std::span<const double>) requires(Missing != m::from_values);
  static std::vector<double> values(const P&) requires(Missing != m::values);
  static P combine(double, const P&, double, const P&) requires(Missing != m::combine_scalars);
  static P multiply(const P&, const P&) requires(Missing != m::multiply_scalars);
  static P ratio(double, const P&) requires(Missing != m::ratio_of_number);
  static P ratio(const P&, const P&) requires(Missing != m::ratio_of_scalars);
  static P square_root(const P&) requires(Missing != m::square_root);
  static P clamp(const P&, double, double) requires(Missing != m::clamp);
};

template <> struct tensor_traits<testing_support::without_scalars> {};

} // namespace pushforward
