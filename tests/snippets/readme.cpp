// The example of README.md.

//! [example]
#include <iostream>
#include <pushforward/pushforward.hpp>
#include <pushforward/xtensor/tensor.hpp>

namespace pf = pushforward;
using tensor = pf::xtensor::tensor<float>;

// Your network goes here. This one knows its clean samples: four equal numbers, drawn from N(0, 1).
struct network {
  pf::prediction_type prediction = pf::prediction_type::sample;
  tensor predict(const tensor& x, double time) const {
    const double s = time / 1000, a = 1 - s;
    const tensor sum = xt::sum(x, {1}, xt::keep_dims);
    return a / (4 * a * a + s * s) * (xt::zeros_like(x) + sum);
  }
};

int main() {
  const network net;
  const pf::rectified_flow path;
  const tensor y{{0.5F, 0, 0, 0}, {-1, 0, 0, 0}}, known{{1, 0, 0, 0}, {1, 0, 0, 0}}; // the first of four
  const auto result =
      pf::sample(pf::standard_normal(y, {.seed = 1}), pf::model{net, path}, pf::rectified_flow_euler(path),
                 pf::masked<tensor>(y, known), pf::posterior_step{});
  std::cout.precision(3);
  for (float v : result.x) std::cout << v << ' ';
  std::cout << '\n' << result.passes.forward << " passes, " << result.passes.backward << " backward\n";
}
//! [example]
