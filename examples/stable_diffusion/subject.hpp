#pragma once
/// \file
/// The clean latent at which the studies look at the Jacobian.

#include "inputs.hpp"
#include "model.hpp"
#include "picture_arguments.hpp"
#include "run.hpp"

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace stable_diffusion {

struct subject_arguments {
  picture_arguments picture; ///< may have no file
  std::uint64_t seed = 0;
  std::filesystem::path latents; ///< a file with the noise; empty: drawn
  std::size_t steps = 20;        ///< of a sample of the model's own
};

/// What a study reads: the model's files, the picture and the noise.
std::vector<examples::input_file> inputs_of(const model_arguments& m, const subject_arguments& a);

/// An optional picture with --width, --height and --fit; --seed, --latents, --sample-steps.
void add_subject_options(CLI::App& app, subject_arguments& a);

/// Refuses those of them that were given and would do nothing. \param draws_more whether the program takes
/// more noise from the seed than that which --latents may hold \throws pushforward::bad_option
void check_subject_options(const CLI::App& app, const subject_arguments& a, bool draws_more = false);

/// What a study looks at.
class subject {
public:
  /// Reads the picture, if there is one. \throws pushforward::bad_file, pushforward::bad_option
  explicit subject(const subject_arguments& a);

  /// Before networks are loaded: the size that it is looked at in. \throws pushforward::bad_file,
  /// pushforward::bad_option where the model takes no such size, its path lacks a time or has fewer steps,
  /// and for noise of another shape \param times at which it is looked at \param option that gives them
  picture_size require_servable(const model_outline& o, const std::vector<double>& times,
                                const std::string& option) const;
  /// \throws pushforward::bad_option where its size takes more than the memory that is free
  void require_room(const model_arguments& m) const;

  /// The mean latent of the picture; without a picture, a sample of the model: DDIM from the noise, with a
  /// progress bar, of --width x --height pixels (512 unless given).
  /// \throws examples::stopped_early after Ctrl-C, pushforward::bad_option
  at::Tensor latent(const latent_model& m) const;
  /// A clean latent noised to time t. \throws pushforward::bad_file, pushforward::bad_option
  at::Tensor noised(const latent_model& m, const at::Tensor& clean, double t) const;
  /// The picture's name, or that it is a sample.
  std::string name() const;

private:
  at::Tensor noise(const at::Tensor& like) const;
  run_arguments own_sample() const; ///< how a sample of the model's own is drawn

  subject_arguments a_;
  at::Tensor image_; // before it is brought to the model's scale
  picture_size size_;
};

} // namespace stable_diffusion
