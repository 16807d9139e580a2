// Concepts: the smallest thing that models each, and the near miss that does not. Checked when compiled.
// (Paths and samplers have theirs in paths.cpp and samplers.cpp, branching denoisers in guidance.cpp.)

#include <support/archetype_backend.hpp>
#include <support/near_misses.hpp>

#include <pushforward/pushforward.hpp>

#include <functional>
#include <memory>
#include <utility>

using namespace pushforward;
using namespace testing_support;

namespace archetypes {

using T = archetype_tensor;

// --- tensor ------------------------------------------------------------------------------------------------

static_assert(tensor<T> && image_tensor<T> && has_dense_algebra<T>);
static_assert(tensor<lacking<member::nothing>>);
static_assert(!image_tensor<lacking<member::nothing>>, "no axis_map");
static_assert(!has_dense_algebra<lacking<member::nothing>>);
static_assert(!tensor<without_traits> && !tensor<without_scalars> && !tensor<int> &&
              !tensor<std::vector<double>>);
static_assert(!tensor<std::unique_ptr<T>>);

template <std::size_t... I> constexpr std::size_t tensors_among(std::index_sequence<I...>) {
  return (std::size_t{tensor<lacking<static_cast<member>(I)>>} + ...);
}
static_assert(tensors_among(std::make_index_sequence<static_cast<std::size_t>(member::count)>{}) == 1,
              "only the one that lacks nothing is a tensor");

// the smallest tensor needs neither a default constructor nor an operator
static_assert(!std::default_initializable<T> && !std::default_initializable<per_sample_t<T>>);
static_assert(!std::equality_comparable<T>);

// --- denoiser ----------------------------------------------------------------------------------------------

struct smallest_denoiser {
  smallest_denoiser(const smallest_denoiser&) = delete;
  static constexpr prediction_type prediction = prediction_type::v;
  T predict(const T&, double) const;
};
struct smallest_differentiable_denoiser : smallest_denoiser {
  linearization<T> linearize(const T&, double) const;
};
struct smallest_forward_mode_denoiser : smallest_denoiser {
  T jvp(const T&, double, const T&) const;
};
struct denoiser_without_prediction {
  T predict(const T&, double) const;
};
struct denoiser_without_predict {
  prediction_type prediction;
};
struct denoiser_that_changes {
  prediction_type prediction;
  T predict(const T&, double);
};
struct denoiser_of_values {
  prediction_type prediction;
  std::vector<double> predict(const T&, double) const;
};
struct denoiser_with_a_number_for_prediction {
  int prediction;
  T predict(const T&, double) const;
};
struct denoiser_without_time {
  prediction_type prediction;
  T predict(const T&) const;
};
struct denoiser_with_vjp_only : smallest_denoiser {
  T vjp(const T&, double, const T&) const;
};
struct only_linearize {
  linearization<T> linearize(const T&, double) const;
};

static_assert(denoiser<smallest_denoiser, T>);
static_assert(!denoiser<smallest_denoiser, without_traits>);
static_assert(!denoiser<denoiser_without_prediction, T>);
static_assert(!denoiser<denoiser_without_predict, T>);
static_assert(!denoiser<denoiser_that_changes, T>, "predict must be const");
static_assert(!denoiser<denoiser_of_values, T>, "predict must return a tensor of x's type");
static_assert(!denoiser<denoiser_with_a_number_for_prediction, T>);
static_assert(!denoiser<denoiser_without_time, T>);

static_assert(differentiable_denoiser<smallest_differentiable_denoiser, T>);
static_assert(!differentiable_denoiser<smallest_denoiser, T>);
static_assert(!differentiable_denoiser<denoiser_with_vjp_only, T>);
static_assert(!differentiable_denoiser<only_linearize, T>, "must be a denoiser too");
static_assert(!differentiable_denoiser<smallest_forward_mode_denoiser, T>);
static_assert(forward_mode_denoiser<smallest_forward_mode_denoiser, T>);
static_assert(!forward_mode_denoiser<smallest_differentiable_denoiser, T>);

// --- decoder -----------------------------------------------------------------------------------------------

struct smallest_decoder {
  T decode(const T&) const;
};
struct smallest_encoding_decoder : smallest_decoder {
  T encode(const T&) const;
};
struct smallest_differentiable_decoder : smallest_decoder {
  linearization<T> linearize_decode(const T&) const;
};
struct only_encoder {
  T encode(const T&) const;
};
struct decoder_that_changes {
  T decode(const T&);
};

static_assert(decoder<smallest_decoder, T>);
static_assert(!decoder<only_encoder, T> && !decoder<decoder_that_changes, T>);
static_assert(!decoder<smallest_decoder, int>);
static_assert(encoding_decoder<smallest_encoding_decoder, T>);
static_assert(!encoding_decoder<smallest_decoder, T> && !encoding_decoder<only_encoder, T>);
static_assert(!encoding_decoder<smallest_differentiable_decoder, T>);
static_assert(differentiable_decoder<smallest_differentiable_decoder, T>);
static_assert(!differentiable_decoder<smallest_decoder, T> &&
              !differentiable_decoder<smallest_encoding_decoder, T>);

// --- constraint --------------------------------------------------------------------------------------------

struct smallest_constraint {
  constraint_value<T> operator()(const T&) const;
};
struct counting_constraint {
  constraint_value<T> operator()(const T&, pass_counts&) const;
};
struct constraint_of_an_error {
  T operator()(const T&) const;
};
struct constraint_that_changes {
  constraint_value<T> operator()(const T&);
};

static_assert(constraint<smallest_constraint, T> && constraint<counting_constraint, T>);
static_assert(constraint<std::function<constraint_value<T>(const T&)>, T>);
static_assert(!constraint<constraint_of_an_error, T>, "must return a constraint_value");
static_assert(!constraint<constraint_that_changes, T>, "must be callable when const");
static_assert(!constraint<int, T> && !constraint<smallest_constraint, int>);
static_assert(constraint<masked<T>, T>);
static_assert(constraint<weighted_sum<masked<T>, smallest_constraint>, T>);
static_assert(!constraint<weighted_sum<masked<T>, constraint_of_an_error>, T>);
static_assert(constraint<normalized<smallest_constraint>, T>);
static_assert(!constraint<normalized<constraint_of_an_error>, T>);

// a decoded constraint is one where the decoder has what its pullback needs
static_assert(constraint<decoded<masked<T>, smallest_encoding_decoder, encoder_difference>, T>);
static_assert(!constraint<decoded<masked<T>, smallest_encoding_decoder, decoder_vjp>, T>);
static_assert(constraint<decoded<masked<T>, smallest_differentiable_decoder, decoder_vjp>, T>);
static_assert(!constraint<decoded<masked<T>, smallest_differentiable_decoder, encoder_difference>, T>);
static_assert(!constraint<decoded<int, smallest_encoding_decoder, encoder_difference>, T>);

// --- update policy -----------------------------------------------------------------------------------------

using path_type = rectified_flow;
using forward_only = estimator<T, smallest_denoiser, path_type>;
using both_ways = estimator<T, smallest_differentiable_denoiser, path_type>;
using exact_products = estimator<T, smallest_forward_mode_denoiser, path_type>;

struct smallest_policy {
  T direction(const forward_only&, const estimate<T>&, const T&);
};
struct policy_of_values {
  std::vector<double> direction(const forward_only&, const estimate<T>&, const T&) const;
};
struct policy_without_direction {};

static_assert(update_policy<smallest_policy, forward_only>, "direction may change what the policy remembers");
static_assert(!update_policy<policy_of_values, forward_only> &&
              !update_policy<policy_without_direction, forward_only>);
static_assert(update_policy<inexact_newton, forward_only> && update_policy<vae_newton, forward_only>);
static_assert(update_policy<exact_newton, forward_only>);
static_assert(!update_policy<gradient_descent, forward_only>, "needs a backward pass");
static_assert(update_policy<gradient_descent, both_ways>);
static_assert(!update_policy<gradient_descent, exact_products>);
static_assert(!update_policy<forward_mode_newton, forward_only> &&
              !update_policy<forward_mode_newton, both_ways>);
static_assert(update_policy<forward_mode_newton, exact_products>);

// --- step size ---------------------------------------------------------------------------------------------

struct smallest_step_size {
  struct rule {
    per_sample_t<T> scale(const T&, std::size_t, std::size_t) const;
  };
  rule at_step(const forward_only&, const estimate<T>&) const;
};
struct step_size_of_a_number {
  struct rule {
    double scale(const T&, std::size_t, std::size_t) const;
  };
  rule at_step(const forward_only&, const estimate<T>&) const;
};
struct step_size_without_rule {
  per_sample_t<T> scale(const T&, std::size_t, std::size_t) const;
};

static_assert(step_size<smallest_step_size, forward_only>);
static_assert(!step_size<step_size_of_a_number, forward_only>, "one number per sample");
static_assert(!step_size<step_size_without_rule, forward_only>);
static_assert(step_size<infinity_norm, forward_only> && step_size<constant_step, forward_only>);
static_assert(step_size<spectral, forward_only>);

// --- observer ----------------------------------------------------------------------------------------------

struct smallest_observer {
  void operator()(const progress<T>&);
};
struct stopping_observer {
  verdict operator()(const progress<T>&) const;
};
struct observer_of_a_bool {
  bool operator()(const progress<T>&) const;
};
struct observer_of_nothing {
  void operator()() const;
};

static_assert(observer<smallest_observer, T> && observer<stopping_observer, T> && observer<no_observer, T>);
static_assert(!observer<const smallest_observer, T>, "it changes");
static_assert(!observer<observer_of_a_bool, T>, "true could mean either");
static_assert(!observer<observer_of_nothing, T> && !observer<int, T>);

} // namespace archetypes
