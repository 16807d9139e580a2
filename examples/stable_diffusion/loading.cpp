#include "loading.hpp"

#include "free_memory.hpp"

#include <common/console.hpp>

#include <pushforward/safetensors/file.hpp>

namespace stable_diffusion {

namespace models = pushforward::libtorch::models;

models::placement placement_of(const part_placement& part, const std::string& standard) {
  return {part.type, device_named(part.device.empty() ? standard : part.device)};
}

void require_room(const models::checkpoint_part& part, const models::placement& where,
                  const std::string& what) {
  if (where.device != c10::Device(c10::kCPU)) return;
  double bytes = 0.0;
  for (const auto& path : part.files) {
    const pushforward::safetensors::file file(path);
    for (const auto& [name, tensor] : file.tensors())
      if (name.starts_with(part.prefix))
        bytes += 8.0 * static_cast<double>(tensor.bytes.size()) /
                 static_cast<double>(pushforward::safetensors::bits_of(tensor.type)) *
                 static_cast<double>(c10::elementSize(where.type));
  }
  require_memory(bytes, free_memory(), what);
}

models::weights stoppable_weights(const models::checkpoint_part& part, const models::placement& where) {
  return models::weights_of(part, where).watched(examples::stop_if_interrupted);
}

} // namespace stable_diffusion
