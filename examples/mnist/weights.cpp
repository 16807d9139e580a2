#include "weights.hpp"

#include <pushforward/libtorch/safetensors.hpp>
#include <pushforward/safetensors/regular_file.hpp>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <zlib.h>

#include <cmath>
#include <sstream>

namespace mnist {

using pushforward::bad_file;

void read_weights(const std::filesystem::path& path, parameters& weights) {
  const c10::NoGradGuard no_grad;
  const pushforward::safetensors::file file(path);
  if (file.tensors().size() != weights.all().size())
    throw bad_file(path.string() + ": holds " + std::to_string(file.tensors().size()) +
                   " tensors, but the network has " + std::to_string(weights.all().size()) +
                   "; it belongs to another network");
  for (auto& [name, value] : weights.all()) {
    const at::Tensor read = pushforward::libtorch::read_tensor(file, name);
    if (read.sizes() != value.sizes() || !read.is_floating_point()) {
      std::ostringstream message;
      message << path.string() << ": tensor " << name << " is " << read.sizes() << ", but the network needs "
              << value.sizes() << "; it belongs to another network";
      throw bad_file(message.str());
    }
    const at::Tensor converted = read.to(at::kFloat);
    if (!std::isfinite(converted.sum().item<double>()))
      throw bad_file(path.string() + ": tensor " + name + " holds a value that is not finite");
    value.copy_(converted);
  }
}

std::string serialize_weights(const parameters& weights, const std::map<std::string, std::string>& metadata,
                              bool half) {
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const auto& [name, value] : weights.all())
    tensors.emplace_back(name, half ? value.detach().to(at::kHalf) : value.detach());
  return pushforward::libtorch::serialize_tensors(tensors, metadata);
}

std::vector<input_file> weight_files(const std::filesystem::path& folder) {
  std::vector<input_file> files;
  for (const char* name : {"ddpm", "flow", "latent_ddpm", "vae", "judge"})
    files.push_back({"the weights", folder / (std::string(name) + ".safetensors")});
  return files;
}

std::string checksum(const std::vector<std::filesystem::path>& files) {
  uLong crc = 0;
  for (const auto& path : files) {
    const std::string bytes = pushforward::safetensors::regular_file(path).read(std::uint64_t{1} << 30);
    crc = ::crc32_z(crc, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
  }
  std::ostringstream text;
  text << std::hex << crc;
  return text.str();
}

} // namespace mnist
