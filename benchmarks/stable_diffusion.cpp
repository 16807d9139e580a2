// Stable Diffusion's UNet, or Stable Diffusion 3's transformer, at full size: a pass beside diffusers' from
// Python, which share of the machine's matrix products it reaches, what an inner iteration costs in passes,
// and the memory of whole time steps.
//
//   pushforward_stable_diffusion_benchmarks MODEL_FOLDER PYTHON NETWORK_DIFFUSERS_PY [Google Benchmark's
//   options]
//
// scripts/benchmark_stable_diffusion.sh runs it. Memory is only right for the first benchmark of a process.
#include "overhead.hpp"
#include "profile.hpp"

#include <common/any_path.hpp>
#include <common/usage.hpp>

#include <pushforward/libtorch/denoiser.hpp>
#include <pushforward/libtorch/models/sd3_transformer.hpp>
#include <pushforward/libtorch/models/unet.hpp>
#include <pushforward/libtorch/safetensors.hpp>
#include <pushforward/libtorch/tensor.hpp>
#include <pushforward/pushforward.hpp>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/GradMode.h>

#include <benchmark/benchmark.h>

#include <fcntl.h>
#include <malloc.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace pushforward;
namespace models = libtorch::models;
using benchmarks::kind_of;
using benchmarks::profile;

struct arguments {
  std::filesystem::path model, python, script;
} given;

std::string name_of(c10::ScalarType type) { return type == at::kFloat ? "float32" : "bfloat16"; }

/// Whether freed blocks go back to the system at once, so that resident memory is what is in use. Passes
/// would spend a tenth of their time on getting them back.
void set_heap([[maybe_unused]] bool returns_blocks) {
#ifdef __GLIBC__
  ::mallopt(M_MMAP_THRESHOLD, returns_blocks ? 1 << 17 : 1 << 25);
  ::mallopt(M_TRIM_THRESHOLD, returns_blocks ? 1 << 17 : 1 << 30);
#endif
}

struct seconds {
  double wall = 0.0, processor = 0.0;
};

template <class F> seconds timed(F f) {
  const double processor = benchmarks::processor_seconds();
  const auto wall = std::chrono::steady_clock::now();
  f();
  return {std::chrono::duration<double>(std::chrono::steady_clock::now() - wall).count(),
          benchmarks::processor_seconds() - processor};
}

/// network_diffusers.py, which answers a line with a line.
class diffusers {
public:
  std::string versions;

  explicit diffusers(c10::ScalarType type) {
    std::array<int, 2> to{}, from{};
    // closed in other children, which would keep this one's input open else
    if (::pipe2(to.data(), O_CLOEXEC) != 0 || ::pipe2(from.data(), O_CLOEXEC) != 0)
      throw error("no pipe to Python");
    child_ = ::fork();
    if (child_ < 0) throw error("no process for Python");
    if (child_ == 0) {
      ::dup2(to[0], STDIN_FILENO);
      ::dup2(from[1], STDOUT_FILENO);
      ::execlp(given.python.c_str(), given.python.c_str(), given.script.c_str(), given.model.c_str(),
               name_of(type).c_str(), nullptr);
      ::_exit(127);
    }
    ::close(to[0]);
    ::close(from[1]);
    to_ = ::fdopen(to[1], "w");
    from_ = ::fdopen(from[0], "r");
    const auto ready = answer();
    if (ready.size() != 4 || ready[0] != "ready") throw error("network_diffusers.py did not start");
    if (std::stoi(ready[1]) != at::get_num_threads())
      throw error("Python has " + ready[1] + " threads, and this program " +
                  std::to_string(at::get_num_threads()) + ": set OMP_NUM_THREADS");
    versions = "torch " + ready[2] + ", diffusers " + ready[3];
  }
  diffusers(const diffusers&) = delete;
  diffusers& operator=(const diffusers&) = delete;
  ~diffusers() {
    std::fclose(to_);
    std::fclose(from_);
    ::waitpid(child_, nullptr, 0);
  }

  std::vector<std::string> ask(const std::string& request) {
    if (std::fprintf(to_, "%s\n", request.c_str()) < 0 || std::fflush(to_) != 0)
      throw error("network_diffusers.py ended");
    return answer();
  }

private:
  std::vector<std::string> answer() {
    std::string line;
    for (int c = std::fgetc(from_); c != '\n'; c = std::fgetc(from_)) {
      if (c == EOF) throw error("network_diffusers.py ended");
      line.push_back(static_cast<char>(c));
    }
    std::istringstream words(line);
    std::vector<std::string> found;
    for (std::string word; words >> word;) found.push_back(word);
    return found;
  }

  pid_t child_;
  std::FILE *to_, *from_;
};

/// The network and what diffusers says it gives.
struct network {
  /// The network under a text, and what it gives.
  struct under_text {
    libtorch::network net;
    at::Tensor y;
  };
  std::map<std::string, under_text> texts; ///< "all", and "without_t5", where there is T5
  at::Tensor x, time;
  prediction_type prediction = prediction_type::epsilon;
  examples::any_path path{variance_preserving::scaled_linear()};

  explicit network(c10::ScalarType type) {
    const safetensors::file io(given.model / "io.safetensors");
    const auto tensor = [&](const char* name) { return libtorch::read_tensor(io, name); };
    const auto config = given.model / "config.json";
    const models::weights weights({given.model / "diffusion_pytorch_model.safetensors"}, {type});
    x = tensor("x");
    time = tensor("time");
    if (io.contains("context")) {
      const models::unet unet(models::unet_config::read(config), weights);
      texts["all"] = {models::conditioned(unet, tensor("context")), tensor("y")};
    } else {
      const models::sd3_transformer transformer(models::sd3_transformer_config::read(config), weights);
      const at::Tensor pooled = tensor("pooled");
      texts["all"] = {models::conditioned(transformer, {tensor("states"), pooled}), tensor("y")};
      texts["without_t5"] = {models::conditioned(transformer, {tensor("states_without_t5"), pooled}),
                             tensor("y_without_t5")};
      prediction = prediction_type::flow;
      path = examples::any_path(rectified_flow(3.0), flow_grid::shifted_twice);
    }
    net()(x, time); // brings the weights into the layout that the passes want
  }

  /// The one that is measured where no text is named: without T5, where there is one.
  const libtorch::network& net() const { return texts.rbegin()->second.net; }
  at::Tensor pass(const std::string& text) const { return texts.at(text).net(x, time); }
  double difference(const at::Tensor& got, const std::string& text) const {
    const at::Tensor& y = texts.at(text).y;
    return ((got.to(at::kFloat) - y).norm() / y.norm()).item<double>();
  }
};

/// Both sides, kept from one benchmark to the next.
struct sides {
  std::map<c10::ScalarType, network> ours;
  std::map<c10::ScalarType, diffusers> theirs;

  const network& get(c10::ScalarType type) {
    if (const auto found = ours.find(type); found != ours.end()) return found->second;
    set_heap(true);
    const auto& loaded = ours.try_emplace(type, type).first->second;
    set_heap(false);
    loaded.net()(loaded.x, loaded.time);
    return loaded;
  }
  diffusers& peer(c10::ScalarType type) { return theirs.try_emplace(type, type).first->second; }
} both;

void fails_in_words(benchmark::State& state, const std::function<void()>& f) {
  try {
    const c10::NoGradGuard no_grad;
    f();
  } catch (const std::exception& e) {
    state.SkipWithError(e.what());
  }
}

/// A matrix product, in operations a second: as `at::matmul` takes it, or as the layers have it taken, by
/// oneDNN with one side in its own layout.
void peak(benchmark::State& state, c10::ScalarType type, bool packed) {
  fails_in_words(state, [&] {
    const auto n = state.range(0);
    const at::Tensor a = at::randn({n, n}).to(type), b = at::randn({n, n}).to(type);
    std::function<void()> product;
    if (!packed) {
      product = [&, c = at::empty_like(a)]() mutable { at::matmul_out(c, a, b); };
    } else {
      auto& all = c10::Dispatcher::singleton();
      const auto reorder = all.findSchemaOrThrow("mkldnn::_reorder_linear_weight", "");
      c10::Stack weight{a, n};
      reorder.callBoxed(&weight);
      product = [=, w = weight.at(0), linear = all.findSchemaOrThrow("mkldnn::_linear_pointwise", "")] {
        c10::Stack stack{b, w, {}, "none", c10::List<std::optional<at::Scalar>>(), ""};
        linear.callBoxed(&stack);
      };
    }
    product(); // warms up
    for (auto _ : state) {
      seconds best{1e9, 1e9};
      for (int i = 0; i < 5; ++i) {
        const seconds now = timed(product);
        best = {std::min(best.wall, now.wall), std::min(best.processor, now.processor)};
      }
      state.SetIterationTime(best.wall);
      state.counters["flops_per_s"] = 2.0 * std::pow(static_cast<double>(n), 3) / best.processor; // of a core
    }
  });
}

/// A pass of ours, one of theirs, and, for bfloat16, one of either in float32. A repetition is one turn;
/// each second one goes the other way round.
void pass(benchmark::State& state, c10::ScalarType type, const std::string& layout, const std::string& text) {
  fails_in_words(state, [&] {
    auto& theirs = both.peer(type);
    const auto& ours = both.get(type);
    // with the larger network there is no room for both types on both sides
    const bool compares = type != at::kFloat && ours.prediction == prediction_type::epsilon;
    static std::size_t turn = 0;
    for (auto _ : state) {
      seconds mine, in_float;
      std::vector<std::string> yours, yours_in_float;
      at::Tensor y;
      std::vector<std::function<void()>> runs{
          [&] { mine = timed([&] { y = ours.pass(text); }); },
          [&] { yours = theirs.ask("pass " + layout + " " + text); },
      };
      if (compares) {
        const auto& wide = both.get(at::kFloat);
        runs.push_back([&] { in_float = timed([&] { wide.pass(text); }); });
        runs.push_back([&] { yours_in_float = both.peer(at::kFloat).ask("pass " + layout + " " + text); });
      }
      if (turn++ % 2) std::reverse(runs.begin(), runs.end());
      for (const auto& run : runs) run();
      const seconds their{std::stod(yours.at(0)), std::stod(yours.at(1))};
      state.SetIterationTime(mine.wall);
      state.counters["ours_wall"] = mine.wall;
      state.counters["ours_processor"] = mine.processor;
      state.counters["theirs_wall"] = their.wall;
      state.counters["theirs_processor"] = their.processor;
      state.counters["ratio_wall"] = mine.wall / their.wall;
      state.counters["ratio"] = mine.processor / their.processor;
      state.counters["difference"] = ours.difference(y, text);
      state.counters["their_difference"] = std::stod(yours.at(2));
      if (compares) {
        state.counters["float32_processor"] = in_float.processor;
        state.counters["to_float32"] = mine.processor / in_float.processor;
        const double wide = std::stod(yours_in_float.at(1));
        state.counters["theirs_float32_processor"] = wide;
        state.counters["to_their_float32"] = mine.processor / wide;
      }
    }
    state.SetLabel(theirs.versions);
    state.counters["threads"] = at::get_num_threads();
  });
}

void profiled(benchmark::State& state, c10::ScalarType type, const std::string& layout,
              const std::string& text) {
  fails_in_words(state, [&] {
    auto& theirs = both.peer(type);
    const auto& ours = both.get(type);
    for (auto _ : state) {
      const auto p = profile::of([&] { ours.pass(text); });
      double all = 0.0;
      for (const auto& [kind, time] : p.time) {
        state.counters["ours:" + kind] = time;
        all += time;
      }
      state.SetIterationTime(all);
      for (const auto& [kind, flops] : p.flops) state.counters["flops:" + kind] = flops;
      const auto words = theirs.ask("profile " + layout + " " + text);
      std::map<std::string, double> found;
      for (std::size_t i = 0; i + 1 < words.size(); i += 2)
        found[kind_of(words[i])] += std::stod(words[i + 1]);
      for (const auto& [kind, time] : found) state.counters["theirs:" + kind] = time;
      const auto counted = theirs.ask("flops " + text);
      for (std::size_t i = 0; i < 3; ++i)
        state.counters[std::array{"counted:convolution", "counted:linear", "counted:attention"}[i]] =
            std::stod(counted.at(i));
    }
  });
}

/// Time steps from noise, of which the left half is to become zero.
template <class Denoiser, class Policy, class Observer = no_observer>
sample_result<at::Tensor> time_steps(const network& n, const libtorch::network& net, c10::ScalarType type,
                                     Policy policy, std::size_t iterations, Observer&& observe = {},
                                     std::size_t steps = 1) {
  const auto& x = n.x;
  const auto& path = n.path;
  const Denoiser denoiser(net, {.prediction = n.prediction, .compute = type});
  at::Tensor mask = at::zeros_like(x);
  mask.narrow(3, 0, x.size(3) / 2).fill_(1.0);
  return sample(x, model{denoiser, path}, path.sampler({.steps = steps}),
                masked<at::Tensor>(at::zeros_like(x), mask), update{policy, infinity_norm{}, iterations}, {},
                observe);
}

/// An inner iteration of inexact Newton in passes: beside passes by themselves, before and after, and beside
/// the two passes in it.
void inner_iteration(benchmark::State& state, c10::ScalarType type) {
  fails_in_words(state, [&] {
    const auto& n = both.get(type);
    constexpr std::size_t iterations = 2;
    for (auto _ : state) {
      double inside = 0.0, first = 0.0, last = 0.0;
      const auto counted = [&](const at::Tensor& x, const at::Tensor& time) {
        at::Tensor y;
        inside += timed([&] { y = n.net()(x, time); }).processor;
        return y;
      };
      const auto pass = [&] { n.net()(n.x, n.time); };
      double by_itself = timed(pass).processor;
      time_steps<libtorch::forward_denoiser>(n, counted, type, inexact_newton{}, iterations,
                                             [&](const progress<at::Tensor>& p) {
                                               if (p.when == moment::estimated) {
                                                 inside = 0.0;
                                                 first = benchmarks::processor_seconds();
                                               } else if (p.when == moment::iterated) {
                                                 last = benchmarks::processor_seconds();
                                               }
                                             });
      by_itself = 0.5 * (by_itself + timed(pass).processor);
      const double iteration = (last - first) / iterations;
      state.SetIterationTime(iteration);
      state.counters["iteration"] = iteration;
      state.counters["pass"] = by_itself;
      state.counters["passes"] = iteration / by_itself;
      state.counters["passes_inside"] = 2.0 * (last - first) / inside;
      state.counters["ms_besides"] = 1e3 * ((last - first) - inside) / iterations;
    }
  });
}

/// Resident memory now.
double resident() {
  std::ifstream statm("/proc/self/statm");
  double pages = 0.0;
  statm >> pages >> pages;
  return pages * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

/// With freed blocks going back at once: what the run needs, not what the heap would keep of it.
template <class Denoiser, class Policy>
void memory(benchmark::State& state, Policy policy, c10::ScalarType type) {
  fails_in_words(state, [&] {
    const auto& n = both.get(type);
    set_heap(true);
    for (auto _ : state) {
      const examples::usage usage;
      const double before = resident();
      const auto result =
          time_steps<Denoiser>(n, n.net(), type, policy, 2, no_observer{},
                               std::same_as<Policy, none> ? 5 : 1); // as many passes as inexact Newton
      state.SetIterationTime(usage.seconds());
      state.counters["peak_bytes"] = static_cast<double>(usage.peak_bytes());
      state.counters["total_bytes"] = before + static_cast<double>(usage.peak_bytes());
      state.counters["processor"] = usage.processor_seconds();
      state.counters["forward"] = static_cast<double>(result.passes.forward);
      state.counters["backward"] = static_cast<double>(result.passes.backward);
    }
  });
}

/// \param texts under which passes are taken
void register_all(const std::vector<std::string>& texts) {
  const auto add = [](const std::string& name, auto f) {
    return benchmark::RegisterBenchmark(name.c_str(), f)
        ->UseManualTime()
        ->Iterations(1)
        ->Unit(benchmark::kSecond);
  };
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    const std::string name = name_of(type);
    for (const bool packed : {false, true})
      add("peak/" + name + (packed ? "/packed" : "/matmul"),
          [=](benchmark::State& s) { peak(s, type, packed); })
          ->Arg(1024)
          ->Arg(2048)
          ->Arg(4096);
    for (const std::string layout : {"default", "channels_last"})
      for (const auto& text : texts) {
        const std::string what = name + "/" + layout + (text == "all" ? "" : "/" + text);
        add("pass/" + what, [=](benchmark::State& s) { pass(s, type, layout, text); });
        add("profile/" + what, [=](benchmark::State& s) { profiled(s, type, layout, text); });
      }
    add("inner_iteration/" + name, [=](benchmark::State& s) { inner_iteration(s, type); });
    add("memory/none/" + name,
        [=](benchmark::State& s) { memory<libtorch::forward_denoiser>(s, none{}, type); });
    add("memory/inexact_newton/" + name,
        [=](benchmark::State& s) { memory<libtorch::forward_denoiser>(s, inexact_newton{}, type); });
    add("memory/gradient_descent/" + name,
        [=](benchmark::State& s) { memory<libtorch::differentiable_denoiser>(s, gradient_descent{}, type); });
  }
}

} // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  benchmark::Initialize(&argc, argv);
  if (argc != 4) {
    std::fputs("usage: pushforward_stable_diffusion_benchmarks MODEL_FOLDER PYTHON NETWORK_DIFFUSERS_PY "
               "[Google Benchmark's options]\n",
               stderr);
    return 2;
  }
  given = {argv[1], argv[2], argv[3]};
  const bool unet = safetensors::file(given.model / "io.safetensors").contains("context");
  register_all(unet ? std::vector<std::string>{"all"} : std::vector<std::string>{"all", "without_t5"});
  benchmark::AddCustomContext("network", unet ? "UNet2DConditionModel" : "SD3Transformer2DModel");
  benchmark::RunSpecifiedBenchmarks();
  both.theirs.clear();
  return 0;
}
