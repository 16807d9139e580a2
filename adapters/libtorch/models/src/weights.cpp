#include <pushforward/libtorch/models/weights.hpp>

#include "shape_text.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <set>

namespace pushforward::libtorch::models {

namespace {

std::vector<std::int64_t> without_trailing_ones(std::vector<std::int64_t> shape) {
  while (!shape.empty() && shape.back() == 1) shape.pop_back();
  return shape;
}

/// Of a tensor without gaps, without a temporary of its size, and waiting for its device once.
bool all_finite(const at::Tensor& x) {
  if (x.numel() == 0) return true;
  const auto [least, most] = x.as_strided({x.numel()}, {1}).aminmax(); // NaN where x holds one
  return (0.0 * least + 0.0 * most).item<double>() == 0.0;             // 0 * infinity is NaN
}

void require_type(const placement& where) {
  if (where.type != at::kFloat && where.type != at::kBFloat16 && where.type != at::kHalf &&
      where.type != at::kDouble)
    throw bad_option(std::string("weights: a network cannot compute in ") + c10::toString(where.type) +
                     "; take float32, bfloat16 or float16");
}

} // namespace

struct weights::shared {
  std::vector<safetensors::file> files;
  std::map<std::string, std::size_t> file_of;
  parameter_source source; // in place of files
  placement where;
  std::mutex mutex; // of `taken`
  std::set<std::string> taken;
};

weights::weights(const std::vector<std::filesystem::path>& files, const placement& where, naming names)
    : shared_{std::make_shared<shared>()}, names_{std::move(names)} {
  if (files.empty()) throw bad_option("weights: no file was named");
  require_type(where);
  shared_->where = where;
  for (const auto& path : files) {
    const auto& file = shared_->files.emplace_back(path);
    for (const auto& [key, view] : file.tensors()) {
      const auto [other, fresh] = shared_->file_of.emplace(key, shared_->files.size() - 1);
      if (!fresh)
        throw bad_file(file.name() + ": holds tensor " + key + ", which " +
                       shared_->files[other->second].name() + " holds too");
    }
  }
}

weights::weights(parameter_source source, const placement& where) : shared_{std::make_shared<shared>()} {
  if (!source) throw bad_option("weights: no source of parameters was given");
  require_type(where);
  shared_->where = where;
  shared_->source = std::move(source);
}

weights weights::below(const std::string& prefix) const {
  weights w = *this;
  w.prefix_ += prefix;
  return w;
}

weights weights::named(naming names) const {
  weights w = *this;
  w.names_ = std::move(names);
  w.prefix_.clear();
  return w;
}

weights weights::watched(std::function<void()> tell) const {
  weights w = *this;
  w.tell_ = std::move(tell);
  return w;
}

stored_at weights::find(const std::string& name) const {
  return names_ ? names_(prefix_ + name) : stored_at{prefix_ + name};
}

bool weights::contains(const std::string& name) const { return shared_->file_of.count(find(name).key) != 0; }

std::vector<std::int64_t> weights::shape_of(const std::string& name) const {
  const auto place = find(name);
  if (shared_->source) throw bad_file("the parameters come from no file, which would tell " + place.key);
  const auto found = shared_->file_of.find(place.key);
  const auto& file = shared_->files[found == shared_->file_of.end() ? 0 : found->second];
  auto shape = file.at(place.key).shape; // throws where it is not there
  if (place.parts > 1 && !shape.empty()) shape[0] /= place.parts;
  return shape;
}

at::Tensor weights::take(const std::string& name, const std::vector<std::int64_t>& shape,
                         at::MemoryFormat format) const {
  if (tell_) tell_();
  const auto place = find(name);
  const auto empty = [&] {
    return at::empty(
        shape,
        at::TensorOptions().dtype(shared_->where.type).device(shared_->where.device).memory_format(format));
  };
  if (shared_->source) {
    const at::Tensor made = shared_->source(place.key, shape);
    if (!made.defined() || made.sizes() != shape || !at::isFloatingType(made.scalar_type()))
      throw bad_file("the source of " + place.key + " made no floating tensor of shape " + text_of(shape));
    const at::Tensor taken = empty();
    if (taken.is_meta()) return taken;
    taken.copy_(made);
    if (!all_finite(taken)) throw bad_file("the source of " + place.key + " made values that are not finite");
    return taken;
  }
  const auto found = shared_->file_of.find(place.key);
  const auto& file = shared_->files[found == shared_->file_of.end() ? 0 : found->second];
  const auto& view = file.at(place.key); // throws where it is not there
  auto whole = shape;
  if (place.parts > 1 && !whole.empty()) whole[0] *= place.parts;
  if (without_trailing_ones(view.shape) != without_trailing_ones(whole))
    throw bad_file(file.name() + ": tensor " + place.key + " has shape " + text_of(view.shape) +
                   ", but the network's configuration asks for " + text_of(whole) +
                   "; do the weights and the configuration belong together?");
  if (!at::isFloatingType(type_of(file, place.key)))
    throw bad_file(file.name() + ": tensor " + place.key + " has type " + safetensors::name_of(view.type) +
                   ", but a parameter must be of a floating type");
  const at::Tensor taken = empty();
  if (!taken.is_meta()) {
    at::Tensor part = map_tensor(file, place.key).reshape(whole);
    if (place.parts > 1) part = part.narrow(0, place.part * shape[0], shape[0]);
    if (place.halves_swapped) {
      if (shape.empty() || shape[0] % 2)
        throw bad_file(file.name() + ": tensor " + place.key + " has no two halves along its first axis");
      const auto half = shape[0] / 2;
      taken.narrow(0, 0, half).copy_(part.narrow(0, half, half));
      taken.narrow(0, half, half).copy_(part.narrow(0, 0, half));
    } else {
      taken.copy_(part);
    }
    if (!all_finite(taken))
      throw bad_file(file.name() + ": tensor " + place.key + " holds values that are not finite in " +
                     c10::toString(shared_->where.type) + "; take another file or a wider type");
    file.release(view);
  }
  const std::lock_guard lock(shared_->mutex);
  shared_->taken.insert(place.key);
  return taken;
}

std::vector<std::string> weights::untaken() const {
  const std::lock_guard lock(shared_->mutex);
  std::vector<std::string> left;
  for (const auto& [key, file] : shared_->file_of)
    if (shared_->taken.count(key) == 0) left.push_back(key);
  return left;
}

std::vector<std::string> weights::keys() const {
  std::vector<std::string> all;
  for (const auto& [key, file] : shared_->file_of) all.push_back(key);
  return all;
}

const placement& weights::where() const { return shared_->where; }
const std::string& weights::file_name() const {
  static const std::string none = "(no file)";
  return shared_->files.empty() ? none : shared_->files.front().name();
}

} // namespace pushforward::libtorch::models
