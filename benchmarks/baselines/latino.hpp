#pragma once
/// \file
/// A proximal step in pixels between decoder and encoder: forward passes only.

#include "common.hpp"
#include "diffpir.hpp"

#include <cstddef>
#include <utility>

namespace baselines {

/// A constraint on decoded images that is met by way of pixels. Refers to the autoencoder and keeps the
/// constraint. For the rule `latino`; `flowdps` and `flair` take the two apart.
template <class Constraint, class Autoencoder> class by_pixels {
public:
  by_pixels(Constraint c, const Autoencoder& vae) : constraint_{std::move(c)}, vae_{&vae} {}
  by_pixels(Constraint, const Autoencoder&&) = delete;

  /// The loss at D(z), and E(image') - z, image' = argmin |y - A x|^2 + rho |x - D(z)|^2.
  template <tensor T>
  requires encoding_decoder<Autoencoder, T> && least_squares_constraint<Constraint, T> constraint_value<T>
  proximal(const T& z, double rho, std::size_t krylov, pass_counts& counts)
  const {
    using traits = tensor_traits<T>;
    const std::size_t samples = traits::shape_of(z).samples();
    T image = vae_->decode(z);
    counts.decoder_forward += samples;
    auto seen = constraint_.least_squares(image, counts);
    const T d = regularized_inverse<T>(seen, rho, krylov, counts);
    T encoded = vae_->encode(traits::combine(1.0, std::move(image), 1.0, d));
    counts.encoder_forward += samples;
    return {std::move(seen.value.loss), traits::combine(1.0, std::move(encoded), -1.0, z)};
  }

  template <tensor T> constraint_value<T> operator()(const T& z, pass_counts& counts) const {
    return proximal(z, diffpir{}.floor, diffpir{}.krylov, counts);
  }

  const Constraint& constraint() const noexcept { return constraint_; }
  const Autoencoder& autoencoder() const noexcept { return *vae_; }

private:
  Constraint constraint_;
  const Autoencoder* vae_;
};

/// What LATINO (Spagnoletti et al. 2025) and FAST-DIPS with its switch at 0 have in common, on a diffusion
/// model: x0' = E(prox(D(x0))), eps' = (x - a x0') / s, and the sampler's step. The proximal step is
/// DiffPIR's. As published, the autoencoder's own error E(D(x0)) - x0 is not subtracted: a sample that meets
/// the constraint moves by it. 1 pass, 1 decoder pass and 1 encoder pass a step.
struct latino {
  double noise_level = 0.0; ///< sigma_y, in units of the image
  double lambda = 1.0;
  double floor = 1e-6; ///< of rho, see `diffpir`
  std::size_t krylov = 10;
  double tolerance = -1.0;
  static constexpr std::size_t iterations = 1;

  void check() const { diffpir{noise_level, lambda, floor}.check(); }

  struct step {
    double rho;
    std::size_t krylov;

    template <tensor T, class Constraint>
    look<T> look_at(const Constraint& c, const T& z, pass_counts& counts) const {
      return {c.proximal(z, rho, krylov, counts)};
    }
    template <forward_model Model, class T = typename Model::tensor_type>
    moved<T> move(const Model&, estimate<T> at, const look<T>& seen, std::size_t,
                  const per_sample_t<T>* active) const {
      return shifted(std::move(at), T(seen.value.error), 0.0, active);
    }
  };
  template <forward_model Model>
  step at_step(const Model&, const estimate<typename Model::tensor_type>& at) const {
    return {diffpir{noise_level, lambda, floor}.rho(at.c), krylov};
  }
};

} // namespace baselines
