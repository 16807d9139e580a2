#pragma once
/// \file
/// Blended diffusion and RePaint: the known part is the re-noised original after each step.

#include "common.hpp"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace baselines {

/// Blended diffusion (Avrahami, Lischinski and Fried 2022): after each step of another sampler, x' = a' y +
/// s' xi where y is known. For plain sampling, `update{none{}}`: 1 pass a step. The two parts share the
/// step's draw, of which each takes its own elements.
template <tensor T, class Sampler = path_sampler> class blended {
public:
  /// \param s a sampler that also has time(steps()), as `path_sampler`
  template <path Path>
  blended(const Path& p, Sampler s, const T& target, const T& mask)
      : sampler_{std::move(s)}, next_{p, sampler_}, known_{target, mask} {}

  std::size_t steps() const { return sampler_.steps(); }
  double time(std::size_t i) const { return sampler_.time(i); }

  template <class Noise> T step(std::size_t i, estimate<T> at, Noise&& noise) const {
    const auto& next = next_.after(at.t);
    const T z = noise(at.x);
    T x = sampler_.step(i, std::move(at), [&](const T&) { return z; });
    return known_.put_noised(std::move(x), next, z);
  }

private:
  Sampler sampler_;
  next_coefficients next_;
  known_part<T> known_;
};

struct repaint_options {
  std::size_t jump = 5;   ///< steps back up; 10 as published
  std::size_t times = 2;  ///< how often each stretch is walked; 10 as published, of 250 steps
  std::uint64_t seed = 0; ///< of the noise of the jumps: the run's
  std::uint64_t first_sample = 0;
};

/// RePaint (Lugmayr et al. 2022): DDPM's steps, blended, with jumps back: where 1, 1 + jump, 1 + 2 jump, ...
/// steps are left, x goes up by `jump` steps, x <- a_up / a x + sqrt(s_up^2 - (a_up s / a)^2) xi, times - 1
/// times each. (As published step by step: the same in distribution.) For `update{none{}}`; about `times`
/// passes for each step of the grid.
template <tensor T> class repaint {
public:
  template <path Path>
  repaint(const Path& p, const std::vector<double>& times, const T& target, const T& mask,
          const repaint_options& options = {})
      : known_{target, mask}, options_{options} {
    if (times.size() < 2) throw bad_option("a time grid needs at least two times");
    if (options.jump == 0 || options.times == 0) throw bad_option("repaint: jump or times is 0");
    const std::size_t steps = times.size() - 1;
    const auto at = [&](std::size_t left) { return p.at(times[steps - left]); };
    std::vector<std::size_t> jumps(steps + 1, 0); // that are still to come where so many steps are left
    for (std::size_t left = 1; left + options.jump <= steps; left += options.jump)
      jumps[left] = options.times - 1;
    for (std::size_t left = steps; left > 0;) {
      const auto now = at(left), next = at(left - 1);
      leg l{times[steps - left], weights_of_step(now, next, std::sqrt(posterior_variance(now, next))), next};
      --left;
      if (jumps[left] > 0) {
        --jumps[left];
        left += options.jump;
        const auto up = at(left);
        l.kept = up.a / next.a;
        l.up_noise = std::sqrt(up.s * up.s - l.kept * l.kept * next.s * next.s);
      }
      legs_.push_back(l);
    }
  }

  std::size_t steps() const noexcept { return legs_.size(); }
  double time(std::size_t i) const { return legs_.at(i).t; }

  template <class Noise> T step(std::size_t i, estimate<T> at, Noise&& noise) const {
    using traits = tensor_traits<T>;
    const auto& l = legs_.at(i);
    const T z = noise(at.x);
    T x = traits::combine(l.weights.of_x0, std::move(at.x0), l.weights.of_x, at.x);
    x = known_.put_noised(traits::combine(1.0, std::move(x), l.weights.of_noise, z), l.next, z);
    if (l.up_noise == 0.0) return x;
    // `noise` has one draw a step; the jumps' are of the upper half of the draws
    const auto draw = static_cast<std::uint32_t>(i + 1) | 0x80000000U;
    const T xi = standard_normal(x, {options_.seed, options_.first_sample, draw});
    return traits::combine(l.kept, std::move(x), l.up_noise, xi);
  }

private:
  struct leg {
    double t;
    step_weights weights;
    coefficients next;
    double kept = 1.0, up_noise = 0.0; // of the jump after it
  };
  known_part<T> known_;
  repaint_options options_;
  std::vector<leg> legs_;
};

} // namespace baselines
