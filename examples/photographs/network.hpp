#pragma once
/// \file
/// A denoiser of colour photographs: the clean image that a noisy one most likely came from.

#include <common/parameters.hpp>

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace photographs {

/// A residual UNet without biases and without normalisation. The first level works on what a space-to-depth
/// by `patch` makes of the photograph, each further one at half the resolution of the one before.
struct network_config {
  std::int64_t patch = 1;                            ///< 1, 2 or 4
  std::vector<std::int64_t> widths{24, 48, 80, 112}; ///< channels of the levels, finest first
  /// Residual blocks of the levels; all but the deepest level have them twice, on the way down and up.
  std::vector<std::int64_t> blocks{1, 2, 2, 3};
};

/// Throws where there is no such network. \throws pushforward::bad_option
void check(const network_config& c);

/// As JSON: an object with patch, widths and blocks, as files keep it.
std::string text_of(const network_config& c);
/// The network of such a text. \throws pushforward::bad_option where it is none
network_config config_of(const std::string& text);

/// Bytes that training takes at its peak on a CPU, beside the photographs: in a step what is kept of each
/// layer, the weights, their average, gradient and two moments; or all that the checkpoint holds, as it is
/// written. Within 30 % of what was measured. \param pixels of a step's patches
double bytes_of_training(const network_config& c, std::int64_t pixels);

/// x0 = D(x, sigma) of x = x0 + sigma eps with x0 in [0, 1] (variance exploding).
///
/// With no bias anywhere it is homogeneous, D(c x, c sigma) = c D(x, sigma) for c > 0, and so holds beyond
/// the noise that it was trained on (Mohan, Kadkhodaie, Simoncelli, Fernandez-Granda 2020); the noise level
/// enters as one more channel (Zhang, Li, Zuo, Zhang, Van Gool, Timofte 2021).
class network {
public:
  /// Randomly initialised from torch's generator. \throws pushforward::bad_option for a config that is none
  explicit network(network_config config = {});

  /// x [N, 3, H, W] of any height and width, sigma [N] -> x0 of x's shape.
  /// \throws pushforward::shape_mismatch
  at::Tensor operator()(const at::Tensor& x, const at::Tensor& sigma) const;

  const network_config& config() const { return config_; }
  examples::parameters& weights() { return weights_; }
  const examples::parameters& weights() const { return weights_; }

private:
  at::Tensor blocks(const std::string& level, std::int64_t count, at::Tensor h) const;

  network_config config_;
  examples::parameters weights_;
};

/// The bytes of a safetensors file of the weights, in float16 or as they are, with their config and `facts`
/// as metadata.
std::string serialize_network(const network& n, std::map<std::string, std::string> facts = {},
                              bool half = true);

/// The network of a file of `serialize_network`. \throws pushforward::bad_file
network read_network(const std::filesystem::path& path);

} // namespace photographs
