// libFuzzer: whatever the bytes, `parse` either throws bad_file or describes tensors that lie inside them.

#include <pushforward/safetensors/file.hpp>

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace st = pushforward::safetensors;
  const std::span<const std::byte> bytes{reinterpret_cast<const std::byte*>(data), size};
  try {
    const st::contents found = st::parse(bytes, "fuzz");
    std::size_t sum = 0, touched = 0;
    for (const auto& [name, tensor] : found.tensors) {
      std::size_t bits = st::bits_of(tensor.type);
      for (const std::int64_t extent : tensor.shape) bits *= static_cast<std::size_t>(extent);
      if (bits != 8 * tensor.bytes.size()) std::abort();
      sum += tensor.bytes.size();
      for (const std::byte b : tensor.bytes) touched += std::to_integer<std::size_t>(b);
    }
    if (sum > size || touched > 255 * sum) std::abort();
  } catch (const pushforward::bad_file&) {
    return 0;
  }
  return 0;
}
