#include "room.hpp"

#include "family.hpp"
#include "free_memory.hpp"

#include <pushforward/error.hpp>
#include <pushforward/libtorch/models/checkpoint.hpp>
#include <pushforward/safetensors/regular_file.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>

namespace stable_diffusion {

namespace fs = std::filesystem;
namespace models = pushforward::libtorch::models;

namespace {

bool runs_here(const part_placement& part, const model_arguments& a) {
  return (part.device.empty() ? a.unet.device : part.device) == "cpu";
}

double bytes_of(c10::ScalarType type) { return static_cast<double>(c10::elementSize(type)); }

/// The configuration of the autoencoder that a run takes; none of a single file.
std::optional<fs::path> config_of_autoencoder(const model_arguments& a, const opened_checkpoint& c) {
  if (a.vae.empty()) return c.vae().config;
  const fs::path file = a.vae / "config.json";
  std::error_code none;
  return fs::is_regular_file(file, none) ? std::optional(file) : std::nullopt;
}

double decoder_values_of_run(const model_arguments& a, const opened_checkpoint& c, bool backward) {
  if (pushforward::safetensors::is_there(a.vae / "encoder.safetensors"))
    return decoder_values(models::autoencoder_tiny_config{}, backward);
  const auto file = config_of_autoencoder(a, c);
  if (!file) return decoder_values(models::autoencoder_kl_config{}, backward);
  const std::string text = pushforward::safetensors::regular_file(*file).read(std::uint64_t{1} << 24);
  const auto config = nlohmann::json::parse(text, nullptr, false);
  if (config.is_object() && config.contains("_class_name") && config["_class_name"] == "AutoencoderTiny")
    return decoder_values(models::autoencoder_tiny_config::read(*file), backward);
  return decoder_values(models::autoencoder_kl_config::read(*file), backward);
}

} // namespace

double decoder_values(const models::autoencoder_kl_config& c, bool backward) {
  const auto levels = c.block_out_channels.size();
  const auto channels = [&](std::size_t level) {
    return static_cast<double>(c.block_out_channels[std::min(level, levels - 1)]);
  };
  if (!backward) return 2.0 * channels(1) + channels(0);
  double values = 3.0 * channels(0); // of the head
  for (std::size_t level = 0; level < levels; ++level) {
    const double in = channels(level + 1), out = channels(level);
    double here = 3.0 * (in + out) + static_cast<double>(c.layers_per_block) * 6.0 * out;
    if (level + 1 < levels) here += in;          // enlarged, of the resolution below
    if (level + 1 == levels) here += 12.0 * out; // two blocks in the middle
    values += here / std::pow(4.0, static_cast<double>(level));
  }
  return values;
}

double decoder_values(const models::autoencoder_tiny_config& c, bool backward) {
  const auto channels = static_cast<double>(c.decoder_block_out_channels);
  if (!backward) return 3.0 * channels;
  double values = 0.0, pixels = 1.0;
  // the coarsest come first; three convolutions and their activations a block
  for (auto blocks = c.num_decoder_blocks.rbegin(); blocks != c.num_decoder_blocks.rend();
       ++blocks, pixels /= 4.0)
    values += static_cast<double>(*blocks) * 4.0 * channels * pixels;
  return values;
}

double bytes_of_run(const model_arguments& a, const run_size& size) {
  const auto c = opened(a);
  const double pixels = static_cast<double>(size.pixels.height) * static_cast<double>(size.pixels.width) *
                        static_cast<double>(size.batch);
  double bytes = 0.0;
  if (runs_here(a.vae_placement, a))
    bytes = decoder_values_of_run(a, *c, size.decoder_backward) * bytes_of(a.vae_placement.type) * pixels;
  // each token attends to all, and a product, its softmax and the tangents of both are there at once
  if (size.forward_mode && runs_here(a.unet, a))
    bytes = std::max(bytes, 4.0 * static_cast<double>(size.batch) *
                                c->attention_values(size.pixels.height / 8, size.pixels.width / 8) *
                                bytes_of(a.unet.type));
  return bytes;
}

void require_free(double bytes, const run_size& size, const std::string& remedy) {
  const double free = free_memory();
  if (bytes <= free) return;
  const bool many = size.batch > 1;
  throw pushforward::bad_option((many ? std::to_string(size.batch) + " results" : std::string("a result")) +
                                " of " + std::to_string(size.pixels.width) + " x " +
                                std::to_string(size.pixels.height) + " pixels take" + (many ? " " : "s ") +
                                megabytes(bytes) + " of memory or more, but " + megabytes(free) +
                                " are free: " + remedy);
}

void require_room(const model_arguments& a, const run_size& size, const std::string& remedy) {
  require_free(bytes_of_run(a, size), size, remedy);
}

} // namespace stable_diffusion
