#pragma once
/// \file
/// The backends that a test body runs on. Each file of tests/core that includes this is compiled once for
/// each backend header, which PUSHFORWARD_TEST_BACKEND names (see tests/core/CMakeLists.txt). Write such
/// tests as
///
///     TEMPLATE_LIST_TEST_CASE("a sample whose error is zero does not move", "", testing_support::backends) {
///       using T = typename TestType::tensor;
///       const T x = TestType::make({2, 3}, random_numbers(6, 1));
///       ...
///       CHECK(largest_difference(elements(x), wanted) <= TestType::tolerance);
///     }
///
/// A backend header defines in namespace testing_support one struct for each element type, with
///
/// | member | meaning |
/// |---|---|
/// | `tensor` | a type that models pushforward::tensor |
/// | `tolerance` | double: allowed error, for numbers of size 1, of a few dozen operations in that type |
/// | `probe_tolerance` | double: the same for a forward difference with probe 0.005 of a linear function |
/// | `exact` | bool: a batch of N gives bitwise what N single runs give |
/// | `name` | for messages |
/// | `make(shape, values)` | a tensor with those elements, row-major; values: const std::vector<double>& |
///
/// and `backends`, a std::tuple of them. It includes the backend's `dense_algebra` where there is one. It
/// names each struct without template brackets or commas (`xtensor_float`, `xtensor_double`), since the name
/// ends up in the names of the tests.

#include <support/catch.hpp>
#include <support/matrix.hpp>
#include <support/random.hpp>

#include PUSHFORWARD_TEST_BACKEND

#include <pushforward/tensor.hpp>

#include <vector>

namespace testing_support {

/// Row-major elements of a tensor.
template <pushforward::tensor T> std::vector<double> elements(const T& x) {
  return pushforward::tensor_traits<T>::elements(x);
}

/// Sample j of a batch, as a batch of one.
template <class Backend>
typename Backend::tensor sample_of(const typename Backend::tensor& x, std::size_t j) {
  auto s = pushforward::tensor_traits<typename Backend::tensor>::shape_of(x);
  const std::size_t n = s.sample_elements();
  s[0] = 1;
  const auto all = elements(x);
  return Backend::make(s, std::vector<double>(all.begin() + static_cast<std::ptrdiff_t>(j * n),
                                              all.begin() + static_cast<std::ptrdiff_t>((j + 1) * n)));
}

} // namespace testing_support
