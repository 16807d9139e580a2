#include <pushforward/libtorch/tensor.hpp>
#include <pushforward/loops.hpp>
#include <pushforward/noise/philox_normal.hpp>

#include <ATen/ops/addcmul.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_eigvals.h>
#include <ATen/ops/linalg_svd.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/view_as_real.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

namespace pushforward {

namespace {

using traits = tensor_traits<at::Tensor>;
using per_sample = traits::per_sample;

std::vector<std::int64_t> sizes_of(const shape& s) {
  std::vector<std::int64_t> sizes;
  for (std::size_t extent : s) sizes.push_back(static_cast<std::int64_t>(extent));
  return sizes;
}

void require_same_sizes(const at::Tensor& x, const at::Tensor& y) {
  if (x.sizes() != y.sizes())
    detail::require_same_shape("the second tensor", traits::shape_of(y), traits::shape_of(x));
  if (x.device() != y.device())
    throw shape_mismatch("the tensors are on " + x.device().str() + " and " + y.device().str() +
                         ": bring both to the same device");
  if (x.scalar_type() != y.scalar_type())
    throw shape_mismatch(std::string("the tensors have types ") + c10::toString(x.scalar_type()) + " and " +
                         c10::toString(y.scalar_type()) + ": bring both to the same type");
}

/// Whether x's buffer may be written to: nobody else can see it. Memory that libtorch did not allocate
/// (from_blob, a mapped file) has an owner elsewhere; its storage is one that cannot be resized.
bool is_ours(const at::Tensor& x) {
  return x.use_count() == 1 && x.storage().use_count() == 1 && x.storage().resizable() &&
         !x.requires_grad() && !x.is_inference() && x.is_non_overlapping_and_dense();
}

/// A tensor of the host on a device, without waiting for it where that can be had.
at::Tensor moved_to(const at::Device& device, const at::Tensor& host) {
  if (device.is_cuda()) return host.pin_memory().to(device, /*non_blocking=*/true);
  return host.to(device);
}

c10::ScalarType scalar_type_on(const at::Device& device) {
  return device.is_mps() ? at::kFloat : at::kDouble;
}

/// Whether plain loops over x's elements, one sample after the other, will do: quicker than libtorch's own
/// reductions, which set up more than they sum at these sizes.
bool for_loops(const at::Tensor& x) {
  return x.device().is_cpu() && x.is_contiguous() && !x.is_conj() && !x.is_neg();
}

/// f(Real{}) for the type of x's elements.
template <class F> auto in_type_of(const at::Tensor& x, F f) {
  if (x.scalar_type() == at::kDouble) return f(double{});
  return f(float{});
}

/// f(first element of sample i, elements of a sample, i) for each sample, on the host.
template <class F> per_sample each_sample(const at::Tensor& x, F f) {
  at::Tensor result = at::empty({x.size(0)}, at::kDouble);
  double* to = result.mutable_data_ptr<double>();
  const std::int64_t n = x.size(0), elements = n == 0 ? 0 : x.numel() / n;
  for (std::int64_t i = 0; i < n; ++i) to[i] = f(i * elements, static_cast<std::size_t>(elements));
  return {result};
}

/// p in x's type, to be broadcast over x.
at::Tensor spread(const per_sample& p, const at::Tensor& x) {
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(x.dim()), 1);
  sizes[0] = x.size(0);
  if (p.value.size(0) != x.size(0))
    throw shape_mismatch("per-sample values: " + std::to_string(p.value.size(0)) + " for " +
                         std::to_string(x.size(0)) + " samples");
  return p.value.to(x.scalar_type()).view(sizes);
}

/// One row for each sample, whatever the memory format.
at::Tensor flat(const at::Tensor& x) { return x.reshape({x.size(0), -1}); }

at::Tensor scaled(double a, at::Tensor x) {
  if (a == 1.0 && !x.requires_grad()) return x;
  return is_ours(x) ? x.mul_(a) : x.mul(a);
}

at::Tensor scaled(const per_sample& a, at::Tensor x) {
  const auto factor = spread(a, x);
  return is_ours(x) ? x.mul_(factor) : x.mul(factor);
}

at::Tensor plus(at::Tensor x, double b, const at::Tensor& y) {
  return is_ours(x) ? x.add_(y, b) : x.add(y, b);
}

at::Tensor plus(at::Tensor x, const per_sample& b, const at::Tensor& y) {
  const auto factor = spread(b, y);
  return is_ours(x) ? x.addcmul_(y, factor) : at::addcmul(x, y, factor);
}

template <class A, class B> at::Tensor combined(const A& a, at::Tensor x, const B& b, const at::Tensor& y) {
  const c10::NoGradGuard no_grad;
  require_same_sizes(x, y);
  at::Tensor first = scaled(a, std::move(x));
  return plus(std::move(first), b, y);
}

per_sample zero_where_zero(const at::Tensor& quotient, const at::Tensor& denominator) {
  return {quotient.masked_fill(denominator.eq(0), 0.0)};
}

at::Tensor host_matrix(std::size_t rows, std::size_t columns, std::span<const double> a) {
  if (a.size() != rows * columns)
    throw shape_mismatch("a matrix of " + std::to_string(rows) + " x " + std::to_string(columns) + " got " +
                         std::to_string(a.size()) + " values");
  at::Tensor m =
      at::empty({static_cast<std::int64_t>(rows), static_cast<std::int64_t>(columns)}, at::kDouble);
  std::copy(a.begin(), a.end(), m.mutable_data_ptr<double>());
  return m;
}

at::Tensor finite_matrix(const char* what, std::size_t rows, std::size_t columns, std::span<const double> a) {
  at::Tensor m = host_matrix(rows, columns, a);
  if (!traits::all_finite(m))
    throw error(std::string(what) + " holds a value that is not finite: look at the denoiser's output");
  return m;
}

/// f(), with what LAPACK complains of as an error of ours.
template <class F> auto solved(const char* what, F f) {
  const c10::NoGradGuard no_grad;
  try {
    return f();
  } catch (const c10::Error& e) {
    throw error(std::string(what) + ": " + e.what_without_backtrace());
  }
}

} // namespace

shape traits::shape_of(const at::Tensor& x) {
  if (!x.defined()) throw shape_mismatch("an undefined at::Tensor stands where a batch is needed");
  if (x.scalar_type() != at::kFloat && x.scalar_type() != at::kDouble)
    throw shape_mismatch(
        std::string("a tensor of type ") + c10::toString(x.scalar_type()) +
        ": the loop's tensors are float32 or float64; convert it with .to(at::kFloat), and let the "
        "denoiser's compute type be half");
  if (x.layout() != at::kStrided)
    throw shape_mismatch("a tensor that is not dense: bring it to the strided layout with .to_dense()");
  return shape(x.sizes().begin(), x.sizes().end());
}

at::Tensor traits::zeros(const at::Tensor& x) {
  const c10::NoGradGuard no_grad;
  return at::zeros_like(x);
}

at::Tensor traits::combine(double a, at::Tensor x, double b, const at::Tensor& y) {
  return combined(a, std::move(x), b, y);
}
at::Tensor traits::combine(const per_sample& a, at::Tensor x, double b, const at::Tensor& y) {
  return combined(a, std::move(x), b, y);
}
at::Tensor traits::combine(double a, at::Tensor x, const per_sample& b, const at::Tensor& y) {
  return combined(a, std::move(x), b, y);
}
at::Tensor traits::combine(const per_sample& a, at::Tensor x, const per_sample& b, const at::Tensor& y) {
  return combined(a, std::move(x), b, y);
}

at::Tensor traits::scale(double a, at::Tensor x) {
  const c10::NoGradGuard no_grad;
  return scaled(a, std::move(x));
}

at::Tensor traits::scale(const per_sample& a, at::Tensor x) {
  const c10::NoGradGuard no_grad;
  return scaled(a, std::move(x));
}

at::Tensor traits::multiply(at::Tensor x, const at::Tensor& y) {
  const c10::NoGradGuard no_grad;
  require_same_sizes(x, y);
  return is_ours(x) ? x.mul_(y) : x.mul(y);
}

per_sample traits::max_abs(const at::Tensor& x) {
  const c10::NoGradGuard no_grad;
  if (for_loops(x))
    return in_type_of(x, [&]<class Real>(Real) {
      const Real* first = x.const_data_ptr<Real>();
      return each_sample(x, [&](std::int64_t at, std::size_t n) {
        return static_cast<double>(loops::max_abs(first + at, n));
      });
    });
  return {at::linalg_vector_norm(flat(x), std::numeric_limits<double>::infinity(), at::IntArrayRef{1})
              .to(scalar_type_on(x.device()))};
}

per_sample traits::dot(const at::Tensor& x, const at::Tensor& y) {
  const c10::NoGradGuard no_grad;
  require_same_sizes(x, y);
  if (for_loops(x) && for_loops(y))
    return in_type_of(x, [&]<class Real>(Real) {
      const Real* first = x.const_data_ptr<Real>();
      const Real* second = y.const_data_ptr<Real>();
      return each_sample(
          x, [&](std::int64_t at, std::size_t n) { return loops::dot(first + at, second + at, n); });
    });
  const at::Tensor first = flat(x).to(scalar_type_on(x.device())); // products in the type of the sum
  return {at::sum(first.mul(flat(y)), at::IntArrayRef{1})};
}

bool traits::all_finite(const at::Tensor& x) {
  const c10::NoGradGuard no_grad;
  if (for_loops(x))
    return in_type_of(x, [&]<class Real>(Real) {
      return loops::all_finite(x.const_data_ptr<Real>(), static_cast<std::size_t>(x.numel()));
    });
  // a sum of v - v is 0, and NaN where a v is NaN or infinite
  return x.sub(x).sum().item<double>() == 0.0;
}

at::Tensor traits::normal(const at::Tensor& x, const noise_key& key) {
  const c10::NoGradGuard no_grad;
  at::Tensor z = at::empty(x.sizes(), at::TensorOptions().dtype(x.scalar_type()).device(at::kCPU));
  const auto n = static_cast<std::size_t>(z.numel());
  const std::size_t sample = shape_of(x).sample_elements();
  if (x.scalar_type() == at::kDouble)
    noise::fill_normal(std::span(z.mutable_data_ptr<double>(), n), sample, key);
  else
    noise::fill_normal(std::span(z.mutable_data_ptr<float>(), n), sample, key);
  return moved_to(x.device(), z);
}

at::Tensor traits::concatenate(const at::Tensor& x, const at::Tensor& y) {
  const c10::NoGradGuard no_grad;
  shape s = shape_of(x), other = shape_of(y);
  other[0] = s[0];
  detail::require_same_shape("the second batch", other, s);
  return at::cat({x, y}, 0);
}

std::pair<at::Tensor, at::Tensor> traits::halves(const at::Tensor& x) {
  const c10::NoGradGuard no_grad;
  const auto n = x.size(0);
  if (n % 2 != 0) throw shape_mismatch("a batch of " + std::to_string(n) + " samples cannot be halved");
  const at::Tensor whole = x.detach(); // a view of a leaf would want a gradient like the leaf
  return {whole.narrow(0, 0, n / 2), whole.narrow(0, n / 2, n / 2)};
}

std::vector<double> traits::elements(const at::Tensor& x) {
  const c10::NoGradGuard no_grad;
  const at::Tensor host = x.to(at::kCPU, at::kDouble).contiguous();
  const double* first = host.const_data_ptr<double>();
  return {first, first + host.numel()};
}

at::Tensor traits::from_elements(const at::Tensor& like, const shape& s, std::span<const double> values) {
  const c10::NoGradGuard no_grad;
  if (values.size() != s.elements())
    throw shape_mismatch(std::to_string(values.size()) + " values for a tensor of shape " + to_string(s));
  at::Tensor host = at::empty(sizes_of(s), at::kDouble);
  std::copy(values.begin(), values.end(), host.mutable_data_ptr<double>());
  return moved_to(like.device(), host.to(like.scalar_type()));
}

per_sample traits::fill(const at::Tensor& x, double c) {
  const c10::NoGradGuard no_grad;
  return {at::full({x.size(0)}, c, at::TensorOptions().dtype(scalar_type_on(x.device())).device(x.device()))};
}

per_sample traits::from_values(const at::Tensor& x, std::span<const double> values) {
  const c10::NoGradGuard no_grad;
  if (static_cast<std::int64_t>(values.size()) != x.size(0))
    throw shape_mismatch("per-sample values: " + std::to_string(values.size()) + " for " +
                         std::to_string(x.size(0)) + " samples");
  at::Tensor host = at::empty({x.size(0)}, at::kDouble);
  std::copy(values.begin(), values.end(), host.mutable_data_ptr<double>());
  return {moved_to(x.device(), host.to(scalar_type_on(x.device())))};
}

std::vector<double> traits::values(const per_sample& p) { return elements(p.value); }

per_sample traits::combine(double a, const per_sample& p, double b, const per_sample& q) {
  const c10::NoGradGuard no_grad;
  return {p.value.mul(a).add_(q.value, b)};
}

per_sample traits::multiply(const per_sample& p, const per_sample& q) {
  const c10::NoGradGuard no_grad;
  return {p.value.mul(q.value)};
}

per_sample traits::ratio(double c, const per_sample& q) {
  const c10::NoGradGuard no_grad;
  return zero_where_zero(q.value.reciprocal().mul_(c), q.value);
}

per_sample traits::ratio(const per_sample& p, const per_sample& q) {
  const c10::NoGradGuard no_grad;
  return zero_where_zero(p.value.div(q.value), q.value);
}

per_sample traits::square_root(const per_sample& p) {
  const c10::NoGradGuard no_grad;
  return {p.value.sqrt()};
}

per_sample traits::clamp(const per_sample& p, double low, double high) {
  const c10::NoGradGuard no_grad;
  return {p.value.clamp(low, high)};
}

traits::axis_map traits::make_axis_map(const at::Tensor& like, const axis_matrix& m) {
  const c10::NoGradGuard no_grad;
  constexpr std::size_t small = std::size_t{1} << 20; // elements of a matrix that is kept as a whole
  const auto place = [&](const at::Tensor& host) { return moved_to(like.device(), host); };
  axis_map map{static_cast<std::int64_t>(m.rows()), static_cast<std::int64_t>(m.columns()), {}, {}, {}};
  std::size_t longest = 1;
  for (std::size_t i = 0; i < m.rows(); ++i) longest = std::max(longest, m.row(i).values.size());
  if (m.rows() * m.columns() <= std::max(small, 4 * m.rows() * longest)) {
    const at::Tensor whole = at::zeros({map.rows, map.columns}, at::kDouble);
    double* to = whole.mutable_data_ptr<double>();
    for (std::size_t i = 0; i < m.rows(); ++i, to += m.columns())
      std::copy(m.row(i).values.begin(), m.row(i).values.end(), to + m.row(i).first);
    map.matrix = place(whole.to(like.scalar_type()));
    return map;
  }
  const at::Tensor places = at::zeros({static_cast<std::int64_t>(longest), map.rows}, at::kLong);
  const at::Tensor weights = at::zeros(places.sizes(), at::kDouble);
  for (std::size_t i = 0; i < m.rows(); ++i) {
    const auto [first, values] = m.row(i);
    for (std::size_t k = 0; k < longest; ++k) {
      // past the end the last place again: a pixel elsewhere might be no number, which 0 times it is neither
      const std::size_t at = k * m.rows() + i, last = values.empty() ? 0 : values.size() - 1;
      if (!values.empty())
        places.mutable_data_ptr<std::int64_t>()[at] = static_cast<std::int64_t>(first + std::min(k, last));
      if (k < values.size()) weights.mutable_data_ptr<double>()[at] = values[k];
    }
  }
  map.places = place(places);
  map.weights = place(weights.to(like.scalar_type()));
  return map;
}

at::Tensor traits::along_axis(const axis_map& map, const at::Tensor& x, std::size_t axis) {
  const c10::NoGradGuard no_grad;
  const auto dimension = x.dim() - 1 - static_cast<std::int64_t>(axis);
  if (dimension < 1 || x.size(dimension) != map.columns)
    throw shape_mismatch("a matrix with " + std::to_string(map.columns) + " columns cannot act on axis " +
                         std::to_string(axis) + " from the end of " + to_string(shape_of(x)));
  if (map.matrix.defined()) {
    if (axis == 0) return at::matmul(x, map.matrix.t());
    if (axis == 1) return at::matmul(map.matrix, x);
    return at::matmul(x.movedim(dimension, -1), map.matrix.t()).movedim(-1, dimension).contiguous();
  }
  // along the last axis pixels would be picked one by one, along another one whole rows of them are
  if (axis == 0) return along_axis(map, x.transpose(-1, -2).contiguous(), 1).transpose(-1, -2).contiguous();
  auto sizes = x.sizes().vec(), spread = std::vector<std::int64_t>(sizes.size(), 1);
  sizes[static_cast<std::size_t>(dimension)] = spread[static_cast<std::size_t>(dimension)] = map.rows;
  at::Tensor y = at::zeros(sizes, x.options());
  for (std::int64_t k = 0; k < map.places.size(0); ++k)
    y.addcmul_(x.index_select(dimension, map.places.select(0, k)), map.weights.select(0, k).view(spread));
  return y;
}

std::vector<double> dense_algebra<at::Tensor>::least_squares(std::size_t rows, std::size_t columns,
                                                             std::span<const double> a,
                                                             std::span<const double> b, double cutoff) {
  const at::Tensor left = finite_matrix("the matrix of the least squares", rows, columns, a);
  const at::Tensor right = finite_matrix("the right side of the least squares", rows, 1, b);
  if (rows == 0 || columns == 0) return std::vector<double>(columns, 0.0);
  return solved("least squares", [&] {
    const auto [u, s, vt] = at::linalg_svd(left, false);
    const at::Tensor inverse = s.reciprocal().masked_fill_(s.le(s.max().mul(cutoff)), 0.0);
    return traits::elements(at::matmul(vt.t(), at::matmul(u.t(), right).squeeze(1).mul(inverse)));
  });
}

std::vector<std::complex<double>> dense_algebra<at::Tensor>::eigenvalues(std::size_t n,
                                                                         std::span<const double> a) {
  const at::Tensor matrix = finite_matrix("the matrix of the eigenvalues", n, n, a);
  return solved("eigenvalues", [&] {
    const at::Tensor values = at::view_as_real(at::linalg_eigvals(matrix)).contiguous();
    const double* v = values.const_data_ptr<double>();
    std::vector<std::complex<double>> result;
    for (std::size_t i = 0; i < n; ++i) result.emplace_back(v[2 * i], v[2 * i + 1]);
    return result;
  });
}

} // namespace pushforward
