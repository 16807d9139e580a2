// Stable Diffusion 1.5's UNet at full size on a CUDA device, with random weights that are made there: a pass,
// by itself and captured as a CUDA graph, beside the device's matrix products; and whole runs, their memory
// and what the loop takes beside the passes.
//
//   pushforward_gpu_benchmarks [--out FILE.json] [--seconds N] [--small]
//
// Parts that do not fit in N seconds (600) are left out. --small takes a small network, and the CPU where
// there is no CUDA device: a trial of the program itself.
#include "profile.hpp"

#include <common/cuda_graphs.hpp>

#include <pushforward/libtorch/denoiser.hpp>
#include <pushforward/libtorch/models/unet.hpp>
#include <pushforward/libtorch/tensor.hpp>
#include <pushforward/pushforward.hpp>

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/GradMode.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <concepts>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace pushforward;
namespace models = libtorch::models;
using nlohmann::json;

c10::Device device = c10::kCPU;
bool small = false;
std::filesystem::path out;
json results;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}
double deadline = 0.0;

void synchronize() {
  if (!device.is_cpu()) c10::impl::VirtualGuardImpl(device.type()).synchronizeDevice(0);
}
double synchronized_now() {
  synchronize();
  return now();
}

/// Bytes of the device that tensors hold and that are kept for them: now, and at most since `restart`.
struct memory {
  static void restart() {
    if (device.is_cpu()) return;
    allocator().emptyCache();
    allocator().resetPeakStats(0);
  }
  static std::int64_t held() {
    return device.is_cpu() ? 0 : of(allocator().getDeviceStats(0).allocated_bytes).current;
  }
  static std::int64_t peak() {
    return device.is_cpu() ? 0 : of(allocator().getDeviceStats(0).allocated_bytes).peak;
  }
  static std::int64_t kept() {
    return device.is_cpu() ? 0 : of(allocator().getDeviceStats(0).reserved_bytes).peak;
  }

private:
  static c10::DeviceAllocator& allocator() { return *c10::getDeviceAllocator(device.type()); }
  static c10::CachingAllocator::Stat of(const c10::CachingAllocator::StatArray& all) {
    return all[static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE)];
  }
};

void save() {
  if (!out.empty()) std::ofstream(out) << results.dump(2) << '\n';
}

/// One part of the results. What it throws is written down in its place.
void part(const std::string& name, const std::function<void(json&)>& f) {
  json& j = results[name];
  if (now() > deadline) {
    j["left_out"] = "no time was left";
  } else {
    const double start = now();
    try {
      f(j);
      synchronize();
    } catch (const std::exception& e) {
      j["error"] = std::string(e.what()).substr(0, 500);
    }
    j["seconds_in_all"] = now() - start;
  }
  save();
  std::printf("%s: %s\n", name.c_str(), j.dump().c_str());
  std::fflush(stdout);
}

std::string name_of(c10::ScalarType type) {
  return type == at::kHalf ? "float16" : type == at::kBFloat16 ? "bfloat16" : "float32";
}

/// Milliseconds of f: each run waited for (median, best), and in a row.
json timed(const std::function<void()>& f) {
  const std::size_t n = small ? 3 : 30;
  for (int i = 0; i < 3; ++i) f();
  std::vector<double> each;
  for (std::size_t i = 0; i < n && (i < 3 || now() < deadline); ++i) {
    const double start = synchronized_now();
    f();
    each.push_back(1e3 * (synchronized_now() - start));
  }
  const double start = synchronized_now();
  for (std::size_t i = 0; i < each.size(); ++i) f();
  const double launched = now();
  const double row = synchronized_now() - start;
  std::sort(each.begin(), each.end());
  return {{"median_ms", each[each.size() / 2]},
          {"best_ms", each.front()},
          {"in_a_row_ms", 1e3 * row / static_cast<double>(each.size())},
          {"launching_ms", 1e3 * (launched - start) / static_cast<double>(each.size())},
          {"runs", each.size()}};
}

/// A matrix product's operations a second.
double peak(c10::ScalarType type, json& j) {
  const std::int64_t n = small ? 256 : 8192;
  const auto options = at::TensorOptions().dtype(type).device(device);
  const at::Tensor a = at::randn({n, n}, options), b = at::randn({n, n}, options);
  at::Tensor c = at::empty_like(a);
  j = timed([&] { at::matmul_out(c, a, b); });
  const double best = 2.0 * std::pow(static_cast<double>(n), 3) / (1e-3 * j["best_ms"].get<double>());
  j["tflops"] = 1e-12 * best;
  return best;
}

models::unet_config config() {
  models::unet_config c;
  if (small) {
    c.block_out_channels = {32, 32, 64, 64};
    c.norm_num_groups = 8;
  }
  return c;
}

/// Weights of variance 1 / fan-in; norms and biases as they are before training.
models::unet random_unet(c10::ScalarType type) {
  at::manual_seed(1);
  const auto options = at::TensorOptions().dtype(at::kFloat).device(device);
  return {config(), models::weights(
                        [=](const std::string& name, const std::vector<std::int64_t>& shape) {
                          if (shape.size() == 1)
                            return name.ends_with("weight") ? at::ones(shape, options)
                                                            : at::zeros(shape, options);
                          double fan_in = 1.0;
                          for (std::size_t i = 1; i < shape.size(); ++i)
                            fan_in *= static_cast<double>(shape[i]);
                          return at::randn(shape, options).div_(std::sqrt(fan_in));
                        },
                        {type, device})};
}

/// A UNet with inputs of one batch size.
struct setting {
  models::unet net;
  at::Tensor x, time, context;

  setting(const models::unet& n, c10::ScalarType type, std::int64_t batch) : net{n} {
    const auto options = at::TensorOptions().dtype(type).device(device);
    const std::int64_t side = small ? 16 : 64;
    x = at::randn({batch, 4, side, side}, options);
    time = at::full({batch}, 500.0, options.dtype(at::kFloat));
    context = at::randn({batch, 77, net.config().cross_attention_dim}, options);
  }
  at::Tensor pass() const { return net(x, time, context); }
};

/// Operations of a pass, and its time by kinds of operators, each waited for.
json profile_of(const setting& s) {
  benchmarks::profile::clock = synchronized_now;
  const auto p = benchmarks::profile::of([&] { s.pass(); });
  double flops = 0.0, seconds = 0.0;
  json j;
  for (const auto& [kind, n] : p.flops) {
    j["tflop"][kind] = 1e-12 * n;
    flops += n;
  }
  for (const auto& [kind, t] : p.time) {
    j["ms"][kind] = 1e3 * t;
    seconds += t;
  }
  j["flop"] = flops;
  j["ms_in_all"] = 1e3 * seconds;
  return j;
}

/// The network for denoisers.
libtorch::network network_of(const setting& s) {
  return [&s](const at::Tensor& x, const at::Tensor& time) { return s.net(x, time, s.context); };
}

/// 20 time steps from noise, of which the left half is to become zero.
template <class Denoiser, class Policy, class Observer>
sample_result<at::Tensor> run(const libtorch::network& net, c10::ScalarType type, Policy policy,
                              std::size_t steps, Observer&& observe) {
  const auto path = variance_preserving::scaled_linear();
  const Denoiser denoiser(net, {.compute = type});
  const std::int64_t side = small ? 16 : 64;
  at::manual_seed(2);
  const at::Tensor x = at::randn({1, 4, side, side}, at::TensorOptions().dtype(at::kFloat).device(device));
  at::Tensor mask = at::zeros_like(x);
  mask.narrow(3, 0, side / 2).fill_(1.0);
  return sample(x, model{denoiser, path}, ddim(path, {.steps = steps}),
                masked<at::Tensor>(at::zeros_like(x), mask), update{policy, infinity_norm{}, 5}, {}, observe);
}

/// A whole run as a user has it, then a shorter one whose passes are waited for, which tells the loop's own
/// share.
template <class Denoiser, class Policy>
void loop(json& j, const libtorch::network& net, c10::ScalarType type, Policy policy) {
  const auto in_time = [](const progress<at::Tensor>&) {
    if (now() > deadline) throw error("no time was left");
  };
  run<Denoiser>(net, type, policy, 1, in_time); // warms up
  synchronize();
  const auto before = memory::held();
  memory::restart();
  const double start = now();
  try {
    const auto result = run<Denoiser>(net, type, policy, small ? 2 : 20, in_time);
    synchronize();
    j["seconds"] = now() - start;
    j["forward"] = result.passes.forward;
    j["backward"] = result.passes.backward;
    j["ms_a_pass"] = 1e3 * (now() - start) / static_cast<double>(result.passes.forward);
  } catch (const std::exception& e) {
    j["error"] = std::string(e.what()).substr(0, 500);
  }
  j["held_bytes"] = before;
  j["peak_bytes"] = memory::peak();
  j["kept_bytes"] = memory::kept();
  if constexpr (std::same_as<Denoiser, libtorch::forward_denoiser>) {
    double inside = 0.0;
    const libtorch::network watched = [&](const at::Tensor& x, const at::Tensor& time) {
      const double entered = synchronized_now();
      const at::Tensor y = net(x, time);
      inside += synchronized_now() - entered;
      return y;
    };
    const double begun = synchronized_now();
    const auto result = run<Denoiser>(watched, type, policy, small ? 1 : 4, in_time);
    const double all = synchronized_now() - begun;
    j["own_share"] = 1.0 - inside / all;
    j["own_ms_a_pass"] = 1e3 * (all - inside) / static_cast<double>(result.passes.forward);
  }
}

/// The network with captured passes; nothing where they cannot be.
libtorch::network captured(json& j, const setting& s) {
  auto why_not = device.is_cuda() ? examples::have_passes_captured() : "no CUDA device";
  const auto net =
      libtorch::captured(network_of(s), {.tell = [&](const std::string& why) { why_not = why; }});
  const at::Tensor eager = s.pass(), y = why_not.empty() ? net(s.x, s.time) : at::Tensor();
  if (!why_not.empty()) {
    j["left_out"] = why_not;
    return {};
  }
  const at::Tensor again = net(s.x, s.time);
  j["equal_to_eager"] = at::equal(y, eager) && at::equal(again, eager);
  j["largest_difference"] = (again - eager).abs().max().item<double>();
  j.update(timed([&] { net(s.x, s.time); }));
  return net;
}

void measure(c10::ScalarType type, bool runs) {
  const auto name = name_of(type);
  double flops_per_second = 0.0;
  part("matmul/" + name, [&](json& j) { flops_per_second = peak(type, j); });
  std::optional<models::unet> net;
  part("weights/" + name, [&](json& j) {
    net.emplace(random_unet(type));
    j["held_bytes"] = memory::held();
  });
  if (!net) return;
  const auto with_share = [&](json& j, double flop) {
    if (!j.contains("best_ms")) return;
    j["tflops"] = 1e-9 * flop / j["in_a_row_ms"].get<double>();
    if (flops_per_second > 0.0)
      j["share_of_matmul"] = 1e3 * flop / j["in_a_row_ms"].get<double>() / flops_per_second;
  };
  const setting one(*net, type, 1), two(*net, type, 2);
  std::map<const setting*, double> flop;
  for (const auto* s : {&one, &two})
    part("pass/" + name + "/" + std::to_string(s->x.size(0)), [&](json& j) {
      const at::Tensor y = s->pass();
      j["finite"] = at::isfinite(y).all().item<bool>();
      j["largest"] = y.abs().max().item<double>();
      j.update(timed([&] { s->pass(); }));
      const json p = profile_of(*s);
      flop[s] = p["flop"].get<double>();
      j["profile"] = p;
      with_share(j, flop[s]);
    });
  if (runs) {
    part("run/none/" + name,
         [&](json& j) { loop<libtorch::forward_denoiser>(j, network_of(one), type, none{}); });
    part("run/inexact_newton/" + name,
         [&](json& j) { loop<libtorch::forward_denoiser>(j, network_of(one), type, inexact_newton{}); });
  }
  libtorch::network net_captured;
  for (const auto* s : {&two, &one})
    part("captured/" + name + "/" + std::to_string(s->x.size(0)), [&](json& j) {
      net_captured = {};
      net_captured = captured(j, *s);
      with_share(j, flop[s]);
    });
  if (!runs) return;
  if (net_captured)
    part("run/inexact_newton_captured/" + name,
         [&](json& j) { loop<libtorch::forward_denoiser>(j, net_captured, type, inexact_newton{}); });
  net_captured = {};
  part("run/gradient_descent/" + name, [&](json& j) {
    loop<libtorch::differentiable_denoiser>(j, network_of(one), type, gradient_descent{});
  });
}

void table() {
  std::printf("\n%-38s %10s %10s %10s %10s %10s\n", "", "ms", "in a row", "TFLOP/s", "of matmul", "equal");
  const auto number = [](const json& j, const char* key) {
    return j.contains(key) ? j[key].get<double>() : NAN;
  };
  for (const auto& [name, j] : results.items())
    if (j.is_object() && j.contains("median_ms"))
      std::printf("%-38s %10.3f %10.3f %10.1f %9.1f%% %10s\n", name.c_str(), number(j, "median_ms"),
                  number(j, "in_a_row_ms"), number(j, "tflops"), 100.0 * number(j, "share_of_matmul"),
                  j.contains("equal_to_eager") ? (j["equal_to_eager"].get<bool>() ? "yes" : "no") : "");
  std::printf("\n%-38s %10s %10s %10s %10s %10s %10s\n", "", "seconds", "passes", "ms a pass", "own share",
              "peak GB", "kept GB");
  for (const auto& [name, j] : results.items())
    if (j.is_object() && j.contains("peak_bytes"))
      std::printf("%-38s %10.3f %10.0f %10.3f %9.2f%% %10.3f %10.3f\n", name.c_str(), number(j, "seconds"),
                  number(j, "forward"), number(j, "ms_a_pass"), 100.0 * number(j, "own_share"),
                  1e-9 * number(j, "peak_bytes"), 1e-9 * number(j, "kept_bytes"));
  for (const auto& [name, j] : results.items())
    for (const char* key : {"error", "left_out"})
      if (j.is_object() && j.contains(key))
        std::printf("%s: %s: %s\n", name.c_str(), key, j[key].get<std::string>().c_str());
}

} // namespace

int main(int argc, char** argv) try {
  double seconds = 600.0;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--small") {
      small = true;
    } else if (word == "--out" && i + 1 < argc) {
      out = argv[++i];
    } else if (word == "--seconds" && i + 1 < argc) {
      seconds = std::stod(argv[++i]);
    } else {
      std::fputs("usage: pushforward_gpu_benchmarks [--out FILE.json] [--seconds N] [--small]\n", stderr);
      return 2;
    }
  }
  deadline = now() + seconds;
  if (at::hasCUDA()) device = c10::Device(c10::kCUDA, 0);
  if (device.is_cpu() && !small) {
    std::puts("skipped: no CUDA device");
    return 0;
  }
  at::globalContext().setBenchmarkCuDNN(true);
  const c10::NoGradGuard no_grad;
  results["small"] = small;
  results["device"] = device.str();
  measure(at::kHalf, true);
  measure(at::kBFloat16, false);
  table();
  return 0;
} catch (const std::exception& e) {
  std::fprintf(stderr, "pushforward_gpu_benchmarks: %s\n", e.what());
  return 1;
}
