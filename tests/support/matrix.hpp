#pragma once
/// \file
/// Small dense linear algebra in plain double, for tests: slow, short, and independent of every backend.

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>
#include <numeric>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

namespace testing_support {

using vector = std::vector<double>;

/// Row-major.
struct matrix {
  std::size_t rows = 0;
  std::size_t columns = 0;
  vector values;

  matrix() = default;
  matrix(std::size_t r, std::size_t c) : rows{r}, columns{c}, values(r * c, 0.0) {}
  matrix(std::size_t r, std::size_t c, vector v) : rows{r}, columns{c}, values(std::move(v)) {
    if (values.size() != r * c) throw std::logic_error("matrix: wrong number of values");
  }
  static matrix identity(std::size_t n) {
    matrix m(n, n);
    for (std::size_t i = 0; i < n; ++i) m(i, i) = 1.0;
    return m;
  }

  double operator()(std::size_t i, std::size_t j) const { return values[i * columns + j]; }
  double& operator()(std::size_t i, std::size_t j) { return values[i * columns + j]; }
};

inline matrix transposed(const matrix& m) {
  matrix t(m.columns, m.rows);
  for (std::size_t i = 0; i < m.rows; ++i)
    for (std::size_t j = 0; j < m.columns; ++j) t(j, i) = m(i, j);
  return t;
}

inline matrix operator*(const matrix& x, const matrix& y) {
  if (x.columns != y.rows) throw std::logic_error("matrix product: sizes");
  matrix p(x.rows, y.columns);
  for (std::size_t i = 0; i < x.rows; ++i)
    for (std::size_t k = 0; k < x.columns; ++k)
      for (std::size_t j = 0; j < y.columns; ++j) p(i, j) += x(i, k) * y(k, j);
  return p;
}

inline vector operator*(const matrix& m, std::span<const double> v) {
  if (m.columns != v.size()) throw std::logic_error("matrix times vector: sizes");
  vector y(m.rows, 0.0);
  for (std::size_t i = 0; i < m.rows; ++i)
    for (std::size_t j = 0; j < m.columns; ++j) y[i] += m(i, j) * v[j];
  return y;
}
inline vector operator*(const matrix& m, const vector& v) { return m * std::span<const double>(v); }

/// a x + b y
inline matrix combined(double a, const matrix& x, double b, const matrix& y) {
  if (x.rows != y.rows || x.columns != y.columns) throw std::logic_error("matrix sum: sizes");
  matrix z = x;
  for (std::size_t i = 0; i < z.values.size(); ++i) z.values[i] = a * x.values[i] + b * y.values[i];
  return z;
}

/// a x + b y
inline vector combined(double a, std::span<const double> x, double b, std::span<const double> y) {
  if (x.size() != y.size()) throw std::logic_error("vector sum: sizes");
  vector z(x.size());
  for (std::size_t i = 0; i < z.size(); ++i) z[i] = a * x[i] + b * y[i];
  return z;
}

inline double dot(std::span<const double> x, std::span<const double> y) {
  return std::inner_product(x.begin(), x.end(), y.begin(), 0.0);
}

inline double max_abs(std::span<const double> v) {
  double m = 0.0;
  for (double e : v) m = std::max(m, std::abs(e));
  return m;
}

/// max |x - y|; NaN differs from everything.
inline double largest_difference(std::span<const double> x, std::span<const double> y) {
  if (x.size() != y.size()) throw std::logic_error("largest_difference: sizes");
  double m = 0.0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double d = std::abs(x[i] - y[i]);
    m = d <= m ? m : d;
  }
  return m;
}

/// Gauss and Jordan, with row pivots; also gives the determinant.
inline matrix inverse(matrix m, double* determinant = nullptr) {
  const std::size_t n = m.rows;
  matrix inv = matrix::identity(n);
  double det = 1.0;
  for (std::size_t c = 0; c < n; ++c) {
    std::size_t pivot = c;
    for (std::size_t r = c + 1; r < n; ++r)
      if (std::abs(m(r, c)) > std::abs(m(pivot, c))) pivot = r;
    if (m(pivot, c) == 0.0) throw std::logic_error("inverse: singular");
    if (pivot != c) {
      det = -det;
      for (std::size_t j = 0; j < n; ++j) {
        std::swap(m(pivot, j), m(c, j));
        std::swap(inv(pivot, j), inv(c, j));
      }
    }
    const double p = m(c, c);
    det *= p;
    for (std::size_t j = 0; j < n; ++j) {
      m(c, j) /= p;
      inv(c, j) /= p;
    }
    for (std::size_t r = 0; r < n; ++r) {
      const double f = m(r, c);
      if (r == c || f == 0.0) continue;
      for (std::size_t j = 0; j < n; ++j) {
        m(r, j) -= f * m(c, j);
        inv(r, j) -= f * inv(c, j);
      }
    }
  }
  if (determinant) *determinant = det;
  return inv;
}

/// A = U diag(s) V^T by one-sided Jacobi rotations (rows >= columns).
struct svd {
  matrix u;
  vector s;
  matrix v;

  explicit svd(const matrix& a) : u{a}, s(a.columns, 0.0), v{matrix::identity(a.columns)} {
    const std::size_t n = a.columns;
    for (int sweep = 0; sweep < 60; ++sweep) {
      double off = 0.0;
      for (std::size_t p = 0; p + 1 < n; ++p)
        for (std::size_t q = p + 1; q < n; ++q) off = std::max(off, rotate(p, q));
      if (off < 1e-15) break;
    }
    for (std::size_t j = 0; j < n; ++j) {
      for (std::size_t i = 0; i < u.rows; ++i) s[j] += u(i, j) * u(i, j);
      s[j] = std::sqrt(s[j]);
      for (std::size_t i = 0; i < u.rows && s[j] > 0.0; ++i) u(i, j) /= s[j];
    }
  }

private:
  /// Makes columns p and q orthogonal; the cosine of their angle before.
  double rotate(std::size_t p, std::size_t q) {
    double pp = 0.0, qq = 0.0, pq = 0.0;
    for (std::size_t i = 0; i < u.rows; ++i) {
      pp += u(i, p) * u(i, p);
      qq += u(i, q) * u(i, q);
      pq += u(i, p) * u(i, q);
    }
    if (pq == 0.0) return 0.0;
    const double zeta = (qq - pp) / (2.0 * pq);
    const double t = (zeta < 0.0 ? -1.0 : 1.0) / (std::abs(zeta) + std::hypot(1.0, zeta));
    const double c = 1.0 / std::hypot(1.0, t);
    turn(u, p, q, c, c * t);
    turn(v, p, q, c, c * t);
    return std::abs(pq) / std::sqrt(pp * qq);
  }
  static void turn(matrix& m, std::size_t p, std::size_t q, double c, double sine) {
    for (std::size_t i = 0; i < m.rows; ++i) {
      const double x = m(i, p), y = m(i, q);
      m(i, p) = c * x - sine * y;
      m(i, q) = sine * x + c * y;
    }
  }
};

/// Least-squares solution of A x = b of smallest norm; singular values below cutoff times the largest are 0.
inline vector truncated_least_squares(const matrix& a, std::span<const double> b, double cutoff) {
  const svd d(a);
  const double largest = *std::max_element(d.s.begin(), d.s.end());
  vector x(a.columns, 0.0);
  for (std::size_t k = 0; k < d.s.size(); ++k) {
    if (d.s[k] == 0.0 || d.s[k] < cutoff * largest) continue;
    double c = 0.0;
    for (std::size_t i = 0; i < a.rows; ++i) c += d.u(i, k) * b[i];
    for (std::size_t i = 0; i < x.size(); ++i) x[i] += c / d.s[k] * d.v(i, k);
  }
  return x;
}

/// Eigenvalues of a real square matrix, by the shifted QR iteration in complex numbers.
inline std::vector<std::complex<double>> eigenvalues(const matrix& a) {
  using number = std::complex<double>;
  std::vector<std::vector<number>> h(a.rows, std::vector<number>(a.rows));
  double size = 0.0;
  for (std::size_t i = 0; i < a.rows; ++i)
    for (std::size_t j = 0; j < a.rows; ++j) {
      h[i][j] = a(i, j);
      size = std::max(size, std::abs(a(i, j)));
    }
  std::vector<number> found;
  for (std::size_t n = a.rows; n > 0; --n) {
    for (int round = 0;; ++round) {
      double below = 0.0;
      for (std::size_t j = 0; j + 1 < n; ++j) below = std::max(below, std::abs(h[n - 1][j]));
      if (n == 1 || below <= 1e-15 * size) break;
      if (round == 10000) throw std::logic_error("eigenvalues: no convergence");
      // Wilkinson's shift, and now and then another, against cycles
      number shift = h[n - 1][n - 1];
      if (round % 11 == 10) {
        shift += number(below, 0.5 * below);
      } else {
        const number p = h[n - 2][n - 2], q = h[n - 2][n - 1] * h[n - 1][n - 2];
        const number mean = 0.5 * (p + shift), root = std::sqrt(0.25 * (p - shift) * (p - shift) + q);
        const number one = mean + root, other = mean - root;
        shift = std::abs(one - shift) < std::abs(other - shift) ? one : other;
      }
      // H - shift = Q R by modified Gram and Schmidt, then H = R Q + shift
      std::vector<std::vector<number>> q(n, std::vector<number>(n)), r = q;
      for (std::size_t j = 0; j < n; ++j) {
        std::vector<number> column(n);
        for (std::size_t i = 0; i < n; ++i) column[i] = h[i][j] - (i == j ? shift : number{});
        for (int twice = 0; twice < 2; ++twice)
          for (std::size_t k = 0; k < j; ++k) {
            number c{};
            for (std::size_t i = 0; i < n; ++i) c += std::conj(q[i][k]) * column[i];
            r[k][j] += c;
            for (std::size_t i = 0; i < n; ++i) column[i] -= c * q[i][k];
          }
        double norm = 0.0;
        for (const number& c : column) norm += std::norm(c);
        r[j][j] = std::sqrt(norm);
        for (std::size_t i = 0; i < n && norm > 0.0; ++i) q[i][j] = column[i] / r[j][j];
      }
      for (std::size_t i = 0; i < n; ++i)
        for (std::size_t j = 0; j < n; ++j) {
          h[i][j] = i == j ? shift : number{};
          for (std::size_t k = 0; k < n; ++k) h[i][j] += r[i][k] * q[k][j];
        }
    }
    found.push_back(h[n - 1][n - 1]);
  }
  return found;
}

} // namespace testing_support
