// Denoisers from callables: products of the Jacobian against the dense one, compute types and their probes,
// and what is recorded for autograd when.

#include "small_network.hpp"
#include "tensors.hpp"

#include <support/catch.hpp>
#include <support/device.hpp>
#include <support/random.hpp>

#include <pushforward/estimate.hpp>
#include <pushforward/libtorch/denoiser.hpp>
#include <pushforward/pushforward.hpp>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <memory>
#include <thread>
#include <vector>

using namespace pushforward;
using namespace testing_support;
using libtorch::denoiser_options;
using libtorch::forward_denoiser;
using recorded_denoiser = libtorch::differentiable_denoiser; // the core has a concept of that name

static_assert(denoiser<forward_denoiser, at::Tensor>);
static_assert(!differentiable_denoiser<forward_denoiser, at::Tensor>);
static_assert(!forward_mode_denoiser<forward_denoiser, at::Tensor>);
static_assert(differentiable_denoiser<recorded_denoiser, at::Tensor>);
static_assert(forward_mode_denoiser<recorded_denoiser, at::Tensor>);

namespace {

double relative_error(const at::Tensor& is, const at::Tensor& wanted) {
  return ((is - wanted).norm() / wanted.norm()).item<double>();
}

constexpr denoiser_options in_double{.prediction = prediction_type::v, .compute = at::kDouble};

/// J of the network at x, one sample, by central differences.
at::Tensor dense(const small_network& f, const at::Tensor& x, double time) {
  const std::int64_t n = x.numel();
  at::Tensor jacobian = at::zeros({n, n}, on_device(at::kDouble));
  const at::Tensor t = at::full({1}, time, on_device(at::kDouble));
  const double h = 1e-5;
  for (std::int64_t j = 0; j < n; ++j) {
    at::Tensor step = at::zeros({n}, on_device(at::kDouble));
    step[j] = h;
    step = step.view(x.sizes());
    jacobian.select(1, j).copy_((f(x + step, t) - f(x - step, t)).view({n}) / (2 * h));
  }
  return jacobian;
}

/// Twice x, with a backward pass and no forward mode.
struct doubled : torch::autograd::Function<doubled> {
  static at::Tensor forward(torch::autograd::AutogradContext*, const at::Tensor& x) { return 2 * x; }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext*,
                                                 torch::autograd::variable_list w) {
    return {2 * w[0]};
  }
};

} // namespace

TEST_CASE("vjp and jvp are the dense Jacobian's, for each sample of a batch", "[device]") {
  const small_network f(at::kDouble);
  const recorded_denoiser d(f, in_double);
  const at::Tensor x = random_tensor({2, 1, 6, 6}, 1), v = random_tensor({2, 1, 6, 6}, 2);
  const auto at_x = d.linearize(x, 400.0);
  CHECK(at_x.value.equal(d.predict(x, 400.0)));
  const at::Tensor pulled = at_x.vjp(v), pushed = d.jvp(x, 400.0, v);
  for (std::int64_t j = 0; j < 2; ++j) {
    const at::Tensor jacobian = dense(f, x.narrow(0, j, 1), 400.0);
    const at::Tensor of_sample = v[j].flatten();
    CHECK(distance(pulled[j].flatten(), at::mv(jacobian.t(), of_sample)) < 1e-7);
    CHECK(distance(pushed[j].flatten(), at::mv(jacobian, of_sample)) < 1e-7);
    CHECK(distance(pushed[j].flatten(), pulled[j].flatten()) > 1e-2); // J is not symmetric
  }
}

TEST_CASE("the estimator's products through a libtorch denoiser agree with each other", "[device]") {
  const small_network f(at::kDouble);
  const recorded_denoiser d(f, in_double);
  const auto path = variance_preserving::linear();
  const model m(d, path);
  pass_counts counts;
  const estimator<at::Tensor, recorded_denoiser, variance_preserving> e(m, counts);
  const at::Tensor x = random_tensor({2, 1, 6, 6}, 1), v = random_tensor({2, 1, 6, 6}, 2),
                   w = random_tensor({2, 1, 6, 6}, 3);
  const auto at_x = e.linearize(x, 500.0);
  const at::Tensor exact = e.exact_jvp(at_x, v);
  CHECK(distance(e.jvp(at_x, v, 1e-5), exact) < 1e-5);
  // <w, J v> = <J^T w, v>
  CHECK((w * exact).sum().item<double>() == Approx((e.vjp(at_x, w) * v).sum().item<double>()).epsilon(1e-10));
}

TEST_CASE("a network may take its time as a tensor or as a number", "[device]") {
  const at::Tensor x = random_tensor({3, 2}, 1, at::kFloat);
  const forward_denoiser of_tensor([](const at::Tensor& y, const at::Tensor& time) {
    CHECK(time.sizes() == at::IntArrayRef{3});
    CHECK(time.scalar_type() == at::kFloat);
    return y * time.view({-1, 1});
  });
  const forward_denoiser of_number([](const at::Tensor& y, double time) { return y * time; });
  CHECK(of_tensor.predict(x, 1.5).equal(1.5 * x));
  CHECK(of_number.predict(x, 1.5).equal(1.5 * x));
}

TEST_CASE("a network in float64 gets its time to the last bit", "[device]") {
  const forward_denoiser d(
      [](const at::Tensor& y, const at::Tensor& time) {
        return y * time.view({-1, 1});
      },
      in_double);
  CHECK(d.predict(at::ones({1, 1}, on_device(at::kDouble)), 1.0 / 3.0).item<double>() == 1.0 / 3.0);
}

TEST_CASE("the network sees its compute type, the loop its own type", "[device]") {
  const auto compute = GENERATE(values<c10::ScalarType>({at::kFloat, at::kBFloat16, at::kHalf, at::kDouble}));
  const auto state = GENERATE(values<c10::ScalarType>({at::kFloat, at::kDouble}));
  c10::ScalarType seen{};
  const recorded_denoiser d(
      [&](const at::Tensor& y, double) {
        seen = y.scalar_type();
        return 2 * y;
      },
      {.prediction = prediction_type::v, .compute = compute});
  const at::Tensor x = random_tensor({2, 3}, 1, state);
  const at::Tensor o = d.predict(x, 1.0);
  CHECK(seen == compute);
  CHECK(o.scalar_type() == state);
  CHECK(distance(o, 2 * x) <= 8.0 * d.resolution() + 1e-6);
  const auto linearized = d.linearize(x, 1.0);
  CHECK(linearized.value.scalar_type() == state);
  const at::Tensor pulled = linearized.vjp(x), pushed = d.jvp(x, 1.0, x);
  CHECK(pulled.scalar_type() == state);
  CHECK(pushed.scalar_type() == state);
  CHECK(distance(pulled, 2 * x) <= 8.0 * d.resolution() + 1e-6);
  CHECK(distance(pushed, 2 * x) <= 8.0 * d.resolution() + 1e-6);
}

TEST_CASE("the resolution is the distance of the compute type from 1 to the next number", "[device]") {
  const auto compute = GENERATE(values<c10::ScalarType>({at::kFloat, at::kBFloat16, at::kHalf, at::kDouble}));
  const forward_denoiser d([](const at::Tensor& y, double) { return y; },
                           {.prediction = prediction_type::v, .compute = compute});
  const at::Tensor above = at::full({}, 1.0 + d.resolution(), at::kDouble).to(compute).to(at::kDouble);
  const at::Tensor half_way =
      at::full({}, 1.0 + 0.5 * d.resolution(), at::kDouble).to(compute).to(at::kDouble);
  CHECK(above.item<double>() == 1.0 + d.resolution());
  CHECK(half_way.item<double>() == 1.0);
}

TEST_CASE("in half types the automatic probe gives J v, and 0.005 drowns in rounding", "[device]") {
  const auto compute = GENERATE(values<c10::ScalarType>({at::kBFloat16, at::kHalf}));
  const at::Tensor x = random_tensor({1, 1, 32, 32}, 1, at::kFloat),
                   v = random_tensor({1, 1, 32, 32}, 2, at::kFloat);
  const auto path = variance_preserving::linear();
  const auto product = [&](c10::ScalarType type, double probe) {
    const recorded_denoiser d(small_network(type), {.prediction = prediction_type::v, .compute = type});
    pass_counts counts;
    const model m(d, path);
    const estimator<at::Tensor, recorded_denoiser, variance_preserving> e(m, counts);
    const auto at_x = e.evaluate(x, 500.0);
    return probe < 0.0 ? e.exact_jvp(at_x, v) : e.jvp(at_x, v, probe);
  };
  const at::Tensor wanted = product(at::kFloat, -1.0);
  const double with_automatic = relative_error(product(compute, 0.0), wanted);
  const double with_reference = relative_error(product(compute, 0.005), wanted);
  const double in_float = relative_error(product(at::kFloat, 0.0), wanted);
  CAPTURE(compute, with_automatic, with_reference, in_float);
  CHECK(in_float < 0.01);
  CHECK(with_automatic < (compute == at::kHalf ? 0.2 : 0.5));
  CHECK(with_reference > 3.0 * with_automatic);
}

TEST_CASE("autograd records nothing in the loop, even where weights and the start want gradients",
          "[device]") {
  bool recording = false;
  const small_network f(at::kFloat);
  for (const auto& w : f.weights()) w.requires_grad_(true);
  const forward_denoiser d(
      [&](const at::Tensor& y, const at::Tensor& time) {
        recording = recording || c10::GradMode::is_enabled();
        return f(y, time);
      },
      {.prediction = prediction_type::v});
  const at::Tensor start = random_tensor({2, 1, 8, 8}, 1, at::kFloat).requires_grad_(true);
  const at::Tensor target = random_tensor({2, 1, 8, 8}, 2, at::kFloat).requires_grad_(true);
  const auto path = variance_preserving::linear();
  bool graph = false;
  const auto result = sample(
      start, model(d, path), ddim(path, {.steps = 3}), masked<at::Tensor>(target, at::ones_like(target)),
      update{inexact_newton{}, infinity_norm{}, 2}, {}, [&](const progress<at::Tensor>& p) {
        graph = graph || p.at.x0.requires_grad() || (p.at.x.requires_grad() && !p.at.x.is_leaf());
        if (p.direction) graph = graph || p.direction->requires_grad();
        if (p.constraint) graph = graph || p.constraint->error.requires_grad();
      });
  CHECK_FALSE(recording);
  CHECK_FALSE(graph);
  CHECK_FALSE(result.x.requires_grad());
  CHECK(c10::GradMode::is_enabled());
}

TEST_CASE("gradient descent records within linearize alone, and keeps no graph", "[device]") {
  std::weak_ptr<torch::autograd::Node> latest;
  std::size_t alive = 0, linearized = 0;
  const small_network f(at::kFloat);
  const recorded_denoiser d(
      [&](const at::Tensor& y, const at::Tensor& time) {
        if (latest.lock()) ++alive; // the graph of the estimate before
        const at::Tensor o = f(y, time);
        if (o.grad_fn()) {
          latest = o.grad_fn();
          ++linearized;
        }
        return o;
      },
      {.prediction = prediction_type::v});
  const at::Tensor start = random_tensor({2, 1, 8, 8}, 1, at::kFloat),
                   target = random_tensor({2, 1, 8, 8}, 2, at::kFloat);
  const auto path = variance_preserving::linear();
  const auto run = [&] {
    return sample(start, model(d, path), ddim(path, {.steps = 3}),
                  masked<at::Tensor>(target, at::ones_like(target)),
                  update{gradient_descent{}, infinity_norm{}, 2}, {}, [](const progress<at::Tensor>& p) {
                    CHECK_FALSE(p.at.x0.requires_grad());
                    CHECK_FALSE(p.at.x.requires_grad());
                  });
  };
  const auto result = run();
  CHECK(linearized == 9);
  CHECK(alive == 0);
  CHECK_FALSE(latest.lock());
  CHECK(result.passes.backward == 2 * 6);
  {
    const c10::NoGradGuard no_grad; // the caller's own mode does not matter
    CHECK(run().x.equal(result.x));
  }
}

TEST_CASE("the graph goes with the first product, and a second one says so", "[device]") {
  std::weak_ptr<torch::autograd::Node> node;
  const recorded_denoiser d([&](const at::Tensor& y, double) {
    const at::Tensor o = y * y;
    node = o.grad_fn();
    return o;
  });
  const at::Tensor x = random_tensor({1, 3}, 1, at::kFloat);
  const auto first = d.linearize(x, 1.0);
  CHECK(node.lock());
  CHECK(distance(first.vjp(at::ones_like(x)), 2 * x) < 1e-6);
  CHECK_FALSE(node.lock());
  CHECK_THROWS_WITH(first.vjp(x), contains_text("linearize again"));
  { const auto unused = d.linearize(x, 1.0); }
  CHECK_FALSE(node.lock());
}

TEST_CASE("linearize and jvp leave x and its own history alone", "[device]") {
  const recorded_denoiser d([](const at::Tensor& y, double) { return y * y; });
  const at::Tensor leaf = random_tensor({1, 3}, 1, at::kFloat).requires_grad_(true);
  const at::Tensor x = 2 * leaf;
  d.linearize(x, 1.0).vjp(at::ones_like(x));
  d.jvp(x, 1.0, at::ones_like(x));
  CHECK_FALSE(leaf.grad().defined());
  CHECK(x.requires_grad());
  const at::Tensor plain = random_tensor({1, 3}, 1, at::kFloat);
  d.linearize(plain, 1.0);
  CHECK_FALSE(plain.requires_grad());
}

TEST_CASE("threads may push forward at the same time", "[device]") {
  const recorded_denoiser d(small_network(at::kDouble), in_double);
  const at::Tensor x = random_tensor({1, 1, 6, 6}, 1), v = random_tensor({1, 1, 6, 6}, 2);
  const at::Tensor wanted = d.jvp(x, 1.0, v);
  std::vector<double> errors(4, 1.0);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < errors.size(); ++i)
    threads.emplace_back([&, i] {
      double worst = 0.0;
      for (int n = 0; n < 5; ++n)
        worst = std::max(worst, (d.jvp(x, 1.0, v) - wanted).abs().max().item<double>());
      errors[i] = worst;
    });
  for (auto& thread : threads) thread.join();
  for (const double e : errors) CHECK(e < 1e-12);
}

TEST_CASE("a network that cannot be differentiated says what to do", "[device]") {
  const at::Tensor x = random_tensor({1, 3}, 1, at::kFloat);
  const recorded_denoiser cut([](const at::Tensor& y, double) { return at::tanh(y.detach()); });
  CHECK_THROWS_WITH(cut.linearize(x, 1.0), contains_text("forward only"));
  const recorded_denoiser unrelated([](const at::Tensor& y, double) { return at::ones_like(y); });
  CHECK_THROWS_WITH(unrelated.jvp(x, 1.0, x), contains_text("inexact_newton"));
  const recorded_denoiser backward_only([](const at::Tensor& y, double) { return doubled::apply(y); });
  CHECK(backward_only.linearize(x, 1.0).vjp(x).equal(2 * x));
  CHECK_THROWS_AS(backward_only.jvp(x, 1.0, x), pushforward::error);
  // the level of forward mode was given back
  const recorded_denoiser fine([](const at::Tensor& y, double) { return y * y; });
  CHECK(distance(fine.jvp(x, 1.0, at::ones_like(x)), 2 * x) < 1e-6);
}

TEST_CASE("a denoiser without a network, of a wrong type or without an output is refused", "[device]") {
  CHECK_THROWS_WITH(forward_denoiser(libtorch::network{}), contains_text("no network"));
  CHECK_THROWS_WITH(forward_denoiser(libtorch::network_of_number{}), contains_text("no network"));
  CHECK_THROWS_WITH(forward_denoiser([](const at::Tensor& y, double) { return y; },
                                     {.prediction = prediction_type::v, .compute = at::kInt}),
                    contains_text("bfloat16"));
  const forward_denoiser nothing([](const at::Tensor&, double) { return at::Tensor(); });
  CHECK_THROWS_WITH(nothing.predict(at::ones({1, 2}), 1.0), contains_text("returned no tensor"));
}

TEST_CASE("a network that hands out its own buffer keeps it", "[device]") {
  const at::Tensor buffer = at::ones({2, 3}, on_device(at::kFloat));
  const forward_denoiser d([&](const at::Tensor&, double) { return buffer; },
                           {.prediction = prediction_type::sample});
  const at::Tensor target = random_tensor({2, 3}, 1, at::kFloat);
  const rectified_flow path;
  sample(random_tensor({2, 3}, 2, at::kFloat), model(d, path), rectified_flow_euler(path, {.steps = 3}),
         masked<at::Tensor>(target, at::ones_like(target)), update{inexact_newton{}, infinity_norm{}, 2});
  CHECK(buffer.equal(at::ones_like(buffer)));
}

TEST_CASE("the start, the target and the mask are the caller's own after a run", "[device]") {
  const small_network f(at::kFloat);
  const forward_denoiser d(f, {.prediction = prediction_type::v});
  const at::Tensor start = random_tensor({2, 1, 8, 8}, 1, at::kFloat), start_before = start.clone();
  const at::Tensor target = random_tensor({2, 1, 8, 8}, 2, at::kFloat), target_before = target.clone();
  const at::Tensor mask = at::ones({2, 1, 8, 8}, on_device(at::kFloat)), mask_before = mask.clone();
  const auto path = variance_preserving::linear();
  std::vector<at::Tensor> seen, seen_then; // what an observer keeps
  const auto result =
      sample(start, model(d, path), ddim(path, {.steps = 3}), masked<at::Tensor>(target, mask),
             update{inexact_newton{}, infinity_norm{}, 2}, {}, [&](const progress<at::Tensor>& p) {
               for (const at::Tensor& t : {p.at.x, p.at.x0}) {
                 seen.push_back(t);
                 seen_then.push_back(t.clone());
               }
             });
  CHECK(start.equal(start_before));
  CHECK(target.equal(target_before));
  CHECK(mask.equal(mask_before));
  for (std::size_t i = 0; i < seen.size(); ++i) CHECK(seen[i].equal(seen_then[i]));
}
