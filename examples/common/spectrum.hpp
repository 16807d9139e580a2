#pragma once
/// \file
/// Eigenvalues of J = d x0 / d x_t and of its parts over time, by Arnoldi's iteration: as a table, a plot and
/// JSON.

#include <pushforward/analysis/arnoldi.hpp>
#include <pushforward/analysis/jacobian.hpp>
#include <pushforward/error.hpp>
#include <pushforward/libtorch/tensor.hpp>

#include <ATen/core/Tensor.h>

#include <nlohmann/json.hpp>

#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace examples {

/// Eigenvalues of one operator at one time.
struct spectrum {
  double time = 0.0;
  std::string of;                                     ///< one of `spectrum_operators()`
  std::vector<std::pair<double, double>> eigenvalues; ///< real and imaginary parts, largest magnitude first
  std::size_t krylov = 0;                             ///< Arnoldi steps taken
  bool invariant = false;                             ///< the Krylov space was exhausted: these are exact
  std::size_t passes = 0, backward = 0;

  /// Largest magnitude; 0 without eigenvalues.
  double radius() const;
};

/// J, J^T, (J + J^T)/2, (J - J^T)/2.
const std::vector<std::string>& spectrum_operators();

/// Eigenvalues of the operator `of` at an estimate of one sample, from `krylov` Arnoldi steps.
/// \param start where Arnoldi starts, of the sample's shape
/// \param probe of the forward differences; 0: automatic
/// \param tell hears before each product which share of the steps is done
/// \throws pushforward::bad_option for another operator; what `tell` throws
template <class Estimator>
spectrum spectrum_of(const Estimator& e, const pushforward::estimate<at::Tensor>& at, const at::Tensor& start,
                     const std::string& of, std::size_t krylov, double probe,
                     const std::function<void(double)>& tell) {
  std::function<at::Tensor(const at::Tensor&)> apply;
  if (of == "J")
    apply = pushforward::jacobian_product(e, at, probe);
  else if (of == "J^T")
    apply = pushforward::transposed_product(e, at);
  else if (of == "(J + J^T)/2")
    apply = pushforward::symmetric_product(e, at, probe);
  else if (of == "(J - J^T)/2")
    apply = pushforward::skew_product(e, at, probe);
  else
    throw pushforward::bad_option("unknown operator " + of);
  const auto before = e.counts();
  std::size_t products = 0;
  const auto told = [&](const at::Tensor& v) {
    tell(static_cast<double>(products++) / static_cast<double>(krylov));
    return apply(v);
  };
  const auto found = pushforward::arnoldi<at::Tensor>(told, start, krylov).front();
  spectrum s{at.t,
             of,
             {},
             found.steps,
             found.invariant,
             e.counts().forward - before.forward,
             e.counts().backward - before.backward};
  for (const auto& value : found.eigenvalues) s.eigenvalues.emplace_back(value.real(), value.imag());
  return s;
}

/// Finds the spectrum of one operator at one time; `tell` is for `spectrum_of`.
using spectrum_finder =
    std::function<spectrum(double time, const std::string& of, const std::function<void(double)>& tell)>;

/// Of each operator at each time, with a progress bar; fewer after Ctrl-C.
std::vector<spectrum> spectra(const std::vector<double>& times, const spectrum_finder& at);

/// What is written of it: OUT.json, OUT.svg and OUT.png.
std::vector<std::filesystem::path> spectra_files(const std::filesystem::path& out);

/// Prints the largest magnitudes; writes OUT.svg and OUT.png (them over time) and OUT.json (`facts` and all
/// eigenvalues). \throws what `add_drawing` and `file_set::write` throw
/// \return the program's exit status
int write_spectra(const std::vector<spectrum>& all, nlohmann::ordered_json facts,
                  const std::filesystem::path& out);

} // namespace examples
