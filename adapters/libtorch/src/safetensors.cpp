#include <pushforward/libtorch/safetensors.hpp>

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

namespace pushforward::libtorch {

namespace {

using safetensors::dtype;

/// The types both have. Packed F4 and F6 are not among them.
constexpr std::array<std::pair<dtype, c10::ScalarType>, 17> types{{{dtype::boolean, at::kBool},
                                                                   {dtype::u8, at::kByte},
                                                                   {dtype::i8, at::kChar},
                                                                   {dtype::f8_e5m2, at::kFloat8_e5m2},
                                                                   {dtype::f8_e4m3, at::kFloat8_e4m3fn},
                                                                   {dtype::f8_e8m0, at::kFloat8_e8m0fnu},
                                                                   {dtype::u16, at::kUInt16},
                                                                   {dtype::i16, at::kShort},
                                                                   {dtype::f16, at::kHalf},
                                                                   {dtype::bf16, at::kBFloat16},
                                                                   {dtype::u32, at::kUInt32},
                                                                   {dtype::i32, at::kInt},
                                                                   {dtype::f32, at::kFloat},
                                                                   {dtype::c64, at::kComplexFloat},
                                                                   {dtype::u64, at::kUInt64},
                                                                   {dtype::i64, at::kLong},
                                                                   {dtype::f64, at::kDouble}}};

} // namespace

c10::ScalarType type_of(const safetensors::file& file, const std::string& name) {
  const auto& view = file.at(name);
  const auto row =
      std::find_if(types.begin(), types.end(), [&](const auto& r) { return r.first == view.type; });
  if (row == types.end())
    throw bad_file(file.name() + ": tensor " + name + " has type " + safetensors::name_of(view.type) +
                   ", which libtorch does not have; convert the file to F16 or F32");
  return row->second;
}

at::Tensor read_tensor(const safetensors::file& file, const std::string& name) {
  const auto& view = file.at(name);
  at::Tensor tensor = at::empty(view.shape, type_of(file, name));
  if (!view.bytes.empty()) std::memcpy(tensor.mutable_data_ptr(), view.bytes.data(), view.bytes.size());
  return tensor;
}

at::Tensor map_tensor(const safetensors::file& file, const std::string& name) {
  const auto& view = file.at(name);
  const auto type = type_of(file, name);
  if (view.bytes.empty() || reinterpret_cast<std::uintptr_t>(view.bytes.data()) % c10::elementSize(type) != 0)
    return read_tensor(file, name);
  return at::from_blob(
      const_cast<std::byte*>(view.bytes.data()), view.shape, [kept = file.mapping()](void*) {},
      at::TensorOptions().dtype(type));
}

namespace {

/// Calls f(list) with the tensors as the format has them.
template <class F>
auto with_views(const std::vector<std::pair<std::string, at::Tensor>>& tensors, const F& f) {
  std::vector<at::Tensor> kept;
  std::vector<safetensors::named_tensor> list;
  for (const auto& [name, tensor] : tensors) {
    const auto type = tensor.scalar_type();
    const auto row =
        std::find_if(types.begin(), types.end(), [&](const auto& r) { return r.second == type; });
    if (row == types.end())
      throw bad_option("safetensors: tensor " + name + " has type " + c10::toString(type) +
                       ", which the format does not have");
    kept.push_back(tensor.detach().to(at::kCPU).contiguous());
    const auto& host = kept.back();
    list.push_back(
        {name,
         {row->first,
          host.sizes().vec(),
          {static_cast<const std::byte*>(host.const_data_ptr()), static_cast<std::size_t>(host.nbytes())}}});
  }
  return f(list);
}

} // namespace

std::string serialize_tensors(const std::vector<std::pair<std::string, at::Tensor>>& tensors,
                              const std::map<std::string, std::string>& metadata) {
  return with_views(tensors, [&](const auto& list) { return safetensors::serialize(list, metadata); });
}

void write_tensors(const std::filesystem::path& path,
                   const std::vector<std::pair<std::string, at::Tensor>>& tensors,
                   const std::map<std::string, std::string>& metadata) {
  with_views(tensors, [&](const auto& list) { safetensors::write(path, list, metadata); });
}

} // namespace pushforward::libtorch
