// Types that are no tensor, each for want of one member.
#include "parts.hpp"

using namespace testing_support;

template <class T> void run(T x) {
  pushforward::sample(x, parts::model, parts::sampler, parts::known, parts::update);
}

// error: no tensor_traits for this tensor type: include an adapter's header, or specialise it
void traits(without_traits x) { run(x); }
// error: tensor_traits has no type `per_sample`
void scalars(without_scalars x) { run(x); }

// error: tensor_traits has no `shape_of(x)` that returns a pushforward::shape
template void run(lacking<member::shape_of>);
// error: tensor_traits has no `zeros(x)`
template void run(lacking<member::zeros>);
// error: tensor_traits has no `combine(a, x, b, y)` with a and b numbers
template void run(lacking<member::combine_numbers>);
// error: tensor_traits has no `combine(a, x, b, y)` with a per-sample
template void run(lacking<member::combine_a_per_sample>);
// error: tensor_traits has no `combine(a, x, b, y)` with b per-sample
template void run(lacking<member::combine_b_per_sample>);
// error: tensor_traits has no `combine(a, x, b, y)` with a and b per-sample
template void run(lacking<member::combine_both_per_sample>);
// error: tensor_traits has no `scale(a, x)` with a number
template void run(lacking<member::scale_number>);
// error: tensor_traits has no `scale(a, x)` with a per-sample
template void run(lacking<member::scale_per_sample>);
// error: tensor_traits has no `multiply(x, y)`
template void run(lacking<member::multiply>);
// error: tensor_traits has no `max_abs(x)`
template void run(lacking<member::max_abs>);
// error: tensor_traits has no `dot(x, y)`
template void run(lacking<member::dot>);
// error: tensor_traits has no `all_finite(x)`
template void run(lacking<member::all_finite>);
// error: tensor_traits has no `normal(x, key)`
template void run(lacking<member::normal>);
// error: tensor_traits has no `concatenate(x, y)`
template void run(lacking<member::concatenate>);
// error: tensor_traits has no `halves(x)`
template void run(lacking<member::halves>);
// error: tensor_traits has no `elements(x)`
template void run(lacking<member::elements>);
// error: tensor_traits has no `from_elements(x, shape, values)`
template void run(lacking<member::from_elements>);
// error: tensor_traits has no `fill(x, c)`
template void run(lacking<member::fill>);
// error: tensor_traits has no `from_values(x, values)`
template void run(lacking<member::from_values>);
// error: tensor_traits has no `values(p)`
template void run(lacking<member::values>);
// error: tensor_traits has no `combine(c, p, d, q)` on per-sample scalars
template void run(lacking<member::combine_scalars>);
// error: tensor_traits has no `multiply(p, q)` on per-sample scalars
template void run(lacking<member::multiply_scalars>);
// error: tensor_traits has no `ratio(c, q)` with a number over per-sample scalars
template void run(lacking<member::ratio_of_number>);
// error: tensor_traits has no `ratio(p, q)` on per-sample scalars
template void run(lacking<member::ratio_of_scalars>);
// error: tensor_traits has no `square_root(p)`
template void run(lacking<member::square_root>);
// error: tensor_traits has no `clamp(p, low, high)`
template void run(lacking<member::clamp>);
