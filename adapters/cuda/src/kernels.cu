// The kernels of src/kernels.cpp's operations.

#include "operations.hpp"

#include <pushforward/cuda/for_each.cuh>
#include <pushforward/cuda/reduce.cuh>

namespace pushforward::cuda {

#define PUSHFORWARD_KERNEL(...)                                                                              \
  template void launch(const executor&, const grid&, std::size_t, std::size_t, const operations::__VA_ARGS__&)
#define PUSHFORWARD_REDUCTION(...)                                                                           \
  template void launch_reduction(const executor&, const parts&, std::size_t, const __VA_ARGS__&,             \
                                 __VA_ARGS__::result_type*)
#define PUSHFORWARD_REDUCTIONS(...)                                                                          \
  PUSHFORWARD_REDUCTION(operations::__VA_ARGS__);                                                            \
  PUSHFORWARD_REDUCTION(detail::of_parts<operations::__VA_ARGS__>);                                          \
  PUSHFORWARD_REDUCTION(detail::joined_parts<operations::__VA_ARGS__>)
#define PUSHFORWARD_KERNELS_OF(Real)                                                                         \
  PUSHFORWARD_KERNEL(combine<Real>);                                                                         \
  PUSHFORWARD_KERNEL(scale<Real>);                                                                           \
  PUSHFORWARD_KERNEL(multiply<Real>);                                                                        \
  PUSHFORWARD_KERNEL(fill<Real>);                                                                            \
  PUSHFORWARD_KERNEL(normal<Real>);                                                                          \
  PUSHFORWARD_KERNEL(concatenate<Real>);                                                                     \
  PUSHFORWARD_KERNEL(along_axis<Real>);                                                                      \
  PUSHFORWARD_REDUCTIONS(max_abs<Real>);                                                                     \
  PUSHFORWARD_REDUCTIONS(dot<Real>);                                                                         \
  PUSHFORWARD_REDUCTIONS(any_not_finite<Real>)

PUSHFORWARD_KERNELS_OF(float);
PUSHFORWARD_KERNELS_OF(double);
PUSHFORWARD_KERNEL(convert<float, double>);
PUSHFORWARD_KERNEL(convert<double, float>);
PUSHFORWARD_KERNEL(ratio);
PUSHFORWARD_KERNEL(square_root);
PUSHFORWARD_KERNEL(clamp);

} // namespace pushforward::cuda
