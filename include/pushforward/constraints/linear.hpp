#pragma once
/// \file
/// Any linear measurement with its adjoint: super-resolution, deblurring.

#include <pushforward/constraints/residual.hpp>

#include <optional>
#include <utility>
#include <vector>

namespace pushforward {

/// A linear map A of a batch with its adjoint, samples apart from each other.
///  - `apply(x)`: A x;  `adjoint(r)`: A^T r, or another back projection in its place
///  - `output_shape(s)`: shape of A x for x of shape s; throws `shape_mismatch` where A does not fit
/// Two optional members:
///  - `exact_adjoint`: false where `adjoint` is another back projection
///  - `gram()`: an optional c, with A A^T = c I where there is one, so that the pseudoinverse is A^T / c
template <class A, class T>
concept linear_operator = tensor<T> && requires(const A& a, const T& x, const shape& s) {
  { a.apply(x) } -> std::same_as<T>;
  { a.adjoint(x) } -> std::same_as<T>;
  { a.output_shape(s) } -> std::same_as<shape>;
};

namespace detail {

template <class Operator> constexpr bool has_exact_adjoint() {
  if constexpr (requires { Operator::exact_adjoint; })
    return Operator::exact_adjoint;
  else
    return true;
}

} // namespace detail

/// loss = 1/2 |r|^2, error = A^T r, r = y - A x0. The error is the negative gradient of the loss.
/// With a known noise level of y, r is shrunk as `noise_ball` says.
template <tensor T, linear_operator<T> Operator> class linear {
public:
  /// \param measured y, of the shape of A x0
  /// \param noise_level standard deviation of the noise in y
  /// \throws bad_option for a measurement that is not finite or a bad noise level
  linear(Operator a, T measured, double noise_level = 0.0)
      : operator_{std::move(a)}, measured_{std::move(measured)},
        ball_{measured_, counts(tensor_traits<T>::shape_of(measured_)), noise_level} {
    if (!tensor_traits<T>::all_finite(measured_))
      throw bad_option("the measurement holds a value that is not finite");
  }

  void check(const shape& s) const {
    detail::require_same_shape("the measurement", tensor_traits<T>::shape_of(measured_),
                               operator_.output_shape(s));
  }

  constraint_value<T> operator()(const T& x0) const {
    const T r = ball_.shrink(residual(x0));
    return {detail::half_square(r), operator_.adjoint(r)};
  }

  /// See `least_squares_problem`.
  struct problem {
    static constexpr bool exact_adjoint = detail::has_exact_adjoint<Operator>();
    const linear& of;
    T residual;
    constraint_value<T> value;

    T apply(const T& v, pass_counts&) const { return of.operator_.apply(v); }
    T adjoint(const T& r, pass_counts&) const requires exact_adjoint { return of.operator_.adjoint(r); }
    T covary(const T& r) const { return tensor_traits<T>::scale(of.ball_.variance(), r); }
    bool noisy() const { return of.ball_.variance() > 0.0; }
  };

  problem least_squares(const T& x0, pass_counts&) const {
    T r = residual(x0);
    auto loss = detail::half_square(ball_.shrink(r));
    T e = operator_.adjoint(r);
    return {*this, std::move(r), {std::move(loss), std::move(e)}};
  }

  /// A^+ r = A^T r / c: makes A x0 = y. With a noise level, of r' of above.
  /// \throws bad_option where A A^T is no multiple of the identity
  T replacement(const T& x0) const requires requires(const Operator& a) { a.gram(); }
  {
    const std::optional<double> c = operator_.gram();
    if (!c)
      throw bad_option(
          "replacement: the rows of the operator are not orthogonal and of one length, as those of "
          "averaging are");
    return tensor_traits<T>::scale(1.0 / *c, operator_.adjoint(ball_.shrink(residual(x0))));
  }

private:
  T residual(const T& x0) const {
    return tensor_traits<T>::combine(-1.0, operator_.apply(x0), 1.0, measured_);
  }

  static std::vector<double> counts(const shape& s) {
    return std::vector<double>(s.samples(), static_cast<double>(s.sample_elements()));
  }

  Operator operator_;
  T measured_;
  noise_ball<T> ball_;
};

/// A of one operator with the back projection of another: its `adjoint` is the other's `apply`. ZoomLDM
/// enlarges the residual by a cubic resize in place of the adjoint; the error is then no longer a gradient.
template <class Operator, class Back> struct back_projected {
  static constexpr bool exact_adjoint = false;
  Operator forward;
  Back back;

  template <class T> T apply(const T& x) const { return forward.apply(x); }
  template <class T> T adjoint(const T& r) const { return back.apply(r); }
  shape output_shape(const shape& s) const {
    const shape measured = forward.output_shape(s);
    detail::require_same_shape("the back projection", back.output_shape(measured), s);
    return measured;
  }
};

} // namespace pushforward
