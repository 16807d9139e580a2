#pragma once
/// \file
/// What the programs need of a checkpoint, of whichever family it is: Stable Diffusion 1.x and 2.x with flows
/// of the same network, or Stable Diffusion 3.

#include "model.hpp"

#include <common/any_path.hpp>

#include <pushforward/libtorch/models/checkpoint.hpp>
#include <pushforward/prediction.hpp>

#include <nlohmann/json.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace stable_diffusion {

/// A network that is to be loaded.
struct named_part {
  pushforward::libtorch::models::checkpoint_part files;
  std::string name; ///< "the UNet"
  part_placement where;
  bool whole = true; ///< is in memory at once
};

/// An opened checkpoint, of which nothing is loaded.
class opened_checkpoint {
public:
  opened_checkpoint() = default;
  opened_checkpoint(const opened_checkpoint&) = delete;
  opened_checkpoint& operator=(const opened_checkpoint&) = delete;
  virtual ~opened_checkpoint() = default;

  /// The path, whose times are those that the network is fed under the convention that was chosen.
  virtual examples::any_path path() const = 0;
  virtual pushforward::prediction_type prediction() const = 0;
  /// The denoising network, and the text encoders.
  virtual named_part network() const = 0;
  virtual std::vector<named_part> text_encoders() const = 0;
  /// No files where it comes from elsewhere.
  virtual const pushforward::libtorch::models::checkpoint_part& vae() const = 0;

  virtual std::int64_t channels() const = 0;              ///< of the latents that the network takes
  virtual std::int64_t patch() const { return 1; }        ///< sides of a latent are multiples of it
  virtual std::int64_t largest_side() const { return 0; } ///< of a latent; 0: any
  /// Numbers that forward-mode differentiation keeps of one attention among the elements of a latent.
  virtual double attention_values(std::int64_t height, std::int64_t width) const = 0;

  /// Refuses a tokenizer that does not serve the text encoder. \throws pushforward::bad_file, bad_option
  virtual void require_agreement() const = 0;
  /// What a trace says besides.
  virtual void describe(nlohmann::ordered_json& facts) const = 0;

  /// Loads the text encoders, has them read the prompts, and frees them. `tell` hears what is being loaded.
  virtual void read_prompts(const std::function<void(const std::string&)>& tell) = 0;
  /// Loads the network. After `read_prompts`.
  virtual latent_model::denoiser load(const pushforward::libtorch::models::placement& where) const = 0;
};

/// The family is told by what the checkpoint holds. \throws pushforward::bad_file, pushforward::bad_option
std::unique_ptr<opened_checkpoint> opened(const model_arguments& a);

/// The scale of guidance, in the usual convention, that the model's makers recommend, where none was asked
/// for: 1 (none) but for Stable Diffusion 3 with a prompt.
double standard_guidance(const model_arguments& a);

} // namespace stable_diffusion
