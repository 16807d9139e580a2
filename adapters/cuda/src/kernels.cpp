#include "operations.hpp"

#include <pushforward/cuda/kernels.hpp>

#include <string>

namespace pushforward::cuda::kernels {

template <class Real>
void combine(const executor& on, const batch& n, const factor& a, const Real* x, const factor& b,
             const Real* y, Real* out) {
  for_each(on, n.samples, n.elements, operations::combine<Real>{n.elements, a, x, b, y, out});
}

template <class Real>
void scale(const executor& on, const batch& n, const factor& a, const Real* x, Real* out) {
  for_each(on, n.samples, n.elements, operations::scale<Real>{n.elements, a, x, out});
}

template <class Real>
void multiply(const executor& on, const batch& n, const Real* x, const Real* y, Real* out) {
  for_each(on, 1, n.samples * n.elements, operations::multiply<Real>{x, y, out});
}

template <class Real> void fill(const executor& on, std::size_t n, double c, Real* out) {
  for_each(on, 1, n, operations::fill<Real>{static_cast<Real>(c), out});
}

template <class From, class To> void convert(const executor& on, std::size_t n, const From* x, To* out) {
  for_each(on, 1, n, operations::convert<From, To>{x, out});
}

template <class Real> void max_abs(const executor& on, const batch& n, const Real* x, double* out) {
  reduce(on, n.samples, n.elements, operations::max_abs<Real>{n.elements, x}, out);
}

template <class Real>
void dot(const executor& on, const batch& n, const Real* x, const Real* y, double* out) {
  reduce(on, n.samples, n.elements, operations::dot<Real>{n.elements, x, y}, out);
}

template <class Real>
void any_not_finite(const executor& on, std::size_t n, const Real* x, std::int32_t* out) {
  reduce(on, 1, n, operations::any_not_finite<Real>{x}, out);
}

template <class Real> void normal(const executor& on, const batch& n, const noise_key& key, Real* out) {
  const std::size_t blocks = n.elements / 4 + (n.elements % 4 != 0 ? 1 : 0);
  if (blocks > std::size_t{1} << 32U)
    throw shape_mismatch("noise for samples of " + std::to_string(n.elements) +
                         " elements: at most 2^34 have numbers of their own");
  for_each(on, n.samples, blocks, operations::normal<Real>{n.elements, key, out});
}

template <class Real>
void concatenate(const executor& on, std::size_t n, const Real* x, std::size_t m, const Real* y, Real* out) {
  for_each(on, 1, n + m, operations::concatenate<Real>{n, x, y, out});
}

template <class Real>
void along_axis(const executor& on, const bands& m, std::size_t outer, std::size_t inner, const Real* x,
                Real* out) {
  for_each(on, outer, m.rows * inner, operations::along_axis<Real>{m, inner, x, out});
}

void ratio(const executor& on, std::size_t n, const double* p, const double* q, double* out) {
  for_each(on, 1, n, operations::ratio{p, 0.0, q, out});
}
void ratio(const executor& on, std::size_t n, double c, const double* q, double* out) {
  for_each(on, 1, n, operations::ratio{nullptr, c, q, out});
}
void square_root(const executor& on, std::size_t n, const double* p, double* out) {
  for_each(on, 1, n, operations::square_root{p, out});
}
void clamp(const executor& on, std::size_t n, const double* p, double low, double high, double* out) {
  for_each(on, 1, n, operations::clamp{p, low, high, out});
}

#define PUSHFORWARD_INSTANTIATE(Real)                                                                        \
  template void combine(const executor&, const batch&, const factor&, const Real*, const factor&,            \
                        const Real*, Real*);                                                                 \
  template void scale(const executor&, const batch&, const factor&, const Real*, Real*);                     \
  template void multiply(const executor&, const batch&, const Real*, const Real*, Real*);                    \
  template void fill(const executor&, std::size_t, double, Real*);                                           \
  template void max_abs(const executor&, const batch&, const Real*, double*);                                \
  template void dot(const executor&, const batch&, const Real*, const Real*, double*);                       \
  template void any_not_finite(const executor&, std::size_t, const Real*, std::int32_t*);                    \
  template void normal(const executor&, const batch&, const noise_key&, Real*);                              \
  template void concatenate(const executor&, std::size_t, const Real*, std::size_t, const Real*, Real*);     \
  template void along_axis(const executor&, const bands&, std::size_t, std::size_t, const Real*, Real*)
PUSHFORWARD_INSTANTIATE(float);
PUSHFORWARD_INSTANTIATE(double);
template void convert(const executor&, std::size_t, const float*, double*);
template void convert(const executor&, std::size_t, const double*, float*);

} // namespace pushforward::cuda::kernels
