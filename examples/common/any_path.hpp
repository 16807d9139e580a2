#pragma once
/// \file
/// A path that is chosen at run time.

#include <pushforward/paths/rectified_flow.hpp>
#include <pushforward/paths/variance_preserving.hpp>
#include <pushforward/samplers/ddim.hpp>
#include <pushforward/samplers/path_sampler.hpp>
#include <pushforward/samplers/rectified_flow_euler.hpp>

#include <cstddef>
#include <utility>
#include <variant>

namespace examples {

/// A diffusion's path (variance preserving) or a rectified flow's.
class any_path {
public:
  /// \param grid of a rectified flow
  any_path(std::variant<pushforward::variance_preserving, pushforward::rectified_flow> path,
           pushforward::flow_grid grid = pushforward::flow_grid::even)
      : path_{std::move(path)}, grid_{grid} {}

  bool is_flow() const { return std::holds_alternative<pushforward::rectified_flow>(path_); }
  /// Throws where it is a flow.
  const pushforward::variance_preserving& diffusion() const {
    return std::get<pushforward::variance_preserving>(path_);
  }

  pushforward::coefficients at(double t) const {
    return std::visit([&](const auto& p) { return p.at(t); }, path_);
  }
  double model_time(double t) const {
    return std::visit([&](const auto& p) { return p.model_time(t); }, path_);
  }
  double time_at(double fraction) const {
    return std::visit([&](const auto& p) { return p.time_at(fraction); }, path_);
  }
  /// The noisiest time: the number of steps of a diffusion, 1 of a flow.
  double last() const {
    return std::visit([](const auto& p) { return p.last(); }, path_);
  }

  /// The grid of a run, from noise or from the middle, and how much new noise its steps add.
  struct sampling {
    std::size_t steps = 20;
    double eta = 0.0;           ///< DDIM; 0 is deterministic
    bool one_step_beta = false; ///< DDIM with the reference's noise
    double renoise = 0.0;       ///< rectified flow; 0 is Euler's step
    double start = 1.0;
  };
  /// DDIM or Euler. \throws pushforward::bad_option for an option of the other path
  pushforward::path_sampler sampler(const sampling& options) const;

private:
  std::variant<pushforward::variance_preserving, pushforward::rectified_flow> path_;
  pushforward::flow_grid grid_;
};

} // namespace examples
