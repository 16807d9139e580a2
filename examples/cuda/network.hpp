#pragma once
/// \file
/// The flow of handwritten digits of examples/mnist, on `pushforward::cuda` alone.

#include "layers.hpp"

#include <pushforward/cuda/denoiser.hpp>

#include <filesystem>
#include <map>
#include <string>

namespace digits {

/// A UNet of three levels for digits of 1 x 32 x 32; the network of examples/mnist/networks.cpp.
class unet {
public:
  /// Reads the weights to the executor, in float32.
  /// \throws pushforward::bad_file for a file that is none of this network
  unet(const std::filesystem::path& weights, const pushforward::cuda::executor& on);

  /// x N x 1 x 32 x 32, time from 0 to 1000 -> the flow, of x's shape.
  batch operator()(const batch& x, double time) const;

  const pushforward::cuda::executor& on() const { return on_; }

private:
  const batch& weight(const std::string& name) const;
  batch conv(const std::string& name, const batch& x, std::size_t stride = 1) const;
  batch dense(const std::string& name, const batch& x) const;
  batch norm(const std::string& name, const batch& x) const;
  batch block(const std::string& name, const batch& x, const batch& time) const;

  pushforward::cuda::executor on_;
  std::map<std::string, batch> weights_;
};

/// The network as a function of pointers, as an engine has it. Refers to the network.
pushforward::cuda::forward_denoiser denoiser_of(const unet& network);

} // namespace digits
