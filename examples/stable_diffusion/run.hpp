#pragma once
/// \file
/// One run of the library's loop on latents, with everything chosen at run time, and what is kept of it.

#include "inputs.hpp"
#include "model.hpp"
#include "pictures.hpp"

#include <common/command_line.hpp>
#include <common/report.hpp>
#include <common/updates.hpp>

#include <pushforward/constraints/decoded.hpp>
#include <pushforward/sample.hpp>
#include <pushforward/samplers/path_sampler.hpp>

#include <ATen/core/Tensor.h>

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace stable_diffusion {

using examples::passes_of;

struct run_arguments {
  examples::update_options update;
  std::size_t steps = 20;
  double start = 1.0;
  std::optional<double> eta{}; ///< of a diffusion; none: the reference's one-step-beta noise
  double renoise = 0.0;        ///< of a flow
  std::uint64_t seed = 0;
  std::int64_t batch = 1;
  std::filesystem::path latents; ///< a file with the noise to start from; empty: drawn
  std::filesystem::path out;
  bool frames = false;
  bool save_latents = false;

  /// Rates of the first and the last inner iteration, unless the command line had them; where both are equal,
  /// --lr alone sets both.
  void set_rates(const CLI::App& app, double first, double last);
};

/// Those of `examples::add_update_options`, and --steps, --start, --eta, --renoise, --seed, --batch,
/// --latents, --out, --frames, --save-latents.
void add_run_options(CLI::App& app, run_arguments& a);

/// Refuses those of them that were given and would do nothing. \throws pushforward::bad_option
void check_run_options(const CLI::App& app, const run_arguments& a);
/// Of them --eta and --renoise alone, for a program without the others.
void add_noise_options(CLI::App& app, run_arguments& a, const std::string& group);
void check_noise(const CLI::App& app, const run_arguments& a);
/// Says in a run's settings which of the two was chosen, as the path has it.
void describe_noise(nlohmann::ordered_json& settings, const examples::any_path& path, const run_arguments& a);

/// What a run writes: OUT.png (OUT-0.png and so on for a batch), OUT.json, OUT.html, and as asked
/// OUT-frames.png and OUT.safetensors.
std::vector<std::filesystem::path> outputs_of(const run_arguments& a);

/// For the start of a program, before anything is loaded: tries whether the latents can be read and the
/// results be written, and that no input is overwritten, as `examples::require_writable` does; the model's
/// files and the latents are inputs, too. \throws pushforward::bad_file, pushforward::bad_option
void require_files(const run_arguments& a, const model_arguments& m,
                   std::vector<examples::input_file> inputs);

/// The tensor `start` of a .safetensors file, of the shape, type and place of `like`.
/// \throws pushforward::bad_file, pushforward::bad_option
at::Tensor read_start(const std::filesystem::path& file, const at::Tensor& like);

/// DDIM, or Euler on a flow, with the noise that was chosen. \throws pushforward::bad_option, with the
/// option's name, for more steps than the path has times \param steps_option that gives the steps
pushforward::path_sampler sampler_of(const examples::any_path& path, const run_arguments& a,
                                     const std::string& steps_option = "--steps");

/// For the start of a program, before networks are loaded: refuses a run that the model cannot serve, of
/// latents for `size` pixels. \throws pushforward::bad_file, pushforward::bad_option
void require_servable(const model_outline& o, const model_arguments& m, const run_arguments& a,
                      const picture_size& size);
/// Of it the size alone.
void require_size(const model_outline& o, const picture_size& size,
                  const std::string& options = "--width, --height");
/// Of it what --latents names. \param shape of the latents that start the run
void require_start(const std::filesystem::path& file, const std::vector<std::int64_t>& shape);

/// Probes of the encoder's difference, in units of an image of a range of 2.
inline constexpr examples::numbers image_probes{.least = examples::probes.least, .most = 2.0};

/// How a pixel error becomes a latent error.
enum class pullback_kind { decoder, encoder };

struct pullback_arguments {
  pullback_kind kind = pullback_kind::decoder;
  double probe = 0.005; ///< of the encoder's difference, in units of the image

  /// Says in a task's settings what was chosen.
  void describe(nlohmann::ordered_json& settings) const;
};

/// --pullback, --encoder-probe. \param note at the end of the former's help
void add_pullback_options(CLI::App& app, pullback_arguments& a, const std::string& group,
                          const std::string& note = "");

/// Under the policy vae_newton the encoder's; a probe that was not given is wider for half types. Refuses
/// those of the options that were given and would do nothing, and a probe that is not felt in the
/// autoencoder's type. \throws pushforward::bad_option
void choose_pullback(const CLI::App& app, pullback_arguments& a, examples::policy_kind policy,
                     c10::ScalarType type);

/// A constraint on images, through the model's decoder. The images it sees are in float32 on the model's
/// device. Refers to the model. \throws pushforward::bad_option for a bad probe
template <class Constraint>
examples::any_constraint pulled_back(Constraint c, const latent_model& m, const pullback_arguments& a) {
  using namespace pushforward;
  if (a.kind == pullback_kind::encoder) return decoded(std::move(c), m.vae(), encoder_difference{a.probe});
  return decoded(std::move(c), m.vae(), decoder_vjp{});
}

/// What is asked of a run.
struct task {
  std::string name;                    ///< "inpaint"
  std::string title;                   ///< of the report
  examples::any_constraint constraint; ///< on clean latents
  /// Values that are measured in a sample: the residual is the root of 2 loss / measured. 0: the loss is
  /// shown as it is.
  double measured = 0.0;
  std::string residual; ///< its name, with its unit
  at::Tensor like;      ///< latents of the batch, whose values do not matter
  at::Tensor guess;     ///< latents that a run from the middle starts from, and so wanted when `start` < 1
  nlohmann::ordered_json settings;
};

struct steered {
  at::Tensor latents; ///< clean
  at::Tensor start;   ///< noisy latents at the first time
  at::Tensor images;  ///< [N, 3, H, W], float32, CPU, not clamped
  pushforward::sample_result<at::Tensor> run;
  std::vector<examples::picture> frames; ///< the first sample's clean estimates
  double seconds = 0.0;
  double processor_seconds = 0.0;
  std::size_t peak_bytes = 0;
};

/// Runs the loop with a progress bar; Ctrl-C ends it with the estimate that stands. Costs are of the loop and
/// the decoding of its result, without frames.
/// \throws pushforward::bad_option, pushforward::not_finite
steered steer(const latent_model& m, const task& t, const run_arguments& a);

/// What a program adds to its trace and its report.
struct findings {
  std::vector<examples::report_picture> inputs; ///< shown before the results
  std::vector<at::Tensor> pictures;             ///< results [3, H, W] as they are to be written
  nlohmann::ordered_json results;               ///< flat: name -> number, text or list of them
  /// The same, beside what the loop itself counts.
  nlohmann::ordered_json costs = nlohmann::ordered_json::object();
};

/// Writes the files of `outputs_of`, all or none (no frames where no time step was done); says on standard
/// output what it wrote. \return the program's exit status
int write_results(const latent_model& m, const task& t, const run_arguments& a, const steered& s,
                  const findings& f);

/// Residual of each inner iteration, mean over the batch.
std::vector<double> residuals(const task& t, const pushforward::sample_result<at::Tensor>& run);

/// A flat object for a report: names in words, numbers in few digits.
examples::report::table rows_of(const nlohmann::ordered_json& flat);

} // namespace stable_diffusion
