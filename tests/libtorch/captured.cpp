// Captured passes. What is recorded when, and kept, is tested with a recorder for the CPU that replays by
// calling the pass again; CUDA's own is tested where there is a device.

#include "small_network.hpp"
#include "tensors.hpp"

#include <support/catch.hpp>
#include <support/device.hpp>

#include <common/cuda_graphs.hpp>

#include <pushforward/libtorch/captured.hpp>
#include <pushforward/libtorch/denoiser.hpp>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

using namespace pushforward;
using namespace pushforward::libtorch;
using namespace testing_support;

namespace {

/// Reads the tensors that were read when it was recorded, and writes into the same output, as a graph does.
struct replay_by_call : captured_pass {
  std::function<at::Tensor()> pass;
  at::Tensor output;
  int& replays;
  replay_by_call(std::function<at::Tensor()> p, int& counter)
      : pass{std::move(p)}, output{pass().clone()}, replays{counter} {}
  at::Tensor replay(const std::function<void()>& set_inputs) override {
    ++replays;
    set_inputs();
    output.copy_(pass());
    return output.clone();
  }
};

/// Records on the CPU while it lives.
class cpu_recorder {
public:
  int recorded = 0, replays = 0;
  bool fails = false;

  cpu_recorder() {
    capture_with(c10::kCPU, [this](const std::function<at::Tensor()>& pass) {
      ++recorded;
      if (fails) throw std::runtime_error("the device cannot");
      return std::make_unique<replay_by_call>(pass, replays);
    });
  }
  ~cpu_recorder() { capture_with(c10::kCPU, {}); }
  cpu_recorder(const cpu_recorder&) = delete;
  cpu_recorder& operator=(const cpu_recorder&) = delete;
};

at::Tensor on_cpu(at::IntArrayRef sizes, std::uint64_t seed) {
  return random_tensor(sizes, seed, at::kFloat).cpu();
}

at::Tensor at_time(double t, std::int64_t n = 1) { return at::full({n}, t); }

/// x and the time both matter.
at::Tensor simple(const at::Tensor& x, const at::Tensor& time) { return x * time.view({-1, 1, 1, 1}); }

} // namespace

TEST_CASE("a captured network gives what it gives itself, from one recording for all times") {
  cpu_recorder recorder;
  CHECK(can_capture(c10::kCPU));
  const auto net = captured(simple);
  std::vector<at::Tensor> given;
  for (int i = 1; i <= 3; ++i)
    given.push_back(net(on_cpu({2, 1, 4, 4}, static_cast<std::uint64_t>(i)), at_time(i, 2)));
  for (int i = 1; i <= 3; ++i) // none was overwritten by the next
    CHECK(at::equal(given[static_cast<std::size_t>(i - 1)],
                    i * on_cpu({2, 1, 4, 4}, static_cast<std::uint64_t>(i))));
  CHECK(recorder.recorded == 1);
  const auto copy = net;
  copy(on_cpu({2, 1, 4, 4}, 5), at_time(1.0, 2));
  CHECK(recorder.recorded == 1);
  captured(simple)(on_cpu({2, 1, 4, 4}, 5), at_time(1.0, 2)); // has nothing of the other
  CHECK(recorder.recorded == 2);
}

TEST_CASE("each shape, type and layout is recorded for itself, and the oldest makes room") {
  cpu_recorder recorder;
  const auto net = captured(simple, {.shapes = 2});
  const auto ask = [&](const at::Tensor& x, const at::Tensor& time) {
    CHECK(at::equal(net(x, time), simple(x, time)));
    return recorder.recorded;
  };
  const auto a = on_cpu({1, 2, 4, 4}, 1), b = on_cpu({2, 2, 4, 4}, 2);
  CHECK(ask(a, at_time(1.0)) == 1);
  CHECK(ask(b, at_time(2.0, 2)) == 2);
  CHECK(ask(a, at_time(3.0)) == 2);
  CHECK(ask(b, at_time(3.0)) == 3); // one time for both samples; the pair goes that was used before a
  CHECK(ask(a, at_time(3.0)) == 3);
  CHECK(ask(b, at_time(2.0, 2)) == 4);
  CHECK(ask(b.to(at::kDouble), at_time(2.0, 2)) == 5);
  CHECK(ask(b.contiguous(at::MemoryFormat::ChannelsLast), at_time(2.0, 2)) == 6);
  CHECK(net(b.contiguous(at::MemoryFormat::ChannelsLast), at_time(2.0, 2))
            .is_contiguous(at::MemoryFormat::ChannelsLast));
  CHECK(ask(a.expand({3, 2, 4, 4}), at_time(2.0)) == 6); // no memory of its own: called as it is
}

TEST_CASE("where recording fails the network is called, and it is said once why") {
  cpu_recorder recorder;
  recorder.fails = true;
  std::vector<std::string> told;
  const auto net = captured(simple, {.tell = [&](const std::string& why) { told.push_back(why); }});
  for (int i = 1; i <= 3; ++i) {
    const auto x = on_cpu({1, 1, 4, 4}, static_cast<std::uint64_t>(i));
    CHECK(at::equal(net(x, at_time(i)), i * x));
  }
  CHECK(told == std::vector<std::string>{"the device cannot"});
  CHECK(recorder.recorded == 1);
  recorder.fails = false;
  net(on_cpu({2, 1, 4, 4}, 1), at_time(1.0));
  CHECK(recorder.recorded == 1);
}

TEST_CASE("what a network throws of an input passes through, and the next input is captured") {
  cpu_recorder recorder;
  std::vector<std::string> told;
  const auto net = captured(
      [](const at::Tensor& x, const at::Tensor& time) {
        if (x.size(1) != 1) throw shape_mismatch("one channel");
        return simple(x, time);
      },
      {.tell = [&](const std::string& why) { told.push_back(why); }});
  CHECK_THROWS_AS(net(on_cpu({1, 2, 4, 4}, 1), at_time(1.0)), shape_mismatch);
  CHECK(told.empty());
  const auto x = on_cpu({1, 1, 4, 4}, 1);
  CHECK(at::equal(net(x, at_time(2.0)), 2 * x));
  CHECK(recorder.recorded == 2);
  net(x, at_time(3.0));
  CHECK(recorder.recorded == 2);
}

TEST_CASE("a denoiser captures its passes forward, and differentiates the network itself") {
  const auto recorder = std::make_unique<cpu_recorder>();
  const small_network f(at::kFloat);
  const auto call = [f](const at::Tensor& x, const at::Tensor& time) { return f(x, time); };
  const denoiser_options plain{.prediction = prediction_type::v, .device = c10::kCPU};
  auto wanted = plain;
  wanted.captured = capture_options{};
  const libtorch::differentiable_denoiser by_itself(call, plain), recorded(call, wanted);
  const auto x = on_cpu({2, 1, 4, 4}, 1), w = on_cpu({2, 1, 4, 4}, 2);
  CHECK(at::equal(recorded.predict(x, 300.0), by_itself.predict(x, 300.0)));
  CHECK(recorder->recorded == 1);
  CHECK(at::equal(recorded.predict(x, 200.0), by_itself.predict(x, 200.0)));
  CHECK(recorder->recorded == 1);
  CHECK(recorder->replays == 2);
  CHECK(at::equal(recorded.linearize(x, 300.0).vjp(w), by_itself.linearize(x, 300.0).vjp(w)));
  CHECK(at::equal(recorded.jvp(x, 300.0, w), by_itself.jvp(x, 300.0, w)));
  CHECK(recorder->recorded == 1);
  CHECK(recorder->replays == 2); // which know nothing of tangents and graphs
  wanted.compute = at::kBFloat16;
  const small_network half(at::kBFloat16);
  const forward_denoiser in_half(
      [half](const at::Tensor& a, const at::Tensor& time) { return half(a, time); }, wanted);
  CHECK(in_half.predict(x, 300.0).scalar_type() == at::kFloat);
  CHECK(recorder->recorded == 2);
}

TEST_CASE("without a recorder a captured network is the network") {
  REQUIRE_FALSE(can_capture(c10::kCPU));
  int calls = 0;
  const auto net = captured([&](const at::Tensor& x, const at::Tensor& time) {
    ++calls;
    return simple(x, time);
  });
  const auto x = on_cpu({1, 1, 4, 4}, 1);
  CHECK(at::equal(net(x, at_time(2.0)), 2 * x));
  CHECK(calls == 1);
}

TEST_CASE("what cannot be captured is refused") {
  CHECK_THROWS_AS(captured({}), bad_option);
  CHECK_THROWS_WITH(captured(simple, {.shapes = 0}), contains_text("shapes is 0"));
  const network_of_number by_number = [](const at::Tensor& x, double) { return x; };
  CHECK_THROWS_WITH(forward_denoiser(by_number, {.captured = capture_options{}}),
                    contains_text("takes its time as a number"));
}

TEST_CASE("passes captured on the device are those that are launched, to the bit", "[device]") {
  const auto device = test_device();
  if (!device.is_cuda()) return;
  INFO(examples::have_passes_captured());
  REQUIRE(can_capture(c10::kCUDA));
  const small_network f(at::kFloat), g(at::kFloat, 1, 16);
  const auto of = [](const small_network& net) {
    return [net](const at::Tensor& x, const at::Tensor& time) { return net(x, time); };
  };
  std::string told;
  const auto tell = [&](const std::string& why) { told = why; };
  const network first = captured(of(f), {.tell = tell}), second = captured(of(g), {.tell = tell});
  const c10::impl::VirtualGuardImpl streams(c10::kCUDA);
  for (const std::int64_t n : {1, 2, 1, 3}) {
    const auto x = random_tensor({n, 1, 8, 8}, static_cast<std::uint64_t>(n), at::kFloat);
    for (const double t : {900.0, 100.0}) {
      const auto time = at::full({n}, t, on_device(at::kFloat));
      const c10::NoGradGuard no_grad;
      const auto y = first(x, time), z = second(x, time);
      CHECK(at::equal(y, f(x, time)));
      CHECK(at::equal(z, g(x, time)));
      // from another stream, in between
      streams.synchronizeStream(streams.getStream(device));
      at::Tensor elsewhere;
      {
        const auto other = streams.getStreamFromGlobalPool(device, false);
        const c10::StreamGuard there(other);
        elsewhere = first(x + 1.0, time);
        streams.synchronizeStream(other);
      }
      CHECK(at::equal(elsewhere, f(x + 1.0, time)));
      CHECK(at::equal(first(x, time), y));
    }
  }
  CHECK(told.empty());
  // one that asks the device for a value cannot be recorded, and is called
  const network asks =
      captured([f](const at::Tensor& x,
                   const at::Tensor& time) { return x.sum().item<double>() > 1e30 ? x : f(x, time); },
               {.tell = tell});
  const auto x = random_tensor({1, 1, 8, 8}, 1, at::kFloat),
             time = at::full({1}, 500.0, on_device(at::kFloat));
  const c10::NoGradGuard no_grad;
  CHECK(at::equal(asks(x, time), f(x, time)));
  CHECK_FALSE(told.empty());
  CHECK(at::equal(first(x, time), f(x, time))); // and the device works on
}
