// The layers by themselves: their weights' layouts, and the half types.
#include <pushforward/libtorch/models/layers.hpp>

#include "cases.hpp"

#include <support/resident_memory.hpp>

#include <array>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

using namespace pushforward;
using namespace pushforward::libtorch;
using namespace testing_support;

namespace {

/// Parameters that are read in a half type, and what they are then.
struct parameters {
  scratch_folder folder;
  at::Tensor weight, bias;
  models::weights w;

  parameters(c10::ScalarType type, const std::vector<std::int64_t>& shape)
      : weight{at::randn(shape).to(type)}, bias{at::randn({shape[0]}).to(type)}, w{written()} {}

  models::weights written() const {
    const auto path = fs::path(folder.path()) / "w.safetensors";
    write_tensors(path, {{"weight", weight}, {"bias", bias}});
    return {{path}, {weight.scalar_type()}};
  }
};

/// Values and vjps of a layer in a half type are those of float32, rounded once to the type.
void check_rounded_once(const libtorch::map& layer, const libtorch::map& in_float, const at::Tensor& x,
                        c10::ScalarType type) {
  const double tolerance = type == at::kHalf ? 5e-4 : 4e-3; // half a unit of the last place
  const at::Tensor y = layer(x);
  CHECK(y.scalar_type() == type);
  const at::Tensor v = at::randn_like(y).to(at::kFloat);
  const auto [wanted, wanted_vjp] = vjp(in_float, x.to(at::kFloat), v);
  CHECK(relative_l2(y, wanted) < tolerance);
  const auto converted = [&](const at::Tensor& input) { return layer(input.to(type)).to(at::kFloat); };
  const auto [recorded, found_vjp] = vjp(converted, x.to(at::kFloat), v);
  CHECK(relative_l2(recorded, wanted) < tolerance);
  CHECK(relative_l2(found_vjp, wanted_vjp) < tolerance);
}

} // namespace

TEST_CASE("weights are refused where a value is not finite, or not in the type they are read in") {
  const scratch_folder folder;
  const auto path = fs::path(folder.path()) / "w.safetensors";
  const auto position = GENERATE(0, 500, 999);
  const auto [value, type] = GENERATE(table<double, c10::ScalarType>({{NAN, at::kFloat},
                                                                      {INFINITY, at::kFloat},
                                                                      {-INFINITY, at::kBFloat16},
                                                                      {NAN, at::kHalf},
                                                                      {1e5, at::kHalf},
                                                                      {-1e5, at::kHalf},
                                                                      {1e300, at::kFloat}}));
  at::Tensor weight = at::randn({10, 4, 5, 5}, at::kDouble);
  write_tensors(path, {{"weight", weight}});
  for (const auto format : {at::MemoryFormat::Contiguous, at::MemoryFormat::ChannelsLast}) {
    const at::Tensor taken = models::weights({path}, {type}).take("weight", {10, 4, 5, 5}, format);
    CHECK(taken.is_contiguous(format));
    CHECK(at::equal(taken, weight.to(type)));
  }
  weight.view(-1)[position].fill_(value);
  write_tensors(path, {{"weight", weight}});
  const models::weights w({path}, {type});
  CHECK_THROWS_AS(w.take("weight", {10, 4, 5, 5}), bad_file);
  CHECK_THROWS_WITH(w.take("weight", {10, 4, 5, 5}, at::MemoryFormat::ChannelsLast),
                    contains_text("weight holds values that are not finite"));
}

TEST_CASE("parameters from a source are taken in the network's type, and refused where they do not fit") {
  const auto made = [](const std::string& name, const std::vector<std::int64_t>& shape) {
    if (name == "nothing") return at::Tensor();
    if (name == "turned") return at::ones({shape.back(), shape.front()});
    if (name == "whole") return at::ones(shape, at::kLong);
    return at::full(shape, name == "below.weight" ? 2.5 : 1e5);
  };
  const models::weights w(made, {at::kHalf});
  const at::Tensor taken = w.below("below.").take("weight", {2, 3, 4, 5}, at::MemoryFormat::ChannelsLast);
  CHECK(at::equal(taken, at::full({2, 3, 4, 5}, 2.5, at::kHalf)));
  CHECK(taken.is_contiguous(at::MemoryFormat::ChannelsLast));
  CHECK_THROWS_WITH(w.take("large", {2}), contains_text("large made values that are not finite"));
  for (const char* name : {"nothing", "turned", "whole"})
    CHECK_THROWS_WITH(w.take(name, {2, 3}), contains_text(name) && contains_text("[2, 3]"));
  const models::weights shapes(made, {at::kFloat, c10::Device(c10::kMeta)});
  CHECK(shapes.take("large", {2}).is_meta()); // whose values are not looked at
  CHECK_THROWS_WITH(shapes.take("turned", {2, 3}), contains_text("turned"));
  CHECK_FALSE(w.contains("weight"));
  CHECK(w.untaken().empty());
  CHECK_THROWS_AS(w.shape_of("weight"), bad_file);
  CHECK_THROWS_AS(models::weights(models::parameter_source{}, {}), bad_option);
  CHECK_THROWS_AS(models::weights(made, {at::kLong}), bad_option);
}

TEST_CASE("loading layers takes the memory of their weights, with glibc's defaults, too") {
  const scratch_folder folder;
  const auto path = fs::path(folder.path()) / "w.safetensors";
  constexpr std::int64_t layers = 20, width = 200;
  {
    std::vector<std::pair<std::string, at::Tensor>> all;
    for (std::int64_t i = 0; i < layers; ++i) {
      all.emplace_back("conv" + std::to_string(i) + ".weight", at::randn({width, width + 8 * i, 3, 3}));
      all.emplace_back("linear" + std::to_string(i) + ".weight", at::randn({width, 9 * (width + 8 * i)}));
    }
    write_tensors(path, all);
  }
  std::vector<models::conv2d> convolutions;
  std::vector<models::linear> linears;
  const double peak = peak_during([&] {
    const models::weights w({path}, {});
    for (std::int64_t i = 0; i < layers; ++i) {
      convolutions.emplace_back(w.below("conv" + std::to_string(i) + "."), width + 8 * i, width,
                                models::conv2d::options{.bias = false});
      linears.emplace_back(w.below("linear" + std::to_string(i) + "."), 9 * (width + 8 * i), width, false);
    }
  });
  CHECK(peak < 1.2 * static_cast<double>(fs::file_size(path)));
}

TEST_CASE("a linear layer gives the same whatever it and its copies were called with before") {
  const parameters p(at::kFloat, {20, 48});
  const bool biased = GENERATE(true, false);
  const models::linear layer(p.w, 48, 20, biased), copy = layer;
  const auto wanted = [&](const at::Tensor& x) {
    return at::linear(x, p.weight, biased ? p.bias : at::Tensor());
  };
  const at::Tensor x = at::randn({2, 3, 48}), many = at::randn({500, 48}), v = at::randn({2, 3, 20});
  for (int turn = 0; turn < 2; ++turn) {
    CHECK(relative_l2(layer(x), wanted(x)) < 1e-6); // oneDNN's layout, where there is one
    CHECK(relative_l2(copy(many), wanted(many)) < 1e-6);
    const auto [y, pulled] = vjp(layer, x, v); // the plain one
    CHECK(relative_l2(y, wanted(x)) < 1e-6);
    CHECK(relative_l2(pulled, at::matmul(v, p.weight)) < 1e-6);
    CHECK(relative_l2(jvp(copy, x, x), at::matmul(x, p.weight.t())) < 1e-6);
  }
  const at::Tensor turned = at::randn({2, 48, 6}).transpose(1, 2);
  CHECK(relative_l2(layer(turned), wanted(turned.contiguous())) < 1e-6);
  CHECK(layer(at::randn({48})).sizes() == at::IntArrayRef{20});
  CHECK(layer(at::randn({0, 48})).sizes() == at::IntArrayRef{0, 20});
  CHECK_THROWS(layer(at::randn({2, 47})));
  CHECK(layer.in() == 48);
  CHECK(layer.out() == 20);
}

TEST_CASE("a linear layer in a half type rounds once") {
  const auto type = GENERATE(values<c10::ScalarType>({at::kBFloat16, at::kHalf}));
  const auto [in, out] = GENERATE(table<std::int64_t, std::int64_t>({{48, 20}, {4096, 2500}, {1, 1}}));
  const parameters p(type, {out, in});
  const models::linear layer(p.w, in, out);
  check_rounded_once(
      layer,
      [&](const at::Tensor& x) { return at::linear(x, p.weight.to(at::kFloat), p.bias.to(at::kFloat)); },
      at::randn({2, 3, in}).to(type), type);
}

TEST_CASE("a convolution in a half type rounds once, whether it has more pixels or more channels") {
  const auto type = GENERATE(values<c10::ScalarType>({at::kBFloat16, at::kHalf}));
  using numbers = std::array<std::int64_t, 3>; // kernel, stride, padding
  const auto o = GENERATE(values<numbers>({{3, 1, 1}, {3, 2, 1}, {3, 2, 0}, {1, 1, 0}}));
  const auto channels = GENERATE(8, 200);
  const parameters p(type, {channels, 12, o[0], o[0]});
  const models::conv2d layer(p.w, 12, channels, {o[0], o[1], o[2]});
  const auto in_float = [&](const at::Tensor& x) {
    return at::conv2d(x, p.weight.to(at::kFloat), p.bias.to(at::kFloat), {o[1], o[1]}, {o[2], o[2]});
  };
  const at::Tensor x = at::randn({2, 12, 7, 6}).to(type);
  check_rounded_once(layer, in_float, x, type);
  const at::Tensor last = x.contiguous(at::MemoryFormat::ChannelsLast);
  check_rounded_once(layer, in_float, last, type);
  CHECK(layer(last).is_contiguous(at::MemoryFormat::ChannelsLast));
}

TEST_CASE("a linear layer whose weights are of a half type gives float32 for float32") {
  const auto type = GENERATE(at::kBFloat16, at::kHalf);
  const parameters p(type, {20, 48});
  const at::Tensor x = 1e5 * at::randn({2, 3, 48}); // beyond float16's range
  const models::linear layer(p.w, 48, 20);
  const auto in_float = [&](const at::Tensor& input) {
    return at::linear(input, p.weight.to(at::kFloat), p.bias.to(at::kFloat));
  };
  CHECK(layer(x).scalar_type() == at::kFloat);
  CHECK(relative_l2(layer(x), in_float(x)) < 1e-6);
  const at::Tensor v = at::randn({2, 3, 20});
  CHECK(relative_l2(vjp(layer, x, v).second, vjp(in_float, x, v).second) < 1e-6);
}

TEST_CASE("a root mean square norm is computed in float32") {
  const auto type = GENERATE(at::kFloat, at::kBFloat16, at::kHalf, at::kDouble);
  const parameters p(type, {12});
  const models::rms_norm norm(p.w, 12, 0.1);
  const at::Tensor x = 300.0 * at::randn({2, 3, 12}); // float16 cannot hold the squares
  const auto wanted = [&](const at::Tensor& input) {
    const at::Tensor y = input.to(at::kDouble);
    return p.weight.to(at::kDouble) * y / at::sqrt((y * y).sum(-1, true) / 12 + 0.1);
  };
  const double close = type == at::kBFloat16 ? 5e-3 : type == at::kHalf ? 6e-4 : 1e-6;
  for (const double scale : {1.0, 1e-3}) { // where epsilon counts
    CHECK(norm((scale * x).to(type)).scalar_type() == type);
    CHECK(relative_l2(norm((scale * x).to(type)), wanted((scale * x).to(type))) < close);
    CHECK(relative_l2(norm(scale * x), wanted(scale * x)) < close);
  }
}

TEST_CASE("attention adds a bias to its scores, and scales them as it is told") {
  const std::int64_t n = 2, heads = 3, d = 4, length = 5, keys = 6;
  const at::Tensor q = at::randn({n, length, heads * d}), k = at::randn({n, keys, heads * d}),
                   v = at::randn({n, keys, heads * d});
  const at::Tensor bias =
      GENERATE(1, 2) == 1 ? at::randn({1, heads, length, keys}) : at::randn({n, heads, length, keys});
  const auto scale =
      GENERATE(std::optional<double>{}, std::optional<double>{1.0}, std::optional<double>{0.3});
  const auto split = [&](const at::Tensor& x) {
    return x.view({n, -1, heads, d}).transpose(1, 2).to(at::kDouble);
  };
  const auto wanted = [&](const at::Tensor& query) {
    const at::Tensor scores =
        scale.value_or(0.5) * at::matmul(split(query), split(k).transpose(-1, -2)) + bias.to(at::kDouble);
    return at::matmul(at::softmax(scores, -1), split(v))
        .transpose(1, 2)
        .reshape({n, length, -1})
        .to(at::kFloat);
  };
  const libtorch::map attend = [&](const at::Tensor& query) {
    return models::attention(query, k, v, heads, false, bias, scale);
  };
  CHECK(relative_l2(attend(q), wanted(q)) < 1e-6);
  CHECK(relative_l2(jvp(attend, q, q), jvp(wanted, q, q)) < 1e-5);
}
