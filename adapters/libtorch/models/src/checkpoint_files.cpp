#include "checkpoint_files.hpp"

#include <pushforward/libtorch/models/autoencoder_tiny.hpp>
#include <pushforward/safetensors/regular_file.hpp>

#include "json_config.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

namespace pushforward::libtorch::models {

namespace fs = std::filesystem;

bool is_pickle(const fs::path& file) {
  const auto extension = file.extension().string();
  return extension == ".ckpt" || extension == ".bin" || extension == ".pt" || extension == ".pth";
}

bad_file pickle(const fs::path& file) {
  return bad_file(
      file.string() +
      ": is a pickle file, which can run any code when it is loaded, and is not read here; convert it to "
      "safetensors once, where you trust it: in Python, "
      "safetensors.torch.save_file(torch.load(FILE, weights_only=True), NEW), or diffusers' "
      "save_pretrained(FOLDER)");
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::error_code fault;
  std::vector<std::string> names;
  for (fs::directory_iterator i(folder, fault), end; !fault && i != end; i.increment(fault))
    names.push_back(i->path().filename().string());
  if (fault) throw bad_file(folder.string() + ": cannot be listed (" + fault.message() + ")");
  std::sort(names.begin(), names.end());
  return names;
}

std::string listed(const std::vector<std::string>& words) {
  std::string list;
  for (const auto& word : words) list += (list.empty() ? "" : ", ") + word;
  return list;
}

bool is_file(const fs::path& path) { return safetensors::is_there(path); }

bool is_folder(const fs::path& path) {
  std::error_code none;
  return fs::is_directory(path, none);
}

namespace {

/// The variant in the middle of a name: `stem.VARIANT.end`, or empty for `stem.end`.
std::optional<std::string> middle(const std::string& name, const std::string& stem, const std::string& end) {
  if (name == stem + end) return "";
  const std::string start = stem + ".";
  if (name.size() <= start.size() + end.size() || !name.starts_with(start) || !name.ends_with(end)) return {};
  const auto variant = name.substr(start.size(), name.size() - start.size() - end.size());
  if (variant.find_first_of(".-") != std::string::npos) return {}; // shards have numbers: -00001-of-00002
  return variant;
}

/// The shards that an index names, beside it.
std::vector<fs::path> shards_of(const fs::path& index) {
  const json_config json(index);
  std::set<std::string> names;
  const auto map = json.object("weight_map");
  if (!map) json.refuse("weight_map", "is needed: it says in which file each parameter is");
  for (const auto& key : map->keys()) {
    const auto name = map->text(key, "");
    if (name.find_first_of(std::string("/\\:\0", 4)) != std::string::npos || name.starts_with('.') ||
        !name.ends_with(".safetensors"))
      map->refuse(key, "is not the plain name of a safetensors file beside the index");
    names.insert(name);
  }
  if (names.empty()) json.refuse("weight_map", "names no file");
  std::vector<fs::path> files;
  std::string missing;
  for (const auto& name : names) {
    files.push_back(index.parent_path() / name);
    if (!is_file(files.back())) missing += (missing.empty() ? "" : ", ") + name;
  }
  if (!missing.empty())
    throw bad_file(index.string() + ": names shards that are not there: " + missing + "; copy them, too");
  return files;
}

/// The weights of a part's folder. Adds to `missing` where there are none.
std::vector<fs::path> weights_in(const fs::path& folder, const std::string& stem, const std::string& variant,
                                 std::vector<std::string>& missing) {
  std::map<std::string, fs::path> whole, index; // by variant
  std::optional<fs::path> some_pickle;
  for (const auto& name : names_in(folder)) {
    if (const auto v = middle(name, stem, ".safetensors"))
      whole[*v] = folder / name;
    else if (const auto s = middle(name, stem + ".safetensors.index", ".json"))
      index[*s] = folder / name;
    else if (is_pickle(name))
      some_pickle = folder / name;
  }
  std::set<std::string> variants;
  for (const auto* found : {&whole, &index})
    for (const auto& [v, file] : *found) variants.insert(v);
  if (variants.empty()) {
    if (some_pickle) throw pickle(*some_pickle);
    missing.push_back((folder / (stem + ".safetensors")).string());
    return {};
  }
  std::string chosen = variant;
  if (!variants.count(chosen)) {
    if (!variant.empty() || variants.size() > 1) {
      std::vector<std::string> there;
      for (const auto& v : variants) there.push_back(v.empty() ? "without a variant" : v);
      throw bad_file(folder.string() + ": has no weights " +
                     (variant.empty() ? "without a variant" : "of variant " + variant) +
                     "; there are some: " + listed(there) + " (option variant)");
    }
    chosen = *variants.begin();
  }
  if (const auto found = whole.find(chosen); found != whole.end()) return {found->second};
  return shards_of(index.at(chosen));
}

} // namespace

checkpoint_part part_in(const fs::path& folder, const std::string& stem, const std::string& variant,
                        std::vector<std::string>& missing) {
  checkpoint_part part;
  if (!is_folder(folder)) {
    missing.push_back(folder.string());
    return part;
  }
  if (is_file(folder / "config.json"))
    part.config = folder / "config.json";
  else
    missing.push_back((folder / "config.json").string());
  part.files = weights_in(folder, stem, variant, missing);
  return part;
}

bool holds_below(const safetensors::file& file, const std::string& prefix) {
  const auto found = file.tensors().lower_bound(prefix);
  return found != file.tensors().end() && found->first.starts_with(prefix);
}

checkpoint_part part_of_file(const std::string& class_name, const fs::path& file, const std::string& prefix) {
  return {{}, class_name, {file}, checkpoint_layout::ldm, prefix};
}

std::string autoencoder_class(const fs::path& config) {
  const json_config json(config);
  const auto name = json.text("_class_name", "AutoencoderKL");
  if (name == "AutoencoderKL")
    autoencoder_kl_config::read(config);
  else if (name == "AutoencoderTiny")
    autoencoder_tiny_config::read(config);
  else
    json.refuse("_class_name", "is neither AutoencoderKL nor AutoencoderTiny");
  return name;
}

} // namespace pushforward::libtorch::models
