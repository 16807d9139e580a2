#include "parameters.hpp"

#include "command_line.hpp"

#include <pushforward/error.hpp>
#include <pushforward/libtorch/safetensors.hpp>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <cmath>
#include <sstream>
#include <stdexcept>

namespace examples {

using pushforward::bad_file;

void parameters::add(const std::string& name, at::Tensor value) {
  if (!index_.emplace(name, all_.size()).second)
    throw std::logic_error("parameter " + name + " is there already");
  all_.emplace_back(name, std::move(value));
}

bool parameters::contains(const std::string& name) const { return index_.count(name) != 0; }

const at::Tensor& parameters::operator[](const std::string& name) const {
  const auto found = index_.find(name);
  if (found == index_.end()) throw std::logic_error("no parameter " + name);
  return all_[found->second].second;
}

void parameters::move_to(const c10::Device& device) {
  for (auto& [name, value] : all_) value = value.to(device);
}

std::int64_t parameters::count() const {
  std::int64_t n = 0;
  for (const auto& [key, value] : all_) n += value.numel();
  return n;
}

void read_weights(const std::filesystem::path& path, parameters& weights) {
  const c10::NoGradGuard no_grad;
  const pushforward::safetensors::file file(path);
  if (file.tensors().size() != weights.all().size())
    throw bad_file(path.string() + ": holds " + counted(file.tensors().size(), "tensor", "tensors") +
                   ", but the network has " + std::to_string(weights.all().size()) +
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

void diverged(std::int64_t step) {
  throw pushforward::error(
      "the training diverged: at step " + std::to_string(step) +
      " the loss or the weights are not finite; lower --rate; the last checkpoint stands");
}

void require_finite(const std::vector<at::Tensor>& values, std::int64_t step) {
  for (const auto& value : values)
    if (!at::isfinite(value).all().item<bool>()) diverged(step);
}

std::string serialize_weights(const parameters& weights, const std::map<std::string, std::string>& metadata,
                              bool half) {
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const auto& [name, value] : weights.all()) {
    tensors.emplace_back(name, half ? value.detach().to(at::kHalf) : value.detach());
    if (!at::isfinite(tensors.back().second).all().item<bool>())
      throw pushforward::error("the weights are not exported: " + name + " holds values that are not finite" +
                               (half ? " in float16" : ""));
  }
  return pushforward::libtorch::serialize_tensors(tensors, metadata);
}

} // namespace examples
