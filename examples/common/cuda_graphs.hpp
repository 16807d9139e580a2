#pragma once
/// \file
/// Captured passes in programs that were built without CUDA and run on a libtorch that has it, as those of
/// scripts/gpu/bundle.sh.

#include <pushforward/libtorch/captured.hpp>

#include <dlfcn.h>

#include <filesystem>
#include <string>

namespace examples {

/// Has passes on CUDA captured, by the module beside this program where it was not built to do so itself.
/// \return why they cannot be; empty where they can
inline std::string have_passes_captured() {
  namespace libtorch = pushforward::libtorch;
  if (libtorch::can_capture(c10::kCUDA)) return {};
  std::error_code fault;
  const auto module =
      std::filesystem::read_symlink("/proc/self/exe", fault).parent_path() / "pushforward_cuda_graphs.so";
  if (fault || !std::filesystem::exists(module, fault))
    return "this build has no CUDA, and there is no pushforward_cuda_graphs.so beside the program";
  using function = libtorch::captured_pass* (*)(const std::function<at::Tensor()>&);
  void* const handle = ::dlopen(module.c_str(), RTLD_NOW);
  void* const f = handle ? ::dlsym(handle, "pushforward_cuda_graph_of") : nullptr;
  if (!f) return ::dlerror();
  libtorch::capture_with(c10::kCUDA, [f](const std::function<at::Tensor()>& pass) {
    return std::unique_ptr<libtorch::captured_pass>(reinterpret_cast<function>(f)(pass));
  });
  return {};
}

} // namespace examples
