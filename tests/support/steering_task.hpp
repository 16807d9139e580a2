#pragma once
/// \file
/// A small task to steer on: the analytic denoiser of a mixture in 4 dimensions, and a mask.

#include <support/gaussian_mixture.hpp>

#include <pushforward/concepts.hpp>
#include <pushforward/constraints/masked.hpp>
#include <pushforward/paths/variance_preserving.hpp>
#include <pushforward/sample.hpp>
#include <pushforward/samplers/ddim.hpp>
#include <pushforward/updates/exact_newton.hpp>
#include <pushforward/updates/gradient_descent.hpp>
#include <pushforward/updates/inexact_newton.hpp>
#include <pushforward/updates/vae_newton.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace testing_support {

/// Samples of 2 x 2 elements. The first two are known, but not in the samples of `met`: their mask is empty.
template <class Backend> struct steering_task {
  using T = typename Backend::tensor;
  using path_type = pushforward::variance_preserving;
  static constexpr std::size_t size = 4;

  std::size_t samples = 3;
  std::vector<std::size_t> met{};
  path_type path = path_type::scaled_linear();
  gaussian_mixture prior = gaussian_mixture::random(size, 2, 21);
  complete_mixture<Backend, path_type> net{prior, path, pushforward::prediction_type::epsilon};

  pushforward::model<complete_mixture<Backend, path_type>, path_type> model() const { return {net, path}; }

  pushforward::shape extents() const { return {samples, 2, 2}; }
  T start(std::uint64_t seed = 1) const {
    return pushforward::standard_normal(Backend::make(extents(), vector(samples * size, 0.0)), {seed, 0, 0});
  }
  T target() const {
    vector y;
    for (std::size_t j = 0; j < samples; ++j)
      for (double v : {0.8, -0.4, 9.0, 9.0}) y.push_back(v - 0.1 * static_cast<double>(j));
    return Backend::make(extents(), y);
  }
  T mask() const {
    vector m;
    for (std::size_t j = 0; j < samples; ++j) {
      const double known = std::find(met.begin(), met.end(), j) == met.end() ? 1.0 : 0.0;
      m.insert(m.end(), {known, known, 0.0, 0.0});
    }
    return Backend::make(extents(), m);
  }
  pushforward::masked<T> constraint() const { return {target(), mask()}; }
  /// That of sample j alone.
  pushforward::masked<T> constraint(std::size_t j) const {
    return {sample_of<Backend>(target(), j), sample_of<Backend>(mask(), j)};
  }
};

/// A policy of a user's own, with a memory: the direction of inexact Newton plus a part of the one before.
template <class Backend> struct momentum {
  using T = typename Backend::tensor;
  double decay = 0.5;
  std::size_t* starts = nullptr; ///< counts the runs, where given

  class memory {
  public:
    explicit memory(double decay) : decay_{decay} {}

    template <pushforward::forward_model Model>
    T direction(const Model& m, const pushforward::estimate<T>& at, const T& error) {
      T d = m.jvp(at, error, 0.005);
      if (before_) d = pushforward::tensor_traits<T>::combine(1.0, std::move(d), decay_, *before_);
      before_ = d;
      return d;
    }

  private:
    double decay_;
    std::optional<T> before_;
  };

  memory start() const {
    if (starts) ++*starts;
    return memory(decay);
  }
};

/// Calls f(name, policy) for each policy that the backend can run.
template <class Backend, class F> void for_each_policy(F f) {
  f("inexact_newton", pushforward::inexact_newton{});
  f("gradient_descent", pushforward::gradient_descent{});
  f("forward_mode_newton", pushforward::forward_mode_newton{});
  f("vae_newton", pushforward::vae_newton{});
  f("a policy with memory", momentum<Backend>{});
  if constexpr (pushforward::has_dense_algebra<typename Backend::tensor>)
    f("exact_newton", pushforward::exact_newton{.cutoff = 0.1, .batch = 3});
}

} // namespace testing_support
