// Compares update rules and published baselines on photographs, at equal numbers of passes: settings are
// chosen on some photographs and measured on others. One line of JSON for each; policies.py makes the tables.
#include "policies_program.hpp"

#include <data.hpp>
#include <network.hpp>

#include <pushforward/libtorch/denoiser.hpp>
#include <pushforward/libtorch/torchscript.hpp>

int main(int argc, char** argv) {
  CLI::App app{"Compares ways to steer a denoiser of photographs at equal cost.",
               "pushforward_policies_benchmark"};
  using namespace examples;
  std::filesystem::path weights = PUSHFORWARD_PHOTOGRAPHS_WEIGHTS, photographs, out = "policies.jsonl";
  std::filesystem::path scripted;
  bool grey = false;
  double largest = 10.0, smallest = 0.01;
  std::size_t tuned = 6, tested = 24;
  policies::options o;
  std::string device = "cpu";
  auto* const own =
      add_name(app, "--denoiser", scripted,
               "a TorchScript file in its place: x0 = D(x, sigma), x [N, C, H, W] in [0, 1], sigma [N]");
  add_name(app, "--weights", weights, "of the denoiser [the repository's]")->excludes(own);
  app.add_flag("--grey", grey, "grey images, C = 1")->needs(own);
  const numbers sigmas{.least = 1e-6, .most = 1e4};
  add_number(app, "--largest", largest, sigmas, "sigma where runs start");
  add_number(app, "--smallest", smallest, sigmas, "sigma of the last step");
  add_name(app, "--photographs", photographs, "folder with training/ and held_out/ (scripts/photographs.sh)")
      ->required();
  add_number(app, "--tuned", tuned, policies::image_counts,
             "crops of the training photographs, on which settings are chosen");
  add_number(app, "--tested", tested, policies::image_counts,
             "crops of the held-out photographs, on which they are measured");
  policies::add_device_option(app, device);
  policies::add_bench_options(app, o, out, policies::images::task_names);
  return run_with(app, argc, argv, [&] {
    std::vector<input_file> pictures;
    for (const char* folder : {"training", "held_out"})
      for (const auto& file : photographs::pictures_in(photographs / folder))
        pictures.push_back({"the photograph", file});
    const input_file network{"the denoiser", scripted.empty() ? weights : scripted};
    auto inputs = pictures;
    inputs.push_back(network);
    require_writable({out}, inputs);
    using denoiser_type = pushforward::libtorch::differentiable_denoiser;
    const auto where = device_named(device);
    const pushforward::libtorch::denoiser_options takes{.prediction = pushforward::prediction_type::sample,
                                                        .device = where};
    const auto read_network = [&] {
      auto n = photographs::read_network(weights);
      n.weights().move_to(where);
      return n;
    };
    const auto denoiser = scripted.empty()
                              ? denoiser_type(read_network(), takes)
                              : pushforward::libtorch::torchscript_denoiser<denoiser_type>(scripted, takes);
    const policies::images domain{pushforward::variance_exploding(largest, smallest)};
    const policies::bench bench(denoiser, domain, o);
    const auto crops = [&](const char* folder, std::size_t count) {
      const auto colour = photographs::crops_of(photographs / folder, count, 128);
      return policies::samples{grey ? colour.mean(1, true) : colour};
    };
    const policies::json of{{"domain", "photographs"},
                            {"denoiser", policies::checksum({network})},
                            {"photographs", policies::checksum(pictures)},
                            {"grey", grey},
                            {"largest", largest},
                            {"smallest", smallest}};
    return policies::run_until_interrupted(app, out, of, bench, crops("training", tuned),
                                           crops("held_out", tested));
  });
}
