#pragma once
/// \file
/// The parameters of a network that is trained here, and their safetensors files.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace examples {

/// Named parameters in a fixed order.
class parameters {
public:
  /// Adds a parameter; its name must be new.
  void add(const std::string& name, at::Tensor value);
  const at::Tensor& operator[](const std::string& name) const;
  bool contains(const std::string& name) const;
  std::vector<std::pair<std::string, at::Tensor>>& all() { return all_; }
  const std::vector<std::pair<std::string, at::Tensor>>& all() const { return all_; }
  std::int64_t count() const;
  void move_to(const c10::Device& device);

private:
  std::vector<std::pair<std::string, at::Tensor>> all_;
  std::unordered_map<std::string, std::size_t> index_;
};

/// Fills a network's parameters from a file; names and shapes must be exactly the network's.
/// \throws pushforward::bad_file
void read_weights(const std::filesystem::path& path, parameters& weights);

/// Ends a training whose loss or weights are not finite after `step` steps. \throws pushforward::error
[[noreturn]] void diverged(std::int64_t step);
/// As `diverged` where a value is not finite: before a checkpoint takes the place of the last one.
void require_finite(const std::vector<at::Tensor>& values, std::int64_t step);

/// The bytes of a file of parameters: in float16, or as they are.
/// \throws pushforward::error for a value that is not finite in that type
std::string serialize_weights(const parameters& weights, const std::map<std::string, std::string>& metadata,
                              bool half = true);

} // namespace examples
