// A complete adapter for a tensor type of the user's, for docs/writing-an-adapter.md.

#include <pushforward/noise/philox_normal.hpp>
#include <pushforward/pushforward.hpp>

#include <cstdio>

namespace pf = pushforward;

//! [type]
// A batch in host memory, with copies that do not alias.
struct batch {
  pf::shape extents;
  std::vector<float, pf::recycling_allocator<float>> values;
};
//! [type]

//! [traits]
template <> struct pushforward::tensor_traits<batch> : pushforward::host_per_sample_traits<batch> {
  using host = host_per_sample_traits<batch>;
  using host::combine; // on per-sample scalars
  using host::multiply;

  static shape shape_of(const batch& x) { return x.extents; }

  static batch zeros(batch x) {
    for (float& v : x.values) v = 0;
    return x;
  }

  template <class A, class B> static batch combine(const A& a, batch x, const B& b, const batch& y) {
    for (std::size_t i = 0; i < x.values.size(); ++i)
      x.values[i] = of(a, x, i) * x.values[i] + of(b, x, i) * y.values[i];
    return x;
  }
  template <class A> static batch scale(const A& a, batch x) {
    for (std::size_t i = 0; i < x.values.size(); ++i) x.values[i] *= of(a, x, i);
    return x;
  }
  static batch multiply(batch x, const batch& y) {
    for (std::size_t i = 0; i < x.values.size(); ++i) x.values[i] *= y.values[i];
    return x;
  }

  static per_sample max_abs(const batch& x) {
    per_sample largest(x.extents.samples(), 0.0);
    for (std::size_t i = 0; i < x.values.size(); ++i) {
      double& m = largest[sample(x, i)];
      m = std::max(m, static_cast<double>(std::abs(x.values[i])));
    }
    return largest;
  }
  static per_sample dot(const batch& x, const batch& y) {
    per_sample sum(x.extents.samples(), 0.0);
    for (std::size_t i = 0; i < x.values.size(); ++i)
      sum[sample(x, i)] += static_cast<double>(x.values[i]) * static_cast<double>(y.values[i]);
    return sum;
  }
  static bool all_finite(const batch& x) {
    return std::all_of(x.values.begin(), x.values.end(), [](float v) { return std::isfinite(v); });
  }

  // the numbers every backend gives
  static batch normal(batch x, const noise_key& key) {
    noise::fill_normal(std::span<float>(x.values), x.extents.sample_elements(), key);
    return x;
  }

  static batch concatenate(batch x, const batch& y) {
    x.extents[0] += y.extents[0];
    x.values.insert(x.values.end(), y.values.begin(), y.values.end());
    return x;
  }
  static std::pair<batch, batch> halves(const batch& x) {
    shape half = x.extents;
    half[0] /= 2;
    const auto middle = x.values.begin() + static_cast<std::ptrdiff_t>(half.elements());
    return {{half, {x.values.begin(), middle}}, {half, {middle, x.values.end()}}};
  }

  static std::vector<double> elements(const batch& x) { return {x.values.begin(), x.values.end()}; }
  static batch from_elements(const batch&, const shape& s, std::span<const double> v) {
    batch x{s, {}};
    for (double e : v) x.values.push_back(static_cast<float>(e));
    return x;
  }

private:
  static std::size_t sample(const batch& x, std::size_t i) { return i / x.extents.sample_elements(); }
  static float of(double a, const batch&, std::size_t) { return static_cast<float>(a); }
  static float of(const per_sample& a, const batch& x, std::size_t i) {
    return static_cast<float>(a[sample(x, i)]);
  }
};

static_assert(pf::tensor<batch>);
//! [traits]

// Clean samples from N(0, 1), element by element.
struct normal_prior {
  pf::prediction_type prediction = pf::prediction_type::sample;
  batch predict(const batch& x, double time) const {
    const double s = time / 1000, a = 1 - s;
    return pf::tensor_traits<batch>::scale(a / (a * a + s * s), x);
  }
};

int main() {
  //! [use]
  const batch target{{2, 3}, {1, 1, 1, -1, -1, -1}}, known{{2, 3}, {1, 1, 0, 1, 1, 0}};
  const normal_prior net;
  const pf::rectified_flow path;
  const auto result = pf::sample(pf::standard_normal(target, {.seed = 1}), pf::model{net, path},
                                 pf::rectified_flow_euler(path), pf::masked<batch>(target, known),
                                 pf::update{pf::inexact_newton{}, pf::infinity_norm{.rate = {0.5, 0.02}}, 5});
  //! [use]
  for (std::size_t i : {0U, 1U, 3U, 4U})
    if (!(std::abs(result.x.values[i] - target.values[i]) < 0.1)) return std::puts("off the target"), 1;
  return result.passes.forward == 440 ? 0 : 1;
}
