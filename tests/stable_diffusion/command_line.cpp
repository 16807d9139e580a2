// How the programs read options: numbers to the letter, and no option without effect.

#include <support/catch.hpp>

#include <common/command_line.hpp>
#include <common/updates.hpp>

#include <pushforward/error.hpp>

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

using namespace examples;
using namespace testing_support;

namespace {

struct values {
  std::int64_t count = 5;
  std::uint64_t seed = 0;
  double rate = 0.5;
  std::optional<double> eta;
  std::vector<double> times{1.0};
  std::array<std::int64_t, 2> pixel{1, 2};
  std::filesystem::path file, picture;
  std::string text;
};

/// Reads a command line; what is wrong with it comes out as CLI11's exception.
values read(std::vector<std::string> words) {
  CLI::App app;
  values v;
  app.add_option("picture", v.picture);
  add_number(app, "--count", v.count, whole_numbers{1, 64}, "");
  add_number(app, "--seed", v.seed, any_seed, "");
  add_number(app, "--rate", v.rate, positive, "");
  add_number(app, "--eta", v.eta, shares, "");
  add_number(app, "--times", v.times, not_negative, "");
  add_number(app, "--pixel", v.pixel, whole_numbers{0, 31}, "");
  add_name(app, "--file", v.file, "");
  add_text(app, "--text", v.text, "");
  std::reverse(words.begin(), words.end()); // as CLI11 wants them
  app.parse(words);
  return v;
}

std::string fault(const std::vector<std::string>& words) {
  try {
    read(words);
  } catch (const CLI::ParseError& e) {
    return e.what();
  }
  return "none";
}

} // namespace

TEST_CASE("whole numbers are read in decimal, and anything else is refused by the option's name") {
  CHECK(read({"--count", "010"}).count == 10);
  CHECK(read({"--count", "+7"}).count == 7);
  CHECK(read({"--count=64"}).count == 64);
  CHECK(read({"--pixel", "08", "031"}).pixel == std::array<std::int64_t, 2>{8, 31});
  CHECK(read({"--seed", "18446744073709551615"}).seed == 18446744073709551615U);
  for (const std::string bad : {"-1",
                                "0",
                                "65",
                                "1000000000000",
                                "18446744073709551617",
                                "99999999999999999999999",
                                "1.5",
                                "1e1",
                                "0x10",
                                "0b1",
                                "1'0",
                                "1,0",
                                "5 ",
                                " 5",
                                "5x",
                                "five",
                                "+-5",
                                "++5",
                                "+",
                                "-",
                                "nan",
                                "inf"}) {
    CHECK(fault({"--count", bad}) == "--count: must be a whole number from 1 to 64, not " + shown(bad));
    CHECK_THAT(fault({"--pixel", "3",
                      bad == "0"    ? "32"
                      : bad == "65" ? "99"
                                    : bad}),
               contains_text("--pixel: must be a whole number from 0 to 31, not "));
  }
  for (const std::string bad : {"-1", "18446744073709551616", "99999999999999999999999"})
    CHECK(fault({"--seed", bad}) ==
          "--seed: must be a whole number from 0 to 18446744073709551615, not " + bad);
}

TEST_CASE("numbers are finite and in range, and anything else is refused by the option's name") {
  CHECK(read({"--rate", "+2.5e-1"}).rate == 0.25);
  CHECK(read({"--rate", "010"}).rate == 10.0);
  CHECK(read({"--eta", "0"}).eta == 0.0);
  CHECK(read({"--eta", "1"}).eta == 1.0);
  CHECK(!read({}).eta);
  CHECK(read({"--times", "0", "7.5"}).times == std::vector<double>{0.0, 7.5});
  for (const std::string bad : {"nan", "NaN", "-nan", "nan(1)", "inf", "-inf", "infinity", "INF", "1e999",
                                "0x1p3", "1,5", "1 ", " 1", "1x", "much", "", "--"}) {
    if (!bad.empty() && bad != "--")
      for (const std::string option : {"--rate", "--eta"})
        CHECK(fault({option, bad}) == option + ": must be a finite number, not " + shown(bad));
    CHECK_FALSE(number_of(bad));
  }
  CHECK_THAT(fault({"--times=1", "--times=nan"}), contains_text("--times: must be a finite number, not nan"));
  CHECK_THAT(fault({"--times", "1", "nan"}), contains_text("--times: must be a finite number, not nan"));
  CHECK(fault({"--rate", "0"}) == "--rate: must be positive, not 0");
  CHECK(fault({"--rate", "-0.5"}) == "--rate: must be positive, not -0.5");
  CHECK(fault({"--eta", "1.5"}) == "--eta: must be in [0, 1], not 1.5");
  CHECK(fault({"--times", "-1"}) == "--times: must be 0 or positive, not -1");
}

TEST_CASE("a list that takes the picture with it says how it is ended") {
  CHECK(read({"--times", "900", "500", "--", "a.png"}).picture == "a.png");
  CHECK(read({"a.png", "--times", "900", "500"}).picture == "a.png");
  CHECK(fault({"--times", "900", "500", "a.png"}) ==
        "--times: must be a finite number, not a.png; a list goes on to the next option: put the picture "
        "before it, or -- between");
  CHECK(fault({"a.png", "--times", "900", "b.png"}) == "--times: must be a finite number, not b.png");
}

TEST_CASE("a value with nothing or with blanks in it is shown in quotes, and one of a thing as one") {
  CHECK(shown("") == R"("")");
  CHECK(shown("5 x") == R"("5 x")");
  CHECK(shown("-5") == "-5");
  CHECK(fault({"--count", ""}) == R"(--count: must be a whole number from 1 to 64, not "")");
  CHECK(fault({"--rate", ""}) == R"(--rate: must be a finite number, not "")");
  CHECK(counted(0, "pass", "passes") == "0 passes");
  CHECK(counted(1, "pass", "passes") == "1 pass");
  CHECK(counted(2, "pass", "passes") == "2 passes");
}

TEST_CASE("a text is any UTF-8, and nothing else") {
  for (const std::string text : {"", "a cat", "\xc3\xa9", "\xe2\x82\xac", "\xed\x9f\xbf", "\xef\xbf\xbf",
                                 "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "a\xc2\x80z"})
    CHECK(read({"--text", text}).text == text);
  for (const std::string bytes : {"\xff", "\x80", "a\x80", "\xc3", "\xc3z", "\xc0\x80", "\xc1\xbf",
                                  "\xe0\x9f\xbf", "\xed\xa0\x80", "\xe2\x82", "\xe2\x82z", "\xf0\x8f\xbf\xbf",
                                  "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xf0\x90\x80", "\xf0\x90\x80z"})
    CHECK(fault({"--text", bytes}) == "--text: is not UTF-8");
}

TEST_CASE("an empty name is refused, as it would read as none") {
  CHECK(read({"--file", "a"}).file == "a");
  CHECK(fault({"--file", ""}) == "--file: must not be empty");
}

TEST_CASE("a report names the folder of a path, however the path is written") {
  const auto here = std::filesystem::current_path();
  CHECK(name_of("a/sd15") == "sd15");
  CHECK(name_of("a/sd15/") == "sd15");
  CHECK(name_of("a/sd15//") == "sd15");
  CHECK(name_of("a/sd15/.") == "sd15");
  CHECK(name_of("a/sd15/unet/..") == "sd15");
  CHECK(name_of("a/sd15.safetensors") == "sd15.safetensors");
  CHECK(name_of(".") == here.filename());
  CHECK(name_of("..") == here.parent_path().filename());
  CHECK(name_of("/") == "/");
  CHECK(name_of("") == "");
}

TEST_CASE("options of an update that would do nothing are refused where they were given") {
  const auto checked = [](const std::string& line) -> std::string {
    CLI::App app;
    update_options o;
    add_update_options(app, o, "sample");
    app.parse(line);
    try {
      check_update_options(app, o);
    } catch (const pushforward::bad_option& e) {
      return e.what();
    }
    return "";
  };
  for (const std::string fine :
       {"", "--policy none", "--K 1", "--K 1 --lr 0.3 --lr-last 0.3", "--step-size spectral --lr 1.9",
        "--policy exact_newton --cutoff 0.1 --probe 0.1", "--policy vae_newton --probe 0.1",
        "--policy gradient_descent --step-size spectral --probe 0.1", "--step-size constant --lr 3"})
    CHECK(checked(fine) == "");
  for (const std::string option : {"--step-size constant", "--K 3", "--lr 0.1", "--lr-last 0.1",
                                   "--probe 0.1", "--cutoff 0.1", "--tolerance 0.1"}) {
    const auto said = checked("--policy none " + option);
    CHECK(said.rfind(option.substr(0, option.find(' ')) + " has no effect with --policy none", 0) == 0);
  }
  CHECK_THAT(checked("--step-size spectral --lr-last 0.1"), contains_text("--lr-last has no effect"));
  CHECK_THAT(checked("--K 1 --lr-last 0.1"), contains_text("--lr-last has no effect with --K 1"));
  CHECK_THAT(checked("--cutoff 0.1"), contains_text("--cutoff has no effect with --policy inexact_newton"));
  CHECK_THAT(checked("--policy gradient_descent --probe 0"), contains_text("--probe has no effect"));
  CHECK_THAT(checked("--policy forward_mode_newton --probe 0.1"), contains_text("--probe has no effect"));
  CHECK_THAT(checked("--step-size spectral --lr 2"), contains_text("--lr is c"));
}
