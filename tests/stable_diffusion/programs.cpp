// The programs on checkpoints, run as their users run them, on a small random one that diffusers wrote.

#include "programs.hpp"

#include <support/file_faults.hpp>
#include <support/hollow_file.hpp>
#include <support/original_layout.hpp>
#include <support/published_checkpoints.hpp>

#include <free_memory.hpp>
#include <inputs.hpp>
#include <support/picture_files.hpp>

#include <masks.hpp>
#include <room.hpp>
#include <run.hpp>

#include <pushforward/libtorch/models/autoencoder_kl.hpp>
#include <pushforward/libtorch/models/clip_text.hpp>
#include <pushforward/samplers/ddim.hpp>
#include <pushforward/step_sizes.hpp>
#include <pushforward/updates/inexact_newton.hpp>

#include <CLI/CLI.hpp>

#include <sys/ioctl.h>

#include <cmath>
#include <functional>

using namespace testing_support;

namespace {

words inpainting(const fs::path& oracle) {
  return {oracle / "picture.png", "--mask", oracle / "mask.png", "--steps", "2", "--K", "2"};
}

/// Root mean square of a difference where a mask is 1.
double rms(const at::Tensor& difference, const at::Tensor& where) {
  return difference.to(at::kDouble)
      .masked_select(where.gt(0.0).expand_as(difference))
      .square()
      .mean()
      .sqrt()
      .item<double>();
}

const words one_step{"--known", "left", "--steps", "1", "--K", "1", "--save-latents"};

/// A copy of some networks' parameters of a single file of the original layout, under the names that the
/// networks ask for.
void write_renamed(const fs::path& to, const fs::path& single, const tensors& all,
                   const pushforward::libtorch::models::naming& names,
                   const std::function<void(const pushforward::libtorch::models::weights&)>& load) {
  tensors renamed;
  load({{single}, {}, [&](const std::string& name) {
          const auto place = names(name);
          if (const auto found = all.find(place.key); found != all.end())
            renamed[name] = found->second.chunk(place.parts)[static_cast<std::size_t>(place.part)];
          return place;
        }});
  fs::create_directories(to.parent_path());
  write_single_file(to, renamed);
}

/// A single file of Stable Diffusion `context` (768: 1.x, 1024: 2.x), in the small, with the vocabulary of
/// the small checkpoint.
tensors small_single_file(std::int64_t context = 768) {
  return random_parameters(original_layout::of(original_sizes::small(514, context)));
}

/// Every residual of a trace is the root of 2 loss / measured.
void check_residuals(const json& trace, double measured) {
  REQUIRE(!trace["iterations"].empty());
  for (const auto& one : trace["iterations"])
    for (std::size_t i = 0; i < one["loss"].size(); ++i)
      CHECK(one["residual"][i].get<double>() ==
            Approx(std::sqrt(2.0 * one["loss"][i].get<double>() / measured)));
}

} // namespace

TEST_CASE("every program on checkpoints explains itself and lists the devices") {
  const scratch_folder folder;
  for (const std::string program : {"inpaint", "superres", "style", "jacobian", "spectrum", "convergence"}) {
    const auto help = run_program(folder, programs + program, {"--help"});
    CHECK(help.status == 0);
    CHECK(holds(help.said, "Examples:"));
    const auto devices = run_program(folder, programs + program, {"--list-devices"});
    CHECK(devices.status == 0);
    CHECK(devices.said.rfind("cpu", 0) == 0);
    CHECK(!holds(devices.said, "(1 threads)"));
  }
}

TEST_CASE("inpaint ends at the latents of the method written in Python on diffusers' networks") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  const auto arguments =
      joined({oracle / "picture.png", "--mask", oracle / "mask.png", "--batch", "2", "--prompt", "a cat"},
             deterministic(oracle, "inpaint.safetensors"));
  const auto plain = run(folder, oracle, "inpaint", arguments);
  INFO(plain.ended.said);
  REQUIRE(plain.ended.status == 0);
  CHECK(relative_l2(plain.latents(), expected(oracle, "inpaint.safetensors", "plain")) < 1e-3);
  const auto trace = plain.trace();
  CHECK(trace["costs_of_the_batch"]["passes"] == 2 * 4 * (1 + 2 * 3));
  CHECK(trace["costs_of_the_batch"]["backward_passes"] == 0);
  CHECK(trace["iterations"].size() == 4 * 3);

  const auto guided =
      run(folder, oracle, "inpaint", joined(arguments, {"--negative-prompt", "a dog", "--guidance", "3"}));
  INFO(guided.ended.said);
  REQUIRE(guided.ended.status == 0);
  CHECK(relative_l2(guided.latents(), expected(oracle, "inpaint.safetensors", "guided")) < 1e-3);
  CHECK(guided.trace()["costs_of_the_batch"]["passes"] == 2 * 2 * 4 * (1 + 2 * 3));

  const auto same = run(folder, oracle, "inpaint",
                        joined(arguments, {"--negative-prompt", "a dog", "--guidance", "2",
                                           "--guidance-convention", "reference"}));
  REQUIRE(same.ended.status == 0);
  CHECK(relative_l2(same.latents(), guided.latents()) < 1e-6);
}

TEST_CASE("a flow ends at the latents of its loop written in Python on diffusers' network") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  const words common{oracle / "picture.png",
                     "--mask",
                     oracle / "mask.png",
                     "--batch",
                     "2",
                     "--prompt",
                     "a cat",
                     "--prediction",
                     "reverse_flow",
                     "--latents",
                     oracle / "flow.safetensors",
                     "--save-latents"};
  const words four = joined(common, {"--steps", "4"});
  const auto sampled = run(folder, oracle, "inpaint", joined(four, {"--policy", "none"}));
  INFO(sampled.ended.said);
  REQUIRE(sampled.ended.status == 0);
  CHECK(relative_l2(sampled.latents(), expected(oracle, "flow.safetensors", "sampled")) < 1e-3);
  CHECK(sampled.trace()["model"]["prediction"] == "reverse_flow");
  CHECK(sampled.trace()["settings"]["renoise"] == 0.0);

  const words rule{"--K", "3", "--lr", "0.5", "--lr-last", "0.1"};
  const auto steered = joined(four, rule);
  const auto plain = run(folder, oracle, "inpaint", steered);
  INFO(plain.ended.said);
  REQUIRE(plain.ended.status == 0);
  CHECK(relative_l2(plain.latents(), expected(oracle, "flow.safetensors", "plain")) < 1e-3);

  const auto guided =
      run(folder, oracle, "inpaint", joined(steered, {"--negative-prompt", "a dog", "--guidance", "1.5"}));
  INFO(guided.ended.said);
  REQUIRE(guided.ended.status == 0);
  CHECK(relative_l2(guided.latents(), expected(oracle, "flow.safetensors", "guided")) < 1e-3);
  CHECK(guided.trace()["costs_of_the_batch"]["passes"] == 2 * 2 * 4 * (1 + 2 * 3));

  for (const std::string n : {"1", "2", "8"}) { // few steps, as of InstaFlow
    const auto few = joined(common, {"--steps", n});
    const auto free = run(folder, oracle, "inpaint", joined(few, {"--policy", "none"}));
    INFO(n << " steps: " << free.ended.said);
    REQUIRE(free.ended.status == 0);
    CHECK(relative_l2(free.latents(), expected(oracle, "flow.safetensors", "sampled_" + n)) < 1e-3);
    const auto led = run(folder, oracle, "inpaint", joined(few, rule));
    REQUIRE(led.ended.status == 0);
    CHECK(relative_l2(led.latents(), expected(oracle, "flow.safetensors", "plain_" + n)) < 1e-3);
  }
}

TEST_CASE("every program takes a flow, at times of the flow, in few steps") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  const words flow{"--prediction", "reverse_flow"};
  const auto succeeds = [&](const std::string& program, const words& arguments) {
    const auto r = run(folder, oracle, program, joined(arguments, flow));
    INFO(program << ": " << r.ended.said);
    CHECK(r.ended.status == 0);
    return r.trace();
  };
  for (const char* steps : {"1", "2"})
    succeeds("inpaint", {oracle / "picture.png", "--mask", oracle / "mask.png", "--steps", steps, "--policy",
                         "posterior_step"});
  succeeds("superres", {oracle / "small.png", "--factor", "2", "--steps", "2", "--renoise", "1", "--K", "1"});
  succeeds("style", {oracle / "style.png", "--clip", oracle / "clip", "--width", "64", "--height", "64",
                     "--guidance", "1", "--K", "1", "--steps", "2"});
  const words pixel{oracle / "picture.png", "--pixel", "3", "4", "--vectors", "ones"};
  CHECK(succeeds("jacobian", pixel)["t"] == 0.6);
  const auto late = run(folder, oracle, "jacobian", joined(joined(pixel, flow), {"--time", "600"}));
  CHECK(late.ended.status == 2);
  CHECK(holds(late.ended.said, "--time: sigma 600 lies outside"));
  const auto spectrum = succeeds("spectrum", {oracle / "picture.png", "--krylov", "2"});
  std::set<double> times;
  for (const auto& one : spectrum["spectra"]) times.insert(one["t"].get<double>());
  CHECK(times == std::set<double>{0.9, 0.7, 0.5, 0.3});
  succeeds("convergence", {oracle / "picture.png", "--K", "1", "--steps", "2", "--krylov", "2", "--c", "1"});
}

TEST_CASE("superres ends at the latents of either pullback written in Python") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  const auto arguments =
      joined({oracle / "small.png", "--factor", "4"}, deterministic(oracle, "superres.safetensors"));
  const auto encoder = run(folder, oracle, "superres", joined(arguments, {"--pullback", "encoder"}));
  INFO(encoder.ended.said);
  REQUIRE(encoder.ended.status == 0);
  CHECK(relative_l2(encoder.latents(), expected(oracle, "superres.safetensors", "encoder")) < 2e-3);
  const auto costs = encoder.trace()["costs_of_the_batch"];
  CHECK(costs["backward_passes"] == 0);
  CHECK(costs["encoder_passes"] == 2 * 4 * 3);
  CHECK(costs["decoder_passes"] == 4 * 3 + 1);

  const auto decoder = run(folder, oracle, "superres", arguments);
  INFO(decoder.ended.said);
  REQUIRE(decoder.ended.status == 0);
  CHECK(relative_l2(decoder.latents(), expected(oracle, "superres.safetensors", "decoder")) < 2e-3);
  CHECK(decoder.trace()["costs_of_the_batch"]["decoder_backward"] == 4 * 3);
  CHECK(decoder.trace()["costs_of_the_batch"]["denoiser_backward"] == 0);
  CHECK(decoder.picture().sizes() == at::IntArrayRef({1, 3, 64, 96}));
}

TEST_CASE("a run writes a picture a sample, a trace, a report, frames and latents") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  const auto r =
      run(folder, oracle, "inpaint",
          joined(inpainting(oracle), {"--batch", "2", "--frames", "--save-latents", "--paste", "--feather",
                                      "4", "--prompt", "<b>", "--dtype", "bfloat16"}));
  INFO(r.ended.said);
  REQUIRE(r.ended.status == 0);
  const at::Tensor input = image_of(read_picture(oracle / "picture.png"));
  for (const char* which : {"-0", "-1"}) {
    const at::Tensor difference = (r.picture(which) - input).abs().amax({0, 1});
    CHECK(difference.narrow(0, 0, 15).max().item<double>() < 0.01); // known, and away from the edge
    CHECK(difference.narrow(0, 22, 26).narrow(1, 32, 36).max().item<double>() > 0.1);
  }
  CHECK(!at::equal(r.picture("-0"), r.picture("-1")));
  const auto page = read_bytes(r.name.string() + ".html");
  CHECK(holds(page, "data:image/png;base64,"));
  CHECK(holds(page, "<svg"));
  CHECK(!holds(page, "<b>"));
  const auto frames = read_bytes(r.name.string() + "-frames.png");
  CHECK(frames.substr(frames.find("acTL") + 4, 4) == std::string("\0\0\0\2", 4)); // one a time step
  CHECK(r.latents().size(0) == 2);
  const auto trace = r.trace();
  CHECK(trace["ending"] == "completed");
  CHECK(trace["model"]["dtype"] == "bfloat16");
  CHECK(trace["results"]["RMSE_of_known_pixels_after_pasting"][0] <
        trace["results"]["RMSE_of_known_pixels"][0]);
  CHECK(trace["results"]["RMSE_of_known_pixels_after_pasting"][0] > 0.0); // as they fade at the edge
  for (const char* part : {"results", "costs_of_the_batch", "settings", "model"})
    for (const auto& [name, value] : trace[part].items()) {
      std::string row = name;
      std::replace(row.begin(), row.end(), '_', ' ');
      CAPTURE(row);
      CHECK(holds(page, "<th scope=\"row\">" + row + "</th>"));
    }
}

TEST_CASE("a mask may mark either part, and the picture be a JPEG or another autoencoder be taken") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  const auto ours = run(folder, oracle, "inpaint", joined(inpainting(oracle), {"--save-latents"})).latents();
  const auto theirs = run(folder, oracle, "inpaint",
                          {oracle / "picture.png", "--mask", oracle / "white_is_filled.png",
                           "--white-is-filled", "--steps", "2", "--K", "2", "--save-latents"});
  REQUIRE(theirs.ended.status == 0);
  CHECK(at::equal(ours, theirs.latents()));
  const auto box = run(folder, oracle, "inpaint",
                       {oracle / "picture.png", "--box", "20", "30", "30", "40", "--steps", "2", "--K", "2",
                        "--save-latents"});
  REQUIRE(box.ended.status == 0);
  CHECK(at::equal(ours, box.latents()));
  const auto tiny =
      run(folder, oracle, "inpaint",
          {oracle / "picture.jpg", "--known", "left", "--steps", "1", "--K", "1", "--vae", oracle / "tiny",
           "--height", "32", "--fit", "resize", "--save-latents", "--no-paste"});
  INFO(tiny.ended.said);
  REQUIRE(tiny.ended.status == 0);
  CHECK(tiny.picture().sizes() == at::IntArrayRef({1, 3, 32, 48}));
  const auto vae = read_autoencoder(oracle / "tiny", {"cpu"});
  CHECK((tiny.picture() - vae.maps.decode(tiny.latents()).clamp(-1.0, 1.0)).abs().max().item<double>() <
        0.01);
}

TEST_CASE("inpaint puts the known pixels back, with a feathered edge, unless it is told not to") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  const auto few = joined(inpainting(oracle), {"--save-latents"});
  const auto plain = run(folder, oracle, "inpaint", few);
  INFO(plain.ended.said);
  REQUIRE(plain.ended.status == 0);
  const at::Tensor image = image_of(read_picture(oracle / "picture.png"));
  const at::Tensor decoded = loaded(oracle).decode(plain.latents());
  const auto pasted = [&](std::int64_t feather) {
    const at::Tensor share = feathered(read_mask(oracle / "mask.png").known, feather);
    return (share * image + (1.0 - share) * decoded).clamp(-1.0, 1.0);
  };
  const auto furthest = [](const at::Tensor& a, const at::Tensor& b) {
    return (a - b).abs().max().item<double>();
  };
  REQUIRE(furthest(pasted(8), decoded.clamp(-1.0, 1.0)) > 0.1);
  CHECK(furthest(plain.picture(), pasted(8)) < 0.01);
  CHECK(plain.trace()["settings"]["pasted"] == true);
  CHECK(plain.trace()["settings"]["feather"] == 8);
  CHECK(plain.trace()["results"].contains("RMSE_of_known_pixels_after_pasting"));

  const auto sharp = run(folder, oracle, "inpaint", joined(few, {"--paste", "--feather", "0"}));
  INFO(sharp.ended.said);
  REQUIRE(sharp.ended.status == 0);
  CHECK(furthest(sharp.picture(), pasted(0)) < 0.01);

  const auto bare = run(folder, oracle, "inpaint", joined(few, {"--no-paste"}));
  INFO(bare.ended.said);
  REQUIRE(bare.ended.status == 0);
  CHECK(furthest(bare.picture(), decoded.clamp(-1.0, 1.0)) < 0.01);
  CHECK(bare.trace()["settings"]["pasted"] == false);
  CHECK(!bare.trace()["settings"].contains("feather"));
  CHECK(!bare.trace()["results"].contains("RMSE_of_known_pixels_after_pasting"));
}

TEST_CASE("grey in a soft mask is the weight of the constraint and of pasting") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  examples::picture ramp(64, 96, 1, 255); // white, a ramp from 255 down to 0, black
  for (std::size_t y = 0; y < 64; ++y)
    for (std::size_t x = 0; x < 96; ++x)
      *ramp.at(y, x) = static_cast<std::uint8_t>(x < 32 ? 255 : x < 64 ? 255 - 8 * (x - 32) : 0);
  examples::write_png(folder / "ramp.png", ramp);
  const words few{oracle / "picture.png", "--steps", "3", "--K", "2", "--seed", "7", "--save-latents"};
  const auto soft = run(folder, oracle, "inpaint",
                        joined(few, {"--mask", folder / "ramp.png", "--soft-mask", "--eta", "0"}));
  INFO(soft.ended.said);
  REQUIRE(soft.ended.status == 0);

  const latent_model m = loaded(oracle);
  const at::Tensor image = image_of(read_picture(oracle / "picture.png"));
  const at::Tensor mask = (image_of(ramp) + 1.0) / 2.0;
  // the least weight of each block of 8 x 8; what has a weight is seen in full
  const at::Tensor weights = mask.view({1, 1, 8, 8, 12, 8}).amin({3, 5});
  const at::Tensor target = m.encode(image * mask.gt(0.0));
  REQUIRE(weights.gt(0.0).logical_and(weights.lt(1.0)).any().item<bool>());
  const auto sampler = pushforward::ddim(m.path().diffusion(), {3, 0.0, pushforward::ddim_noise::eta, 1.0});
  const at::Tensor z = m.with_denoiser([&](const auto& denoiser) {
    return pushforward::sample(pushforward::standard_normal(target, {7, 0, 0}),
                               pushforward::model(denoiser, m.path()), sampler,
                               [&](const at::Tensor& x0) {
                                 const at::Tensor d = target - x0, w = weights.expand_as(d);
                                 return pushforward::constraint_value<at::Tensor>{
                                     {(0.5 * w * d * d).sum({1, 2, 3}).to(at::kDouble)}, w * d};
                               },
                               pushforward::update{pushforward::inexact_newton{},
                                                   pushforward::infinity_norm{.rate = {0.5, 0.1}}, 2},
                               {.seed = 7})
        .x;
  });
  CHECK(relative_l2(soft.latents(), z) < 1e-4);
  const auto trace = soft.trace();
  const auto weighted_rms = [](const at::Tensor& d, const at::Tensor& w) {
    return std::sqrt(((d * d * w).sum() / w.expand_as(d).sum()).item<double>());
  };
  const at::Tensor decoded = m.decode(soft.latents());
  const auto& results = trace["results"];
  CHECK(results["constraint_RMSE_in_latents"][0].get<double>() ==
        Approx(weighted_rms(soft.latents() - target, weights)).epsilon(1e-4));
  CHECK(results["RMSE_of_known_pixels"][0].get<double>() ==
        Approx(weighted_rms(decoded - image, mask)).epsilon(1e-4));
  check_residuals(trace, 4.0 * weights.sum().item<double>());
  CHECK(trace["settings"]["soft_mask"] == true);
  CHECK(trace["settings"]["known_share"].get<double>() == Approx(mask.mean().item<double>()));
  const at::Tensor pasted = (mask * image + (1.0 - mask) * decoded).clamp(-1.0, 1.0);
  CHECK((soft.picture() - pasted).abs().max().item<double>() < 0.01);

  // without the option the ramp is cut in its middle; a mask of black and white is the same in both
  const auto hard = run(folder, oracle, "inpaint", joined(few, {"--mask", folder / "ramp.png"}));
  REQUIRE(hard.ended.status == 0);
  CHECK(hard.trace()["settings"]["known_share"].get<double>() == Approx(0.5));
  const auto latents = [&](const words& more) {
    const auto r = run(folder, oracle, "inpaint", joined(joined(few, {"--mask", oracle / "mask.png"}), more));
    INFO(r.ended.said);
    REQUIRE(r.ended.status == 0);
    return r.latents();
  };
  for (const words& size : {words{}, words{"--width", "72", "--height", "48"}})
    CHECK(at::equal(latents(joined(size, {"--soft-mask"})), latents(size)));
}

TEST_CASE("the transparent part of a mask is filled in, and said to be") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  // white throughout, transparent where the other mask is black
  const auto mask = read_picture(oracle / "mask.png", 1);
  std::vector<std::uint16_t> values;
  for (const auto v : mask.pixels) values.insert(values.end(), {255, v});
  write_bytes(folder / "hole.png", png_of({64, 96, PNG_COLOR_TYPE_GRAY_ALPHA, 8, values}));
  const words few{oracle / "picture.png", "--steps", "2", "--K", "2", "--save-latents"};
  const auto hole = run(folder, oracle, "inpaint", joined(few, {"--mask", folder / "hole.png"}));
  INFO(hole.ended.said);
  REQUIRE(hole.ended.status == 0);
  const auto same = run(folder, oracle, "inpaint", joined(few, {"--mask", oracle / "mask.png"}));
  REQUIRE(same.ended.status == 0);
  CHECK(at::equal(hole.latents(), same.latents()));
  CHECK(holds(hole.ended.said, "hole.png: the mask has transparent parts: they are filled in"));
  CHECK(hole.ended.said.find("transparent") == hole.ended.said.rfind("transparent"));
  CHECK(!holds(same.ended.said, "transparent"));

  // half opaque throughout, so that nothing is transparent: its light decides
  std::vector<std::uint16_t> shades;
  for (const auto v : mask.pixels) shades.insert(shades.end(), {v, 128});
  write_bytes(folder / "veil.png", png_of({64, 96, PNG_COLOR_TYPE_GRAY_ALPHA, 8, shades}));
  const auto veil = run(folder, oracle, "inpaint", joined(few, {"--mask", folder / "veil.png"}));
  INFO(veil.ended.said);
  REQUIRE(veil.ended.status == 0);
  CHECK(at::equal(veil.latents(), same.latents()));
  CHECK(!holds(veil.ended.said, "transparent"));
}

TEST_CASE("every policy and step size runs on a checkpoint") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  const words plain{oracle / "picture.png", "--known", "left", "--steps", "1", "--policy", "none"};
  const auto none = run(folder, oracle, "inpaint", plain).ended;
  CHECK(none.status == 0);
  CHECK_THAT(none.said, contains_text("\n1 pass, 0 backward passes, "));
  for (const words& choice : std::vector<words>{{"--policy", "gradient_descent"},
                                                {"--policy", "forward_mode_newton"},
                                                {"--policy", "gradient_descent", "--guidance", "2"},
                                                {"--step-size", "spectral", "--lr", "0.5"},
                                                {"--step-size", "constant"},
                                                {"--start", "0.5"},
                                                {"--eta", "1"}}) {
    const auto r = run(folder, oracle, "inpaint", joined(inpainting(oracle), choice));
    INFO(choice[0] << ' ' << choice[1] << ": " << r.ended.said);
    CHECK(r.ended.status == 0);
  }
  const auto newton =
      run(folder, oracle, "superres",
          {oracle / "small.png", "--factor", "2", "--policy", "vae_newton", "--steps", "2", "--K", "2"});
  INFO(newton.ended.said);
  CHECK(newton.ended.status == 0);
  CHECK(newton.trace()["settings"]["pullback"] == "encoder difference");
  CHECK(newton.trace()["settings"]["lr"] == 0.5);
  const words styling{
      oracle / "style.png", "--clip", oracle / "clip", "--width",        "96",      "--height", "64",
      "--guidance",         "1",      "--policy",      "posterior_step", "--steps", "2"};
  const auto style = run(folder, oracle, "style", styling);
  INFO(style.ended.said);
  REQUIRE(style.ended.status == 0);
  CHECK(style.trace()["costs_of_the_batch"]["passes"] == 4);
  CHECK(style.trace()["residual"] == "half the squared distance of the Gram matrices");
  CHECK_THAT(run(folder, oracle, "style", joined(styling, {"--pullback", "encoder"})).ended.said,
             contains_text("--policy posterior_step takes its length from the error"));
  CHECK_THAT(run(folder, oracle, "style", joined(styling, {"--krylov", "2"})).ended.said,
             contains_text("--krylov must be 1 for a style"));
  const auto guided =
      run(folder, oracle, "inpaint",
          joined(inpainting(oracle), {"--guidance", "1", "--guidance-convention", "reference"}));
  REQUIRE(guided.ended.status == 0);
  CHECK(guided.trace()["model"]["guidance"] == 2.0);
  CHECK(guided.trace()["costs_of_the_batch"]["passes"] == 2 * 2 * (1 + 2 * 2));
}

TEST_CASE("the noise of a run is its seed's, and --eta and --start say which of it is taken") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  const latent_model m = loaded(oracle);
  at::Tensor half = image_of(read_picture(oracle / "picture.png"));
  half.narrow(3, 48, 48).zero_();
  const at::Tensor guess = m.encode(half);
  const at::Tensor noise = pushforward::standard_normal(guess, {7, 0, 0});
  const words few{"--policy", "none", "--steps", "3", "--seed", "7", "--save-latents"};
  struct choice {
    words arguments;
    pushforward::ddim_options same;
  };
  using pushforward::ddim_noise;
  for (const auto& c :
       std::vector<choice>{{{}, {3, 0.0, ddim_noise::one_step_beta, 1.0}},
                           {{"--eta", "1"}, {3, 1.0, ddim_noise::eta, 1.0}},
                           {{"--eta", "0", "--start", "0.5"}, {3, 0.0, ddim_noise::eta, 0.5}}}) {
    const auto r = run(folder, oracle, "inpaint",
                       joined(joined({oracle / "picture.png", "--known", "left"}, few), c.arguments));
    INFO(r.ended.said);
    REQUIRE(r.ended.status == 0);
    const auto sampler = pushforward::ddim(m.path().diffusion(), c.same);
    const auto at = m.path().at(sampler.time(0));
    const at::Tensor x = c.same.start < 1.0 ? at.a * guess + at.s * noise : noise;
    CHECK(relative_l2(r.latents("start"), x) < 1e-6);
    const at::Tensor z = m.with_denoiser([&](const auto& denoiser) {
      return pushforward::sample(x, pushforward::model(denoiser, m.path()), sampler,
                                 examples::any_constraint{}, pushforward::update{pushforward::none{}},
                                 {.seed = 7})
          .x;
    });
    CHECK(relative_l2(r.latents(), z) < 1e-5);
    CHECK(r.trace()["settings"]["seed"] == 7);
    CHECK(r.trace()["settings"]["start"] == c.same.start);
  }

  const auto enlarged =
      run(folder, oracle, "superres", joined({oracle / "small.png", "--factor", "4", "--start", "0.5"}, few));
  INFO(enlarged.ended.said);
  REQUIRE(enlarged.ended.status == 0);
  const at::Tensor large =
      fitted(image_of(read_picture(oracle / "small.png")), fitting::resize, picture_size{64, 96});
  const auto at =
      m.path().at(pushforward::ddim(m.path().diffusion(), {3, 0.0, ddim_noise::eta, 0.5}).time(0));
  CHECK(relative_l2(enlarged.latents("start"), at.a * m.encode(large) + at.s * noise) < 1e-6);
}

TEST_CASE("rates that the command line leaves open are the program's, and do not grow") {
  const auto rates = [](double first, double last, const std::string& line) {
    CLI::App app;
    run_arguments a;
    add_run_options(app, a);
    app.parse(line);
    a.set_rates(app, first, last);
    return std::vector<double>{a.update.lr, a.update.lr_last};
  };
  CHECK(rates(0.5, 0.1, "") == std::vector<double>{0.5, 0.1});
  CHECK(rates(0.5, 0.1, "--lr 0.3") == std::vector<double>{0.3, 0.1});
  CHECK(rates(0.5, 0.1, "--lr 0.05") == std::vector<double>{0.05, 0.05});
  CHECK(rates(0.5, 0.1, "--lr-last 0.2") == std::vector<double>{0.5, 0.2});
  CHECK(rates(0.1, 0.1, "--lr 0.3") == std::vector<double>{0.3, 0.3});
}

TEST_CASE("the figures of an inpainting are those of its latents and its pictures") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  // the name of the picture will do as the name of a run
  const auto ended = run_program(
      folder, programs + "inpaint",
      joined({"--model", oracle / "checkpoint", "--out", folder / "shown.png", oracle / "picture.png"},
             joined({"--width", "64", "--height", "64", "--fit", "resize", "--box", "20", "30", "30", "40"},
                    {"--batch", "2", "--steps", "2", "--K", "2", "--lr", "0.05", "--save-latents"})));
  const outcome r{ended, folder / "shown"};
  INFO(r.ended.said);
  REQUIRE(r.ended.status == 0);
  const latent_model m = loaded(oracle);
  mask_arguments box;
  box.box = {20, 30, 30, 40};
  box.has_box = true;
  const picture_size size{64, 64};
  const at::Tensor image = fitted(image_of(read_picture(oracle / "picture.png")), fitting::resize, size);
  const at::Tensor mask = mask_of(box, {64, 96}, fitting::resize, size, 8, 8), known = latent_mask(mask);
  const at::Tensor target = m.encode(image * mask);
  const auto trace = r.trace();
  const auto& results = trace["results"];
  for (std::int64_t i = 0; i < 2; ++i) {
    const at::Tensor z = r.latents().narrow(0, i, 1);
    const auto n = static_cast<std::size_t>(i);
    CHECK(results["constraint_RMSE_in_latents"][n].get<double>() ==
          Approx(rms(z - target, known)).epsilon(1e-4));
    CHECK(results["RMSE_of_known_pixels"][n].get<double>() ==
          Approx(rms(m.decode(z) - image, mask)).epsilon(1e-4));
  }
  CHECK(results["RMSE_of_known_pixels_by_the_autoencoder_alone"].get<double>() ==
        Approx(rms(m.decode(target) - image, mask)).epsilon(1e-4));
  check_residuals(trace, 4.0 * known.sum().item<double>());
  const auto& settings = trace["settings"];
  CHECK(settings["known_share"].get<double>() == Approx(mask.mean().item<double>()));
  CHECK(settings["known_share_of_the_latent"].get<double>() == Approx(known.mean().item<double>()));
  CHECK(settings["steps"] == 2);
  CHECK(settings["K"] == 2);
  CHECK(settings["lr"] == 0.05);
  CHECK(settings["lr_last"] == 0.05);
  CHECK(trace["steps_taken"] == 2);
  const double times[] = {1000, 1000, 500, 500};
  for (std::size_t i = 0; i < 4; ++i) CHECK(trace["iterations"][i]["t"] == times[i]);
}

TEST_CASE("the figures of an enlargement are those of its pixels, and known noise is not fitted") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  const auto r = run(folder, oracle, "superres",
                     {oracle / "picture.png", "--shrink-first", "--factor", "3", "--averaging", "--steps",
                      "1", "--K", "2", "--save-latents"});
  INFO(r.ended.said);
  REQUIRE(r.ended.status == 0);
  // 64 x 96 is cut to multiples of both 3 and 8
  const at::Tensor truth = image_of(read_picture(oracle / "picture.png")).narrow(2, 8, 48);
  const at::Tensor result = loaded(oracle).decode(r.latents());
  REQUIRE(result.sizes() == truth.sizes());
  const at::Tensor small = at::avg_pool2d(truth, {3, 3});
  const auto trace = r.trace();
  CHECK(trace["results"]["constraint_RMSE_in_pixels"][0].get<double>() ==
        Approx(rms(at::avg_pool2d(result, {3, 3}) - small, at::ones({1}))).epsilon(1e-4));
  CHECK(trace["results"]["PSNR_dB"][0].get<double>() ==
        Approx(-20.0 * std::log10(rms(result.clamp(-1.0, 1.0) - truth, at::ones({1})) / 2.0)).epsilon(1e-4));
  CHECK(trace["results"]["PSNR_dB_of_the_cubic_resize"].get<double>() ==
        Approx(psnr(fitted(small, fitting::resize, picture_size{48, 96}), truth)));
  check_residuals(trace, 3.0 * 16.0 * 32.0);

  const auto noisy =
      run(folder, oracle, "superres",
          {oracle / "small.png", "--factor", "2", "--noise-level", "10", "--steps", "1", "--K", "1"});
  INFO(noisy.ended.said);
  REQUIRE(noisy.ended.status == 0);
  CHECK(noisy.trace()["iterations"][0]["loss"][0] == 0.0);
}

TEST_CASE("a curve is the mean residual of the batch, or its mean loss") {
  task t{"", "", {}, 8.0, "", {}, {}, {}};
  pushforward::sample_result<at::Tensor> r{};
  r.trace = {{0, 0, 1000.0, {1.0, 4.0}}, {0, 1, 1000.0, {0.0, 16.0}}};
  CHECK(residuals(t, r) == std::vector<double>{0.75, 1.0});
  t.measured = 0.0;
  CHECK(residuals(t, r) == std::vector<double>{2.5, 8.0});
}

TEST_CASE("each network computes in the type that is asked for it") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  const words few{oracle / "picture.png", "--known", "left", "--steps", "1", "--K", "1", "--save-latents"};
  const at::Tensor plain = run(folder, oracle, "inpaint", few).latents();
  for (const std::string option : {"--dtype", "--text-dtype", "--vae-dtype"}) {
    const auto r = run(folder, oracle, "inpaint", joined(few, {option, "bfloat16"}));
    INFO(option << ": " << r.ended.said);
    REQUIRE(r.ended.status == 0);
    const double moved = relative_l2(r.latents(), plain);
    CAPTURE(moved);
    CHECK(moved > 1e-6);
    CHECK(moved < 0.2);
  }
}

TEST_CASE("a checkpoint whose network predicts v is run as one") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  fs::copy(oracle / "checkpoint", folder / "v", fs::copy_options::recursive);
  const fs::path scheduler = folder / "v" / "scheduler" / "scheduler_config.json";
  auto config = json::parse(read_bytes(scheduler));
  config["prediction_type"] = "v_prediction";
  write_bytes(scheduler, config.dump());
  const auto one_step = [&](const fs::path& checkpoint) {
    const auto r = run(folder, oracle, "inpaint",
                       {"--model", checkpoint, oracle / "picture.png", "--known", "left", "--policy", "none",
                        "--steps", "1", "--eta", "0", "--batch", "2", "--latents",
                        oracle / "inpaint.safetensors", "--save-latents"});
    INFO(r.ended.said);
    REQUIRE(r.ended.status == 0);
    return std::pair(r.latents(), r.trace()["model"]["prediction"].get<std::string>());
  };
  const auto [epsilon, name] = one_step(oracle / "checkpoint");
  const auto [v, other_name] = one_step(folder / "v");
  CHECK(name == "epsilon");
  CHECK(other_name == "v");
  // one step ends at the estimate: (x - s o) / a of epsilon, a x - s o of v, with the same output o
  const auto c = loaded(oracle).path().at(1000);
  const at::Tensor x = expected(oracle, "inpaint.safetensors", "start"), output = x - c.a * epsilon;
  CHECK(relative_l2(v, c.a * x - output) < 1e-4);
}

TEST_CASE("the published folders run as their readers run them, with networks of small sizes") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  const auto plain = run(folder, oracle, "inpaint", joined({oracle / "picture.png"}, one_step)).latents();
  for (const auto& published : published_checkpoints()) {
    CAPTURE(published.name);
    const fs::path made = folder / published.name;
    fs::copy(oracle / "checkpoint", made, fs::copy_options::recursive);
    write_configurations(made, published);
    for (const char* part : {"unet", "vae", "text_encoder"}) {
      const auto small = json::parse(read_bytes(oracle / "checkpoint" / part / "config.json"));
      auto config = json::parse(read_bytes(made / part / "config.json"));
      for (const char* size :
           {"block_out_channels", "layers_per_block", "cross_attention_dim", "attention_head_dim",
            "norm_num_groups", "down_block_types", "up_block_types", "vocab_size", "hidden_size",
            "intermediate_size", "num_hidden_layers", "num_attention_heads"})
        if (small.contains(size) && !small[size].is_null()) config[size] = small[size];
      write_bytes(made / part / "config.json", config.dump());
    }
    const auto r =
        run(folder, oracle, "inpaint", joined({"--model", made, oracle / "picture.png"}, one_step));
    INFO(r.ended.said);
    REQUIRE(r.ended.status == 0);
    CHECK(r.trace()["model"]["prediction"] == published.prediction);
    // the same networks, schedule and padding: the very run of the checkpoint that says all its keys
    if (!published.second) CHECK(at::equal(r.latents(), plain));
  }
}

TEST_CASE("a single file runs as the folder with the same parameters, whatever else it holds") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  namespace m = pushforward::libtorch::models;
  const scratch_folder folder;
  const auto all = small_single_file();
  auto more = all;
  more["cond_stage_model.transformer.text_model.embeddings.position_ids"] = at::arange(77).unsqueeze(0);
  more["model_ema.diffusion_modelinput_blocks00weight"] = at::zeros({64, 4, 3, 3});
  more["global_step"] = at::zeros({}, at::kLong);
  const auto single = write_single_file(folder / "single.safetensors", more);
  const fs::path whole = folder / "whole", tokenizer = oracle / "checkpoint" / "tokenizer";
  const std::string clip = "cond_stage_model.transformer.";

  write_configurations(whole, published_checkpoints().front());
  fs::copy(tokenizer, whole / "tokenizer",
           fs::copy_options::recursive | fs::copy_options::overwrite_existing);
  const auto shrunk = [&](const char* part, const json& sizes) {
    auto config = json::parse(read_bytes(whole / part / "config.json"));
    config.update(sizes);
    write_bytes(whole / part / "config.json", config.dump());
    return whole / part / "config.json";
  };
  const auto unet =
      m::unet_config::read(shrunk("unet", {{"block_out_channels", {64, 128}},
                                           {"layers_per_block", 1},
                                           {"down_block_types", {"CrossAttnDownBlock2D", "DownBlock2D"}},
                                           {"up_block_types", {"UpBlock2D", "CrossAttnUpBlock2D"}}}));
  const auto vae = m::autoencoder_kl_config::read(
      shrunk("vae", {{"block_out_channels", {32, 32, 32, 32}}, {"layers_per_block", 1}}));
  const auto text = m::clip_text_config::read(
      shrunk("text_encoder", {{"vocab_size", 514}, {"intermediate_size", 64}, {"num_hidden_layers", 1}}));
  write_renamed(whole / "unet" / "diffusion_pytorch_model.safetensors", single, all, m::ldm_unet_names(unet),
                [&](const m::weights& w) { m::unet(unet, w); });
  write_renamed(whole / "vae" / "diffusion_pytorch_model.safetensors", single, all,
                m::ldm_autoencoder_names(vae), [&](const m::weights& w) { m::autoencoder_kl(vae, w); });
  write_renamed(whole / "text_encoder" / "model.safetensors", single, all, m::ldm_clip_text_names(),
                [&](const m::weights& w) { m::clip_text(text, w); });

  const words arguments = joined({oracle / "picture.png", "--prompt", "a cat!"}, one_step);
  const auto latents_of = [&](const words& model) {
    const auto r = run(folder, oracle, "inpaint", joined(model, arguments));
    INFO(r.ended.said);
    REQUIRE(r.ended.status == 0);
    return r.latents();
  };
  const words of_single{"--model", single, "--tokenizer", tokenizer};
  const at::Tensor expected = latents_of({"--model", whole});
  CHECK(expected.isfinite().all().item<bool>());
  CHECK(relative_l2(latents_of(of_single), expected) < 1e-6);

  // without its autoencoder, or without one that fits, with another from a file
  auto rest = all;
  tensors bare;
  for (const auto& [name, t] : all)
    if (name.starts_with(original_vae)) {
      bare[name.substr(original_vae.size())] = t;
      rest.erase(name);
    }
  const auto file = write_single_file(folder / "vae.safetensors", bare);
  const words headless{"--model", write_single_file(folder / "headless.safetensors", rest), "--tokenizer",
                       tokenizer};
  for (const fs::path& from : {fs::path(file), fs::path(single), whole / "vae",
                               whole / "vae" / "diffusion_pytorch_model.safetensors", whole})
    CHECK(relative_l2(latents_of(joined(headless, {"--vae", from})), expected) < 1e-6);
  fs::remove_all(whole / "vae");
  CHECK(relative_l2(latents_of({"--model", whole, "--vae", file}), expected) < 1e-6);
  const auto alone = run(folder, oracle, "inpaint", joined(headless, arguments));
  CHECK(alone.ended.status == 2);
  CHECK(
      holds(alone.ended.said, "the VAE (first_stage_model.*), which the option vae can take from elsewhere"));
}

TEST_CASE("a single file that is marked v_pred and ztsnr is run as v, from noise without any signal") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  auto all = small_single_file();
  const words arguments{oracle / "picture.png",
                        "--known",
                        "left",
                        "--policy",
                        "none",
                        "--steps",
                        "1",
                        "--eta",
                        "0",
                        "--batch",
                        "2",
                        "--latents",
                        oracle / "inpaint.safetensors",
                        "--save-latents"};
  const auto one = [&](const char* name) {
    const auto r = run(folder, oracle, "inpaint",
                       joined({"--model", write_single_file(folder / name, all), "--tokenizer",
                               oracle / "checkpoint" / "tokenizer"},
                              arguments));
    INFO(r.ended.said);
    REQUIRE(r.ended.status == 0);
    return std::pair(r.latents(), r.trace()["model"]);
  };
  const auto [epsilon, said] = one("epsilon.safetensors");
  CHECK(said["prediction"] == "epsilon");
  CHECK(!said.contains("zero_terminal_snr"));
  all["v_pred"] = all["ztsnr"] = at::zeros({0});
  const auto [v, marked] = one("v.safetensors");
  CHECK(marked["prediction"] == "v");
  CHECK(marked["zero_terminal_snr"] == true);
  // one step ends at the estimate: (x - s o) / a of epsilon; with a = 0, s = 1 that of v is -o
  const auto c = loaded(oracle).path().at(1000); // Stable Diffusion's schedule, too
  const at::Tensor x = expected(oracle, "inpaint.safetensors", "start");
  CHECK(relative_l2(v, -(x - c.a * epsilon) / c.s) < 1e-4);

  // more steps, on noise of either kind, and under guidance
  for (const words& choice :
       std::vector<words>{{"--eta", "1"}, {}, {"--guidance", "2"}, {"--start", "0.5"}}) {
    const auto r =
        run(folder, oracle, "inpaint",
            joined({"--model", folder / "v.safetensors", "--tokenizer", oracle / "checkpoint" / "tokenizer",
                    oracle / "picture.png", "--known", "left", "--steps", "3", "--K", "2", "--save-latents"},
                   choice));
    INFO(r.ended.said);
    REQUIRE(r.ended.status == 0);
    CHECK(r.latents().isfinite().all().item<bool>());
  }
}

TEST_CASE("a single file wants the tokenizer of its version, which pads as its text encoder was trained") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  const fs::path first = oracle / "checkpoint" / "tokenizer", second = folder / "second";
  fs::copy(first, second);
  auto config = json::object();
  if (fs::exists(second / "tokenizer_config.json"))
    config = json::parse(read_bytes(second / "tokenizer_config.json"));
  config["pad_token"] = "!";
  write_bytes(second / "tokenizer_config.json", config.dump());
  for (const auto& [context, right, wrong] :
       {std::tuple{768, first, second}, std::tuple{1024, second, first}}) {
    CAPTURE(context);
    const fs::path file = write_single_file(folder / "single.safetensors", small_single_file(context));
    const std::string version = context == 768 ? "1.x" : "2.x";
    const words arguments =
        joined({"--model", file, "--prediction", "epsilon", oracle / "picture.png"}, one_step);
    const auto good = run(folder, oracle, "inpaint", joined(arguments, {"--tokenizer", right}));
    INFO(good.ended.said);
    CHECK(good.ended.status == 0);
    for (const words& choice : std::vector<words>{{"--tokenizer", wrong}, {}}) {
      const auto r = run(folder, oracle, "inpaint", joined(arguments, choice));
      INFO(r.ended.said);
      CHECK(r.ended.status == 2);
      CHECK(holds(r.ended.said, "the tokenizer folder of a Stable Diffusion " + version + " checkpoint"));
      CHECK(holds(r.ended.said,
                  choice.empty() ? "a single file holds no tokenizer" : "pads with another token"));
    }
  }
}

TEST_CASE("TAESD's files of its own repository are the autoencoder that diffusers made of them") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  const fs::path theirs = oracle / "tiny" / "diffusion_pytorch_model.safetensors";
  const pushforward::safetensors::file made(theirs);
  tensors encoder, decoder; // there a clamp is the decoder's module 0, which diffusers does not count
  for (const auto& [name, view] : made.tensors()) {
    const std::string within = name.substr(std::string("encoder.layers.").size());
    const auto dot = within.find('.');
    const int number = std::stoi(within.substr(0, dot));
    const at::Tensor t = pushforward::libtorch::read_tensor(made, name);
    if (name.starts_with("encoder."))
      encoder[within] = t;
    else
      decoder[std::to_string(number + 1) + within.substr(dot)] = t;
  }
  fs::create_directory(folder / "taesd");
  write_single_file(folder / "taesd" / "encoder.safetensors", encoder);
  write_single_file(folder / "taesd" / "decoder.safetensors", decoder);
  const auto picture_with = [&](const fs::path& vae) {
    const auto r = run(folder, oracle, "inpaint", joined({oracle / "picture.png", "--vae", vae}, one_step));
    INFO(r.ended.said);
    REQUIRE(r.ended.status == 0);
    CHECK(r.trace()["model"]["vae"] == vae.filename().string());
    return std::pair(r.latents(), r.picture());
  };
  const auto [latents, picture] = picture_with(oracle / "tiny");
  const auto [same_latents, same_picture] = picture_with(folder / "taesd");
  CHECK(relative_l2(same_latents, latents) < 1e-6);
  CHECK(at::equal(same_picture, picture));
  fs::remove(folder / "taesd" / "decoder.safetensors");
  const auto half =
      run(folder, oracle, "inpaint", joined({oracle / "picture.png", "--vae", folder / "taesd"}, one_step));
  CHECK(half.ended.status == 2);
  CHECK(holds(half.ended.said, "taesd/decoder.safetensors"));
}

TEST_CASE("a prompt that is too long is cut off, and said to be") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  std::string prompt;
  for (int i = 0; i < 80; ++i) prompt += "a "; // a token each, beside one for the start and one for the end
  const auto r = run(
      folder, oracle, "inpaint",
      {oracle / "picture.png", "--known", "left", "--steps", "1", "--policy", "none", "--prompt", prompt});
  CHECK(r.ended.status == 0);
  CHECK(holds(r.ended.said, "the prompt has 80 tokens: the last 5 are cut off\n"));
  const auto one = run(folder, oracle, "inpaint",
                       {oracle / "picture.png", "--known", "left", "--steps", "1", "--policy", "none",
                        "--prompt", prompt.substr(8)});
  CHECK(holds(one.ended.said, "the prompt has 76 tokens: the last is cut off\n"));
}

TEST_CASE("devices are those that are listed") {
  const scratch_folder folder;
  const auto listed = run_program(folder, programs + "inpaint", {"--list-devices"}).said;
  int count = 0;
  while (holds(listed, "cuda:" + std::to_string(count) + "\n")) ++count;
  CHECK(device_named("cpu").is_cpu());
  for (const std::string& name :
       {"cuda:" + std::to_string(count), std::string("cuda:-1"), std::string("cuda:"), std::string("cuda:0x"),
        std::string("CPU"), std::string()}) {
    CAPTURE(name);
    CHECK_THROWS_AS(device_named(name), pushforward::bad_option);
  }
}

TEST_CASE("bad input is one line and status 2, and leaves no file") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  write_bytes(folder / "text.png", "no picture");
  fs::copy(oracle / "checkpoint", folder / "partial", fs::copy_options::recursive);
  fs::remove_all(folder / "partial" / "vae");
  fs::remove_all(folder / "partial" / "tokenizer");
  examples::write_png(folder / "low_mask.png", examples::picture(60, 96, 1, 255));
  fs::copy(oracle / "checkpoint" / "vae", folder / "overflowing");
  const fs::path weights = folder / "overflowing" / "diffusion_pytorch_model.safetensors";
  const pushforward::safetensors::file finite(oracle / "checkpoint" / "vae" / weights.filename());
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const auto& [name, view] : finite.tensors())
    tensors.emplace_back(name, pushforward::libtorch::read_tensor(finite, name));
  for (auto& [name, tensor] : tensors)
    if (name == "decoder.conv_out.weight") tensor.fill_(3e38);
  pushforward::libtorch::write_tensors(weights, tensors);
  fs::copy(oracle / "checkpoint" / "vae", folder / "no_vae");
  fs::remove(folder / "no_vae" / "config.json");
  fs::create_directory(folder / "no_vae" / "config.json");
  fs::copy(oracle / "checkpoint", folder / "endless", fs::copy_options::recursive);
  const fs::path scheduler = folder / "endless" / "scheduler" / "scheduler_config.json";
  auto endless = json::parse(read_bytes(scheduler));
  endless["num_train_timesteps"] = 100000;
  write_bytes(scheduler, endless.dump());
  examples::write_png(folder / "white.png", examples::picture(64, 96, 1, 255));
  examples::write_png(folder / "black.png", examples::picture(64, 96, 1, 0));
  examples::picture stripes(64, 96, 1, 255); // a black line in every block of 8 x 8
  for (std::size_t y = 0; y < 64; y += 8) std::fill_n(stripes.at(y, 0), 96, std::uint8_t{0});
  examples::write_png(folder / "stripes.png", stripes);
  std::vector<std::uint16_t> half_transparent(2 * 64 * 96, 255);
  std::fill_n(half_transparent.begin(), 64 * 96, std::uint16_t{0});
  write_bytes(folder / "hole.png", png_of({64, 96, PNG_COLOR_TYPE_GRAY_ALPHA, 8, half_transparent}));
  write_bytes(folder / "clear.png",
              png_of({64, 96, PNG_COLOR_TYPE_GRAY_ALPHA, 8, std::vector<std::uint16_t>(2 * 64 * 96, 0)}));
  const std::string picture = oracle / "picture.png", mask = oracle / "mask.png";
  const words few{"--steps", "2", "--K", "1"};
  struct bad {
    std::string program;
    words arguments;
    std::string said;
  };
  for (const auto& b : std::vector<bad>{
           {"inpaint", {folder / "none.png", "--mask", mask}, "there is no such file"},
           {"inpaint", {folder / "text.png", "--mask", mask}, "neither a JPEG nor a PNG"},
           {"inpaint", {picture, "--mask", oracle / "narrow_mask.png"}, "64 x 90"},
           {"inpaint", {picture, "--mask", folder / "low_mask.png"}, "60 x 96"},
           {"inpaint", {picture}, "--mask, --known or --box"},
           {"inpaint", {picture, "--mask", mask, "--known", "left"}, "in one way"},
           {"inpaint", {picture, "--box", "0", "0", "64", "97"}, "within the picture"},
           {"inpaint", {picture, "--box", "0", "0", "64", "96"}, "nothing is known"},
           {"inpaint", {picture, "--box", "8192", "0", "1", "1"}, "within the picture"},
           {"inpaint",
            {picture, "--mask", folder / "white.png"},
            "white.png: nothing is to be filled in: all of the picture is known; white is known and black is "
            "filled in"},
           {"inpaint", {picture, "--mask", folder / "black.png"}, "black.png: nothing is known"},
           {"inpaint", {picture, "--mask", folder / "stripes.png"}, "nothing is known: no block of 8 x 8"},
           {"inpaint",
            {picture, "--mask", folder / "clear.png"},
            "opaque is known and transparent is filled in"},
           {"inpaint",
            {picture, "--mask", folder / "black.png", "--white-is-filled"},
            "black.png: nothing is to be filled in: all of the picture is known; with --white-is-filled, "
            "black is known"},
           // the hole is cut off
           {"inpaint",
            {picture, "--box", "0", "0", "64", "8", "--width", "32", "--height", "64"},
            "nothing is to be filled in"},
           {"inpaint", {picture, "--mask", folder / "hole.png", "--white-is-filled"}, "make the mask opaque"},
           {"inpaint", {picture, "--known", "left", "--white-is-filled"}, "--white-is-filled"},
           {"inpaint", {picture, "--box", "0", "0", "8", "8", "--soft-mask"}, "--soft-mask"},
           {"inpaint", {picture, "--mask", mask, "--feather", "4", "--no-paste"}, "--no-paste pastes none"},
           {"inpaint", {picture, "--mask", mask, "--feather", "4", "--soft-mask"}, "--soft-mask"},
           {"inpaint", {picture, "--mask", mask, "--paste", "--no-paste"}, "--no-paste"},
           {"inpaint",
            {picture, "--mask", mask, "--model", folder / "nowhere"},
            "there is no such checkpoint"},
           {"inpaint",
            {picture, "--mask", mask, "--model", folder / "partial"},
            "parts of the checkpoint are missing"},
           {"inpaint", {picture, "--mask", mask, "--device", "cuda:99"}, "--list-devices"},
           {"inpaint", {picture, "--mask", mask, "--device", "tpu"}, "must be cpu, cuda or cuda:N"},
           {"inpaint", {picture, "--mask", mask, "--negative-prompt", "a dog"}, "--guidance"},
           {"inpaint", {picture, "--mask", mask, "--prompt", "\xff"}, "UTF-8"},
           {"inpaint", {picture, "--mask", mask, "--width", "100"}, "multiple of 8"},
           {"inpaint", {picture, "--mask", mask, "--steps", "0"}, "--steps: must be"},
           {"inpaint",
            {picture, "--mask", mask, "--latents", oracle / "inpaint.safetensors"},
            "this run's latents"},
           {"inpaint",
            {picture, "--mask", mask, "--policy", "forward_mode_newton", "--guidance", "2"},
            "inexact_newton"},
           {"inpaint", {picture, "--mask", mask, "--vae-dtype", "float16"}, "force_upcast"},
           {"inpaint", {picture, "--mask", mask, "--vae-device", "cuda:99"}, "--list-devices"},
           {"inpaint", {picture, "--mask", mask, "--text-device", "cuda:99"}, "--list-devices"},
           {"inpaint", {picture, "--mask", mask, "--variant", "fp16"}, "no weights of variant fp16"},
           {"inpaint", {picture, "--mask", mask, "--prediction", "v"}, "the option prediction says v"},
           {"inpaint",
            {picture, "--mask", mask, "--prediction", "noise"},
            "epsilon, sample, v, flow, reverse_flow"},
           {"inpaint",
            {picture, "--mask", mask, "--renoise", "0.5"},
            "--renoise has no effect on a diffusion"},
           {"inpaint",
            {picture, "--mask", mask, "--prediction", "flow", "--eta", "0"},
            "--eta has no effect on a flow"},
           {"inpaint",
            {picture, "--mask", mask, "--prediction", "flow", "--steps", "1", "--renoise", "1"},
            "--renoise has no effect with --steps 1"},
           {"inpaint",
            {picture, "--mask", mask, "--prediction", "flow", "--time-convention", "reference"},
            "--time-convention reference is of diffusion models"},
           {"inpaint", {picture, "--mask", mask, "--tokenizer", folder / "nowhere"}, "nowhere"},
           {"inpaint", {picture, "--mask", mask, "--vae", oracle / "wide"}, "do not belong together"},
           {"inpaint", {picture, "--mask", mask, "--vae", folder / "overflowing"}, "try --vae-dtype float32"},
           {"inpaint",
            {picture, "--mask", mask, "--vae", folder / "no_vae"},
            "no_vae/config.json: is not a regular file but a folder"},
           {"inpaint", {picture, "--mask", mask, "--vae", folder / "nowhere"}, "no such autoencoder"},
           {"inpaint", {picture, "--mask", mask, "--vae", picture}, "picture.png"},
           {"inpaint",
            {picture, "--mask", mask, "--model", folder / "endless"},
            "\"num_train_timesteps\" (100000)"},
           {"superres", {oracle / "small.png", "--factor", "1"}, "--factor"},
           {"superres", {picture, "--policy", "exact_newton", "--factor", "8"}, "dense Jacobian"},
           {"superres", {oracle / "small.png", "--pullback", "encoder", "--encoder-probe", "0"}, "probe"}}) {
    const auto said = run(folder, oracle, b.program,
                          given(b.arguments, "--steps") ? b.arguments : joined(b.arguments, few));
    INFO(b.program << ' ' << b.said << ": " << said.ended.said);
    CHECK(said.ended.status == 2);
    CHECK(holds(said.ended.said, b.said));
    const auto last = said.ended.said.rfind("pushforward_" + b.program + ": ");
    REQUIRE(last != std::string::npos);
    CHECK(said.ended.said.find('\n', last) + 1 == said.ended.said.size());
    for (const char* end : {".png", ".json", ".html"}) CHECK(!said.has(end));
  }
}

TEST_CASE("Ctrl-C keeps the estimate that stands") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  const fs::path name = folder / "out";
  const auto [status, said] =
      interrupted_run(folder, programs + "inpaint",
                      {"--model", oracle / "checkpoint", "--out", name, oracle / "picture.png", "--mask",
                       oracle / "mask.png", "--steps", "1000", "--K", "50"},
                      "inexact_newton");
  INFO(said);
  CHECK(status == 130);
  CHECK(holds(said, "stopped by the user in step 1 of 1000"));
  const auto trace = json::parse(read_bytes(name.string() + ".json"));
  CHECK(trace["ending"] == "stopped by the user");
  CHECK(trace["steps_taken"] == 0);
  CHECK(read_picture(name.string() + ".png").width == 96);
  CHECK(holds(read_bytes(name.string() + ".html"), "stopped by the user"));
}

TEST_CASE("Ctrl-C while networks are loaded ends the program, and leaves no file") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  // a pipe that is full once the program has said what it loads first holds it there until it is read
  const std::string fifo = folder / "pipe", first = "loading the text encoder\nloading the autoencoder\n";
  make_fifo(fifo);
  const int pipe = ::open(fifo.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
  REQUIRE(pipe >= 0);
  const int size = ::fcntl(pipe, F_SETPIPE_SZ, 4096);
  REQUIRE(size >= 4096);
  const std::string filling(static_cast<std::size_t>(size) - first.size(), ' ');
  REQUIRE(::write(pipe, filling.data(), filling.size()) == static_cast<::ssize_t>(filling.size()));
  const auto id = start_program(programs + "inpaint",
                                {"--model", oracle / "checkpoint", "--out", folder / "out",
                                 oracle / "picture.png", "--known", "left", "--steps", "1"},
                                fifo);
  int waiting = 0, status = 0;
  const auto patience = std::chrono::steady_clock::now() + std::chrono::minutes(2);
  while (::ioctl(pipe, FIONREAD, &waiting) == 0 && waiting < size &&
         std::chrono::steady_clock::now() < patience)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  CHECK(waiting == size);
  ::kill(id, SIGTERM);
  std::string said;
  for (bool ended = false;;) {
    char part[4096];
    const auto n = ::read(pipe, part, sizeof part);
    if (n > 0) said.append(part, static_cast<std::size_t>(n));
    if (n <= 0 && ended) break;
    if (n <= 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    ended = ended || ::waitpid(id, &status, WNOHANG) == id;
  }
  ::close(pipe);
  said.erase(0, filling.size());
  INFO(said);
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 130));
  // in the autoencoder or, where the pipe held it back, in the UNet
  const std::string end = "pushforward_inpaint: stopped, nothing was written\n";
  CHECK((said == first + end || said == first + "loading the UNet\n" + end));
  CHECK(folder.size() == 1); // the pipe
}

TEST_CASE("files of another run under the same name are said to be no result of this one") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  const words few{oracle / "picture.png", "--known", "left", "--steps", "1", "--policy", "none"};
  const auto said = [&](const words& more) {
    const auto r = run(folder, oracle, "inpaint", joined(few, more));
    INFO(r.ended.said);
    CHECK(r.ended.status == 0);
    const auto at = r.ended.said.find("not of this run, but there:");
    return at == std::string::npos ? std::string() : r.ended.said.substr(at);
  };
  const std::string name = folder / "out", there = "not of this run, but there: ";
  CHECK(said({}).empty());
  CHECK(said({"--batch", "3", "--save-latents"}) == there + name + ".png\n");
  CHECK(said({"--batch", "2", "--frames"}) ==
        there + name + ".png " + name + ".safetensors " + name + "-2.png\n");
  fs::remove(folder / "out.safetensors");
  CHECK(said({}) == there + name + "-frames.png " + name + "-0.png " + name + "-1.png " + name + "-2.png\n");
}

TEST_CASE("what no program could write, or would overwrite, is refused before anything is loaded") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  write_bytes(folder / "file", "");
  const words plain{oracle / "picture.png"}, style{oracle / "picture.png", "--clip", oracle / "clip"},
      known{oracle / "picture.png", "--known", "left"};
  struct job {
    std::string program;
    words arguments;
    std::string standard; ///< name of what is written
    words endings;
  };
  for (const auto& j :
       std::vector<job>{{"inpaint",
                         joined(known, {"--batch", "2", "--frames", "--save-latents"}),
                         "inpainted",
                         {"-0.png", "-1.png", ".json", ".html", "-frames.png", ".safetensors"}},
                        {"superres", plain, "enlarged", {".png", ".json", ".html"}},
                        {"style", style, "styled", {".png", ".json", ".html"}},
                        {"jacobian", plain, "jacobian", {".svg", ".png", ".json"}},
                        {"spectrum", plain, "spectrum", {".svg", ".json"}},
                        {"convergence", plain, "convergence", {".svg", ".json", ".html"}}}) {
    const auto refused = [&](const fs::path& out, words arguments, const std::string& said) {
      arguments = joined({"--model", oracle / "checkpoint", "--out", out}, joined(arguments, j.arguments));
      const auto ended = run_program(folder, programs + j.program, arguments);
      INFO(j.program << " --out " << out << ": " << ended.said);
      CHECK(ended.status == 2);
      CHECK(ended.said.rfind("pushforward_" + j.program + ": ", 0) == 0); // and no word of loading before
      CHECK(std::count(ended.said.begin(), ended.said.end(), '\n') == 1);
      CHECK(holds(ended.said, said));
    };
    refused(folder / "file/out", {}, (folder / "file").string() + " is not a folder");
    refused("/proc/out", {}, "/proc/out");
    refused("", {}, "is empty");
    const fs::path results = folder / j.program;
    for (const auto& ending : j.endings) { // a folder in place of each file in turn
      const fs::path taken = results / (j.standard + ending);
      fs::create_directories(taken);
      refused(results, {}, taken.string() + ": cannot be written (it is a folder)");
      fs::remove(taken);
    }
    CHECK(fs::is_empty(results));
    for (const auto& ending : j.endings) { // and a file that is read
      const fs::path input = results / (j.standard + ending);
      fs::create_symlink(oracle / "checkpoint" / "vae" / "config.json", input);
      refused(results.string() + "/", {}, input.string() + " would overwrite a file of the checkpoint, ");
      fs::remove(input);
    }
  }
}

TEST_CASE("no file that a run reads is overwritten") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  fs::copy(oracle / "checkpoint", folder / "model", fs::copy_options::recursive);
  fs::copy(oracle / "clip", folder / "clip");
  fs::copy(oracle / "tiny", folder / "tiny");
  fs::copy(oracle / "picture.png", folder / "cat.png");
  fs::copy(oracle / "mask.png", folder / "mask.png");
  fs::copy(oracle / "inpaint.safetensors", folder / "noise.safetensors");
  const words inpainting{"--model", folder / "model", "--mask", folder / "mask.png", folder / "cat.png"};
  const words styling{"--model",          folder / "model", "--clip", folder / "clip",       "--content",
                      folder / "cat.png", "--start",        "0.5",    oracle / "picture.png"};
  struct job {
    std::string program;
    words arguments;
    fs::path out, ending;
    std::string what;
  };
  for (const auto& j : std::vector<job>{
           {"inpaint", inpainting, "cat", ".png", "the picture"},
           {"inpaint", inpainting, "mask", ".png", "the mask"},
           {"inpaint", joined(inpainting, {"--save-latents", "--latents", folder / "noise.safetensors"}),
            "noise", ".safetensors", "the latents"},
           {"inpaint", joined(inpainting, {"--save-latents"}), "model/unet/diffusion_pytorch_model",
            ".safetensors", "a file of the checkpoint"},
           {"inpaint", inpainting, "model/tokenizer/vocab", ".json", "a file of the checkpoint"},
           {"inpaint", joined(inpainting, {"--vae", folder / "tiny"}), "tiny/config", ".json",
            "a file of the autoencoder"},
           {"superres", {"--model", folder / "model", folder / "cat.png"}, "cat", ".png", "the picture"},
           {"style", styling, "cat", ".png", "the content"},
           {"style", styling, "clip/config", ".json", "a file of CLIP"},
           {"jacobian", {"--model", folder / "model", folder / "cat.png"}, "cat", ".png", "the picture"}}) {
    const fs::path input = folder / (j.out.string() + j.ending.string());
    const std::string before = read_bytes(input);
    const auto ended =
        run_program(folder, programs + j.program, joined({"--out", folder / j.out.string()}, j.arguments));
    INFO(j.program << ' ' << j.out << ": " << ended.said);
    CHECK(ended.status == 2);
    CHECK(
        holds(ended.said, "--out: " + input.string() + " would overwrite " + j.what + ", " + input.string()));
    CHECK(read_bytes(input) == before);
  }
}

TEST_CASE("every file that a checkpoint may be read from is an input, and no other beside them") {
  const scratch_folder folder;
  std::set<fs::path> wanted;
  const auto add = [&](const fs::path& where, const words& names) {
    fs::create_directories(folder / where);
    for (const auto& name : names) {
      write_bytes(folder / where / name, "");
      wanted.insert(folder / where / name);
    }
    write_bytes(folder / where / "notes.txt", "");
    write_bytes(folder / where / "inpainted.json", "");
  };
  const words tokens{"vocab.json",        "merges.txt",
                     "tokenizer.json",    "tokenizer_config.json",
                     "added_tokens.json", "special_tokens_map.json"};
  const words network{
      "config.json", "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.safetensors.index.json",
      "diffusion_pytorch_model-00001-of-00002.fp16.safetensors", "any-name-of-an-index.safetensors"};
  add("model", {"model_index.json"});
  add("model/unet", network);
  add("model/vae", network);
  add("model/text_encoder", {"config.json", "model.safetensors", "model.fp16.safetensors"});
  add("model/tokenizer", tokens);
  add("model/scheduler", {"scheduler_config.json"});
  add("tiny", {"encoder.safetensors", "decoder.safetensors"});
  add("words", tokens);
  model_arguments a;
  a.checkpoint = folder / "model";
  a.vae = folder / "tiny";
  a.tokenizer = folder / "words";
  wanted.insert({a.checkpoint, a.vae});
  std::set<fs::path> found;
  for (const auto& file : files_of(a)) found.insert(file.path);
  CHECK(found == wanted);

  a = {};
  a.checkpoint = folder / "single.safetensors";
  a.vae = folder / "tiny/encoder.safetensors"; // any single file, with what is read beside it
  words paths;
  for (const auto& file : files_of(a)) paths.push_back(file.path);
  CHECK(paths == words{a.checkpoint, a.vae, (folder / "tiny/config.json").string()});

  a.vae = folder / "model"; // the autoencoder of a whole checkpoint
  found.clear();
  for (const auto& file : files_of(a)) found.insert(file.path);
  for (const auto& name : network) CHECK(found.contains(folder / "model/vae" / name));
}

TEST_CASE("results go into a folder under the program's own name, with the permissions of the umask") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  const mode_t before = ::umask(0027);
  const auto ended =
      run_program(folder, programs + "inpaint",
                  joined({"--model", oracle / "checkpoint", "--out", (folder / "new").string() + "/"},
                         joined(inpainting(oracle), {"--save-latents"})));
  ::umask(before);
  INFO(ended.said);
  REQUIRE(ended.status == 0);
  for (const char* ending : {".png", ".json", ".html", ".safetensors"})
    CHECK(mode_of(folder / "new" / (std::string("inpainted") + ending)) == 0640);
  CHECK(std::distance(fs::directory_iterator(folder / "new"), {}) == 4);
}

TEST_CASE("a run whose last file does not fit on the disk leaves none, and older results as they were") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  const auto arguments = inpainting(oracle);
  REQUIRE(run(folder, oracle, "inpaint", arguments).ended.status == 0);
  const words endings{".png", ".json", ".html"};
  words older;
  for (const auto& ending : endings) older.push_back(read_bytes(folder / ("out" + ending)));
  const std::size_t room = std::max({older[0].size(), older[1].size(), std::size_t{5000}}) * 5 / 4;
  REQUIRE(older[2].size() > room);
  const auto ended = [&] {
    const size_limit full(room);
    return run(folder, oracle, "inpaint", joined(arguments, {"--seed", "1"})).ended;
  }();
  INFO(ended.said);
  CHECK(ended.status == 2);
  CHECK(holds(ended.said, (folder / "out.html").string() + ": cannot be written (File too large)\n"));
  for (std::size_t i = 0; i < endings.size(); ++i)
    CHECK(read_bytes(folder / ("out" + endings[i])) == older[i]);
  CHECK(folder.size() == 4); // those, and what was said
}

TEST_CASE("a file that is read and is no regular file is refused at once") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  fs::copy(oracle / "checkpoint", folder / "model", fs::copy_options::recursive);
  fs::copy(oracle / "clip", folder / "clip");
  fs::copy(oracle / "tiny", folder / "tiny");
  fs::copy(oracle / "style.safetensors", folder / "noise");
  const words arguments{"--model",   folder / "model",
                        "--vae",     folder / "tiny",
                        "--latents", folder / "noise",
                        "--steps",   "1",
                        "--K",       "1",
                        "--width",   "96",
                        "--height",  "64",
                        "--out",     folder / "out",
                        "--clip",    (folder / "clip").string()};
  for (const std::string name :
       {"noise", "clip/config.json", "clip/model.safetensors", "tiny/config.json",
        "tiny/diffusion_pytorch_model.safetensors", "model/scheduler/scheduler_config.json",
        "model/unet/diffusion_pytorch_model.safetensors", "model/tokenizer/vocab.json",
        "model/tokenizer/merges.txt"}) {
    fs::rename(folder / name, folder / "kept");
    make_fifo(folder / name);
    const auto ended = run_program(folder, programs + "style", joined(arguments, {oracle / "picture.png"}));
    INFO(name << ": " << ended.said);
    CHECK(ended.status == 2);
    CHECK(holds(ended.said, (folder / name).string() + ": is not a regular file but a FIFO"));
    fs::remove(folder / name);
    fs::rename(folder / "kept", folder / name);
  }
}

TEST_CASE("a damaged file of a checkpoint is found before any network is loaded") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  const std::string model = folder / "model", file = "diffusion_pytorch_model.safetensors";
  fs::copy(oracle / "checkpoint", model, fs::copy_options::recursive);
  const auto refused = [&](const std::string& name, const auto& damage, const std::string& message) {
    fs::copy_file(model + name, folder / "kept");
    damage(model + name);
    const auto ended =
        run_program(folder, programs + "inpaint",
                    {"--model", model, "--out", folder / "out", oracle / "picture.png", "--known", "left"});
    INFO(name << ": " << ended.said);
    CHECK(ended.status == 2);
    CHECK(ended.said.starts_with("pushforward_inpaint: " + model + name + ": ")); // nothing was loaded
    CHECK(holds(ended.said, message));
    fs::remove_all(model + name);
    fs::rename(folder / "kept", model + name);
  };
  const auto cut_off = [](const std::string& path) { fs::resize_file(path, fs::file_size(path) - 4); };
  const auto emptied = [](const std::string& path) { fs::resize_file(path, 0); };
  const auto made_a_folder = [](const std::string& path) {
    fs::remove(path);
    fs::create_directory(path);
  };
  for (const auto& part : {"/unet/" + file, "/vae/" + file, std::string("/text_encoder/model.safetensors")}) {
    refused(part, cut_off, "the file is damaged");
    refused(part, emptied, "shorter than the 8 bytes");
    refused(part, made_a_folder, "not a regular file but a folder");
  }
  refused(
      "/unet/" + file,
      [&](const std::string& path) {
        fs::copy_file(model + "/vae/" + file, path, fs::copy_options::overwrite_existing);
      },
      "it belongs to another network");
}

TEST_CASE("too little memory is said before anything is loaded") {
  CHECK_NOTHROW(require_memory(1e9, 1e9, "the UNet"));
  CHECK_THROWS_WITH(
      require_memory(3.4e9, 1e9, "the UNet"),
      "the UNet needs 3400 MB of memory, but 1000 MB are free: close other programs, or choose a "
      "smaller type (--dtype bfloat16, --vae-dtype, --text-dtype)");
}

TEST_CASE("the memory that is free is the system's, within the tightest control group") {
  const scratch_folder folder;
  const fs::path proc = folder / "proc", groups = folder / "cgroup";
  const auto write = [](const fs::path& path, const std::string& text) {
    fs::create_directories(path.parent_path());
    write_bytes(path, text);
  };
  const auto free = [&] { return free_memory(proc, groups); };
  /// In MB: the limit, what is used, and of that the page cache, of files used lately and of others.
  const auto second = [&](const fs::path& group, const std::string& limit, int used, int active,
                          int inactive) {
    write(group / "memory.max", limit + "\n");
    write(group / "memory.current", std::to_string(used) + "000000\n");
    write(group / "memory.stat", "anon 1000000\nfile 99000000000\ninactive_file " + std::to_string(inactive) +
                                     "000000\nactive_file " + std::to_string(active) +
                                     "000000\nunevictable 0\n");
  };
  write(proc / "meminfo",
        "MemTotal:       16000000 kB\nMemFree:           10000 kB\nMemAvailable:    8000000 kB\n"
        "HugePages_Total:       0\n");
  const double system = 8000000.0 * 1024.0;
  CHECK(free() == system); // no groups at all

  SECTION("version 2, of a container that sees its group as the root") {
    write(proc / "self/cgroup", "0::/\n");
    second(groups, "max", 1, 0, 0);
    CHECK(free() == system);
    second(groups, "4000000000", 1500, 0, 0);
    CHECK(free() == 2.5e9);
    second(groups, "4000000000", 4000, 1000, 2500); // full of page cache
    CHECK(free() == 3.5e9);
    second(groups, "4000000000", 4100, 0, 0);
    CHECK(free() == -1e8);
    second(groups, "40000000000", 0, 0, 0); // more than there is
    CHECK(free() == system);
    fs::remove(groups / "memory.stat");
    CHECK(free() == system);
    // without a namespace, the kernel's name for the group is none in the container
    write(proc / "self/cgroup", "0::/docker/0123abc\n");
    second(groups, "4000000000", 1500, 0, 0);
    CHECK(free() == 2.5e9);
    // outside the namespace, and not the folder beside the root
    write(proc / "self/cgroup", "0::/../elsewhere\n");
    second(folder / "elsewhere", "1", 0, 0, 0);
    CHECK(free() == 2.5e9);
  }
  SECTION("version 2, groups within groups") {
    write(proc / "self/cgroup", "0::/user.slice/user-1000.slice/run 1.scope\n");
    second(groups / "user.slice", "6000000000", 1000, 0, 0);
    CHECK(free() == 5e9);
    second(groups / "user.slice/user-1000.slice", "3000000000", 2000, 0, 500);
    CHECK(free() == 1.5e9);
    second(groups / "user.slice/user-1000.slice/run 1.scope", "max", 900, 0, 0);
    CHECK(free() == 1.5e9);
    second(groups / "user.slice/user-1000.slice/run 1.scope", "1000000000", 900, 0, 0);
    CHECK(free() == 1e8);
    second(groups / "user.slice/user-1001.slice", "1", 0, 0, 0); // not ours
    CHECK(free() == 1e8);
  }
  SECTION("version 1") {
    write(proc / "self/cgroup", "12:cpu,cpuacct:/a\n7:memory:/docker/0123abc\n0::/system.slice\n");
    const auto first = [&](const fs::path& group, const std::string& limit, const std::string& used,
                           const std::string& around) {
      write(group / "memory.limit_in_bytes", limit + "\n");
      write(group / "memory.usage_in_bytes", used + "\n");
      write(group / "memory.stat", "cache 5\ninactive_file 7\nhierarchical_memory_limit " + around +
                                       "\ntotal_inactive_file 500000000\ntotal_active_file 250000000\n");
    };
    const std::string none = "9223372036854771712";
    first(groups / "memory", none, "5000000000", none);
    CHECK(free() == system);
    first(groups / "memory/docker/0123abc", "4000000000", "3000000000", none);
    CHECK(free() == 1.75e9);
    first(groups / "memory/docker/0123abc", none, "3000000000", "3500000000"); // of a group around
    CHECK(free() == 1.25e9);
    first(groups / "memory/docker", "3200000000", "3100000000", "3200000000");
    CHECK(free() == 8.5e8);
  }
  SECTION("a system that says nothing limits nothing") {
    fs::remove_all(proc);
    CHECK(free() == std::numeric_limits<double>::infinity());
  }
}

TEST_CASE("the memory that a network needs is that of its numbers in the type it computes in") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  fs::copy(oracle / "checkpoint", folder / "vast", fs::copy_options::recursive);
  const std::int64_t many = std::int64_t{1} << 39;
  write_hollow(folder / "vast" / "unet" / "diffusion_pytorch_model.safetensors", {{"a", {many}}});
  for (const auto& [type, needed] : {std::pair("float32", "2199023 MB"), {"bfloat16", "1099512 MB"}}) {
    const auto r =
        run(folder, oracle, "inpaint",
            {"--model", folder / "vast", oracle / "picture.png", "--known", "left", "--dtype", type});
    INFO(r.ended.said);
    CHECK(r.ended.status == 2);
    CHECK(holds(r.ended.said, std::string("the UNet needs ") + needed + " of memory"));
  }

  // of a single file only the part that is loaded counts
  write_hollow(
      folder / "single.safetensors",
      {{"cond_stage_model.transformer.a", {many}},
       {"model_ema.diffusion_modela", {many}},
       {"first_stage_model.a", {many}},
       {"model.diffusion_model.input_blocks.0.0.weight", {320, 4, 3, 3}},
       {"model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight", {320, 768}}});
  const words single{"--model", folder / "single.safetensors", oracle / "picture.png", "--known", "left"};
  CHECK(holds(run(folder, oracle, "inpaint", single).ended.said, "a single file holds no tokenizer"));
  const auto r =
      run(folder, oracle, "inpaint",
          joined(single, {"--tokenizer", oracle / "checkpoint" / "tokenizer", "--vae", oracle / "tiny"}));
  INFO(r.ended.said);
  CHECK(r.ended.status == 2);
  CHECK(holds(r.ended.said, "the text encoder needs 2199023 MB of memory"));
}

TEST_CASE("a run that takes more than the memory that is free is refused before anything is loaded") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  const words large{"--width", "8192", "--height", "8192"}, many{"--batch", "1000"};
  const std::string picture = oracle / "picture.png";
  struct vast {
    std::string program;
    words arguments;
    std::string remedy;
  };
  for (const auto& v : std::vector<vast>{
           {"inpaint", joined(joined({picture, "--known", "left"}, large), many), "--width and --height"},
           {"superres", joined({picture, "--factor", "32", "--width", "4096", "--height", "4096"}, many),
            "--factor"},
           {"style", joined(joined({picture, "--clip", oracle / "clip"}, large), many),
            "--pullback encoder"}}) {
    const auto r = run(folder, oracle, v.program, v.arguments);
    INFO(r.ended.said);
    CHECK(r.ended.status == 2);
    CHECK(holds(r.ended.said, "of memory or more, but "));
    CHECK(holds(r.ended.said, v.remedy));
    CHECK(!holds(r.ended.said, "loading"));
    CHECK(std::count(r.ended.said.begin(), r.ended.said.end(), '\n') == 1);
  }
}

TEST_CASE("what a run takes is estimated from below, and not far below") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  // Stable Diffusion's decoder: 256 channels in, 256 normalised, 128 out
  CHECK(decoder_values(pushforward::libtorch::models::autoencoder_kl_config{}, false) == 640.0);
  const std::string picture = oracle / "picture.png";
  model_arguments a;
  a.checkpoint = oracle / "checkpoint";
  const words few{picture, "--width", "384", "--height", "256", "--steps", "1"};
  const auto measured = [&](const std::string& program, const words& arguments) {
    const auto r = run(folder, oracle, program, joined(few, arguments));
    INFO(r.ended.said);
    REQUIRE(r.ended.status == 0);
    return r.trace()["costs_of_the_batch"]["peak_bytes_above_the_loaded_model"].get<double>();
  };
  const picture_size size{256, 384};
  const double forward = measured("inpaint", {"--known", "left", "--batch", "2", "--policy", "none"});
  const double backward = measured("superres", {"--shrink-first", "--factor", "2", "--K", "1"});
  CAPTURE(forward, backward);
  const double low = bytes_of_run(a, {size, 2}), high = bytes_of_run(a, {size, 1, true});
  CAPTURE(low, high);
  CHECK(low < forward);
  CHECK(low > forward / 4);
  CHECK(high < backward);
  CHECK(high > backward / 4);
}

TEST_CASE("memory that runs out in a run is one line and status 2, and leaves no file") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  const auto said =
      run_program(folder, "/bin/sh",
                  {"-c", "ulimit -v 2500000 && exec \"$0\" \"$@\"", programs + "inpaint", "--model",
                   oracle / "checkpoint", "--out", folder / "out", oracle / "picture.png", "--known", "left",
                   "--width", "4096", "--height", "4096", "--steps", "2", "--K", "1"});
  INFO(said.said);
  CHECK(said.status == 2);
  CHECK(holds(said.said, "pushforward_inpaint: there is not enough memory: close other programs"));
  CHECK(said.said.back() == '\n');
  for (const char* end : {"out.png", "out.json", "out.html"}) CHECK(!fs::exists(folder / end));
}

TEST_CASE("pasted pixels fade from the edge of the unknown part") {
  at::Tensor mask = at::ones({1, 1, 40, 40});
  mask.narrow(3, 20, 20).zero_();
  const at::Tensor share = feathered(mask, 8);
  CHECK(share.narrow(3, 20, 20).abs().max().item<double>() == 0.0);
  CHECK(share.narrow(3, 0, 12).min().item<double>() == 1.0);
  const at::Tensor row = share[0][0][20];
  CHECK((row.narrow(0, 0, 20) - row.narrow(0, 1, 20)).min().item<double>() >= 0.0);
  CHECK(row[19].item<double>() < 0.1);
  CHECK(at::equal(feathered(mask, 0), mask));
}

TEST_CASE("halves are of what is left of a picture, and a box lies within it") {
  const auto half = [](const char* known) {
    mask_arguments a;
    a.known = known;
    return mask_of(a, {70, 100}, fitting::resize, {}, 8, 8);
  };
  at::Tensor upper = at::zeros({1, 1, 64, 96}), left = at::zeros({1, 1, 64, 96});
  upper.narrow(2, 0, 32).fill_(1.0);
  left.narrow(3, 0, 48).fill_(1.0);
  CHECK(half("upper").equal(upper));
  CHECK(half("lower").equal(1.0 - upper));
  CHECK(half("left").equal(left));
  CHECK(half("right").equal(1.0 - left));

  const auto boxed = [](const std::array<std::int64_t, 4>& box) {
    mask_arguments a;
    a.box = box;
    a.has_box = true;
    return mask_of(a, {64, 96}, fitting::crop, {}, 8, 8);
  };
  CHECK(boxed({56, 88, 8, 8}).sum().item<double>() == 64 * 96 - 64);
  using box = std::array<std::int64_t, 4>;
  for (const auto& outside : {box{-1, 0, 8, 8}, box{0, -1, 8, 8}, box{0, 0, 0, 8}, box{0, 0, 8, 0},
                              box{57, 0, 8, 8}, box{0, 89, 8, 8}})
    CHECK_THROWS_AS(boxed(outside), pushforward::bad_option);
}

TEST_CASE("a pixel of a resized mask is known where no pixel that is filled in has a share in it") {
  mask_arguments a;
  a.box = {21, 30, 29, 41};
  a.has_box = true;
  const picture_size original{64, 96};
  for (const auto& size : {picture_size{32, 48}, picture_size{48, 48}, picture_size{96, 144}})
    for (const auto how : {fitting::crop, fitting::resize}) {
      const auto filled_with = [&](double value) {
        at::Tensor image = at::zeros({1, 1, 64, 96});
        image.narrow(2, 21, 29).narrow(3, 30, 41).fill_(value);
        return fitted(image, how, size);
      };
      const at::Tensor share = (filled_with(0.5) - filled_with(-0.5)).abs();
      const at::Tensor mask = mask_of(a, original, how, size, 8, 8);
      CHECK(mask.equal(share.lt(1e-3).to(at::kFloat)));
      CHECK(mask.mean().item<double>() > 0.5);
    }
}

TEST_CASE("grey of a soft mask is its weight after resizing, too, and no weight leaves [0, 1]") {
  const scratch_folder folder;
  examples::picture bands(64, 96, 1, 255); // white, grey, black
  for (std::size_t y = 0; y < 64; ++y)
    for (std::size_t x = 32; x < 96; ++x) *bands.at(y, x) = x < 64 ? 153 : 0;
  examples::write_png(folder / "bands.png", bands);
  mask_arguments a;
  a.picture = folder / "bands.png";
  a.soft = true;
  const at::Tensor row = mask_of(a, {64, 96}, fitting::resize, picture_size{48, 72}, 8, 8)[0][0][24];
  CHECK(row.min().item<double>() == 0.0);
  CHECK(row.max().item<double>() == 1.0);
  CHECK(row[12].item<double>() == 1.0);
  CHECK(row[36].item<double>() == Approx(0.6).margin(1e-3));
  CHECK(row[60].item<double>() == 0.0);
}
