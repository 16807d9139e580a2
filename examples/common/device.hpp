#pragma once
/// \file
/// Devices by name.

#include <c10/core/Device.h>

#include <string>

namespace examples {

/// How many CUDA devices are here; 0 where this build has no CUDA.
int cuda_devices();

/// "cpu", "cuda" or "cuda:N". \throws pushforward::bad_option for a device that is not here
c10::Device device_named(const std::string& name);

} // namespace examples
