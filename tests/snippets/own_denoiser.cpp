// docs/policies-benchmark.md: your own denoiser.

#include <policies.hpp>

#include <pushforward/libtorch/denoiser.hpp>

#include <support/scratch_folder.hpp>

int main() {
  const testing_support::scratch_folder folder;
  const auto file = folder / "lines.jsonl";
  // exact for pixels that are independent and normal, mean 1/2 and deviation 1/4
  const pushforward::libtorch::forward_denoiser denoiser(
      [](const at::Tensor& x, const at::Tensor& sigma) {
        const at::Tensor share = (0.0625 / (0.0625 + sigma.square())).view({-1, 1, 1, 1});
        return 0.5 + share * (x - 0.5);
      },
      {.prediction = pushforward::prediction_type::sample});
  at::manual_seed(1);
  const at::Tensor some = at::rand({2, 1, 16, 16}), others = at::rand({2, 1, 16, 16});
  //! [own_denoiser]
  const policies::images domain{pushforward::variance_exploding(10.0, 0.01)};
  const policies::bench bench(denoiser, domain, {.passes = {20, 40}, .tuned_at = {40}});
  const policies::samples tuned{some}, tested{others};
  policies::run_into(file, {{"denoiser", "my own"}}, bench, tuned, tested);
  //! [own_denoiser]
}
