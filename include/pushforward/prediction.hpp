#pragma once
/// \file
/// Paths' coefficients, and what a network's raw output says about the clean sample.

#include <pushforward/error.hpp>

#include <cmath>
#include <string>
#include <string_view>

namespace pushforward {

/// (a, s) of `x_t = a x0 + s eps`, eps ~ N(0, I), at one time.
struct coefficients {
  double a = 1.0;
  double s = 0.0;
};

/// What the network's raw output o is, on a path x = a x0 + s eps.
enum class prediction_type {
  epsilon,     ///< o = eps
  sample,      ///< o = x0
  v,           ///< o = a eps - s x0 (Salimans and Ho 2022)
  flow,        ///< o = eps - x0 = dx/dsigma on the rectified path (Stable Diffusion 3)
  reverse_flow ///< o = x0 - eps (InstaFlow)
};

/// x0 = of_x x + of_output o: a prediction is one row of numbers.
struct prediction_row {
  double of_x = 0.0;
  double of_output = 1.0;
};

/// The row of a prediction at (a, s), from solving `x = a x0 + s eps` together with the definition of o:
/// (1/a, -s/a) epsilon, (0, 1) sample, (a, -s)/(a^2 + s^2) v, (1, -s)/(a + s) flow, (1, s)/(a + s) reverse
/// flow.
/// \throws bad_option where the output does not determine x0: epsilon at a = 0
inline prediction_row row_of(prediction_type type, const coefficients& c) {
  switch (type) {
  case prediction_type::epsilon:
    if (c.a == 0.0)
      throw bad_option(
          "an epsilon prediction does not determine the clean estimate where a = 0 (pure noise): "
          "start the time grid below that time");
    return {1.0 / c.a, -c.s / c.a};
  case prediction_type::sample:
    return {0.0, 1.0};
  case prediction_type::v: {
    const double n = c.a * c.a + c.s * c.s;
    return {c.a / n, -c.s / n};
  }
  case prediction_type::flow:
    return {1.0 / (c.a + c.s), -c.s / (c.a + c.s)};
  case prediction_type::reverse_flow:
    return {1.0 / (c.a + c.s), c.s / (c.a + c.s)};
  }
  throw bad_option("unknown prediction type");
}

/// o = of_x0 x0 + of_eps eps: the definition of each prediction.
struct output_row {
  double of_x0 = 0.0;
  double of_eps = 1.0;
};

inline output_row output_of(prediction_type type, const coefficients& c) {
  switch (type) {
  case prediction_type::epsilon:
    return {0.0, 1.0};
  case prediction_type::sample:
    return {1.0, 0.0};
  case prediction_type::v:
    return {-c.s, c.a};
  case prediction_type::flow:
    return {-1.0, 1.0};
  case prediction_type::reverse_flow:
    return {1.0, -1.0};
  }
  throw bad_option("unknown prediction type");
}

/// The other half of the estimate, eps = (x - a x0) / s, as a row on (x, x0). s > 0.
struct epsilon_row {
  double of_x = 0.0;
  double of_x0 = 0.0;
};

/// \throws bad_option at s = 0, where x holds no noise
inline epsilon_row epsilon_of(const coefficients& c) {
  if (c.s == 0.0)
    throw bad_option("the noise of x is not determined where s = 0: x is the clean sample there");
  return {1.0 / c.s, -c.a / c.s};
}

inline std::string_view name_of(prediction_type type) {
  switch (type) {
  case prediction_type::epsilon:
    return "epsilon";
  case prediction_type::sample:
    return "sample";
  case prediction_type::v:
    return "v";
  case prediction_type::flow:
    return "flow";
  case prediction_type::reverse_flow:
    return "reverse_flow";
  }
  return "unknown";
}

/// \throws bad_option for a name that is none of the five
inline prediction_type prediction_named(std::string_view name) {
  for (auto type : {prediction_type::epsilon, prediction_type::sample, prediction_type::v,
                    prediction_type::flow, prediction_type::reverse_flow})
    if (name == name_of(type)) return type;
  throw bad_option("prediction \"" + std::string(name) +
                   "\" is unknown: use epsilon, sample, v, flow or reverse_flow");
}

} // namespace pushforward
