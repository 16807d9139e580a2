#include "weights.hpp"

#include <pushforward/libtorch/safetensors.hpp>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <cmath>
#include <sstream>
#include <system_error>

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

void write_weights(const std::filesystem::path& path, const parameters& weights,
                   const std::map<std::string, std::string>& metadata, bool half) {
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const auto& [name, value] : weights.all())
    tensors.emplace_back(name, half ? value.detach().to(at::kHalf) : value.detach());
  std::error_code fault;
  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), fault);
  if (fault) throw bad_file(path.parent_path().string() + ": cannot be made (" + fault.message() + ")");
  pushforward::libtorch::write_tensors(path, tensors, metadata);
}

} // namespace mnist
