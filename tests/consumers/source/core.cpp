// Uses the core alone, with a tensor type of its own: one number a sample.

#include "steer.hpp"

#include <random>

struct numbers {
  std::vector<double> values;
};

template <> struct pushforward::tensor_traits<numbers> : pushforward::host_per_sample_traits<numbers> {
  using base = host_per_sample_traits<numbers>;
  using base::combine;
  using base::multiply;

  static shape shape_of(const numbers& x) { return {x.values.size()}; }
  static numbers zeros(const numbers& x) { return {std::vector<double>(x.values.size())}; }

  template <class A, class B> static numbers combine(const A& a, numbers x, const B& b, const numbers& y) {
    for (std::size_t i = 0; i < x.values.size(); ++i)
      x.values[i] = of(a, i) * x.values[i] + of(b, i) * y.values[i];
    return x;
  }
  template <class A> static numbers scale(const A& a, numbers x) {
    for (std::size_t i = 0; i < x.values.size(); ++i) x.values[i] *= of(a, i);
    return x;
  }
  static numbers multiply(numbers x, const numbers& y) {
    for (std::size_t i = 0; i < x.values.size(); ++i) x.values[i] *= y.values[i];
    return x;
  }
  static host_scalars max_abs(const numbers& x) {
    host_scalars m(x.values.begin(), x.values.end());
    for (double& v : m) v = std::abs(v);
    return m;
  }
  static host_scalars dot(const numbers& x, const numbers& y) {
    const numbers product = multiply(x, y);
    return {product.values.begin(), product.values.end()};
  }
  static bool all_finite(const numbers& x) {
    for (double v : x.values)
      if (!std::isfinite(v)) return false;
    return true;
  }
  static numbers normal(numbers x, const noise_key& key) {
    std::normal_distribution<double> draw;
    for (std::size_t i = 0; i < x.values.size(); ++i) {
      std::seed_seq seed{key.seed, key.first_sample + i, std::uint64_t{key.draw}};
      std::mt19937_64 generator(seed);
      draw.reset();
      x.values[i] = draw(generator);
    }
    return x;
  }
  static numbers concatenate(numbers x, const numbers& y) {
    x.values.insert(x.values.end(), y.values.begin(), y.values.end());
    return x;
  }
  static std::pair<numbers, numbers> halves(const numbers& x) {
    const auto middle = x.values.begin() + static_cast<std::ptrdiff_t>(x.values.size() / 2);
    return {{{x.values.begin(), middle}}, {{middle, x.values.end()}}};
  }
  static std::vector<double> elements(const numbers& x) { return x.values; }
  static numbers from_elements(const numbers&, const shape&, std::span<const double> values) {
    return {{values.begin(), values.end()}};
  }

private:
  static double of(double a, std::size_t) { return a; }
  static double of(const host_scalars& a, std::size_t i) { return a[i]; }
};

int main() { return steer(numbers{{-1.5, 0.25, 1.0}}); }
