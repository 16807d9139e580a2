// Separable operators on images, against code that does the same pixel by pixel.

#include <support/backend.hpp>

#include <pushforward/constraints/linear.hpp>
#include <pushforward/constraints/separable.hpp>

#include <array>
#include <limits>
#include <string>
#include <utility>

using namespace pushforward;
using namespace testing_support;

namespace {

/// Keys's cubic convolution kernel with parameter a.
double keys(double x, double a = -0.5) {
  x = std::abs(x);
  if (x < 1.0) return (a + 2.0) * x * x * x - (a + 3.0) * x * x + 1.0;
  if (x < 2.0) return a * (x * x * x - 5.0 * x * x + 8.0 * x - 4.0);
  return 0.0;
}
double triangle(double x) { return std::max(0.0, 1.0 - std::abs(x)); }
double kernel(resize_kernel k, double x) { return k == resize_kernel::cubic ? keys(x) : triangle(x); }
double half_width(resize_kernel k) { return k == resize_kernel::cubic ? 2.0 : 1.0; }

/// The weights of torch's interpolate(antialias=True), as its kernels compute them: pixel centres at j + 1/2,
/// taps [xmin, xmax), scaled to sum 1.
matrix torch_resize(std::size_t n, std::size_t size, resize_kernel k) {
  const double scale = static_cast<double>(n) / static_cast<double>(size);
  const double filter = std::max(scale, 1.0), support = half_width(k) * filter;
  matrix m(size, n);
  for (std::size_t i = 0; i < size; ++i) {
    const double centre = scale * (static_cast<double>(i) + 0.5);
    const auto xmin = static_cast<std::size_t>(std::max(static_cast<long>(centre - support + 0.5), 0L));
    const auto xmax =
        static_cast<std::size_t>(std::min(static_cast<long>(centre + support + 0.5), static_cast<long>(n)));
    double sum = 0.0;
    for (std::size_t j = xmin; j < xmax; ++j)
      sum += m(i, j) = kernel(k, (static_cast<double>(j) - centre + 0.5) / filter);
    for (std::size_t j = 0; j < n; ++j) m(i, j) /= sum;
  }
  return m;
}

/// The weights of MATLAB's imresize, as its `contributions` computes them: positions from 1, P taps from the
/// left-most, rows scaled to sum 1, then indices folded by [1:n, n:-1:1].
matrix matlab_resize(std::size_t n, std::size_t size, resize_kernel k) {
  const double scale = static_cast<double>(size) / static_cast<double>(n), shrink = std::min(scale, 1.0);
  const double width = 2.0 * half_width(k) / shrink;
  const int taps = static_cast<int>(std::ceil(width)) + 2, length = static_cast<int>(n);
  matrix m(size, n);
  for (std::size_t i = 0; i < size; ++i) {
    const double u = static_cast<double>(i + 1) / scale + 0.5 * (1.0 - 1.0 / scale);
    const int left = static_cast<int>(std::floor(u - width / 2.0));
    double sum = 0.0;
    for (int p = 0; p < taps; ++p) sum += shrink * kernel(k, shrink * (u - (left + p)));
    for (int p = 0; p < taps; ++p) {
      int at = (left + p - 1) % (2 * length);
      if (at < 0) at += 2 * length;
      if (at >= length) at = 2 * length - 1 - at;
      m(i, static_cast<std::size_t>(at)) += shrink * kernel(k, shrink * (u - (left + p))) / sum;
    }
  }
  return m;
}

vector row(const axis_matrix& m, std::size_t i) {
  vector all(m.columns());
  for (std::size_t j = 0; j < all.size(); ++j) all[j] = m(i, j);
  return all;
}

double difference(const axis_matrix& is, const matrix& wanted) {
  REQUIRE(is.rows() == wanted.rows);
  REQUIRE(is.columns() == wanted.columns);
  double worst = 0.0;
  for (std::size_t i = 0; i < is.rows(); ++i)
    worst = std::max(
        worst,
        largest_difference(row(is, i), std::span(wanted.values).subspan(i * wanted.columns, wanted.columns)));
  return worst;
}

/// How many entries a matrix keeps.
std::size_t entries(const axis_matrix& m) {
  std::size_t n = 0;
  for (std::size_t i = 0; i < m.rows(); ++i) n += m.row(i).values.size();
  return n;
}

constexpr std::array<std::pair<std::size_t, std::size_t>, 9> sizes{
    {{8, 4}, {8, 3}, {9, 4}, {16, 2}, {32, 8}, {4, 8}, {5, 7}, {3, 10}, {6, 6}}};

/// Images (2, 1, 5, 7).
const shape image_shape{2, 1, 5, 7};
vector images() { return random_numbers(70, 21); }

/// Every operator on images of 6 x 8, with its name.
template <class T, class F> void with_each_operator(const T& like, F f) {
  f("averaging", averaging(like, 2));
  for (auto edge : {boundary::cropped, boundary::mirrored, boundary::reflected}) {
    f("cubic resize", resizing(like, 3, 4, resize_kernel::cubic, edge));
    f("linear resize", resizing(like, 4, 11, resize_kernel::linear, edge));
    f("blur", gaussian_blur(like, 1.3, 3, edge));
  }
}

} // namespace

TEST_CASE("a cropped resize has the weights of torch's antialiased interpolate") {
  for (auto k : {resize_kernel::linear, resize_kernel::cubic})
    for (const auto& [n, size] : sizes) {
      INFO(n << " -> " << size << (k == resize_kernel::cubic ? ", cubic" : ", linear"));
      CHECK(difference(resize_matrix(n, size, k, boundary::cropped), torch_resize(n, size, k)) <= 1e-14);
    }
}

TEST_CASE("a mirrored resize has the weights of MATLAB's imresize") {
  for (auto k : {resize_kernel::linear, resize_kernel::cubic})
    for (const auto& [n, size] : sizes) {
      INFO(n << " -> " << size << (k == resize_kernel::cubic ? ", cubic" : ", linear"));
      CHECK(difference(resize_matrix(n, size, k, boundary::mirrored), matlab_resize(n, size, k)) <= 1e-14);
    }
}

TEST_CASE("halving with the linear kernel: the weights known by hand") {
  const auto cropped = resize_matrix(8, 4, resize_kernel::linear, boundary::cropped);
  CHECK(largest_difference(row(cropped, 1), vector{0, 0.125, 0.375, 0.375, 0.125, 0, 0, 0}) <= 1e-15);
  CHECK(largest_difference(row(cropped, 0), vector{3. / 7, 3. / 7, 1. / 7, 0, 0, 0, 0, 0}) <= 1e-15);
  const auto mirrored = resize_matrix(8, 4, resize_kernel::linear, boundary::mirrored);
  CHECK(largest_difference(row(mirrored, 0), vector{0.5, 0.375, 0.125, 0, 0, 0, 0, 0}) <= 1e-15);
  const auto reflected = resize_matrix(8, 4, resize_kernel::linear, boundary::reflected);
  CHECK(largest_difference(row(reflected, 0), vector{0.375, 0.5, 0.125, 0, 0, 0, 0, 0}) <= 1e-15);
}

TEST_CASE("a resize to the same size changes nothing") {
  for (auto k : {resize_kernel::linear, resize_kernel::cubic})
    for (auto edge : {boundary::cropped, boundary::mirrored, boundary::reflected})
      CHECK(difference(resize_matrix(7, 7, k, edge), matrix::identity(7)) <= 1e-15);
}

TEST_CASE("a matrix keeps the entries of its rows from the first to the last that is not 0") {
  const vector values{0, 1, 0, 2, 0, 0, 0, 0, 3, 0, 0, 0};
  const axis_matrix m(3, 4, values);
  CHECK(entries(m) == 4);
  CHECK(m.row(0).first == 1);
  CHECK(m.row(1).values.empty());
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(row(m, i) == vector(values.begin() + 4 * static_cast<std::ptrdiff_t>(i),
                              values.begin() + 4 * static_cast<std::ptrdiff_t>(i + 1)));
    for (std::size_t j = 0; j < 4; ++j) CHECK(m.transposed()(j, i) == m(i, j));
  }
  CHECK(m.transposed().rows() == 4);
  CHECK(m.transposed().columns() == 3);
  CHECK_THROWS_AS(axis_matrix(3, 4, vector(11)), shape_mismatch);
  axis_matrix one(4);
  CHECK_THROWS_AS(one.add_row(3, vector(2, 1.0)), shape_mismatch);
  CHECK_THROWS_AS(one.add_row(5, {}), shape_mismatch);
  CHECK_NOTHROW(one.add_row(4, {}));
}

TEST_CASE("a resize takes memory in proportion to its sides, and so does its adjoint") {
  for (const auto& [n, size] : {std::pair<std::size_t, std::size_t>{8192, 8192}, {8192, 1000}, {1000, 8192}})
    for (auto edge : {boundary::cropped, boundary::mirrored, boundary::reflected}) {
      INFO(n << " -> " << size);
      const auto m = resize_matrix(n, size, resize_kernel::cubic, edge);
      CHECK(entries(m) <= 5 * (n + size));
      CHECK(entries(m.transposed()) <= 5 * (n + size));
    }
  CHECK(entries(averaging_matrix(8192, 8)) == 8192);
  CHECK(entries(gaussian_blur_matrix(8192, 2.0, 6)) <= 13 * 8192);
}

TEST_CASE("a part of a resize has those rows of the whole") {
  for (auto edge : {boundary::cropped, boundary::mirrored}) {
    const auto whole = resize_matrix(7, 20, resize_kernel::cubic, edge),
               part = resize_matrix(7, 20, resize_kernel::cubic, edge, resize_part{5, 9});
    REQUIRE(part.rows() == 9);
    for (std::size_t i = 0; i < 9; ++i) CHECK(row(part, i) == row(whole, 5 + i));
  }
  CHECK(resize_matrix(7, 20, resize_kernel::cubic, boundary::cropped, resize_part{20, 0}).rows() == 0);
  for (const auto& beyond : {resize_part{21, 0}, resize_part{12, 9}, resize_part{1, ~std::size_t{0}}})
    CHECK_THROWS_AS(resize_matrix(7, 20, resize_kernel::cubic, boundary::cropped, beyond), bad_option);
}

TEST_CASE("an enlarged ramp is a ramp, away from the edges") {
  vector ramp(8);
  for (std::size_t i = 0; i < 8; ++i) ramp[i] = static_cast<double>(i);
  const auto m = resize_matrix(8, 16, resize_kernel::cubic);
  for (std::size_t i = 4; i < 12; ++i)
    CHECK(dot(row(m, i), ramp) == Approx((static_cast<double>(i) + 0.5) / 2.0 - 0.5));
}

TEST_CASE("the rows of every matrix sum to 1") {
  std::vector<axis_matrix> all{averaging_matrix(12, 3)};
  for (auto edge : {boundary::cropped, boundary::mirrored, boundary::reflected}) {
    for (const auto& [n, size] : sizes)
      for (auto k : {resize_kernel::linear, resize_kernel::cubic})
        all.push_back(resize_matrix(n, size, k, edge));
    all.push_back(gaussian_blur_matrix(9, 1.7, 4, edge));
    all.push_back(gaussian_blur_matrix(5, 3.0, 4, edge));
  }
  for (const auto& m : all)
    for (std::size_t i = 0; i < m.rows(); ++i) {
      double sum = 0.0;
      for (double w : row(m, i)) sum += w;
      CHECK(sum == Approx(1.0).epsilon(1e-14));
    }
}

TEST_CASE("the weights of a blur are Gaussian, and fold at the edges") {
  const double w1 = std::exp(-1.0 / 8.0), w2 = std::exp(-4.0 / 8.0); // distances 1 and 2, sigma 2
  const double sum = 1.0 + 2.0 * w1 + 2.0 * w2;
  const auto m = gaussian_blur_matrix(6, 2.0, 2, boundary::reflected);
  CHECK(largest_difference(row(m, 2), vector{w2 / sum, w1 / sum, 1 / sum, w1 / sum, w2 / sum, 0}) <= 1e-15);
  CHECK(largest_difference(row(m, 0), vector{1 / sum, 2 * w1 / sum, 2 * w2 / sum, 0, 0, 0}) <= 1e-15);
  CHECK(largest_difference(row(m, 5), vector{0, 0, 0, 2 * w2 / sum, 2 * w1 / sum, 1 / sum}) <= 1e-15);
  const auto mirrored = gaussian_blur_matrix(6, 2.0, 2, boundary::mirrored);
  CHECK(largest_difference(row(mirrored, 0), vector{(1 + w1) / sum, (w1 + w2) / sum, w2 / sum, 0, 0, 0}) <=
        1e-15);
  const auto cropped = gaussian_blur_matrix(6, 2.0, 2, boundary::cropped);
  const double inside = 1.0 + w1 + w2;
  CHECK(largest_difference(row(cropped, 0), vector{1 / inside, w1 / inside, w2 / inside, 0, 0, 0}) <= 1e-15);
}

TEST_CASE("sizes, factors and widths that mean nothing are refused") {
  CHECK_THROWS_AS(averaging_matrix(8, 3), bad_option);
  CHECK_THROWS_AS(averaging_matrix(8, 0), bad_option);
  CHECK_THROWS_AS(resize_matrix(8, 0), bad_option);
  CHECK_THROWS_AS(resize_matrix(0, 8), bad_option);
  for (double sigma :
       {0.0, -1.0, std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()})
    CHECK_THROWS_WITH(gaussian_blur_matrix(8, sigma, 2), contains_text("sigma"));
  CHECK_THROWS_AS(gaussian_blur_matrix(4, 1.0, 4), bad_option);
  CHECK_NOTHROW(gaussian_blur_matrix(4, 1.0, 3));
}

TEMPLATE_LIST_TEST_CASE("averaging gives the mean of each block", "", backends) {
  const shape s{2, 3, 4, 6};
  const auto x = random_numbers(s.elements(), 20);
  const auto like = TestType::make(s, x);
  const auto A = averaging(like, 2);
  CHECK(A.output_shape(s) == shape{2, 3, 2, 3});
  vector means(2 * 3 * 2 * 3, 0.0);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t column = i % 6, line = i / 6 % 4, plane = i / 24;
    means[(plane * 2 + line / 2) * 3 + column / 2] += x[i] / 4.0;
  }
  CHECK(largest_difference(elements(A.apply(like)), means) <= 4 * TestType::tolerance);
}

TEMPLATE_LIST_TEST_CASE("a resize acts on height and width of each image, in whichever order", "", backends) {
  const auto x = images();
  const auto like = TestType::make(image_shape, x);
  for (const auto& [rows, columns] : {std::pair<std::size_t, std::size_t>{3, 4}, {3, 20}, {12, 2}}) {
    INFO(rows << " x " << columns);
    const auto A = resizing(like, rows, columns);
    CHECK(A.output_shape(image_shape) == shape{2, 1, rows, columns});
    const matrix height = torch_resize(5, rows, resize_kernel::cubic),
                 width = torch_resize(7, columns, resize_kernel::cubic);
    const auto is = elements(A.apply(like));
    const std::size_t n = rows * columns;
    for (std::size_t k = 0; k < 2; ++k) {
      const matrix image(5, 7,
                         vector(x.begin() + static_cast<std::ptrdiff_t>(35 * k),
                                x.begin() + static_cast<std::ptrdiff_t>(35 * (k + 1))));
      CHECK(largest_difference(std::span(is).subspan(n * k, n),
                               (height * image * transposed(width)).values) <= 10 * TestType::tolerance);
    }
  }
}

TEMPLATE_LIST_TEST_CASE("a blur is the convolution of the reflected image", "", backends) {
  const auto x = images();
  const auto like = TestType::make(image_shape, x);
  const double sigma = 1.2;
  const int radius = 2;
  const auto is = elements(gaussian_blur(like, sigma, 2).apply(like));
  const auto reflect = [](int i, int n) { return i < 0 ? -i : i >= n ? 2 * n - 2 - i : i; };
  for (int k = 0; k < 2; ++k)
    for (int i = 0; i < 5; ++i)
      for (int j = 0; j < 7; ++j) {
        double sum = 0.0, weights = 0.0;
        for (int p = -radius; p <= radius; ++p)
          for (int q = -radius; q <= radius; ++q) {
            const double w = std::exp(-(p * p + q * q) / (2.0 * sigma * sigma));
            sum += w * x[static_cast<std::size_t>((k * 5 + reflect(i + p, 5)) * 7 + reflect(j + q, 7))];
            weights += w;
          }
        CHECK(std::abs(is[static_cast<std::size_t>((k * 5 + i) * 7 + j)] - sum / weights) <=
              10 * TestType::tolerance);
      }
}

TEMPLATE_LIST_TEST_CASE("the adjoint of every operator: A x times r is x times A^T r", "", backends) {
  const shape s{2, 1, 6, 8};
  const auto x = random_numbers(s.elements(), 30);
  with_each_operator(TestType::make(s, x), [&](const char* name, const auto& A) {
    const shape measured = A.output_shape(s);
    const auto r = random_numbers(measured.elements(), 31);
    INFO(name << " to " << to_string(measured));
    const auto image = A.apply(TestType::make(s, x)), back = A.adjoint(TestType::make(measured, r));
    using traits = tensor_traits<typename TestType::tensor>;
    CHECK(traits::shape_of(image) == measured);
    CHECK(traits::shape_of(back) == s);
    CHECK(std::abs(dot(elements(image), r) - dot(x, elements(back))) <= 50 * TestType::tolerance);
  });
}

TEMPLATE_LIST_TEST_CASE("an operator is for images of one size", "", backends) {
  const auto A = averaging(TestType::make({1, 1, 4, 4}, vector(16, 0.0)), 2);
  CHECK(A.output_shape({7, 3, 4, 4}) == shape{7, 3, 2, 2});
  CHECK_THROWS_AS(A.output_shape({1, 1, 4, 6}), shape_mismatch);
  CHECK_THROWS_AS(A.output_shape({4, 4}), shape_mismatch);
  CHECK_THROWS_AS(averaging(TestType::make({4, 4}, vector(16, 0.0)), 2), shape_mismatch);
  CHECK_THROWS_AS(averaging(TestType::make({1, 1, 4, 5}, vector(20, 0.0)), 2), bad_option);
}

TEMPLATE_LIST_TEST_CASE("super-resolution: an image that averages to the measurement has no error", "",
                        backends) {
  using T = typename TestType::tensor;
  const shape s{1, 1, 4, 4};
  const T image = TestType::make(s, random_numbers(16, 40));
  const auto A = averaging(image, 2);
  const linear c(A, A.apply(image));
  CHECK_NOTHROW(c.check(s));
  CHECK_THROWS_AS(c.check({1, 1, 8, 8}), shape_mismatch);
  CHECK(max_abs(elements(c(image).error)) <= TestType::tolerance);
  const auto off = c(tensor_traits<T>::scale(2.0, image));
  CHECK(max_abs(elements(off.error)) > 0.01);
}
