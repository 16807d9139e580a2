#pragma once
/// \file
/// xtensor's arrays as backends of the tests that run on every backend.

#include <pushforward/xtensor/dense_algebra.hpp>
#include <pushforward/xtensor/tensor.hpp>

#include <tuple>
#include <vector>

namespace testing_support {

template <class Tensor> Tensor make_xtensor(const pushforward::shape& s, const std::vector<double>& values) {
  return pushforward::tensor_traits<Tensor>::from_elements(Tensor{}, s, values);
}

struct xtensor_float {
  using tensor = pushforward::xtensor::tensor<float>;
  static constexpr const char* name = "xtensor float";
  static constexpr double tolerance = 2e-5;
  static constexpr double probe_tolerance = 5e-4;
  static constexpr bool exact = true;

  static tensor make(const pushforward::shape& s, const std::vector<double>& values) {
    return make_xtensor<tensor>(s, values);
  }
};

struct xtensor_double {
  using tensor = pushforward::xtensor::tensor<double>;
  static constexpr const char* name = "xtensor double";
  static constexpr double tolerance = 1e-12;
  static constexpr double probe_tolerance = 1e-11;
  static constexpr bool exact = true;

  static tensor make(const pushforward::shape& s, const std::vector<double>& values) {
    return make_xtensor<tensor>(s, values);
  }
};

/// An array as xtensor has it, with the allocator of the standard library.
struct plain_xarray_double {
  using tensor = xt::xarray<double>;
  static constexpr const char* name = "xt::xarray<double>";
  static constexpr double tolerance = 1e-12;
  static constexpr double probe_tolerance = 1e-11;
  static constexpr bool exact = true;

  static tensor make(const pushforward::shape& s, const std::vector<double>& values) {
    return make_xtensor<tensor>(s, values);
  }
};

using backends = std::tuple<xtensor_float, xtensor_double, plain_xarray_double>;

} // namespace testing_support
