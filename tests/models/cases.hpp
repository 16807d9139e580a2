#pragma once
// The cases of an oracle script of tests/models: folders with config.json, the weights and io.safetensors.

#include <pushforward/error.hpp>
#include <pushforward/libtorch/denoiser.hpp>
#include <pushforward/libtorch/models/weights.hpp>

#include <support/catch.hpp>
#include <support/device.hpp>
#include <support/oracle.hpp>
#include <support/scratch_folder.hpp>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace testing_support {

namespace fs = std::filesystem;

/// The folder of a part's cases: where the build made it, or in the folder that is named.
inline fs::path cases_of(const std::string& part) {
  const char* named = std::getenv("PUSHFORWARD_ORACLE_FOLDER");
  return oracle_folder(fs::path(named ? named : ORACLE_FOLDER) / part);
}

/// The folder of one case; empty where there is no oracle.
inline fs::path case_folder(const std::string& part, const std::string& name) {
  const auto all = cases_of(part);
  return all.empty() ? all : all / name;
}

/// Calls f with the folder of each case of a part, of which there are `count`.
template <class F> void for_each_case(const std::string& part, std::size_t count, F f) {
  const auto all = cases_of(part);
  if (all.empty()) return;
  std::size_t found = 0;
  for (const auto& entry : fs::directory_iterator(all)) {
    INFO(part << " " << entry.path().filename());
    f(entry.path());
    ++found;
  }
  CHECK(found == count);
}

/// Tensors of a file by name.
struct io {
  pushforward::safetensors::file file;
  explicit io(const fs::path& path) : file{path} {}
  at::Tensor operator[](const char* name) const { return pushforward::libtorch::read_tensor(file, name); }
};

inline pushforward::libtorch::models::weights weights_in(const fs::path& folder,
                                                         c10::ScalarType type = at::kFloat) {
  return {{folder / "diffusion_pytorch_model.safetensors"}, {type, test_device()}};
}

/// f(x), and J^T w there by autograd.
inline std::pair<at::Tensor, at::Tensor> vjp(const pushforward::libtorch::map& f, const at::Tensor& x,
                                             const at::Tensor& w) {
  auto at_x = pushforward::libtorch::differentiable_decoder(f).linearize_decode(x);
  return {at_x.value, at_x.vjp(w)};
}

/// J v at x by forward-mode differentiation.
inline at::Tensor jvp(const pushforward::libtorch::map& f, const at::Tensor& x, const at::Tensor& v) {
  const pushforward::libtorch::network_of_number g = [&](const at::Tensor& input, double) {
    return f(input);
  };
  return pushforward::libtorch::differentiable_denoiser(g).jvp(x, 0.0, v);
}

/// Changed copies of a configuration file, under the name config.json.
class config_editor {
public:
  explicit config_editor(const fs::path& path) : text_{read_bytes(path)} {}

  /// With one value replaced.
  fs::path with(const std::string& key, const std::string& value) const {
    const auto end = text_.rfind('}');
    return text(text_.substr(0, end) + ", \"" + key + "\": " + value + "}"); // of two values the last counts
  }
  /// With another text altogether.
  fs::path text(const std::string& all) const {
    write_bytes(folder_ / "config.json", all);
    return folder_ / "config.json";
  }

private:
  std::string text_;
  scratch_folder folder_;
};

} // namespace testing_support
