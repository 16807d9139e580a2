// expand_recording RECORDING FOLDER: makes the folder that an oracle script wrote of its recording; see
// tests/recorded/README.md.

#include <pushforward/safetensors/file.hpp>

#include <Random123/philox.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace fs = std::filesystem;
namespace st = pushforward::safetensors;
using json = nlohmann::ordered_json;

namespace {

using numbers = std::vector<std::int64_t>;

struct tensor {
  st::dtype type = st::dtype::f32;
  numbers shape;
  std::vector<std::byte> bytes;

  explicit tensor(const st::tensor_view& view)
      : type{view.type}, shape{view.shape}, bytes{view.bytes.begin(), view.bytes.end()} {}
  template <class T>
  tensor(st::dtype t, numbers s, const std::vector<T>& values)
      : type{t}, shape{std::move(s)}, bytes(values.size() * sizeof(T)) {
    if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  }
};

using tensors = std::map<std::string, tensor>;

std::size_t count(const numbers& shape) {
  std::size_t n = 1;
  for (const auto extent : shape) n *= static_cast<std::size_t>(extent);
  return n;
}

json read_json(const fs::path& path) {
  std::ifstream in(path);
  try {
    return json::parse(in);
  } catch (const json::exception& e) {
    throw std::runtime_error(path.string() + ": " + e.what());
  }
}

std::uint64_t fnv_1a(const std::string& text) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return hash;
}

/// `numbers` of oracle.py: [shape, multiple, exponent, offset], the last only where it is not 0.
tensor generated(const std::string& key, const json& recipe) {
  const auto shape = recipe.at(0).get<numbers>();
  const auto multiple = recipe.at(1).get<std::int64_t>();
  const auto exponent = recipe.at(2).get<int>();
  const auto offset = recipe.size() > 3 ? recipe.at(3).get<std::int64_t>() : 0;
  const r123::Philox4x64::key_type philox_key{{fnv_1a(key), 0}};
  r123::Philox4x64::ctr_type words{};
  std::vector<float> values(count(shape));
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i % 4 == 0) words = r123::Philox4x64{}(r123::Philox4x64::ctr_type{{i / 4 + 1, 0, 0, 0}}, philox_key);
    std::int64_t sum = -131070;
    for (int bit = 0; bit < 64; bit += 16) sum += static_cast<std::int64_t>(words[i % 4] >> bit & 0xffffU);
    values[i] = std::ldexp(static_cast<float>(offset + multiple * sum), exponent);
  }
  return {st::dtype::f32, shape, values};
}

template <class T> numbers widened(const std::vector<std::byte>& bytes) {
  std::vector<T> values(bytes.size() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  return {values.begin(), values.end()};
}

/// As it was before it was kept: int64 is kept in the smallest type that holds it.
tensor recorded(const st::tensor_view& view, const std::string& type) {
  tensor kept(view);
  if (type == st::name_of(kept.type)) return kept;
  if (type == "I64" && kept.type == st::dtype::u8)
    return {st::dtype::i64, kept.shape, widened<std::uint8_t>(kept.bytes)};
  if (type == "I64" && kept.type == st::dtype::i16)
    return {st::dtype::i64, kept.shape, widened<std::int16_t>(kept.bytes)};
  if (type == "I64" && kept.type == st::dtype::i32)
    return {st::dtype::i64, kept.shape, widened<std::int32_t>(kept.bytes)};
  throw std::runtime_error(std::string(st::name_of(kept.type)) + " was never " + type);
}

/// A tensor's elements with its axes in another order; one that is turned round is written -1 - axis.
std::vector<std::byte> reordered(const tensor& t, const numbers& axes, const numbers& shape) {
  const std::size_t size = st::bits_of(t.type) / 8, n = axes.size();
  numbers strides(n);
  std::int64_t place = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const auto axis = axes[i] < 0 ? -1 - axes[i] : axes[i];
    strides[i] = static_cast<std::int64_t>(count({t.shape.begin() + axis + 1, t.shape.end()}));
    if (axes[i] >= 0) continue;
    place += strides[i] * (shape[i] - 1);
    strides[i] = -strides[i];
  }
  std::vector<std::byte> bytes;
  numbers index(n, 0);
  while (bytes.size() < t.bytes.size()) {
    const auto* const element = t.bytes.data() + static_cast<std::size_t>(place) * size;
    bytes.insert(bytes.end(), element, element + size);
    for (std::size_t i = n; i-- > 0;) {
      place += strides[i];
      if (++index[i] < shape[i]) break;
      place -= strides[i] * shape[i];
      index[i] = 0;
    }
  }
  return bytes;
}

/// {name: other name} of a file, where `renamed` has beginnings of names: of several the longest counts.
std::map<std::string, std::string> names_of(const st::file& file, const json& renamed) {
  std::map<std::string, std::string> names;
  for (const auto& [name, view] : file.tensors()) {
    std::size_t longest = 0;
    std::vector<std::string> starts;
    for (const auto& [mine, other] : renamed.items()) {
      const auto start = other.get<std::string>();
      const bool begins = start.empty() || name == start || name.rfind(start + ".", 0) == 0;
      if (!begins || (!starts.empty() && start.size() < longest)) continue;
      if (start.size() > longest) starts.clear();
      longest = start.size();
      starts.push_back(mine);
    }
    for (const auto& start : starts) {
      const std::string rest = name.substr(std::min(name.size(), longest + (longest > 0)));
      names[start.empty() ? rest : rest.empty() ? start : start + "." + rest] = name;
    }
  }
  return names;
}

class expansion {
public:
  expansion(fs::path recording, fs::path folder)
      : recording_{std::move(recording)}, folder_{std::move(folder)} {}

  void run() {
    fs::remove_all(folder_);
    for (const auto& entry : fs::recursive_directory_iterator(recording_)) {
      if (!entry.is_regular_file()) continue;
      const fs::path path = fs::relative(entry.path(), recording_);
      if (path.string().ends_with(".safetensors.json"))
        expanded(path.parent_path() / path.stem());
      else if (path != "copies.json" && path.extension() != ".safetensors")
        copy(entry.path(), path);
    }
    const json copies = read_json(recording_ / "copies.json");
    for (const auto& [path, first] : copies.items()) copy(folder_ / first.get<std::string>(), path);
  }

private:
  void copy(const fs::path& from, const fs::path& path) const {
    fs::create_directories((folder_ / path).parent_path());
    fs::copy_file(from, folder_ / path);
  }

  /// A file of tensors, written when it is first asked for.
  const st::file& expanded(const fs::path& path) {
    if (const auto done = files_.find(path); done != files_.end()) return done->second;
    const fs::path description = recording_ / (path.string() + ".json");
    try {
      write(path, read_json(description));
    } catch (const std::exception& e) {
      throw std::runtime_error(description.string() + ": " + e.what());
    }
    return files_.emplace(path, folder_ / path).first->second;
  }

  void write(const fs::path& path, const json& description) {
    tensors all;
    const json nothing = json::object();
    const auto part = [&](const char* name) -> const json& {
      return description.contains(name) ? description.at(name) : nothing;
    };
    for (const auto& [start, modules] : part("generated").items())
      for (const auto& [module, parameters] : modules.items())
        for (const auto& [parameter, recipe] : parameters.items()) {
          const std::string name = module.empty() ? parameter : module + "." + parameter;
          all.emplace(name, generated(start + name, recipe));
        }
    if (const json& kept = part("recorded"); !kept.empty()) {
      const st::file file(recording_ / path);
      for (const auto& [name, type] : kept.items())
        all.emplace(name, recorded(file.at(name), type.get<std::string>()));
    }
    for (const auto& [source, renamed] : part("renamed").items()) {
      const auto& file = expanded(source);
      for (const auto& [name, other] : names_of(file, renamed))
        all.insert_or_assign(name, tensor(file.at(other)));
    }
    for (const auto& [name, rule] : part("rebuilt").items())
      all.insert_or_assign(name, rebuilt(path, all, rule));

    std::vector<st::named_tensor> views;
    for (const auto& [name, t] : all) views.push_back({name, {t.type, t.shape, t.bytes}});
    fs::create_directories((folder_ / path).parent_path());
    st::write(folder_ / path, views, part("metadata").get<std::map<std::string, std::string>>());
  }

  /// Tensors of a file, which may be the one that is being made, end to end, and then in another shape or
  /// order.
  tensor rebuilt(const fs::path& path, const tensors& mine, const json& rule) {
    const fs::path source = rule.at("file").get<std::string>();
    const auto find = [&](const std::string& name) {
      return source == path ? mine.at(name) : tensor(expanded(source).at(name));
    };
    const auto names = rule.at("of").get<std::vector<std::string>>();
    tensor result = find(names.at(0));
    for (std::size_t i = 1; i < names.size(); ++i) {
      const auto bytes = find(names[i]).bytes;
      result.bytes.insert(result.bytes.end(), bytes.begin(), bytes.end());
    }
    const auto shape = rule.at("shape").get<numbers>();
    if (rule.contains("axes")) result.bytes = reordered(result, rule.at("axes").get<numbers>(), shape);
    result.shape = shape;
    return result;
  }

  fs::path recording_, folder_;
  std::map<fs::path, st::file> files_;
};

} // namespace

int main(int argc, char** argv) try {
  if (argc != 3) throw std::runtime_error("usage: expand_recording RECORDING FOLDER");
  expansion(argv[1], argv[2]).run();
} catch (const std::exception& e) {
  std::cerr << "expand_recording: " << e.what() << '\n';
  return 1;
}
