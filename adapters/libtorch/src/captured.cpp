#include <pushforward/error.hpp>
#include <pushforward/libtorch/captured.hpp>

#include <ATen/ops/empty_like.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/GradMode.h>

#include <list>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#ifdef PUSHFORWARD_LIBTORCH_CUDA_GRAPHS
#include "cuda_graph.hpp"
#endif

namespace pushforward::libtorch {

namespace {

/// How passes are recorded, by the kind of device.
struct recorders {
  std::mutex alone;
  std::map<c10::DeviceType, capture_function> of;
#ifdef PUSHFORWARD_LIBTORCH_CUDA_GRAPHS
  recorders() { of[c10::kCUDA] = cuda_graph_of; }
#endif

  static recorders& all() {
    static recorders r;
    return r;
  }
};

capture_function recorder_of(c10::DeviceType kind) {
  auto& all = recorders::all();
  const std::lock_guard lock(all.alone);
  const auto found = all.of.find(kind);
  return found == all.of.end() ? capture_function{} : found->second;
}

bool differentiated(const at::Tensor& x) {
  return (c10::GradMode::is_enabled() && x.requires_grad()) || x._fw_grad(0).defined();
}

/// Whether memory of the one can stand for the other.
bool alike(const at::Tensor& a, const at::Tensor& b) {
  return a.sizes() == b.sizes() && a.strides() == b.strides() && a.scalar_type() == b.scalar_type() &&
         a.device() == b.device();
}

class captured_network {
public:
  captured_network(network f, capture_options options)
      : shared_{std::make_shared<shared>(std::move(f), std::move(options))} {}

  at::Tensor operator()(const at::Tensor& x, const at::Tensor& time) const {
    shared& s = *shared_;
    if (differentiated(x) || differentiated(time)) return s.f(x, time);
    const auto record = recorder_of(x.device().type());
    if (!record) return s.f(x, time);
    const c10::NoGradGuard no_grad;
    const std::lock_guard lock(s.alone);
    if (s.failed) return s.f(x, time);
    for (auto i = s.shapes.begin(); i != s.shapes.end(); ++i)
      if (alike(i->x, x) && alike(i->time, time)) {
        s.shapes.splice(s.shapes.begin(), s.shapes, i);
        return replayed(s.shapes.front(), x, time);
      }
    try {
      const c10::DeviceGuard there(x.device());
      one_shape made{at::empty_like(x), at::empty_like(time), {}};
      if (!alike(made.x, x) || !alike(made.time, time)) return s.f(x, time); // of a layout of its own
      made.x.copy_(x);
      made.time.copy_(time);
      if (s.shapes.size() == s.options.shapes) s.shapes.pop_back(); // frees its memory first
      made.pass = record([f = s.f, x = made.x, time = made.time] { return f(x, time); });
      s.shapes.push_front(std::move(made));
    } catch (const std::exception& e) {
      at::Tensor y = s.f(x, time); // throws itself where it does not take the input
      s.failed = true;
      s.shapes.clear();
      if (s.options.tell) s.options.tell(e.what());
      return y;
    }
    return replayed(s.shapes.front(), x, time);
  }

private:
  struct one_shape {
    at::Tensor x, time; ///< that the pass reads
    std::unique_ptr<captured_pass> pass;
  };
  struct shared {
    shared(network n, capture_options o) : f{std::move(n)}, options{std::move(o)} {}
    network f;
    capture_options options;
    std::mutex alone;
    std::list<one_shape> shapes{}; ///< the one that was used last in front
    bool failed = false;
  };

  static at::Tensor replayed(one_shape& s, const at::Tensor& x, const at::Tensor& time) {
    const c10::DeviceGuard there(x.device());
    return s.pass->replay([&] {
      s.x.copy_(x);
      s.time.copy_(time);
    });
  }

  std::shared_ptr<shared> shared_;
};

} // namespace

void capture_with(c10::DeviceType kind, capture_function capture) {
  auto& all = recorders::all();
  const std::lock_guard lock(all.alone);
  all.of[kind] = std::move(capture);
}

bool can_capture(c10::DeviceType kind) { return static_cast<bool>(recorder_of(kind)); }

network captured(network f, capture_options options) {
  if (!f) throw bad_option("captured: there is no network");
  if (options.shapes < 1) throw bad_option("captured: shapes is 0, but must be positive");
  return captured_network(std::move(f), std::move(options));
}

} // namespace pushforward::libtorch
