// The programs on checkpoints, run as their users run them, on a small random one that diffusers wrote.

#include "programs.hpp"

#include <masks.hpp>
#include <run.hpp>

using namespace testing_support;

namespace {

words inpainting(const fs::path& oracle) {
  return {oracle / "picture.png", "--mask", oracle / "mask.png", "--steps", "2", "--K", "2"};
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
  }
}

TEST_CASE("inpaint ends at the latents of the method written in Python on diffusers' networks") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  if (oracle.empty()) return;
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

TEST_CASE("superres ends at the latents of either pullback written in Python") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  if (oracle.empty()) return;
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
  if (oracle.empty()) return;
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
  CHECK(r.has("-frames.png"));
  CHECK(r.latents().size(0) == 2);
  const auto trace = r.trace();
  CHECK(trace["ending"] == "completed");
  CHECK(trace["model"]["dtype"] == "bfloat16");
  CHECK(trace["results"]["RMSE_of_known_pixels_after_pasting"][0] <
        trace["results"]["RMSE_of_known_pixels"][0]);
}

TEST_CASE("a mask may mark either part, and the picture be a JPEG or another autoencoder be taken") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  if (oracle.empty()) return;
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
  const auto tiny = run(folder, oracle, "inpaint",
                        {oracle / "picture.jpg", "--known", "left", "--steps", "1", "--K", "1", "--vae",
                         oracle / "tiny", "--height", "64", "--fit", "resize"});
  INFO(tiny.ended.said);
  CHECK(tiny.ended.status == 0);
}

TEST_CASE("every policy and step size runs on a checkpoint") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  if (oracle.empty()) return;
  const scratch_folder folder;
  for (const words& choice : std::vector<words>{{"--policy", "gradient_descent"},
                                                {"--policy", "forward_mode_newton"},
                                                {"--policy", "none"},
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

TEST_CASE("bad input is one line and status 2, and leaves no file") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  if (oracle.empty()) return;
  const scratch_folder folder;
  write_bytes(folder / "text.png", "no picture");
  fs::copy(oracle / "checkpoint", folder / "partial", fs::copy_options::recursive);
  fs::remove_all(folder / "partial" / "vae");
  fs::remove_all(folder / "partial" / "tokenizer");
  const std::string picture = oracle / "picture.png", mask = oracle / "mask.png";
  const words few{"--steps", "2", "--K", "1"};
  struct bad {
    std::string program;
    words arguments;
    std::string said;
  };
  for (const auto& b : std::vector<bad>{
           {"inpaint", {folder / "none.png", "--mask", mask}, "there is no such picture"},
           {"inpaint", {folder / "text.png", "--mask", mask}, "neither a JPEG nor a PNG"},
           {"inpaint", {picture, "--mask", oracle / "narrow_mask.png"}, "64 x 90"},
           {"inpaint", {picture}, "--mask, --known or --box"},
           {"inpaint", {picture, "--mask", mask, "--known", "left"}, "in one way"},
           {"inpaint", {picture, "--box", "0", "0", "64", "97"}, "within the picture"},
           {"inpaint", {picture, "--box", "0", "0", "64", "96"}, "nothing is known"},
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
           {"inpaint", {picture, "--mask", mask, "--steps", "0"}, "steps is 0"},
           {"inpaint",
            {picture, "--mask", mask, "--latents", oracle / "inpaint.safetensors"},
            "this run's latents"},
           {"inpaint",
            {picture, "--mask", mask, "--policy", "forward_mode_newton", "--guidance", "2"},
            "inexact_newton"},
           {"inpaint", {picture, "--mask", mask, "--vae-dtype", "float16"}, "force_upcast"},
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
  if (oracle.empty()) return;
  const scratch_folder folder;
  const fs::path name = folder / "out";
  const auto [status, said] =
      interrupted_run(folder, "inpaint",
                      {"--model", oracle / "checkpoint", "--out", name, oracle / "picture.png", "--mask",
                       oracle / "mask.png", "--steps", "1000", "--K", "50"},
                      "inexact_newton");
  INFO(said);
  CHECK(status == 130);
  CHECK(holds(said, "stopped by the user in step 1 of 1000"));
  CHECK(json::parse(read_bytes(name.string() + ".json"))["ending"] == "stopped by the user");
  CHECK(read_picture(name.string() + ".png").width == 96);
  CHECK(holds(read_bytes(name.string() + ".html"), "stopped by the user"));
}

TEST_CASE("too little memory is said before anything is loaded") {
  CHECK_NOTHROW(require_memory(1e9, 1e9, "the UNet"));
  CHECK_THROWS_WITH(
      require_memory(3.4e9, 1e9, "the UNet"),
      "the UNet needs 3400 MB of memory, but 1000 MB are free: close other programs, or choose a "
      "smaller type (--dtype bfloat16, --vae-dtype, --text-dtype)");
}

TEST_CASE("memory that runs out in a run is one line and status 2, and leaves no file") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  if (oracle.empty()) return;
  const scratch_folder folder;
  const auto said =
      run_program(folder, "/bin/sh",
                  {"-c", "ulimit -v 2500000 && exec \"$0\" \"$@\"", programs + "inpaint", "--model",
                   oracle / "checkpoint", "--out", folder / "out", oracle / "picture.png", "--known", "left",
                   "--width", "4096", "--height", "4096", "--steps", "2", "--K", "1"});
  INFO(said.said);
  CHECK(said.status == 2);
  CHECK(holds(said.said, "pushforward_inpaint: there is not enough memory: take smaller pictures"));
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
      const at::Tensor mask = mask_of(a, original, how, size, 8);
      CHECK(mask.equal(share.lt(1e-3).to(at::kFloat)));
      CHECK(mask.mean().item<double>() > 0.5);
    }
}
