#pragma once
/// \file
/// Denoisers and decoders from TorchScript files. This header includes nothing of TorchScript's own.

#include <pushforward/libtorch/denoiser.hpp>

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <optional>
#include <string>

namespace pushforward::libtorch {

/// In which order a TorchScript method takes its two tensors.
enum class argument_order { x_time, time_x };

/// How a TorchScript method is called.
struct torchscript_method {
  std::string name = "forward";
  argument_order order = argument_order::x_time;
};

/// The network of a TorchScript file (`torch.jit.save`), in evaluation mode, its parameters and buffers of
/// floating type in `compute`, on `device` (the CPU if absent), none of them wanting a gradient. Its method
/// takes x and the time [N] (further arguments must have defaults) and returns one tensor.
///
/// TorchScript files are programs: load only files that you trust.
/// \throws bad_file for a file that is missing, truncated or no TorchScript file
/// \throws bad_option where the method is not there, or takes other arguments
network torchscript_network(const std::filesystem::path& file,
                            c10::ScalarType compute = c10::ScalarType::Float,
                            std::optional<c10::Device> device = {}, const torchscript_method& method = {});

/// The same for a method that takes one tensor: a decoder or an encoder.
map torchscript_map(const std::filesystem::path& file, c10::ScalarType compute = c10::ScalarType::Float,
                    std::optional<c10::Device> device = {}, const std::string& method = "forward");

/// A denoiser, `forward_denoiser` or `differentiable_denoiser`, of a TorchScript file, brought to the
/// options' compute type and device.
template <class Denoiser>
Denoiser torchscript_denoiser(const std::filesystem::path& file, denoiser_options options = {},
                              const torchscript_method& method = {}) {
  if (!options.device) options.device = c10::Device(c10::kCPU);
  return Denoiser(torchscript_network(file, options.compute, options.device, method), options);
}

/// The names of a TorchScript file's decoding and encoding methods.
struct torchscript_decoder_methods {
  std::string decode = "decode";
  std::string encode = "encode"; ///< none if empty
};

/// A decoder, `forward_decoder` or `differentiable_decoder`, of a TorchScript file that holds both methods.
template <class Decoder>
Decoder torchscript_decoder(const std::filesystem::path& file, decoder_options options = {},
                            const torchscript_decoder_methods& methods = {}) {
  if (!options.device) options.device = c10::Device(c10::kCPU);
  map encode;
  if (!methods.encode.empty())
    encode = torchscript_map(file, options.compute, options.device, methods.encode);
  return Decoder(torchscript_map(file, options.compute, options.device, methods.decode), encode, options);
}

} // namespace pushforward::libtorch
