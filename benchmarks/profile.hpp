#pragma once
/// \file
/// Which operators a network calls, their time and their floating-point operations.

#include "clock.hpp"

#include <ATen/ATen.h>
#include <ATen/record_function.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

namespace benchmarks {

/// What an operator called by the network belongs to.
inline std::string kind_of(const std::string& op) {
  const auto has = [&](const char* part) { return op.find(part) != std::string::npos; };
  if (has("conv")) return "convolution";
  if (has("linear") || has("mm")) return "linear";
  if (has("attention")) return "attention";
  if (has("norm")) return "normalisation";
  if (has("silu") || has("gelu")) return "activation";
  if (op == "aten::to" || op == "aten::copy_") return "conversion";
  if (has("add") || has("mul") || has("div") || has("sub")) return "sums";
  if (has("cat") || has("upsample") || has("reshape") || has("contiguous") || has("clone") || has("pad"))
    return "copies";
  return "other";
}

/// Seconds, and floating-point operations (twice the multiplications), of the operators that the network
/// calls.
struct profile {
  std::map<std::string, double> time, flops;

  static inline profile* current = nullptr;
  static inline int depth = 0;
  /// the seconds that are counted
  static inline double (*clock)() = [] { return processor_seconds(); };

  struct entered : at::ObserverContext {
    double per_output = 0.0, all = 0.0, start = 0.0;
  };
  static std::unique_ptr<at::ObserverContext> enter(const at::RecordFunction& f) {
    auto e = std::make_unique<entered>();
    if (depth++ > 0) return e;
    const auto kind = kind_of(f.name());
    const auto size = [&](std::size_t i) { return static_cast<double>(f.inputs()[i].toTensor().numel()); };
    const auto extent = [&](std::size_t i, std::int64_t axis) {
      return static_cast<double>(f.inputs()[i].toTensor().size(axis));
    };
    if (kind == "convolution") e->per_output = 2.0 * size(1) / extent(1, 0);
    if (f.name() == std::string("aten::linear") || f.name() == std::string("mkldnn::_linear_pointwise"))
      e->all = 2.0 * size(0) * extent(1, 0);
    if (f.name() == std::string("aten::mm_out") || f.name() == std::string("aten::mm"))
      e->all = 2.0 * size(0) * extent(1, 1);
    if (f.name() == std::string("aten::addmm_out") || f.name() == std::string("aten::addmm"))
      e->all = 2.0 * size(1) * extent(2, 1);
    if (kind == "attention") e->all = 4.0 * size(0) * extent(1, -2);
    e->start = clock();
    return e;
  }
  static void leave(const at::RecordFunction& f, at::ObserverContext* context) {
    if (--depth > 0) return;
    const auto& e = *static_cast<const entered*>(context);
    const auto kind = kind_of(f.name());
    current->time[kind] += clock() - e.start;
    const double done =
        e.per_output > 0.0 ? e.per_output * static_cast<double>(f.outputs().at(0).toTensor().numel()) : e.all;
    if (done > 0.0) current->flops[kind] += done;
  }

  template <class F> static profile of(F f) {
    profile found;
    current = &found;
    depth = 0;
    const auto handle = at::addThreadLocalCallback(at::RecordFunctionCallback(enter, leave)
                                                       .needsInputs(true)
                                                       .needsOutputs(true)
                                                       .scopes({at::RecordScope::FUNCTION}));
    f();
    at::removeCallback(handle);
    return found;
  }
};

} // namespace benchmarks
