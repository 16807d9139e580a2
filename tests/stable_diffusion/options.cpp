// Options of the programs on checkpoints: which values are taken, and which options would do nothing.

#include "programs.hpp"

#include <support/picture_files.hpp>

#include <algorithm>

using namespace testing_support;

namespace {

/// One line of a program that read its options and nothing else.
void check_refused(const finished& ended, const std::string& program, const std::string& said) {
  INFO(program << ": " << ended.said);
  CHECK(ended.status == 2);
  CHECK(ended.said.rfind("pushforward_" + program + ": " + said, 0) == 0);
  CHECK(std::count(ended.said.begin(), ended.said.end(), '\n') == 1);
}

} // namespace

TEST_CASE("every option with a number refuses NaN and text, by its name") {
  const scratch_folder folder;
  std::set<std::string> seen;
  for (const std::string program :
       {"inpaint", "superres", "style", "jacobian", "spectrum", "convergence", "photos"}) {
    const auto options = options_with_numbers(run_program(folder, programs + program, {"--help"}).said, seen);
    CHECK(options.size() >= 2);
    for (const auto& option : options)
      // words for those that take up to four
      check_refused(run_program(folder, programs + program, {option, "nan", "0", "0", "0"}), program,
                    option + ": must be a ");
  }
}

TEST_CASE("numbers that an option cannot take are refused by its name, with what it takes") {
  const scratch_folder folder;
  struct bad {
    std::string program, option, value, said;
  };
  const std::string vast = "99999999999999999999999";
  const std::string probe_words = "must be automatic, reference, or a number in [1e-05, 100], not ";
  for (const auto& b : std::vector<bad>{
           {"inpaint", "--K", "-1", "must be a whole number from 1 to 1000, not -1"},
           {"inpaint", "--K", "1000000000000", "must be a whole number from 1 to 1000, not 1000000000000"},
           {"inpaint", "--seed", "-1", "must be a whole number from 0 to 18446744073709551615, not -1"},
           {"inpaint", "--seed", vast, "must be a whole number from 0 to 18446744073709551615, not " + vast},
           {"inpaint", "--width", "0x40", "must be a whole number from 1 to 8192, not 0x40"},
           {"inpaint", "--lr", "0", "must be in [1e-09, 1e+06], not 0"},
           {"inpaint", "--lr", "1e308", "must be in [1e-09, 1e+06], not 1e308"},
           {"superres", "--lr-last", "1e-300", "must be in [1e-09, 1e+06], not 1e-300"},
           {"convergence", "--lr", "1e308", "must be in [1e-09, 1e+06], not 1e308"},
           {"photos", "--lr", "1e308", "must be in [1e-09, 1e+06], not 1e308"},
           {"photos", "--lr-last", "1e308", "must be in [1e-09, 1e+06], not 1e308"},
           {"style", "--guidance", "1e39", "must be in [-1000, 1000], not 1e39"},
           {"jacobian", "--guidance", "-1e30", "must be in [-1000, 1000], not -1e30"},
           {"inpaint", "--seed", "", R"(must be a whole number from 0 to 18446744073709551615, not "")"},
           {"inpaint", "--eta", "", R"(must be a finite number, not "")"},
           {"inpaint", "--policy", "",
            R"("" is not one of exact_newton, forward_mode_newton, )"
            "gradient_descent, inexact_newton, none, posterior_step, vae_newton"},
           {"inpaint", "--prompt", "a \xff", "is not UTF-8"},
           {"style", "--negative-prompt", "\xed\xa0\x80", "is not UTF-8"},
           {"inpaint", "--tolerance", "inf", "must be a finite number, not inf"},
           {"inpaint", "--start", "0", "must be in (0, 1], not 0"},
           {"inpaint", "--eta", "1.1", "must be in [0, 1], not 1.1"},
           {"inpaint", "--cutoff", "1", "must be in [0, 1), not 1"},
           {"inpaint", "--latents", "", "must not be empty"},
           {"superres", "--noise-level", "-1", "must be in [0, 100], not -1"},
           {"superres", "--noise-level", "1e300", "must be in [0, 100], not 1e300"},
           {"superres", "--encoder-probe", "0", "must be in [1e-05, 2], not 0"},
           {"superres", "--encoder-probe", "1e-300", "must be in [1e-05, 2], not 1e-300"},
           {"photos", "--probe", "1e-300", "must be in [1e-05, 2], not 1e-300"},
           {"photos", "--probe", "1e300", "must be in [1e-05, 2], not 1e300"},
           {"inpaint", "--probe", "nan", probe_words + "nan"},
           {"jacobian", "--probe", "inf", probe_words + "inf"},
           {"spectrum", "--probe", "1x", probe_words + "1x"},
           {"convergence", "--probe", "-1", probe_words + "-1"},
           {"inpaint", "--probe", "1e-300", probe_words + "1e-300"},
           {"inpaint", "--probe", "1e300", probe_words + "1e300"},
           {"inpaint", "--probe", "", probe_words + R"("")"},
           {"spectrum", "--sample-steps", "10001", "must be a whole number from 1 to 10000, not 10001"},
           {"convergence", "--c", "0", "must be in [1e-09, 1e+30], not 0"},
           {"convergence", "--c", "1e300", "must be in [1e-09, 1e+30], not 1e300"},
           {"photos", "--size", "100", "must be a multiple of 64, not 100"}})
    check_refused(run_program(folder, programs + b.program, {b.option, b.value}), b.program,
                  b.option + ": " + b.said + "; see --help");
}

TEST_CASE("the help says which numbers are taken") {
  const scratch_folder folder;
  const auto help = run_program(folder, programs + "superres", {"--help"}).said;
  for (const char* range : {"--guidance FLOAT:in [-1000, 1000]", "--lr FLOAT:in [1e-09, 1e+06]",
                            "--noise-level FLOAT:in [0, 100]", "--encoder-probe FLOAT:in [1e-05, 2]"})
    CHECK_THAT(help, contains_text(range));
  CHECK_THAT(help, contains_text("[1e-05, 100]"));
}

TEST_CASE("what a checkpoint cannot serve is refused before its networks are loaded, by the option's name") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  const std::string picture = oracle / "picture.png", small = oracle / "small.png";
  const words left{picture, "--known", "left"}, any{"--width", "64", "--height", "64"};
  examples::picture stripes(64, 96, 1, 255); // a black line in every block of 8 x 8
  for (std::size_t y = 0; y < 64; y += 8) std::fill_n(stripes.at(y, 0), 96, std::uint8_t{0});
  examples::write_png(folder / "stripes.png", stripes);
  examples::write_png(folder / "dot.png", examples::picture(1, 1, 3, 255));
  write_bytes(folder / "empty.png", "");
  write_bytes(folder / "clear.png",
              png_of({64, 96, PNG_COLOR_TYPE_GRAY_ALPHA, 8, std::vector<std::uint16_t>(2 * 64 * 96, 0)}));
  const std::string stripes_png = folder / "stripes.png", clear = folder / "clear.png",
                    dot = folder / "dot.png", empty = folder / "empty.png",
                    noise = oracle / "inpaint.safetensors",
                    weights = oracle / "checkpoint/vae/diffusion_pytorch_model.safetensors";
  pushforward::libtorch::write_tensors(folder / "nan.safetensors",
                                       {{"start", at::full({1, 4, 8, 12}, std::nan(""))}});
  for (const char* name : {"long", "ids"})
    fs::copy(oracle / "checkpoint", folder / name, fs::copy_options::recursive);
  write_bytes(folder / "long/tokenizer/tokenizer_config.json", R"({"model_max_length": 78})");
  auto vocabulary = json::parse(read_bytes(oracle / "checkpoint/tokenizer/vocab.json"));
  vocabulary["a</w>"] = 1000000;
  write_bytes(folder / "ids/tokenizer/vocab.json", vocabulary.dump());
  struct unfit {
    std::string program;
    words arguments;
    std::string said;
  };
  for (const auto& u : std::vector<unfit>{
           {"inpaint", joined(left, {"--steps", "3000"}),
            "--steps: steps is 3000 and start 1, but the path "},
           {"inpaint", joined(left, {"--start", "1e-300"}),
            "--steps, --start: steps is 20 and start 1e-300, "},
           {"superres", {small, "--steps", "3000"}, "--steps: steps is 3000"},
           {"style", {picture, "--clip", oracle / "clip", "--steps", "3000"}, "--steps: steps is 3000"},
           {"convergence", {picture, "--steps", "3000"}, "--steps: steps is 3000"},
           {"spectrum", joined(any, {"--sample-steps", "3000"}), "--sample-steps: steps is 3000"},
           {"jacobian",
            {picture, "--pixel", "3", "4", "--time", "1001"},
            "--time: time 1001 lies outside the path's [0, 1000]"},
           {"spectrum", {picture, "--times", "500", "1000.5"}, "--times: time 1000.5 lies outside"},
           {"jacobian", {picture, "--pixel", "8", "0"}, "--pixel 8 0 lies outside the latent of 8 x 12"},
           {"inpaint", joined(left, {"--width", "1"}),
            "pictures cannot be brought to 1 x 8 pixels (--width, "},
           {"inpaint", {dot, "--known", "left"}, "a picture of 1 x 1 pixels has a side under 8"},
           {"inpaint", {dot, "--box", "0", "0", "1", "1"}, "a picture of 1 x 1 pixels has a side under 8"},
           {"superres",
            {picture, "--shrink-first", "--width", "100"},
            "pictures cannot be brought to 100 x 64 pixels (--width, --height)"},
           {"style",
            {picture, "--clip", oracle / "clip", "--width", "60"},
            "pictures cannot be brought to 60 x 512 pixels (--width, --height)"},
           {"style",
            {picture, "--clip", oracle / "clip", "--block", "4"},
            "--block: there is no residual block 4 in "},
           {"jacobian", {picture, "--width", "100"}, "pictures cannot be brought to 100 x 64"},
           {"spectrum", {"--width", "100"}, "pictures cannot be brought to 100 x 512"},
           {"convergence", {picture, "--width", "100"}, "pictures cannot be brought to 100 x 64"},
           {"convergence",
            {small, "--width", "8", "--height", "8"},
            "--known left: nothing is known: no block of 8 x 8 pixels lies wholly"},
           {"inpaint",
            {picture, "--mask", stripes_png},
            stripes_png + ": nothing is known: no block of 8 x 8 pixels lies wholly"},
           {"inpaint", {picture, "--mask", clear}, clear + ": nothing is known: all of the picture is to be"},
           {"inpaint", {picture, "--mask", empty}, empty + ": is empty"},
           {"inpaint", {empty, "--known", "left"}, empty + ": is empty"},
           {"inpaint", joined(left, {"--latents", noise}),
            "--latents: `start` in " + noise + " is [2, 4, 8, 12], but this run's"},
           {"inpaint", joined(left, {"--latents", weights}),
            "--latents: " + weights + " has no tensor `start`: take the file that another run wrote"},
           {"jacobian",
            {picture, "--pixel", "3", "4", "--latents", noise},
            "--latents: `start` in " + noise + " is [2, 4, 8, 12], but this run's latents are [1, 4, 8, 12]"},
           {"inpaint", joined(left, {"--latents", folder / "nan.safetensors"}),
            "--latents: `start` in " + (folder / "nan.safetensors").string() + " must hold finite numbers"},
           {"inpaint", joined(left, {"--vae", oracle / "wide"}),
            "the UNet of " + (oracle / "checkpoint").string() +
                " takes latents of 4 channels, but those of --vae " + (oracle / "wide").string() + " have 8"},
           {"inpaint", joined(left, {"--model", folder / "long"}),
            (folder / "long/tokenizer").string() + ": makes sequences of 78 tokens (model_max_length"},
           {"style",
            {picture, "--clip", folder / "none", "--model", folder / "long"},
            (folder / "long/tokenizer").string() + ": makes sequences of 78 tokens"},
           {"inpaint", joined(left, {"--model", folder / "ids", "--prompt", "a"}),
            (folder / "ids/tokenizer").string() + ": makes the id 1000000, but the text encoder knows"},
           {"superres",
            {picture, "--policy", "exact_newton"},
            "--policy exact_newton needs the dense Jacobian"},
           {"inpaint", joined(left, {"--policy", "forward_mode_newton", "--guidance", "2"}),
            "--policy forward_mode_newton does not work under guidance"},
           {"inpaint", joined(left, {"--vae-dtype", "float16"}), "the autoencoder overflows in float16"},
           {"inpaint", joined(left, {"--device", "cuda:99"}), "--device: there is no device cuda:99"},
           {"inpaint", joined(left, {"--vae-device", "cuda:99"}), "--vae-device: there is no device cuda:99"},
           {"inpaint", joined(left, {"--text-device", "cuda:99"}),
            "--text-device: there is no device cuda:99"},
           {"inpaint", joined(left, {"--model", picture}), "--model: " + picture + " is a picture, and no"},
           {"inpaint", joined(left, {"--vae", picture}), "--vae: " + picture + " is a picture, and no"},
           {"inpaint", joined(left, {"--probe", "0.003", "--dtype", "bfloat16"}),
            "--probe 0.003 rounds to nothing in bfloat16 (--dtype): it must be at least 0.00390625"},
           {"jacobian",
            {picture, "--pixel", "3", "4", "--probe", "0.0001", "--dtype", "float16"},
            "--probe 1e-04 rounds to nothing in float16 (--dtype): it must be at least 0.00048828125"},
           {"spectrum",
            {picture, "--probe", "0.003", "--dtype", "bfloat16"},
            "--probe 0.003 rounds to nothing"},
           {"convergence",
            {picture, "--probe", "0.003", "--dtype", "bfloat16"},
            "--probe 0.003 rounds to nothing"},
           {"superres",
            {small, "--pullback", "encoder", "--encoder-probe", "0.003", "--vae-dtype", "bfloat16"},
            "--encoder-probe 0.003 rounds to nothing in bfloat16 (--vae-dtype)"}}) {
    const auto r = run(folder, oracle, u.program, u.arguments);
    check_refused(r.ended, u.program, u.said);
    CHECK(folder.size() == 8); // what was made here, and what was said
  }
}

TEST_CASE("a list of times that takes the picture with it says how it is ended") {
  const scratch_folder folder;
  check_refused(
      run_program(folder, programs + "spectrum", {"--model", "none", "--times", "900", "500", "picture.png"}),
      "spectrum",
      "--times: must be a finite number, not picture.png; a list goes on to the next option: put the picture "
      "before it, or -- between");
}

TEST_CASE("an option that would do nothing is refused where it was given, and said why, before loading") {
  const scratch_folder folder;
  const std::string picture = folder / "none.png";
  write_bytes(folder / "single.safetensors", "");
  struct idle {
    std::string program;
    words arguments;
    std::string option;
  };
  for (const auto& i : std::vector<idle>{
           {"inpaint", {"--policy", "none", "--K", "3"}, "--K"},
           {"inpaint", {"--step-size", "spectral", "--lr-last", "0.1"}, "--lr-last"},
           {"inpaint", {"--K", "1", "--lr-last", "0.1"}, "--lr-last"},
           {"inpaint", {"--cutoff", "0.1"}, "--cutoff"},
           {"inpaint", {"--krylov", "2"}, "--krylov"},
           {"inpaint", {"--policy", "none", "--krylov", "2"}, "--krylov"},
           {"inpaint", {"--policy", "posterior_step", "--K", "3"}, "--K"},
           {"inpaint", {"--policy", "posterior_step", "--lr", "0.1"}, "--lr"},
           {"superres", {"--policy", "posterior_step", "--pullback", "encoder", "--krylov", "2"}, "--krylov"},
           {"inpaint", {"--policy", "gradient_descent", "--probe", "0.1"}, "--probe"},
           {"inpaint", {"--steps", "1", "--eta", "1"}, "--eta"},
           {"inpaint", {"--latents", "a", "--eta", "0", "--seed", "1"}, "--seed"},
           {"inpaint", {"--negative-prompt", "a dog"}, "--negative-prompt"},
           {"inpaint",
            {"--guidance", "0", "--guidance-convention", "reference", "--negative-prompt", "a dog"},
            "--negative-prompt"},
           {"inpaint", {"--guidance-convention", "usual"}, "--guidance-convention"},
           {"inpaint", {"--model", folder / "single.safetensors", "--variant", "fp16"}, "--variant"},
           {"superres", {"--policy", "vae_newton", "--pullback", "decoder"}, "--pullback"},
           {"superres", {"--encoder-probe", "0.01"}, "--encoder-probe"},
           {"superres", {"--policy", "none", "--pullback", "encoder"}, "--pullback"},
           {"superres", {"--policy", "none", "--encoder-probe", "0.01"}, "--encoder-probe"},
           {"superres", {"--policy", "none", "--noise-level", "0.1"}, "--noise-level"},
           {"superres", {"--policy", "none", "--lr", "0.1"}, "--lr"},
           {"style", {"--clip", "c", "--content", "a.png"}, "--content"},
           {"style", {"--clip", "c", "--content", "a.png", "--start", "0.5", "--latents", "a"}, "--content"},
           {"style", {"--clip", "c", "--encoder-probe", "0.01"}, "--encoder-probe"},
           {"style", {"--clip", "c", "--cutoff", "0.1"}, "--cutoff"},
           {"style", {"--clip", "c", "--guidance-convention", "reference"}, "--guidance-convention"},
           {"jacobian", {"--sample-steps", "3"}, "--sample-steps"},
           {"jacobian", {"--latents", "a", "--seed", "3"}, "--seed"},
           {"jacobian", {"--negative-prompt", "a dog"}, "--negative-prompt"},
           {"spectrum", {"--sample-steps", "3"}, "--sample-steps"},
           {"spectrum", {"--latents", "a", "--seed", "3"}, "--seed"},
           {"spectrum", {"--negative-prompt", "a dog"}, "--negative-prompt"},
           {"convergence", {"--negative-prompt", "a dog"}, "--negative-prompt"},
           {"convergence", {"--steps", "1", "--eta", "1"}, "--eta"}}) {
    words arguments = joined({picture}, i.arguments);
    if (!given(arguments, "--model")) arguments = joined(arguments, {"--model", folder / "none"});
    check_refused(run_program(folder, programs + i.program, arguments), i.program,
                  i.option + " has no effect ");
  }
  for (const std::string program : {"jacobian", "spectrum"})
    check_refused(run_program(folder, programs + program, {"--model", folder / "none", "--fit", "resize"}),
                  program, "--fit has no effect without a picture");
  check_refused(run_program(folder, programs + "photos",
                            {picture, "--autoencoder", "a", "--K", "1", "--lr-last", "0.1"}),
                "photos", "--lr-last has no effect with --K 1");
  check_refused(run_program(folder, programs + "inpaint",
                            {picture, "--model", folder / "none", "--policy", "vae_newton"}),
                "inpaint", "--policy vae_newton is for errors of pixels");
  // the noise of the seed is taken elsewhere
  CHECK(holds(
      run_program(folder, programs + "spectrum",
                  {picture, "--model", folder / "none", "--latents", "a", "--seed", "3", "--from", "noise"})
          .said,
      "there is no such file"));
}

TEST_CASE("the report names a checkpoint whose folder ends in a slash") {
  const auto oracle = oracle_folder(ORACLE_FOLDER);
  const scratch_folder folder;
  const auto r =
      run(folder, oracle, "inpaint",
          {"--model", (oracle / "checkpoint").string() + "/", "--vae", (oracle / "tiny").string() + "/.",
           oracle / "picture.png", "--known", "left", "--policy", "none", "--steps", "1", "--seed", "010"});
  INFO(r.ended.said);
  REQUIRE(r.ended.status == 0);
  CHECK(r.trace()["model"]["checkpoint"] == "checkpoint");
  CHECK(r.trace()["model"]["vae"] == "tiny");
  CHECK(r.trace()["settings"]["seed"] == 10);
}
