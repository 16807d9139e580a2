#pragma once
/// \file
/// The denoiser whose answers are known in closed form: clean samples from a Gaussian mixture. In plain
/// double on the host, with formulas of its own: nothing is taken from the library but its types and a path's
/// (a, s).

#include <support/backend.hpp>

#include <pushforward/concepts.hpp>

#include <cmath>
#include <cstddef>
#include <memory>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

namespace testing_support {

struct gaussian {
  double weight = 1.0;
  vector mean;
  matrix covariance;
};

/// p(x0) = sum_k w_k N(mu_k, S_k), seen through x = a x0 + s eps. With C_k = a^2 S_k + s^2 and
/// u_k = C_k^-1 (x - a mu_k):
///
///     r_k proportional to w_k N(x; a mu_k, C_k)        the share of component k at x
///     m_k = mu_k + a S_k u_k                           its posterior mean
///     x0  = sum_k r_k m_k
///     J   = sum_k r_k a S_k C_k^-1 - sum_k r_k m_k (u_k - sum_l r_l u_l)^T
class gaussian_mixture {
public:
  explicit gaussian_mixture(std::vector<gaussian> components) : components_{std::move(components)} {
    double sum = 0.0;
    for (const auto& g : components_) sum += g.weight;
    for (auto& g : components_) g.weight /= sum;
  }

  /// `count` components in n dimensions with full covariances, means of size about 1 and deviations of
  /// 0.3..1.
  static gaussian_mixture random(std::size_t n, std::size_t count, std::uint64_t seed) {
    std::vector<gaussian> components;
    for (std::size_t k = 0; k < count; ++k) {
      const matrix root(n, n, random_numbers(n * n, seed + 10 * k + 1));
      components.push_back(
          {1.0 + static_cast<double>(k), random_numbers(n, seed + 10 * k + 2),
           combined(0.3 / static_cast<double>(n), root * transposed(root), 0.1, matrix::identity(n))});
    }
    return gaussian_mixture(std::move(components));
  }

  std::size_t size() const { return components_.front().mean.size(); }
  const std::vector<gaussian>& components() const { return components_; }

  vector mean() const {
    vector m(size(), 0.0);
    for (const auto& g : components_) m = combined(1.0, m, g.weight, g.mean);
    return m;
  }
  matrix covariance() const {
    const vector m = mean();
    matrix c(size(), size());
    for (const auto& g : components_)
      for (std::size_t i = 0; i < size(); ++i)
        for (std::size_t j = 0; j < size(); ++j)
          c(i, j) += g.weight * (g.covariance(i, j) + (g.mean[i] - m[i]) * (g.mean[j] - m[j]));
    return c;
  }

  /// p(x0 | x) of x = a x0 + s eps, as a mixture.
  gaussian_mixture given_noisy(std::span<const double> x, double a, double s) const {
    return given_linear(combined(a, matrix::identity(size()), 0.0, matrix::identity(size())), x, s);
  }

  /// p(x0 | y) of y = A x0 + noise of standard deviation `deviation`, which may be 0 where A S A^T is
  /// regular.
  gaussian_mixture given_linear(const matrix& A, std::span<const double> y, double deviation) const {
    std::vector<gaussian> result;
    std::vector<double> logs;
    for (const auto& g : components_) {
      const matrix cross = g.covariance * transposed(A);
      double determinant = 0.0;
      const matrix inv =
          inverse(combined(1.0, A * cross, deviation * deviation, matrix::identity(A.rows)), &determinant);
      const vector residual = combined(1.0, y, -1.0, A * g.mean);
      const vector u = inv * residual;
      logs.push_back(std::log(g.weight) - 0.5 * (dot(residual, u) + std::log(determinant)));
      result.push_back({1.0, combined(1.0, g.mean, 1.0, cross * u),
                        combined(1.0, g.covariance, -1.0, cross * inv * transposed(cross))});
    }
    const double top = *std::max_element(logs.begin(), logs.end());
    for (std::size_t k = 0; k < logs.size(); ++k) result[k].weight = std::exp(logs[k] - top);
    return gaussian_mixture(std::move(result));
  }

  /// p(x0 | x0_i = y_i where mask_i = 1), with measurement noise `deviation` on those elements.
  gaussian_mixture given_elements(std::span<const double> mask, std::span<const double> y,
                                  double deviation = 0.0) const {
    vector known;
    std::vector<std::size_t> at;
    for (std::size_t i = 0; i < mask.size(); ++i)
      if (mask[i] == 1.0) {
        known.push_back(y[i]);
        at.push_back(i);
      }
    matrix A(at.size(), size());
    for (std::size_t i = 0; i < at.size(); ++i) A(i, at[i]) = 1.0;
    return given_linear(A, known, deviation);
  }

  /// x0(x), the mean of p(x0 | x).
  vector clean(std::span<const double> x, double a, double s) const {
    const auto at = shares(x, a, s);
    vector x0(size(), 0.0);
    for (const auto& g : at) x0 = combined(1.0, x0, g.share, g.mean);
    return x0;
  }

  /// J = d x0 / d x, by differentiating the formula of x0. It is symmetric, and (a / s^2) Cov(x0 | x).
  matrix jacobian(std::span<const double> x, double a, double s) const {
    const auto at = shares(x, a, s);
    const std::size_t n = size();
    vector average(n, 0.0);
    for (const auto& g : at) average = combined(1.0, average, g.share, g.u);
    matrix J(n, n);
    for (std::size_t k = 0; k < at.size(); ++k) {
      const matrix of_component = components_[k].covariance * at[k].inverse;
      for (std::size_t i = 0; i < n; ++i)
        for (std::size_t j = 0; j < n; ++j)
          J(i, j) += at[k].share * (a * of_component(i, j) - at[k].mean[i] * (at[k].u[j] - average[j]));
    }
    return J;
  }

private:
  struct component_at {
    double share;
    vector mean;
    vector u;
    matrix inverse;
  };

  std::vector<component_at> shares(std::span<const double> x, double a, double s) const {
    std::vector<component_at> at;
    std::vector<double> logs;
    for (const auto& g : components_) {
      double determinant = 0.0;
      matrix inv = inverse(combined(a * a, g.covariance, s * s, matrix::identity(size())), &determinant);
      const vector residual = combined(1.0, x, -a, g.mean);
      vector u = inv * residual;
      logs.push_back(std::log(g.weight) - 0.5 * (dot(residual, u) + std::log(determinant)));
      vector m = combined(1.0, g.mean, a, g.covariance * u);
      at.push_back({0.0, std::move(m), std::move(u), std::move(inv)});
    }
    const double top = *std::max_element(logs.begin(), logs.end());
    double sum = 0.0;
    for (double l : logs) sum += std::exp(l - top);
    for (std::size_t k = 0; k < at.size(); ++k) at[k].share = std::exp(logs[k] - top) / sum;
    return at;
  }

  std::vector<gaussian> components_;
};

/// How often a denoiser was asked, in samples. Copies of a denoiser share one.
struct call_counts {
  std::size_t forward = 0;
  std::size_t backward = 0;
  std::size_t forward_mode = 0;
};

/// The denoiser of a mixture on a path, which can only run forward.
/// A sample's elements, in row-major order, are a point of the mixture.
template <class Backend, class Path> class forward_mixture {
public:
  using T = typename Backend::tensor;
  pushforward::prediction_type prediction;

  forward_mixture(gaussian_mixture prior, Path path, pushforward::prediction_type p)
      : prediction{p}, prior_{std::make_shared<gaussian_mixture>(std::move(prior))}, path_{std::move(path)} {}

  T predict(const T& x, double model_time) const {
    calls_->forward += samples(x);
    const auto [a, s] = at(model_time);
    return each_sample(x, x, [&, a = a, s = s](std::span<const double> point, std::span<const double>) {
      const vector x0 = prior_->clean(point, a, s);
      return output(point, x0, a, s);
    });
  }

  const call_counts& calls() const { return *calls_; }
  const gaussian_mixture& prior() const { return *prior_; }

  /// (a, s) at what the network is fed, which every path makes of t by a line.
  std::pair<double, double> at(double model_time) const {
    const double zero = path_.model_time(0.0), slope = path_.model_time(1.0) - zero;
    const auto c = path_.at((model_time - zero) / slope);
    return {c.a, c.s};
  }

protected:
  static std::size_t samples(const T& x) { return pushforward::tensor_traits<T>::shape_of(x).samples(); }

  /// o by the definition of the prediction, of x0 and eps = (x - a x0) / s.
  vector output(std::span<const double> x, std::span<const double> x0, double a, double s) const {
    if (prediction == pushforward::prediction_type::sample) return {x0.begin(), x0.end()};
    vector o(x.size());
    for (std::size_t i = 0; i < o.size(); ++i) {
      const double eps = (x[i] - a * x0[i]) / s;
      switch (prediction) {
      case pushforward::prediction_type::epsilon:
        o[i] = eps;
        break;
      case pushforward::prediction_type::v:
        o[i] = a * eps - s * x0[i];
        break;
      case pushforward::prediction_type::flow:
        o[i] = eps - x0[i];
        break;
      case pushforward::prediction_type::reverse_flow:
        o[i] = x0[i] - eps;
        break;
      default:
        throw std::logic_error("no such prediction");
      }
    }
    return o;
  }

  /// J_o v at x: o is linear in (x, x0), so that its change is the same function of (v, J v).
  vector product(std::span<const double> x, std::span<const double> v, double a, double s) const {
    return output(v, prior_->jacobian(x, a, s) * v, a, s);
  }

  template <class F> static T each_sample(const T& x, const T& v, F f) {
    const auto shape = pushforward::tensor_traits<T>::shape_of(x);
    const std::size_t n = shape.sample_elements();
    const auto points = elements(x), others = elements(v);
    std::vector<double> result;
    for (std::size_t j = 0; j < shape.samples(); ++j) {
      const vector y = f(std::span(points).subspan(j * n, n), std::span(others).subspan(j * n, n));
      result.insert(result.end(), y.begin(), y.end());
    }
    return pushforward::tensor_traits<T>::from_elements(x, shape, result);
  }

  std::shared_ptr<call_counts> calls_ = std::make_shared<call_counts>();
  std::shared_ptr<const gaussian_mixture> prior_;
  Path path_;
};

/// The same, which can also run backward. J is symmetric, and with it J_o.
template <class Backend, class Path> class differentiable_mixture : public forward_mixture<Backend, Path> {
public:
  using base = forward_mixture<Backend, Path>;
  using T = typename Backend::tensor;
  using base::base;

  pushforward::linearization<T> linearize(const T& x, double model_time) const {
    const auto c = this->at(model_time);
    return {this->predict(x, model_time), [self = *this, x, c](const T& w) {
              self.calls_->backward += base::samples(x);
              return base::each_sample(x, w, [&](std::span<const double> point, std::span<const double> v) {
                return self.product(point, v, c.first, c.second);
              });
            }};
  }
};

/// The same as `forward_mixture`, with exact products J_o v.
template <class Backend, class Path> class forward_mode_mixture : public forward_mixture<Backend, Path> {
public:
  using base = forward_mixture<Backend, Path>;
  using T = typename Backend::tensor;
  using base::base;

  T jvp(const T& x, double model_time, const T& v) const {
    this->calls_->forward_mode += base::samples(x);
    const auto c = this->at(model_time);
    return base::each_sample(x, v, [&](std::span<const double> point, std::span<const double> w) {
      return this->product(point, w, c.first, c.second);
    });
  }
};

/// Forward, backward and in forward mode.
template <class Backend, class Path> class complete_mixture : public differentiable_mixture<Backend, Path> {
public:
  using T = typename Backend::tensor;
  using differentiable_mixture<Backend, Path>::differentiable_mixture;

  T jvp(const T& x, double model_time, const T& v) const {
    this->calls_->forward_mode += this->samples(x);
    const auto c = this->at(model_time);
    return this->each_sample(x, v, [&](std::span<const double> point, std::span<const double> w) {
      return this->product(point, w, c.first, c.second);
    });
  }
};

} // namespace testing_support
