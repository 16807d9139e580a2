#pragma once
/// \file
/// The parameters of a network, taken by name from safetensors files.

#include <pushforward/libtorch/safetensors.hpp>

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace pushforward::libtorch::models {

/// Where a parameter lies in the files: a tensor, or one of several equal parts of it along its first axis.
struct stored_at {
  std::string key;
  std::int64_t part = 0;
  std::int64_t parts = 1;
  bool halves_swapped = false; ///< the second half of the first axis comes first there
};

/// What the network calls a parameter -> where the files have it.
using naming = std::function<stored_at(const std::string& name)>;

/// Makes the parameter of a name and a shape, of any floating type and on any device.
using parameter_source =
    std::function<at::Tensor(const std::string& name, const std::vector<std::int64_t>& shape)>;

/// Type and device of a network's parameters. On the device `meta` they have shapes alone: files are compared
/// with what the network asks for, and no value is read.
struct placement {
  c10::ScalarType type = c10::ScalarType::Float; ///< float32, bfloat16 or float16 (float64 for tests)
  c10::Device device = c10::Device(c10::kCPU);
};

/// Named parameters in one or several memory-mapped files (shards), seen from below a prefix. Cheap to copy.
///
/// Parameters are copied out one by one in the type and on the device of `placement`, and the pages of the
/// file they were read from are given back, so that loading needs the memory of the weights and of one tensor
/// of a file more.
class weights {
public:
  /// \throws bad_option for no file or a type that is not listed at `placement`
  /// \throws bad_file for a file that is not safetensors, and for a tensor that two of them hold
  weights(const std::vector<std::filesystem::path>& files, const placement& where, naming names = {});

  /// Parameters that come from elsewhere: another format, or random numbers. The network's configuration
  /// alone says which there are; nothing is known of others. \throws bad_option as above
  weights(parameter_source source, const placement& where);

  /// The same files, names below `prefix` (which ends in a dot).
  weights below(const std::string& prefix) const;
  /// The same files under other names, from the top.
  weights named(naming names) const;

  /// The same, with `tell` called before each parameter is taken: what it throws ends the loading of a
  /// network.
  weights watched(std::function<void()> tell) const;

  /// The parameter, of just this shape, laid out as `format`; in the files it may have further axes of size 1
  /// at the end, or lack them (a linear layer kept as a convolution of size 1). \throws bad_file for a
  /// parameter that is not there, has another shape, is of no floating type, or holds values that are not
  /// finite
  at::Tensor take(const std::string& name, const std::vector<std::int64_t>& shape,
                  at::MemoryFormat format = at::MemoryFormat::Contiguous) const;

  bool contains(const std::string& name) const;
  /// Shape in the files. \throws bad_file for a parameter that is not there
  std::vector<std::int64_t> shape_of(const std::string& name) const;
  /// Keys in the files that nobody took, in alphabetical order.
  std::vector<std::string> untaken() const;
  /// All keys in the files, in alphabetical order.
  std::vector<std::string> keys() const;

  const placement& where() const;
  /// The first file, for messages.
  const std::string& file_name() const;

private:
  struct shared;
  stored_at find(const std::string& name) const;

  std::shared_ptr<shared> shared_;
  naming names_;
  std::string prefix_;
  std::function<void()> tell_;
};

} // namespace pushforward::libtorch::models
