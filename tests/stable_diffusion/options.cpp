// Options of the programs on checkpoints: which values are taken, and which options would do nothing.

#include "programs.hpp"

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
  for (const auto& b : std::vector<bad>{
           {"inpaint", "--K", "-1", "must be a whole number from 1 to 1000, not -1"},
           {"inpaint", "--K", "1000000000000", "must be a whole number from 1 to 1000, not 1000000000000"},
           {"inpaint", "--seed", "-1", "must be a whole number from 0 to 18446744073709551615, not -1"},
           {"inpaint", "--seed", vast, "must be a whole number from 0 to 18446744073709551615, not " + vast},
           {"inpaint", "--width", "0x40", "must be a whole number from 1 to 8192, not 0x40"},
           {"inpaint", "--lr", "0", "must be positive, not 0"},
           {"inpaint", "--tolerance", "inf", "must be a finite number, not inf"},
           {"inpaint", "--start", "0", "must be in (0, 1], not 0"},
           {"inpaint", "--eta", "1.1", "must be in [0, 1], not 1.1"},
           {"inpaint", "--cutoff", "1", "must be in [0, 1), not 1"},
           {"inpaint", "--latents", "", "must not be empty"},
           {"superres", "--noise-level", "-1", "must be 0 or positive, not -1"},
           {"superres", "--encoder-probe", "0", "must be positive, not 0"},
           {"inpaint", "--probe", "nan", "nan is not automatic, reference, or a number from 0 (automatic)"},
           {"jacobian", "--probe", "inf", "inf is not automatic, reference, or a number from 0 (automatic)"},
           {"spectrum", "--probe", "1x", "1x is not automatic, reference, or a number from 0 (automatic)"},
           {"convergence", "--probe", "-1", "-1 is not automatic, reference, or a number from 0 (automatic)"},
           {"spectrum", "--sample-steps", "10001", "must be a whole number from 1 to 10000, not 10001"},
           {"convergence", "--c", "0", "must be positive, not 0"},
           {"photos", "--size", "100", "must be a multiple of 64, not 100"}})
    check_refused(run_program(folder, programs + b.program, {b.option, b.value}), b.program,
                  b.option + ": " + b.said + "; see --help");
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
  if (oracle.empty()) return;
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
