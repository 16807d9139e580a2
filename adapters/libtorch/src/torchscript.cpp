#include <pushforward/libtorch/torchscript.hpp>

#include <pushforward/safetensors/regular_file.hpp>

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>

#include <utility>
#include <vector>

namespace pushforward::libtorch {

namespace {

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

torch::jit::Module loaded(const std::filesystem::path& file, c10::ScalarType compute, c10::Device device) {
  const safetensors::regular_file opened(file); // refuses what cannot be read in one clear line
  auto module = [&] {
    try {
      return torch::jit::load(file.string(), c10::Device(c10::kCPU));
    } catch (const std::exception& e) {
      throw bad_file(file.string() +
                     ": not a whole TorchScript file (torch.jit.save writes one; torch.save and safetensors "
                     "write others): " +
                     first_line(e.what()));
    }
  }();
  module.eval();
  // not Module::to, which would bring integers to the compute type too
  const auto bring = [&](const at::Tensor& t) {
    t.set_data(t.to(device, t.is_floating_point() ? compute : t.scalar_type()));
  };
  for (const at::Tensor& parameter : module.parameters()) bring(parameter.requires_grad_(false));
  for (const at::Tensor& buffer : module.buffers()) bring(buffer);
  return module;
}

/// The method, if it takes that many tensors.
torch::jit::Method method_of(const torch::jit::Module& module, const std::filesystem::path& file,
                             const std::string& name, std::size_t tensors) {
  const auto method = module.find_method(name);
  if (!method) {
    std::string known;
    for (const auto& m : module.get_methods()) known += (known.empty() ? "" : ", ") + m.name();
    throw bad_option(file.string() + ": the module has no method " + name + "; it has " +
                     (known.empty() ? "none" : known));
  }
  const auto& arguments = method->function().getSchema().arguments(); // the first is the module itself
  bool fits = arguments.size() > tensors;
  for (std::size_t i = 1; fits && i < arguments.size(); ++i)
    fits = i <= tensors ? arguments[i].type()->kind() == c10::TypeKind::TensorType
                        : arguments[i].default_value().has_value();
  if (!fits)
    throw bad_option(
        file.string() + ": method " + name + " must take " + (tensors == 1 ? "one tensor" : "two tensors") +
        ", and further arguments only with defaults; it is " + c10::toString(method->function().getSchema()));
  return *method;
}

at::Tensor one_tensor(const c10::IValue& output, const std::string& name) {
  if (!output.isTensor())
    throw error("TorchScript method " + name + " returned a value of type " + output.type()->str() +
                ", not one tensor: wrap it in a module that returns the tensor alone");
  return output.toTensor();
}

} // namespace

network torchscript_network(const std::filesystem::path& file, c10::ScalarType compute,
                            std::optional<c10::Device> device, const torchscript_method& how) {
  const auto module = loaded(file, compute, device.value_or(c10::Device(c10::kCPU)));
  const auto method = method_of(module, file, how.name, 2); // keeps the module alive
  return [method, how](const at::Tensor& x, const at::Tensor& time) {
    std::vector<c10::IValue> inputs{x, time};
    if (how.order == argument_order::time_x) std::swap(inputs[0], inputs[1]);
    return one_tensor(method(std::move(inputs)), how.name);
  };
}

map torchscript_map(const std::filesystem::path& file, c10::ScalarType compute,
                    std::optional<c10::Device> device, const std::string& name) {
  const auto module = loaded(file, compute, device.value_or(c10::Device(c10::kCPU)));
  const auto method = method_of(module, file, name, 1);
  return [method, name](const at::Tensor& x) { return one_tensor(method({x}), name); };
}

} // namespace pushforward::libtorch
