#include "device.hpp"

#include <pushforward/error.hpp>

#include <ATen/Context.h>
#include <ATen/detail/CUDAHooksInterface.h>

#include <charconv>

namespace examples {

int cuda_devices() { return at::hasCUDA() ? at::detail::getCUDAHooks().getNumGPUs() : 0; }

c10::Device device_named(const std::string& name) {
  if (name == "cpu") return c10::Device(c10::kCPU);
  int index = 0;
  const bool bare = name == "cuda";
  const auto* end = name.data() + name.size();
  if (!bare) {
    const auto digits = name.compare(0, 5, "cuda:") == 0 ? std::from_chars(name.data() + 5, end, index)
                                                         : std::from_chars_result{nullptr, std::errc{}};
    if (digits.ptr != end || digits.ec != std::errc{} || index < 0)
      throw pushforward::bad_option("there is no device " + name + ": it must be cpu, cuda or cuda:N");
  }
  if (index >= cuda_devices())
    throw pushforward::bad_option("there is no device " + name +
                                  " here; --list-devices lists those that are");
  return c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(index));
}

} // namespace examples
