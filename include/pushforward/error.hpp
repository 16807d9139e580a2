#pragma once
/// \file
/// What the library throws: one base class, and one class for each kind of fault.

#include <charconv>
#include <cstddef>
#include <stdexcept>
#include <string>

namespace pushforward {

/// Base of every exception the library throws. `what()` names the thing at fault and what to do about it.
class error : public std::runtime_error {
public:
  using std::runtime_error::runtime_error;
};

/// An option has a value that cannot be used. Thrown on entry, before any pass.
class bad_option : public error {
public:
  using error::error;
};

/// Two tensors, or a tensor and an operator, do not fit.
class shape_mismatch : public error {
public:
  using error::error;
};

/// A file is missing, truncated, of another format, or contradicts itself.
class bad_file : public error {
public:
  using error::error;
};

/// A NaN or an infinity appeared in the run.
class not_finite : public error {
public:
  /// \param what_is what was not finite ("clean estimate", "error of the constraint", ...)
  /// \param step time step, from 0
  /// \param iteration inner iteration, from 0; an estimate belongs to the iteration that it opens, the one
  ///        after the last of K iterations to iteration K
  not_finite(const std::string& what_is, std::size_t step, std::size_t iteration)
      : error("the " + what_is + " is not finite at step " + std::to_string(step) + ", iteration " +
              std::to_string(iteration) +
              ": look at the denoiser's output for that input, its compute type and the step size"),
        step_{step}, iteration_{iteration} {}

  std::size_t step() const noexcept { return step_; }
  std::size_t iteration() const noexcept { return iteration_; }

private:
  std::size_t step_;
  std::size_t iteration_;
};

namespace detail {

/// A number for a message, in the fewest digits that tell it from others.
inline std::string text_of(double value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

} // namespace detail

} // namespace pushforward
