#pragma once
/// \file
/// The concepts of the library. A tensor's is in tensor.hpp. What each line means, who models it and who
/// calls it stands here in short, and at length on a page of docs/concepts/.

#include <pushforward/prediction.hpp>
#include <pushforward/tensor.hpp>

#include <concepts>
#include <cstddef>
#include <functional>
#include <limits>
#include <type_traits>
#include <utility>

namespace pushforward {

/// x_t = a(t) x0 + s(t) eps.
/// Modelled by `variance_preserving` and `rectified_flow`; called by the estimator and the samplers.
///  - `at(t)`: (a, s) at time t; t = 0 is clean
///  - `model_time(t)`: what the network is fed at t
///  - `time_at(fraction)`: the time at a fraction of the way from clean (0) to noise (1)
template <class P>
concept path = std::copy_constructible<P> && requires(const P& p, double t) {
  { p.at(t) } -> std::same_as<coefficients>;
  { p.model_time(t) } -> std::convertible_to<double>;
  { p.time_at(t) } -> std::convertible_to<double>;
};

/// A network that can run forward: compiled, quantised and remote ones too.
/// Modelled by the user's networks and the adapters' wrappers; called by the estimator.
///  - `predict(x, model_time)`: the raw output for a batch, of x's shape; samples must not see each other
///  - `prediction`: what that output is
/// Two optional members:
///  - `passes_per_sample`: forward evaluations that one `predict` costs for one sample (1; guidance has 2)
///  - `resolution()`: machine epsilon of the type the network computes in (float32's when absent)
template <class D, class T>
concept denoiser = tensor<T> && requires(const D& d, const T& x, double model_time) {
  { d.predict(x, model_time) } -> std::same_as<T>;
  { d.prediction } -> std::convertible_to<prediction_type>;
};

/// A function's value at a point, and the product with its transposed Jacobian there.
template <class T> struct linearization {
  T value;
  std::function<T(const T&)> vjp; ///< w -> J^T w
};

/// A denoiser that can also run backward. Asked for by gradient descent only.
///  - `linearize(x, model_time)`: the raw output, and w -> J_o^T w at x
template <class D, class T>
concept differentiable_denoiser = denoiser<D, T> && requires(const D& d, const T& x, double model_time) {
  { d.linearize(x, model_time) } -> std::same_as<linearization<T>>;
};

/// A denoiser with exact Jacobian-vector products (forward-mode differentiation).
///  - `jvp(x, model_time, v)`: J_o v at x
template <class D, class T>
concept forward_mode_denoiser = denoiser<D, T> && requires(const D& d, const T& x, double model_time) {
  { d.jvp(x, model_time, x) } -> std::same_as<T>;
};

/// Takes latents to images.
/// Modelled by VAEs; called by `decoded`.
///  - `decode(z)`: images for a batch of latents
template <class D, class T>
concept decoder = tensor<T> && requires(const D& d, const T& z) {
  { d.decode(z) } -> std::same_as<T>;
};

/// A decoder with the encoder that is its local inverse.
///  - `encode(image)`: the *mean* of the latent's distribution; a sampled one drowns differences in noise
template <class D, class T>
concept encoding_decoder = decoder<D, T> && requires(const D& d, const T& image) {
  { d.encode(image) } -> std::same_as<T>;
};

/// A decoder that can also run backward.
///  - `linearize_decode(z)`: the images, and w -> J_D^T w at z
template <class D, class T>
concept differentiable_decoder = decoder<D, T> && requires(const D& d, const T& z) {
  { d.linearize_decode(z) } -> std::same_as<linearization<T>>;
};

/// How often each network was evaluated, summed over the samples of the batch.
struct pass_counts {
  std::size_t forward = 0;      ///< forward evaluations of the denoiser: the passes
  std::size_t backward = 0;     ///< backward evaluations of the denoiser
  std::size_t forward_mode = 0; ///< exact jvps of the denoiser by forward-mode differentiation
  std::size_t decoder_forward = 0;
  std::size_t decoder_backward = 0;
  std::size_t encoder_forward = 0;

  friend bool operator==(const pass_counts&, const pass_counts&) = default;
};

/// What a constraint says of a clean estimate.
template <class T> struct constraint_value {
  per_sample_t<T> loss; ///< per sample; 0 where the constraint is met
  T error;              ///< the displacement of x0 that would lower the loss, of x0's shape
};

/// x0 -> (loss, error).
/// Modelled by the constraints of the library and by any function of the user's; called by `sample`.
///  - `c(x0)`, or `c(x0, counts)` for a constraint that evaluates networks and counts their passes
/// One optional member:
///  - `check(shape)`: throws `shape_mismatch` where estimates of that shape do not fit; called once, on entry
template <class C, class T>
concept constraint = tensor<T> &&(
    requires(const C& c, const T& x0) {
      { c(x0) } -> std::same_as<constraint_value<T>>;
    } ||
    requires(const C& c, const T& x0, pass_counts& counts) {
      { c(x0, counts) } -> std::same_as<constraint_value<T>>;
    });

/// Calls either form of a constraint.
template <tensor T, constraint<T> C>
constraint_value<T> evaluate(const C& c, const T& x0, pass_counts& counts) {
  if constexpr (requires { c(x0, counts); })
    return c(x0, counts);
  else
    return c(x0);
}

/// Lets a constraint see the shape of the estimates before the first pass.
template <class C> void check_shape(const C& c, const shape& s) {
  if constexpr (requires { c.check(s); }) c.check(s);
}

/// x_t with its clean estimate.
template <class T> struct estimate {
  T x;                            ///< the noisy sample
  T x0;                           ///< the clean estimate x0(x)
  double t = 0.0;                 ///< time on the path
  coefficients c;                 ///< (a, s) there
  std::function<T(const T&)> vjp; ///< w -> J^T w, where the estimate was linearized
};

/// What an update policy may ask of the denoiser and path at an estimate: forward passes.
/// Modelled by `estimator`; called by policies.
///  - `evaluate(x, t)`: the estimate; one pass
///  - `jvp(at, v, probe)`: J v by a forward difference; one pass
template <class M>
concept forward_model = requires(const M& m, const estimate<typename M::tensor_type>& at,
                                 const typename M::tensor_type& v, double probe) {
  { m.evaluate(v, probe) } -> std::same_as<estimate<typename M::tensor_type>>;
  { m.jvp(at, v, probe) } -> std::same_as<typename M::tensor_type>;
};

/// A forward model with backward passes: `vjp(at, w)` is J^T w.
template <class M>
concept differentiable_model = forward_model<M> &&
    requires(const M& m, const estimate<typename M::tensor_type>& at, const typename M::tensor_type& w) {
  { m.vjp(at, w) } -> std::same_as<typename M::tensor_type>;
};

/// A forward model with exact products J v: `exact_jvp(at, v)`.
template <class M>
concept forward_mode_model = forward_model<M> &&
    requires(const M& m, const estimate<typename M::tensor_type>& at, const typename M::tensor_type& v) {
  { m.exact_jvp(at, v) } -> std::same_as<typename M::tensor_type>;
};

/// Makes a direction of the error.
/// Modelled by the policies of updates/ and the user's; called by the rule `update` once in each inner
/// iteration.
///  - `direction(model, at, error)`: of x's shape; constrain it on the model it needs, or a model that lacks
///    something fails inside its body instead of here
/// Optional members: `needs_vjp` (the loop then linearizes each estimate, so that a vjp costs one backward
/// pass and no further forward pass), and `start()`, which makes the object that remembers things within one
/// run; that object then has `direction` and `needs_vjp`.
template <class P, class M>
concept update_policy = requires(P& p, const M& m, const estimate<typename M::tensor_type>& at,
                                 const typename M::tensor_type& error) {
  { p.direction(m, at, error) } -> std::same_as<typename M::tensor_type>;
};

/// What scales the direction.
/// Modelled by the rules of step_sizes.hpp; called by `sample`.
///  - `at_step(model, at)`: made once a time step, the rule there; it has
///    `scale(direction, k, iterations)`: what the direction of inner iteration k is multiplied by, per sample
template <class S, class M>
concept step_size = requires(const S& s, const M& m, const estimate<typename M::tensor_type>& at,
                             const typename M::tensor_type& direction) {
  {
    s.at_step(m, at).scale(direction, std::size_t{}, std::size_t{})
    } -> std::same_as<per_sample_t<typename M::tensor_type>>;
};

/// What an update rule saw of an estimate before it moves it. A rule may hand on more, in a type with such a
/// member.
template <class T> struct look {
  constraint_value<T> value; ///< what the constraint said
};

/// What an update rule made of an estimate.
template <class T> struct moved {
  estimate<T> at;
  T direction; ///< along which it was moved, for observers
};

/// What moves an estimate towards a constraint: along x with a new pass, or the clean estimate alone.
/// Modelled by `update` and `posterior_step`; called by `sample`.
///  - `iterations`: K, moves a time step; `tolerance`: the loss at which a sample is left alone, or negative
///  - `at_step(model, at)`: made once a time step, the rule there; it has
///    `look_at(constraint, x0, counts)`: a `look<T>` or more, and
///    `move(model, at, look, k, active)`: the `moved<T>` of iteration k; `active` points to what the length
///    of the move is multiplied by per sample, 1 or 0, or to nothing
/// Optional members, as a policy's: `needs_vjp`, `start()` and `check()`.
template <class R, class M, class C>
concept update_rule = requires(R& r, const M& m, const C& c, estimate<typename M::tensor_type> at,
                               pass_counts& counts, const per_sample_t<typename M::tensor_type>* active) {
  {
    r.at_step(m, at).move(m, std::move(at), r.at_step(m, at).look_at(c, at.x0, counts), std::size_t{}, active)
    } -> std::same_as<moved<typename M::tensor_type>>;
};

/// A time grid and a step along it.
/// Modelled by `ddim` and `rectified_flow_euler`; called by `sample`.
///  - `steps()`: number of steps; `time(i)`: where step i starts, decreasing
///  - `step(i, at, noise)`: x at the next time, from the estimate at time(i); `noise(like)` gives this step's
///  noise
template <class S, class T>
concept sampler = tensor<T> && requires(const S& s, std::size_t i, estimate<T> at, T (*noise)(const T&)) {
  { s.steps() } -> std::convertible_to<std::size_t>;
  { s.time(i) } -> std::convertible_to<double>;
  { s.step(i, std::move(at), noise) } -> std::same_as<T>;
};

/// What an observer answers.
enum class verdict { go_on, stop };

/// Where in the run an observer is called.
enum class moment {
  estimated, ///< a time step has begun: its first estimate stands
  iterated,  ///< an inner iteration is done: the estimate after it stands
  stepped    ///< the sampler's step is done
};

/// What an observer sees. The pointers are null where there is nothing to show.
template <class T> struct progress {
  moment when;
  std::size_t step = 0;                            ///< from 0
  std::size_t steps = 0;                           ///< in all
  std::size_t iteration = 0;                       ///< from 0; for `iterated`
  std::size_t iterations = 0;                      ///< in all
  const estimate<T>& at;                           ///< the latest estimate
  const T* next = nullptr;                         ///< x at the next time, for `stepped`
  const constraint_value<T>* constraint = nullptr; ///< before the iteration, for `iterated`
  const T* direction = nullptr;                    ///< for `iterated`
  const pass_counts& passes;                       ///< so far
};

/// Sees each step and each inner iteration, and can stop the run.
/// Modelled by progress bars, traces and pictures; called by `sample`. Returns void or a `verdict`.
template <class O, class T>
concept observer = requires(O& o, const progress<T>& p) {
  o(p);
  requires std::same_as<decltype(o(p)), void> || std::same_as<decltype(o(p)), verdict>;
};

namespace detail {

template <class D> constexpr std::size_t passes_per_sample() {
  if constexpr (requires { D::passes_per_sample; })
    return D::passes_per_sample;
  else
    return 1;
}

template <class D> double resolution_of(const D& d) {
  if constexpr (requires {
                  { d.resolution() } -> std::convertible_to<double>;
                })
    return d.resolution();
  else
    return static_cast<double>(std::numeric_limits<float>::epsilon());
}

template <class P> constexpr bool needs_vjp() {
  if constexpr (requires { P::needs_vjp; })
    return P::needs_vjp;
  else
    return false;
}

} // namespace detail

} // namespace pushforward
