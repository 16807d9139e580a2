// The programs on style, the Jacobian, its spectrum and step-size rules, on the same checkpoint.

#include "programs.hpp"

#include <run.hpp>
#include <subject.hpp>

#include <pushforward/analysis/arnoldi.hpp>
#include <pushforward/constraints/masked.hpp>
#include <pushforward/estimate.hpp>
#include <pushforward/samplers/ddim.hpp>
#include <pushforward/updates/inexact_newton.hpp>

#include <cmath>

using namespace testing_support;

namespace {

template <class Denoiser>
auto estimator_of(const latent_model& m, const Denoiser& denoiser, pushforward::pass_counts& counts) {
  return pushforward::estimator<at::Tensor, Denoiser, examples::any_path>(
      pushforward::model(denoiser, m.path()), counts);
}

} // namespace

TEST_CASE("style ends at the latents of the method written in Python, and the trace counts CLIP's passes") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  const auto arguments = joined({oracle / "style.png", "--clip", oracle / "clip", "--width", "96", "--height",
                                 "64", "--prompt", "a cat"},
                                deterministic(oracle, "style.safetensors"));
  const auto r = run(folder, oracle, "style", arguments);
  INFO(r.ended.said);
  REQUIRE(r.ended.status == 0);
  CHECK(relative_l2(r.latents(), expected(oracle, "style.safetensors", "styled")) < 2e-3);
  const auto trace = r.trace();
  const auto& costs = trace["costs_of_the_batch"];
  CHECK(costs["passes"] == 2 * 4 * (1 + 2 * 3));
  CHECK(costs["denoiser_backward"] == 0);
  CHECK(costs["decoder_backward"] == 4 * 3);
  CHECK(costs["CLIP_passes"] == 4 * 3);
  CHECK(costs["CLIP_backward_passes"] == 4 * 3);
  CHECK(trace["model"]["guidance"] == 3.0);
  CHECK(r.picture().sizes() == at::IntArrayRef({1, 3, 64, 96}));
  CHECK(holds(read_bytes(r.name.string() + ".html"), "CLIP backward passes"));

  const auto reference = run(folder, oracle, "style",
                             joined(arguments, {"--guidance", "2", "--guidance-convention", "reference"}));
  INFO(reference.ended.said);
  REQUIRE(reference.ended.status == 0);
  CHECK(relative_l2(reference.latents(), r.latents()) < 1e-6);

  const auto encoder = run(folder, oracle, "style", joined(arguments, {"--pullback", "encoder"}));
  INFO(encoder.ended.said);
  REQUIRE(encoder.ended.status == 0);
  CHECK(encoder.trace()["costs_of_the_batch"]["backward_passes"] == 0);
  CHECK(encoder.trace()["costs_of_the_batch"]["encoder_passes"] == 2 * 4 * 3);

  const auto from_content = run(folder, oracle, "style",
                                {oracle / "style.png", "--clip", oracle / "clip", "--content",
                                 oracle / "picture.png", "--start", "0.5", "--width", "96", "--height", "64",
                                 "--steps", "1", "--K", "1", "--seed", "7", "--save-latents"});
  INFO(from_content.ended.said);
  REQUIRE(from_content.ended.status == 0);
  const latent_model m = loaded(oracle);
  const at::Tensor content = m.encode(image_of(read_picture(oracle / "picture.png")));
  CHECK(relative_l2(from_content.latents("start"), pushforward::noised(m.path(), content, 500.0, 7)) < 1e-6);
}

TEST_CASE("with the reference's probe and time inpaint ends at the latents of its loop written in Python") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  const auto r = run(folder, oracle, "inpaint",
                     joined({oracle / "picture.png", "--mask", oracle / "mask.png", "--batch", "2",
                             "--prompt", "a cat", "--probe", "reference", "--time-convention", "reference"},
                            deterministic(oracle, "inpaint.safetensors")));
  INFO(r.ended.said);
  REQUIRE(r.ended.status == 0);
  CHECK(relative_l2(r.latents(), expected(oracle, "inpaint.safetensors", "reference")) < 1e-3);
  CHECK(r.trace()["settings"]["probe"] == 0.005);
  CHECK(r.trace()["model"]["time_convention"] == "reference");
}

namespace {

/// A magnitude of jacobian's trace, as it is in Python.
at::Tensor map_of(const json& trace, const char* name) {
  std::vector<double> values;
  for (const auto& row : trace[name]["magnitude"])
    for (const double v : row) values.push_back(v);
  return at::tensor(values, at::kDouble).view({8, 12});
}

} // namespace

TEST_CASE("jacobian draws the published magnitude of one-hot vectors, as Python has it") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  const words at_pixel{oracle / "picture.png",        "--pixel", "3", "4", "--latents",
                       oracle / "studies.safetensors"};
  const auto r = run(folder, oracle, "jacobian", at_pixel);
  INFO(r.ended.said);
  REQUIRE(r.ended.status == 0);
  const auto j = r.trace();
  const auto difference = [&](const char* name, const char* of) {
    const at::Tensor wanted = expected(oracle, "studies.safetensors", of).to(at::kDouble);
    return (map_of(j, name).log() - wanted).abs().max().item<double>();
  };
  CHECK(difference("J_v", "log J v") < 1e-3); // a forward difference in float32
  CHECK(difference("J^T_v", "log J^T v") < 1e-4);
  CHECK(std::abs(j["cosine_of_J_v_and_J^T_v"].get<double>() -
                 expected(oracle, "studies.safetensors", "cosine of one-hot").item<double>()) < 1e-3);
  CHECK(j["vectors"] == "one_hot");
  CHECK(j["J_v"]["at_the_pixel"] == j["J_v"]["magnitude"][3][4]);
  CHECK(j["costs"]["passes"] ==
        1 + 4 + 4); // the estimate, the differences, the graphs of the backward passes
  CHECK(j["costs"]["backward_passes"] == 4);

  // of a change near the resolution of float32 nothing is felt at places: 0, and no infinite logarithm
  const auto fine = run(folder, oracle, "jacobian", joined(at_pixel, {"--probe", "1e-5"}));
  INFO(fine.ended.said);
  REQUIRE(fine.ended.status == 0);
  CHECK(map_of(fine.trace(), "J_v").min().item<double>() == 0.0);
  CHECK(map_of(fine.trace(), "J_v").max().item<double>() > 0.0);
}

TEST_CASE("jacobian of a vector of ones is what autograd and a forward difference give in Python") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  const auto r = run(folder, oracle, "jacobian",
                     {oracle / "picture.png", "--pixel", "3", "4", "--vectors", "ones", "--latents",
                      oracle / "studies.safetensors"});
  INFO(r.ended.said);
  REQUIRE(r.ended.status == 0);
  const auto j = r.trace();
  CHECK(relative_l2(map_of(j, "J_v"), expected(oracle, "studies.safetensors", "J v")[0]) < 1e-3);
  CHECK(relative_l2(map_of(j, "J^T_v"), expected(oracle, "studies.safetensors", "J^T v")[0]) < 1e-4);
  CHECK(std::abs(j["cosine_of_J_v_and_J^T_v"].get<double>() -
                 expected(oracle, "studies.safetensors", "cosine").item<double>()) < 1e-3);
  CHECK(j["J_v"]["at_the_pixel"] == j["J_v"]["magnitude"][3][4]);
  CHECK(j["J_v"]["norm"].get<double>() == Approx(map_of(j, "J_v").norm().item<double>()));
  CHECK(j["costs"]["passes"] == 3); // the estimate, the difference, and the graph of the backward pass
  CHECK(j["costs"]["backward_passes"] == 1);
  CHECK(holds(read_bytes(r.name.string() + ".svg"), "data:image/png;base64,"));

  const at::Tensor shades = r.picture().sum(1)[0]; // which grows with the magnitude
  for (const std::int64_t i : {0, 1}) {
    const auto least = map_of(j, i == 0 ? "J_v" : "J^T_v").argmin().item<std::int64_t>();
    // 26 is the largest whole number of times that is 320 or less
    const at::Tensor map = shades.narrow(0, 98, 8 * 26).narrow(1, 24 + i * (12 * 26 + 24), 12 * 26);
    CHECK(map[26 * (least / 12) + 13][26 * (least % 12) + 13].item<double>() == map.min().item<double>());
  }

  const auto earlier = run(folder, oracle, "jacobian",
                           {oracle / "picture.png", "--pixel", "3", "4", "--vectors", "ones", "--time", "300",
                            "--probe", "0.1", "--latents", oracle / "studies.safetensors"});
  INFO(earlier.ended.said);
  REQUIRE(earlier.ended.status == 0);
  CHECK(relative_l2(map_of(earlier.trace(), "J_v"),
                    expected(oracle, "studies.safetensors", "J v at 300")[0]) < 1e-3);
}

TEST_CASE("a study looks at the picture in the size asked for, and without one at a sample of the seed") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const latent_model m = loaded(oracle);
  subject_arguments a;
  a.picture.size = {48, 32};
  a.seed = 7;
  a.steps = 2;
  const subject what(a);
  const at::Tensor noise = pushforward::standard_normal(m.latents(1, 48, 32), {7, 0, 0});
  const at::Tensor clean = m.with_denoiser([&](const auto& denoiser) {
    return pushforward::sample(noise, pushforward::model(denoiser, m.path()),
                               pushforward::ddim(m.path().diffusion(), {.steps = 2}),
                               examples::any_constraint{}, pushforward::update{pushforward::none{}})
        .x;
  });
  CHECK(relative_l2(what.latent(m), clean) < 1e-6);
  const auto c = m.path().at(300);
  CHECK(relative_l2(what.noised(m, clean, 300), c.a * clean + c.s * noise) < 1e-6);

  a.picture.picture = oracle / "picture.png";
  const at::Tensor image = fitted(image_of(read_picture(a.picture.picture)), fitting::crop, a.picture.size);
  CHECK(relative_l2(subject(a).latent(m), m.encode(image)) < 1e-6);
  CHECK(subject(a).name() == "picture.png");
}

TEST_CASE("spectrum finds the largest magnitudes of an Arnoldi iteration written in Python") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  const auto r = run(folder, oracle, "spectrum",
                     {oracle / "picture.png", "--times", "600", "--krylov", "6", "--latents",
                      oracle / "studies.safetensors"});
  INFO(r.ended.said);
  REQUIRE(r.ended.status == 0);
  const auto j = r.trace();
  const at::Tensor magnitudes = expected(oracle, "studies.safetensors", "largest magnitudes");
  REQUIRE(j["spectra"].size() == 4);
  for (std::size_t i = 0; i < 4; ++i) {
    const auto& s = j["spectra"][i];
    CAPTURE(s["of"].get<std::string>());
    const double found = s["largest_magnitude"];
    CHECK(std::abs(found / magnitudes[static_cast<std::int64_t>(i)].item<double>() - 1.0) <
          (i == 1 ? 1e-4 : 2e-3));
    CHECK(s["eigenvalues"].size() == 6);
  }
  CHECK(j["spectra"][0]["backward_passes"] == 0);
  CHECK(j["spectra"][1]["backward_passes"] == 6);

  // one step of Arnoldi's from noise: the quotient of the start itself
  const auto quotients = run(folder, oracle, "spectrum",
                             {oracle / "picture.png", "--times", "600", "300", "--krylov", "1", "--from",
                              "noise", "--probe", "0.5", "--seed", "3"});
  INFO(quotients.ended.said);
  REQUIRE(quotients.ended.status == 0);
  const latent_model m = loaded(oracle);
  const at::Tensor clean = m.encode(image_of(read_picture(oracle / "picture.png")));
  at::Tensor q = pushforward::standard_normal(clean, {3, 0, 1});
  q = q / q.norm();
  m.with_denoiser([&](const auto& denoiser) {
    for (std::size_t i = 0; i < 2; ++i) {
      const double t = i == 0 ? 600 : 300;
      pushforward::pass_counts counts;
      const auto e = estimator_of(m, denoiser, counts);
      const auto at = e.evaluate(pushforward::noised(m.path(), clean, t, 3), t);
      const double quotient = (q * e.jvp(at, q, 0.5)).sum().template item<double>();
      CHECK(quotients.trace()["spectra"][4 * i]["largest_magnitude"].template get<double>() ==
            Approx(std::abs(quotient)).epsilon(1e-4));
    }
  });

  const auto noise = run(folder, oracle, "spectrum",
                         {"--times", "700", "300", "--krylov", "3", "--from", "noise", "--width", "32",
                          "--height", "48", "--sample-steps", "2", "--guidance", "2"});
  INFO(noise.ended.said);
  REQUIRE(noise.ended.status == 0);
  CHECK(noise.trace()["at"] == "a sample of the model");
  CHECK(noise.trace()["spectra"].size() == 8);
  CHECK(holds(read_bytes(noise.name.string() + ".svg"), "<polyline"));
  CHECK(noise.picture().sizes() == at::IntArrayRef({1, 3, 420, 720}));
}

TEST_CASE("convergence runs the rules of the library, and c >= 2 and a run that diverges beside them") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  const auto r = run(folder, oracle, "convergence",
                     {oracle / "picture.png", "--steps", "3", "--c", "0.5", "3", "1e30", "--krylov", "4",
                      "--seed", "5", "--lr", "0.4", "--K", "2", "--probe", "0.01", "--known", "upper"});
  INFO(r.ended.said);
  REQUIRE(r.ended.status == 0);
  const auto runs = r.trace()["runs"];
  REQUIRE(runs.size() == 4);

  // the same task by the library's own loop
  const latent_model m = loaded(oracle);
  const at::Tensor target = m.encode(image_of(read_picture(oracle / "picture.png")));
  at::Tensor mask = at::ones_like(target);
  mask.narrow(2, 4, 4).zero_();
  const pushforward::masked<at::Tensor> constraint(target, mask);
  run_arguments sampling;
  sampling.steps = 3;
  const auto compare = [&](const json& found, const auto& rule, double first_factor) {
    const auto result = m.with_denoiser([&](const auto& denoiser) {
      return pushforward::sample(
          pushforward::standard_normal(at::zeros_like(target), {5, 0, 0}),
          pushforward::model(denoiser, m.path()), sampler_of(m.path(), sampling), constraint,
          pushforward::update{pushforward::inexact_newton{.probe = 0.01}, rule, 2}, {.seed = 5});
    });
    REQUIRE(found["residual"].size() == result.trace.size() + 1);
    for (std::size_t i = 0; i < result.trace.size(); ++i) {
      const double residual = std::sqrt(2.0 * result.trace[i].loss[0] / (4.0 * 4.0 * 12.0));
      CHECK(std::abs(found["residual"][i].get<double>() / residual - 1.0) < 1e-6);
    }
    const double last = pushforward::tensor_traits<at::Tensor>::values(constraint(result.x).loss).front();
    CHECK(std::abs(found["residual"].back().get<double>() / std::sqrt(2.0 * last / (4.0 * 4.0 * 12.0)) -
                   1.0) < 1e-6);
    CHECK(found["costs"]["passes"] == result.passes.forward);
    CHECK(found["ending"] == "completed");
    CHECK(found["rule"].value("leading_factor", 0.0) == first_factor);
  };
  compare(runs[0], pushforward::infinity_norm{pushforward::constant_rate(0.4)}, 0.0);
  compare(runs[1], pushforward::spectral{.c = 0.5, .krylov = 4, .probe = 0.01}, 0.5);
  CHECK(runs[1]["largest_magnitude_at_each_step"].size() == 3);
  const double largest = m.with_denoiser([&](const auto& denoiser) {
    pushforward::pass_counts counts;
    const auto e = estimator_of(m, denoiser, counts);
    const auto at = e.evaluate(pushforward::standard_normal(target, {5, 0, 0}), 1000);
    return pushforward::arnoldi<at::Tensor>([&](const at::Tensor& v) { return e.jvp(at, v, 0.01); }, at.x0, 4)
        .front()
        .spectral_radius();
  });
  CHECK(runs[1]["largest_magnitude_at_each_step"][0].get<double>() == Approx(largest).epsilon(1e-4));
  CHECK(runs[3]["costs"]["passes"] > 0);
  CHECK(r.trace()["settings"]["width"] == 96);
  CHECK(r.trace()["settings"]["height"] == 64);

  CHECK(runs[2]["rule"]["leading_factor"] == 2.0);
  CHECK(runs[2]["residual"][6].get<double>() > runs[2]["residual"][0].get<double>());
  CHECK(holds(runs[3]["ending"].get<std::string>(), "diverged in step 1"));
  CHECK(runs[3]["residual"].back().is_null());
  CHECK(holds(r.ended.said, "diverged in step 1"));
  CHECK(holds(read_bytes(r.name.string() + ".html"), "diverged in step 1"));
  CHECK(holds(read_bytes(r.name.string() + ".svg"), "<polyline"));
  CHECK(r.picture().size(3) == 480);
}

TEST_CASE("bad input to style and the studies is one line and status 2, and leaves no file") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  const std::string picture = oracle / "picture.png", clip = oracle / "clip";
  write_bytes(folder / "text.png", "no picture");
  pushforward::libtorch::write_tensors(folder / "nan.safetensors", {{"start", at::full({1, 4, 8, 12}, NAN)}});
  struct bad {
    std::string program;
    words arguments;
    std::string said;
  };
  for (const auto& b : std::vector<bad>{
           {"style", {folder / "none.png", "--clip", clip}, "there is no such file"},
           {"style", {picture, "--clip", oracle / "checkpoint"}, "model.safetensors"},
           {"style", {picture, "--clip", clip, "--block", "4"}, "residual block 4"},
           {"style", {picture, "--clip", clip, "--start", "0.5"}, "--content"},
           {"style", {picture, "--clip", clip, "--width", "60"}, "multiple"},
           {"style", {picture}, "--clip"},
           {"jacobian", {picture}, "24 26"},
           {"jacobian", {picture, "--pixel", "-1", "0"}, "-1"},
           {"jacobian", {picture, "--pixel", "8", "0"}, "outside the latent of 8 x 12"},
           {"jacobian", {picture, "--pixel", "0", "12"}, "outside the latent of 8 x 12"},
           {"jacobian",
            {picture, "--pixel", "3", "4", "--latents", folder / "nan.safetensors"},
            "must hold finite numbers"},
           {"jacobian", {picture, "--pixel", "0", "0", "--time", "1001"}, "1001"},
           {"jacobian", {folder / "text.png"}, "neither a JPEG nor a PNG"},
           {"jacobian", {picture, "--vectors", "two"}, "--vectors"},
           {"jacobian", {picture, "--probe", "-1"}, "--probe: must be automatic, reference"},
           {"spectrum", {picture, "--probe", "nan"}, "--probe: must be automatic"},
           {"convergence", {picture, "--probe", "0.1x"}, "--probe: must be automatic"},
           {"jacobian",
            {picture, "--pixel", "3", "4", "--latents", oracle / "inpaint.safetensors"},
            "this run's latents"},
           {"spectrum", {picture, "--times", "-3"}, "-3"},
           {"spectrum", {picture, "--krylov", "0"}, "--krylov"},
           {"spectrum", {picture, "--from", "zero"}, "zero"},
           {"spectrum",
            {"--sample-steps", "0", "--width", "64", "--height", "64"},
            "--sample-steps: must be"},
           {"convergence", {picture, "--c", "0"}, "--c"},
           {"convergence", {picture, "--lr", "-1"}, "must be in [1e-09"},
           {"convergence", {picture, "--steps", "0"}, "--steps: must be"},
           {"convergence", {oracle / "small.png", "--width", "8", "--height", "8"}, "nothing is known"},
           {"convergence", {}, "picture"}}) {
    const auto said = run(folder, oracle, b.program, b.arguments);
    INFO(b.program << ' ' << b.said << ": " << said.ended.said);
    CHECK(said.ended.status == 2);
    CHECK(holds(said.ended.said, b.said));
    const auto last = said.ended.said.rfind("pushforward_" + b.program + ": ");
    REQUIRE(last != std::string::npos);
    CHECK(said.ended.said.find('\n', last) + 1 == said.ended.said.size());
    for (const char* end : {".png", ".json", ".html", ".svg"}) CHECK(!said.has(end));
  }
}

TEST_CASE("without a font a study says so before it loads anything, and leaves no file") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  const no_fonts bare;
  for (const std::string program : {"jacobian", "spectrum", "convergence"}) {
    const auto said = run(folder, oracle, program, {oracle / "picture.png"});
    INFO(said.ended.said);
    CHECK(said.ended.status == 2);
    CHECK(holds(said.ended.said, "no font was found"));
    CHECK(!holds(said.ended.said, "loading"));
    for (const char* end : {".png", ".json", ".html", ".svg"}) CHECK(!said.has(end));
  }
}

TEST_CASE("Ctrl-C keeps the rules and the times that were studied") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  const auto interrupt = [&](const std::string& program, const words& arguments, const std::string& shown) {
    const fs::path name = folder / program;
    const auto [status, said] = interrupted_run(
        folder, programs + program,
        joined({"--model", oracle / "checkpoint", "--out", name, oracle / "picture.png"}, arguments), shown);
    INFO(said);
    CHECK(status == 130);
    const auto trace = json::parse(read_bytes(name.string() + ".json"));
    CHECK(trace["completed"] == false);
    return trace;
  };
  const auto study = interrupt("convergence", {"--steps", "1000", "--K", "50"}, "convergence");
  CHECK(study["runs"][0]["ending"] == "stopped by the user");
  CHECK(study["runs"][1]["ending"] == "not run");
  words times{"--krylov", "1", "--times"};
  for (int t = 999; t > 99; --t) times.push_back(std::to_string(t));
  const auto spectra = interrupt("spectrum", times, "%\nspectrum"); // some ten seconds of them are finished
  CHECK(spectra["spectra"].size() > 0);
  CHECK(spectra["spectra"].size() < 3600);
  CHECK(holds(read_bytes(folder / "output.txt"), "stopped by the user"));
}

TEST_CASE("Ctrl-C before the first spectrum is found leaves an earlier result as it was") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  const std::vector<std::string> endings{".json", ".svg", ".png"};
  for (const auto& e : endings) write_bytes(folder / ("out" + e), "of an earlier run");
  const auto [status, said] = interrupted_run(
      folder, programs + "spectrum",
      {"--model", oracle / "checkpoint", "--out", folder / "out", oracle / "picture.png", "--krylov", "1000"},
      "spectrum");
  INFO(said);
  CHECK(status == 130);
  CHECK(holds(said, "stopped, nothing was written"));
  for (const auto& e : endings) CHECK(read_bytes(folder / ("out" + e)) == "of an earlier run");
}

TEST_CASE("Ctrl-C ends jacobian, which has nothing to keep, without a file") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  const auto [status, said] = interrupted_run(folder, programs + "jacobian",
                                              {"--model", oracle / "checkpoint", "--out", folder / "out",
                                               oracle / "picture.png", "--width", "768", "--height", "768"},
                                              "jacobian");
  INFO(said);
  CHECK(status == 130);
  for (const char* end : {"out.svg", "out.png", "out.json"}) CHECK(!fs::exists(folder / end));
}
