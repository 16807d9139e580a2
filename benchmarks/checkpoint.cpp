// Compares update rules and published baselines on photographs with a checkpoint of the user's, at equal
// numbers of passes: settings are chosen on some photographs and measured on others. One line of JSON for
// each; policies.py makes the tables.
#include "latents.hpp"
#include "policies_program.hpp"

#include <data.hpp>
#include <inputs.hpp>
#include <model.hpp>
#include <room.hpp>
#include <run.hpp>

#include <algorithm>
#include <numeric>

int main(int argc, char** argv) {
  CLI::App app{"Compares ways to steer a checkpoint of Stable Diffusion at equal cost.",
               "pushforward_checkpoint_policies_benchmark"};
  using namespace examples;
  std::filesystem::path photographs, out = "checkpoint.jsonl";
  stable_diffusion::model_arguments m;
  std::size_t tuned = 2, tested = 8;
  std::int64_t side = 512;
  policies::options o;
  o.tuned_at = {40};
  stable_diffusion::add_model_options(app, m);
  add_name(app, "--photographs", photographs, "folder with training/ and held_out/ (scripts/photographs.sh)")
      ->required();
  add_number(app, "--side", side, whole_numbers{16, 4096}, "of the photographs' crops, in pixels");
  add_number(app, "--tuned", tuned, policies::image_counts,
             "crops of the training photographs, on which settings are chosen");
  add_number(app, "--tested", tested, policies::image_counts,
             "crops of the held-out photographs, on which they are measured");
  policies::add_bench_options(app, o, out, policies::latents::task_names);
  return run_with(app, argc, argv, [&] {
    stable_diffusion::check_model_options(app, m);
    std::vector<input_file> pictures;
    for (const char* folder : {"training", "held_out"})
      for (const auto& file : photographs::pictures_in(photographs / folder))
        pictures.push_back({"the photograph", file});
    auto inputs = pictures;
    for (auto& file : stable_diffusion::files_of(m)) inputs.push_back(std::move(file));
    require_writable({out}, inputs);
    const auto outline = stable_diffusion::outline_of(m);
    stable_diffusion::require_size(outline, {side, side}, "--side");
    if (side % outline.multiple || side % 4)
      throw pushforward::bad_option("--side " + std::to_string(side) + " is no multiple of " +
                                    std::to_string(std::lcm(outline.multiple, std::int64_t{4})) +
                                    ", which this model needs");
    stable_diffusion::require_room(
        m, {{side, side}, static_cast<std::int64_t>(std::max(tuned, tested)), true, false},
        "ask for fewer pixels with --side, or for fewer photographs with --tuned and --tested");
    const stable_diffusion::latent_model model(
        m, [](const std::string& part) { std::cerr << "loading the " << part << '\n'; });
    const policies::latents domain{model};
    const auto crops = [&](const char* folder, std::size_t count) {
      return policies::samples{2.0 * photographs::crops_of(photographs / folder, count, side) - 1.0};
    };
    std::uintmax_t bytes = 0; // gigabytes are not read twice to tell checkpoints apart
    for (const auto& file : stable_diffusion::files_of(m))
      if (std::error_code none; std::filesystem::is_regular_file(file.path, none))
        bytes += std::filesystem::file_size(file.path);
    policies::json of{{"domain", "checkpoint"},
                      {"photographs", policies::checksum(pictures)},
                      {"side", side},
                      {"bytes", bytes}};
    of.update(model.facts());
    of.erase("threads");
    return model.with_denoiser([&](const auto& denoiser) {
      const policies::bench bench(denoiser, domain, o);
      return policies::run_until_interrupted(app, out, of, bench, crops("training", tuned),
                                             crops("held_out", tested));
    });
  });
}
