// The programs that sample, run as their users run them, with the weights of the repository.

#include <support/catch.hpp>
#include <support/file_faults.hpp>
#include <support/picture_files.hpp>
#include <support/program.hpp>
#include <support/scratch_folder.hpp>

#include <common.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstring>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

using namespace testing_support;

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const std::string programs = PROGRAM_FOLDER "/pushforward_mnist_";

pid_t start(const std::string& program, std::vector<std::string> arguments, const fs::path& output) {
  return start_program(programs + program, std::move(arguments), output);
}

using words = std::vector<std::string>;

words joined(words a, const words& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

finished run(const scratch_folder& folder, const std::string& program, std::vector<std::string> arguments) {
  return run_program(folder, programs + program, std::move(arguments));
}

} // namespace

TEST_CASE("every program explains itself") {
  const scratch_folder folder;
  for (const std::string program : {"inpaint", "superres", "directions", "spectrum", "evaluate"}) {
    const auto r = run(folder, program, {"--help"});
    CHECK(r.status == 0);
    CHECK(holds(r.said, "Examples:"));
    CHECK(holds(r.said, "--weights"));
  }
}

TEST_CASE("bad command lines and bad files are one line and status 2") {
  const scratch_folder folder;
  write_bytes(folder / "text.png", "no picture");
  mnist::write_png(folder / "small.png", mnist::picture(28, 28, 1, 255));
  fs::create_directory(folder / "empty");
  mnist::write_png(folder / "white.png", mnist::picture(32, 32, 1, 255));
  mnist::write_png(folder / "black.png", mnist::picture(32, 32, 1, 0));
  write_bytes(folder / "nothing.png", "");
  write_bytes(folder / "clear.png",
              png_of({32, 32, PNG_COLOR_TYPE_GRAY_ALPHA, 8, std::vector<std::uint16_t>(2 * 32 * 32, 0)}));
  const std::string out = (folder / "result").string();
  struct mistake {
    std::string program;
    std::vector<std::string> arguments;
    std::string word;
  };
  const std::vector<mistake> mistakes{
      {"inpaint", {"--no-such-option"}, "--no-such-option"},
      {"inpaint", {"--known", "middle"}, "middle"},
      {"inpaint", {"--policy", "newton"}, "newton"},
      {"inpaint", {"--policy", "vae_newton"}, "latent_ddpm"},
      {"inpaint", {"--steps", "0"}, "steps"},
      {"inpaint", {"--lr", "-1"}, "--lr: must be in [1e-09, 1e+06], not -1"},
      {"inpaint", {"--mask", (folder / "clear.png").string()}, "--mask: nothing is known"},
      {"inpaint", {"--mask", (folder / "nothing.png").string()}, "nothing.png: is empty"},
      {"inpaint", {"--steps", "3000"}, "--steps: steps is 3000"},
      {"superres", {"--start", "1e-300"}, "--steps, --start: steps is 20 and start 1e-300"},
      {"evaluate", {"--steps", "3000"}, "--steps: steps is 3000"},
      {"directions", {"--time", "1001"}, "--time: time 1001 lies outside the path's [0, 1000]"},
      {"directions", {"--model", "flow", "--time", "1.5"}, "--time: sigma 1.5 lies outside"},
      {"superres", {"--first", "1000"}, "1 digit from digit 1000 on (--first) was asked for, but"},
      {"inpaint", {"--eta", "2"}, "eta"},
      {"inpaint", {"--renoise", "0.5"}, "renoise"},
      {"inpaint", {"--start", "1.5"}, "start"},
      {"inpaint", {"--mask", (folder / "nowhere.png").string()}, "nowhere.png"},
      {"inpaint", {"--mask", (folder / "text.png").string()}, "text.png"},
      {"inpaint", {"--mask", (folder / "small.png").string()}, "--mask: the mask is 28 x 28"},
      {"inpaint", {"--known", "box", "--box", "20", "20", "20", "20"}, "box"},
      {"inpaint", {"--known", "box", "--box", "0", "0", "32", "32"}, "--box: nothing is known"},
      {"inpaint", {"--known", "random", "--share", "0"}, "--share: nothing is known"},
      {"inpaint", {"--known", "random", "--share", "1"}, "--share: nothing is to be filled in"},
      {"inpaint", {"--mask", (folder / "white.png").string()}, "--mask: nothing is to be filled in"},
      {"inpaint", {"--mask", (folder / "black.png").string()}, "--mask: nothing is known"},
      {"inpaint", {"--known", "random", "--share", "2"}, "share"},
      {"inpaint", {"--weights", (folder / "empty").string()}, "empty"},
      {"superres", {"--factor", "3"}, "3"},
      {"superres", {"--data", (folder / "text.png").string()}, "text.png"},
      {"superres", {"--data", (folder / "nowhere").string()}, "nowhere"},
      {"superres", {"--first", "1000000"}, "1000000"},
      {"directions", {"--pixel", "40", "3"}, "pixel"},
      {"directions", {"--model", "latent_ddpm"}, "pixel models"},
      {"directions", {"--cutoff", "0.5", "1"}, "--cutoff: must be in [0, 1), not 1"},
      {"inpaint",
       {"--probe", "small"},
       "--probe: must be automatic, reference, or a number in [1e-05, 100], not small"},
      {"evaluate", {"--probe", "-0.1"}, "--probe: must be automatic, reference"},
      {"spectrum", {"--times", "2000"}, "--times: time 2000 lies outside"},
      {"evaluate", {"--rates", "quick"}, "quick"},
      {"evaluate", {"--tasks", "colour"}, "colour"},
      {"evaluate", {"--select", "10", "--first", "0", "--K", "3", "5"}, "overlap"}};
  for (const auto& m : mistakes) {
    auto arguments = m.arguments;
    arguments.insert(arguments.end(), {"--out", out});
    if (m.program == "evaluate") arguments.insert(arguments.end(), {"--digits", "1"});
    const auto r = run(folder, m.program, arguments);
    INFO(m.program << " " << m.arguments.front() << ": " << r.said);
    CHECK(r.status == 2);
    CHECK(std::count(r.said.begin(), r.said.end(), '\n') == 1);
    CHECK(r.said.rfind("pushforward_mnist_" + m.program + ": ", 0) == 0);
    CHECK(holds(r.said, m.word));
  }
  CHECK(!fs::exists(out + ".png"));
  CHECK(!fs::exists(out + ".json"));
}

TEST_CASE("every option with a number refuses NaN and text, by its name") {
  const scratch_folder folder;
  std::set<std::string> seen;
  for (const std::string program : {"inpaint", "superres", "directions", "spectrum", "evaluate"}) {
    const auto options = options_with_numbers(run(folder, program, {"--help"}).said, seen);
    CHECK((program == "superres" || options.size() >= 2)); // whose numbers are those of inpaint
    for (const auto& option : options) {
      const auto r = run(folder, program, {option, "nan", "0", "0", "0"});
      INFO(r.said);
      CHECK(r.status == 2);
      CHECK(r.said.rfind("pushforward_mnist_" + program + ": " + option + ": must be a ", 0) == 0);
    }
  }
}

TEST_CASE("options that would do nothing, and numbers out of range, are refused by their name") {
  const scratch_folder folder;
  struct bad {
    std::string program;
    words arguments;
    std::string said;
  };
  for (const auto& b : std::vector<bad>{
           {"inpaint", {"--first", "-1"}, "--first: must be a whole number from 0 to 1000000000, not -1"},
           {"inpaint", {"--batch", "10001"}, "--batch: must be a whole number from 1 to 10000, not 10001"},
           {"inpaint",
            {"--known", "box", "--box", "9223372036854775807", "0", "1", "1"},
            "--box: must be a whole number from 0 to 32, not 9223372036854775807"},
           {"inpaint",
            {"--known", "box", "--box", "1", "0", "32", "1"},
            "--box: the box must lie within 32 x 32 pixels"},
           {"inpaint", {"--box", "8", "8", "4", "4"}, "--box has no effect"},
           {"inpaint", {"--known", "upper", "--share", "0.5"}, "--share has no effect"},
           {"inpaint", {"--mask", "m.png", "--known", "left"}, "--known has no effect"},
           {"inpaint", {"--mask", "m.png", "--share", "0.5"}, "--share has no effect"},
           {"inpaint", {"--mask", ""}, "--mask: must not be empty"},
           {"inpaint", {"--policy", "none", "--K", "3"}, "--K has no effect"},
           {"inpaint", {"--K", "3"}, "--K has no effect with --policy posterior_step"},
           {"inpaint", {"--renoise", "0"}, "--renoise has no effect"},
           {"inpaint", {"--probe", "nan"}, "--probe: must be automatic, reference"},
           {"evaluate", {"--probe", "inf"}, "--probe: must be automatic, reference"},
           {"superres", {"--model", "flow", "--eta", "0"}, "--eta has no effect"},
           {"superres", {"--model", "flow", "--one-step-beta"}, "--one-step-beta has no effect"},
           {"superres", {"--one-step-beta", "--eta", "1"}, "--eta has no effect"},
           {"superres", {"--steps", "1", "--eta", "1"}, "--eta has no effect with --steps 1"},
           {"superres", {"--steps", "1", "--one-step-beta"}, "--one-step-beta has no effect with --steps 1"},
           {"superres",
            {"--model", "flow", "--steps", "1", "--renoise", "1"},
            "--renoise has no effect with --steps 1"},
           {"superres", {"--cutoff", "0.1"}, "--cutoff has no effect"},
           {"directions", {"--time", "-1"}, "--time: must be 0 or positive, not -1"},
           {"evaluate", {"--policies", "none", "--K", "3"}, "--K has no effect"},
           {"evaluate", {"--policies", "none", "posterior_step", "--K", "3"}, "--K has no effect"},
           {"evaluate", {"--policies", "none", "inexact_newton", "--krylov", "3"}, "--krylov has no effect"},
           {"evaluate", {"--krylov", "0"}, "--krylov: must be a whole number from 1 to 16, not 0"},
           {"evaluate", {"--policies", "gradient_descent", "--probe", "0.1"}, "--probe has no effect"},
           {"evaluate", {"--limit", "0.1"}, "--limit has no effect"},
           {"evaluate", {"--select", "10", "--first", "10"}, "--select has no effect"},
           {"evaluate", {"--K", "1", "--rates", "0.5:0.02"}, "--rates has no effect"},
           {"evaluate", {"--policies", "vae_newton"}, "--policy vae_newton needs the latent model"},
           {"evaluate",
            {"--rates", "0.5:nan"},
            "--rates: must be rates such as 0.5:0.02, or 0.1, in [1e-09, 1e+06], not "},
           {"evaluate",
            {"--rates", "0.5:0.1x"},
            "--rates: must be rates such as 0.5:0.02, or 0.1, in [1e-09, 1e+06], not "},
           {"evaluate",
            {"--rates", "0.5:1e308"},
            "--rates: must be rates such as 0.5:0.02, or 0.1, in [1e-09"},
           {"evaluate",
            {"--rates", "0"},
            "--rates: must be rates such as 0.5:0.02, or 0.1, in [1e-09, 1e+06], not "}}) {
    const auto r = run(folder, b.program, joined(b.arguments, {"--out", folder / "result"}));
    INFO(b.arguments[0] << ' ' << b.arguments[1] << ": " << r.said);
    CHECK(r.status == 2);
    CHECK(r.said.rfind("pushforward_mnist_" + b.program + ": " + b.said, 0) == 0);
    CHECK(std::count(r.said.begin(), r.said.end(), '\n') == 1);
  }
}

TEST_CASE("a run writes its picture and its trace") {
  const scratch_folder folder;
  const auto r = run(folder, "inpaint",
                     {"--known", "left", "--policy", "inexact_newton", "--steps", "3", "--K", "2", "--batch",
                      "2", "--first", "1", "--out", (folder / "two").string()});
  INFO(r.said);
  REQUIRE(r.status == 0);
  const auto picture = mnist::read_png(folder / "two.png");
  CHECK(picture.width > 2 * picture.height * 9 / 10); // four columns, two rows
  const json j = json::parse(read_bytes(folder / "two.json"));
  CHECK(j["ending"] == "completed");
  CHECK(j["settings"]["policy"] == "inexact_newton");
  CHECK(j["costs_of_the_batch"]["passes"] == 2 * 3 * (1 + 2 * 2));
  CHECK(j["costs_of_the_batch"]["backward_passes"] == 0);
  CHECK(j["iterations"].size() == 3 * 2);
  CHECK(j["iterations"][0]["loss"].size() == 2);
  CHECK(j["digits"].size() == 2);

  SECTION("a digit of a batch comes out as by itself") {
    const auto one = run(folder, "inpaint",
                         {"--known", "left", "--policy", "inexact_newton", "--steps", "3", "--K", "2",
                          "--first", "2", "--out", (folder / "one").string()});
    INFO(one.said);
    REQUIRE(one.status == 0);
    const json k = json::parse(read_bytes(folder / "one.json"));
    CHECK(k["digits"][0]["index"] == j["digits"][1]["index"]);
    const double alone = k["digits"][0]["constraint_rmse"], together = j["digits"][1]["constraint_rmse"];
    CHECK(alone == Approx(together).epsilon(1e-3));
  }
}

TEST_CASE("the default policy is the posterior step, at two passes a time step") {
  const scratch_folder folder;
  const auto r =
      run(folder, "superres", {"--steps", "3", "--batch", "2", "--out", (folder / "two").string()});
  INFO(r.said);
  REQUIRE(r.status == 0);
  const json j = json::parse(read_bytes(folder / "two.json"));
  CHECK(j["settings"]["policy"] == "posterior_step");
  CHECK(j["settings"]["krylov"] == 1);
  CHECK(j["costs_of_the_batch"]["passes"] == 2 * 3 * 2);
  CHECK(j["costs_of_the_batch"]["backward_passes"] == 0);
}

TEST_CASE("gradient descent costs a backward pass an inner iteration, and none costs one pass a step") {
  const scratch_folder folder;
  for (const std::string policy : {"gradient_descent", "none"}) {
    const auto r = run(folder, "superres",
                       joined(policy == "none" ? words{} : words{"--K", "2"},
                              {"--policy", policy, "--steps", "2", "--out", (folder / policy).string()}));
    INFO(r.said);
    REQUIRE(r.status == 0);
    const json costs = json::parse(read_bytes(folder / (policy + ".json")))["costs_of_the_batch"];
    CHECK(costs["passes"] == (policy == "none" ? 2 : 2 * 3));
    CHECK(costs["backward_passes"] == (policy == "none" ? 0 : 2 * 2));
  }
}

TEST_CASE("models, regions, starts and policies of the command line run, and are told in the trace") {
  const scratch_folder folder;
  mnist::picture frame(32, 32, 1, 255);
  for (std::size_t y = 12; y < 20; ++y)
    for (std::size_t x = 12; x < 20; ++x) *frame.at(y, x) = 0;
  mnist::write_png(folder / "frame.png", frame);
  fs::copy(folder / "frame.png", folder / "digit.PNG"); // an ending as cameras and Windows write it
  struct job {
    std::string program;
    std::vector<std::string> arguments;
    double start; ///< t of the first inner iteration
    json told;    ///< of the settings
    json cost;
  };
  const json newton{{"passes", 10 * (1 + 2 * 3)}, {"backward_passes", 0}};
  const std::vector<job> jobs{
      {"superres",
       {"--model", "flow", "--factor", "2"},
       1.0,
       {{"task", "superres_x2"}, {"model", "flow"}},
       newton},
      {"superres", {"--cubic"}, 1000.0, {{"task", "superres_x4_cubic"}}, newton},
      {"superres",
       {"--model", "latent_ddpm", "--policy", "vae_newton"},
       1000.0,
       {{"model", "latent_ddpm"}, {"policy", "vae_newton"}},
       {{"passes", 70}, {"backward_passes", 0}, {"encoder_passes", 60}}},
      {"inpaint",
       {"--policy", "forward_mode_newton"},
       1000.0,
       {{"task", "inpaint_upper"}, {"policy", "forward_mode_newton"}},
       {{"passes", 40}, {"forward_mode_passes", 30}}},
      {"inpaint", {"--start", "0.5"}, 500.0, {{"start", 0.5}}, newton},
      {"inpaint", {"--known", "box", "--eta", "1"}, 1000.0, {{"task", "inpaint_box"}, {"eta", 1.0}}, newton},
      {"inpaint", {"--known", "random", "--share", "0.3"}, 1000.0, {{"task", "inpaint_random"}}, newton},
      {"inpaint",
       {"--mask", (folder / "frame.png").string(), "--data", (folder / "digit.PNG").string()},
       1000.0,
       {{"task", "inpaint_picture"}},
       newton}};
  for (const auto& job : jobs) {
    auto arguments = job.arguments;
    if (!job.told.contains("policy")) arguments.insert(arguments.end(), {"--policy", "inexact_newton"});
    arguments.insert(arguments.end(), {"--steps", "10", "--K", "3", "--out", (folder / "run").string()});
    const auto r = run(folder, job.program, arguments);
    INFO(job.program << " " << job.arguments.front() << " " << job.arguments.back() << ": " << r.said);
    REQUIRE(r.status == 0);
    const json j = json::parse(read_bytes(folder / "run.json"));
    CHECK(j["ending"] == "completed");
    for (const auto& [name, value] : job.told.items()) CHECK(j["settings"][name] == value);
    for (const auto& [name, value] : job.cost.items()) CHECK(j["costs_of_the_batch"][name] == value);
    CHECK(j["iterations"][0]["t"].get<double>() == Approx(job.start).epsilon(0.01));
    CHECK(j["digits"][0]["constraint_rmse"].get<double>() < 0.2);
    CHECK(mnist::read_png(folder / "run.png").width > 0);
  }
}

TEST_CASE("digits from 8 x 8 blocks hold to the blocks, and most are read as what they are") {
  const scratch_folder folder;
  const auto r =
      run(folder, "superres",
          {"--factor", "4", "--steps", "20", "--eta", "1", "--policy", "inexact_newton", "--K", "5", "--lr",
           "0.5", "--lr-last", "0.02", "--batch", "6", "--out", (folder / "six").string()});
  INFO(r.said);
  REQUIRE(r.status == 0);
  const json digits = json::parse(read_bytes(folder / "six.json"))["digits"];
  REQUIRE(digits.size() == 6);
  for (const auto& digit : digits) CHECK(digit["constraint_rmse"].get<double>() <= 0.05);
  CHECK(std::count_if(digits.begin(), digits.end(),
                      [](const json& d) { return d["judge_reads"] == d["label"]; }) >= 5);
}

TEST_CASE("directions: a step along each of the three whitens the pixel of the error") {
  const scratch_folder folder;
  const auto r = run(folder, "directions", {"--time", "100", "--out", (folder / "three").string()});
  INFO(r.said);
  REQUIRE(r.status == 0);
  const json j = json::parse(read_bytes(folder / "three.json"));
  CHECK(j["completed"] == true);
  CHECK(j["passes"] == 1 + 1 + 1 + 1024 + 4); // the estimate, J e, J^T e, the dense J, each step
  CHECK(j["backward_passes"] == 1);
  const std::vector<std::string> names{"J e", "J^-1 e", "J^-1 e", "J^T e"};
  REQUIRE(j["directions"].size() == names.size());
  for (std::size_t i = 0; i < names.size(); ++i) {
    const json& d = j["directions"][i];
    CHECK(d["name"] == names[i]);
    CHECK(d["change_at_the_pixel"].get<double>() > 0.1);
  }
  // an exact denoiser's J is symmetric, and with little noise this one's nearly so
  CHECK(j["directions"][3]["cosine_with_J_e"].get<double>() > 0.95);
  const auto sigma = j["singular_values"].get<std::vector<double>>();
  REQUIRE(sigma.size() == 1024);
  CHECK(std::is_sorted(sigma.rbegin(), sigma.rend()));
  CHECK(sigma.front() > 1.0);
  CHECK(sigma.back() >= 0.0);
  CHECK(holds(read_bytes(folder / "three.svg"), "J^-1 e"));
  const auto drawn = mnist::read_png(folder / "three.png", 3);
  CHECK(drawn.height == 96 + 4 * (5 * 32 + 34) + 30);
  CHECK(holds(read_bytes(folder / "three.svg"), "height=\"" + std::to_string(drawn.height) + "\""));

  // what each cut-off keeps: counted from the singular values, and told
  const std::vector<double> cutoffs{0.5, 0.1};
  for (std::size_t i = 0; i < 2; ++i) {
    const json& d = j["directions"][1 + i];
    const auto kept =
        std::count_if(sigma.begin(), sigma.end(), [&](double s) { return s > cutoffs[i] * sigma.front(); });
    CHECK(d["cutoff"] == cutoffs[i]);
    CHECK(d["singular_values_kept"] == kept);
    CHECK(holds(r.said, " keeps " + std::to_string(kept) + " of 1024 singular values"));
  }
  CHECK(j["directions"][1]["singular_values_kept"] < j["directions"][2]["singular_values_kept"]);
}

TEST_CASE("directions after Ctrl-C are those that need no dense Jacobian") {
  const scratch_folder folder;
  const auto output = folder / "output.txt";
  const pid_t id = start("directions", {"--out", (folder / "two").string()}, output);
  for (int i = 0; i < 6000 && !holds(read_bytes(output), "%"); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  ::kill(id, SIGINT);
  CHECK(status_of(id) == 130);
  const json j = json::parse(read_bytes(folder / "two.json"));
  CHECK(j["completed"] == false);
  REQUIRE(j["directions"].size() == 2);
  CHECK(j["directions"][0]["name"] == "J e");
  CHECK(j["directions"][1]["name"] == "J^T e");
  CHECK(j["singular_values"].empty());
  CHECK(holds(read_bytes(folder / "two.svg"), "J^T e"));
}

TEST_CASE("inpaint: the transparent part of a mask is filled in, and said to be") {
  const scratch_folder folder;
  mnist::picture light(32, 32, 1);
  png_pixels clear{32, 32, PNG_COLOR_TYPE_GRAY_ALPHA, 8};
  for (std::size_t y = 0; y < 32; ++y)
    for (std::size_t x = 0; x < 32; ++x) {
      *light.at(y, x) = x < 12 ? 255 : 0;
      clear.values.insert(clear.values.end(), {255, *light.at(y, x)});
    }
  mnist::write_png(folder / "light.png", light);
  write_bytes(folder / "clear.png", png_of(clear));
  const auto trace = [&](const char* mask) {
    const auto r =
        run(folder, "inpaint",
            {"--mask", (folder / mask).string(), "--steps", "2", "--out", (folder / "run").string()});
    INFO(r.said);
    REQUIRE(r.status == 0);
    CHECK(holds(r.said, "transparent parts") == (mask == std::string("clear.png")));
    return json::parse(read_bytes(folder / "run.json"))["iterations"];
  };
  CHECK(trace("clear.png") == trace("light.png"));
}

TEST_CASE("spectrum: J and J^T share their largest eigenvalue; one half's are real, the other's imaginary") {
  const scratch_folder folder;
  const auto r =
      run(folder, "spectrum", {"--times", "100", "--krylov", "20", "--out", (folder / "s").string()});
  INFO(r.said);
  REQUIRE(r.status == 0);
  const json j = json::parse(read_bytes(folder / "s.json"));
  CHECK(j["completed"] == true);
  std::map<std::string, json> of;
  for (const auto& s : j["spectra"]) of[s["of"]] = s;
  REQUIRE(of.size() == 4);
  const auto largest = [&](const std::string& name) { return of[name]["largest_magnitude"].get<double>(); };
  CHECK(largest("J") == Approx(largest("J^T")).epsilon(0.02));
  CHECK(largest("J") < 1.01 * largest("(J + J^T)/2")); // no real part of J's lies beyond (Bendixson)
  CHECK(largest("(J - J^T)/2") < 0.5 * largest("(J + J^T)/2"));
  for (const auto& value : of["(J + J^T)/2"]["eigenvalues"])
    CHECK(std::abs(value[1].get<double>()) < 0.02 * largest("(J + J^T)/2"));
  for (const auto& value : of["(J - J^T)/2"]["eigenvalues"])
    CHECK(std::abs(value[0].get<double>()) < 0.05 * largest("(J - J^T)/2"));
  CHECK(holds(read_bytes(folder / "s.svg"), "<svg"));
  const auto drawn = mnist::read_png(folder / "s.png", 3);
  CHECK(drawn.width == 720);
  CHECK(drawn.height == 420);
}

TEST_CASE("the reference's probe is 0.005, where an epsilon prediction's own is larger near noise") {
  const scratch_folder folder;
  const auto loss_after = [&](const std::vector<std::string>& probe) {
    std::vector<std::string> arguments{"--policy", "inexact_newton",         "--steps", "2", "--K", "2",
                                       "--out",    (folder / "run").string()};
    arguments.insert(arguments.end(), probe.begin(), probe.end());
    const auto r = run(folder, "inpaint", arguments);
    INFO(r.said);
    REQUIRE(r.status == 0);
    return json::parse(read_bytes(folder / "run.json"))["iterations"][3]["loss"][0].get<double>();
  };
  CHECK(loss_after({"--probe", "reference"}) == loss_after({"--probe", "0.005"}));
  CHECK(loss_after({"--probe", "reference"}) != loss_after({}));
  CHECK(loss_after({"--probe", "automatic"}) == loss_after({}));
}

TEST_CASE("without a font directions and spectrum say so at once, and leave no file") {
  const scratch_folder folder;
  const no_fonts bare;
  for (const std::string program : {"directions", "spectrum"}) {
    const auto r = run(folder, program, {"--out", (folder / "out").string()});
    INFO(r.said);
    CHECK(r.status == 2);
    CHECK(holds(r.said, "fonts-dejavu-core"));
    for (const char* end : {".svg", ".png", ".json"})
      CHECK(!fs::exists(folder.path() / ("out" + std::string(end))));
  }
}

TEST_CASE("a digit on a picture of one's own is taken, dark on light too") {
  const scratch_folder folder;
  mnist::picture p(60, 40, 1, 255);
  for (std::size_t y = 10; y < 50; ++y)
    for (std::size_t x = 18; x < 23; ++x) *p.at(y, x) = 0; // a 1
  mnist::write_png(folder / "mine.png", p);
  const auto r = run(folder, "superres",
                     {"--data", (folder / "mine.png").string(), "--factor", "2", "--steps", "10", "--out",
                      (folder / "big").string()});
  INFO(r.said);
  REQUIRE(r.status == 0);
  const json digit = json::parse(read_bytes(folder / "big.json"))["digits"][0];
  CHECK(digit["judge_reads"] == 1);
  CHECK(digit.count("label") == 0);
}

TEST_CASE("Ctrl-C ends a run with what it has") {
  const scratch_folder folder;
  const auto output = folder / "output.txt";
  const pid_t id =
      start("inpaint", {"--steps", "1000", "--krylov", "10", "--out", (folder / "part").string()}, output);
  // the first line of progress shows that the loop runs
  for (int i = 0; i < 6000 && !holds(read_bytes(output), "%"); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  ::kill(id, SIGINT);
  CHECK(status_of(id) == 130);
  const json j = json::parse(read_bytes(folder / "part.json"));
  CHECK(j["ending"] == "stopped by the user");
  CHECK(j["steps_taken"].get<int>() < 1000);
  CHECK(mnist::read_png(folder / "part.png").width > 0);
}

TEST_CASE("what no program could write, or would overwrite, is refused before any pass") {
  const scratch_folder folder;
  write_bytes(folder / "file", "");
  mnist::write_png(folder / "mask.png", mnist::picture(32, 32, 1, 255));
  mnist::write_png(folder / "mine.png", mnist::picture(28, 28, 1, 0));
  struct job {
    std::string program, standard;
    std::vector<std::string> endings;
  };
  const auto refused = [&](const std::string& program, const std::vector<std::string>& arguments,
                           const std::string& said) {
    const auto r = run(folder, program, arguments);
    INFO(program << ": " << r.said);
    CHECK(r.status == 2);
    CHECK(std::count(r.said.begin(), r.said.end(), '\n') == 1);
    CHECK(holds(r.said, said));
  };
  for (const auto& j : std::vector<job>{{"inpaint", "inpaint", {".png", ".json"}},
                                        {"superres", "superres", {".png", ".json"}},
                                        {"directions", "directions", {".svg", ".json"}},
                                        {"spectrum", "spectrum", {".svg", ".json"}},
                                        {"evaluate", "rows.jsonl", {""}}}) {
    refused(j.program, {"--out", (folder / "file/out").string()},
            (folder / "file").string() + " is not a folder");
    refused(j.program, {"--out", "/proc/none/out"}, "/proc/none");
    refused(j.program, {"--out", ""}, "is empty");
    const fs::path results = folder / j.program;
    for (const auto& ending : j.endings) {
      const fs::path taken = results / (j.standard + ending);
      fs::create_directories(taken);
      refused(j.program, {"--out", results.string()},
              taken.string() + ": cannot be written (it is a folder)");
      fs::remove(taken);
    }
    CHECK(fs::is_empty(results));
  }
  refused("inpaint", {"--mask", (folder / "mask.png").string(), "--out", (folder / "mask").string()},
          "would overwrite the mask");
  refused("superres", {"--data", (folder / "mine.png").string(), "--out", (folder / "mine.png").string()},
          "would overwrite a file of the digits");
  fs::create_symlink(fs::absolute(SOURCE_FOLDER "/examples/mnist/weights/judge.safetensors"),
                     folder / "link.json");
  refused("spectrum", {"--out", (folder / "link").string()}, "would overwrite the weights");
}

TEST_CASE(
    "evaluate takes as many products of the posterior step as it is told, and a pass more a time step") {
  const scratch_folder folder;
  const auto rows = folder / "rows.jsonl";
  const auto r = run(folder, "evaluate",
                     {"--policies", "posterior_step", "--krylov", "3", "--tasks", "inpaint_upper", "--digits",
                      "1", "--steps", "2", "--out", rows.string()});
  INFO(r.said);
  REQUIRE(r.status == 0);
  std::istringstream lines(read_bytes(rows));
  std::string line;
  while (std::getline(lines, line) && json::parse(line)["role"] == "real") {
  }
  const json row = json::parse(line);
  CHECK(row["settings"]["krylov"] == 3);
  CHECK(row["costs"]["passes"] == 2 * (1 + 3));
}

TEST_CASE("evaluate takes no file of rows but its own, and names the line") {
  const scratch_folder folder;
  const std::string rows = (folder / "rows.jsonl").string();
  const auto evaluate = [&](const std::string& option = "", const std::string& value = "") {
    std::map<std::string, std::string> with{{"--digits", "2"}, {"--batch", "1"},
                                            {"--steps", "1"},  {"--policies", "none"},
                                            {"--out", rows},   {"--tasks", "inpaint_upper"}};
    if (!option.empty()) with[option] = value;
    std::vector<std::string> arguments;
    for (const auto& [name, given] : with) arguments.insert(arguments.end(), {name, given});
    return run(folder, "evaluate", arguments);
  };
  const auto refused = [&](const std::string& bytes, const std::string& said) {
    write_bytes(rows, bytes);
    const auto r = evaluate();
    INFO(r.said);
    CHECK(r.status == 2);
    CHECK(std::count(r.said.begin(), r.said.end(), '\n') == 1);
    CHECK(holds(r.said, said));
    CHECK(read_bytes(rows) == bytes);
  };
  CHECK(evaluate("--tasks", "foo").status == 2);
  CHECK(!fs::exists(rows));
  CHECK(evaluate("--digits", "100000000").status == 2);
  CHECK(!fs::exists(rows));

  const auto first = evaluate();
  INFO(first.said);
  REQUIRE(first.status == 0);
  const std::string whole = read_bytes(rows);
  const auto second_line = whole.find('\n') + 1;
  const json row = json::parse(whole.substr(second_line, whole.find('\n', second_line) - second_line));
  const auto with = [&](const std::string& name, const json& value) {
    json changed = row;
    changed[name] = value;
    return whole.substr(0, second_line) + changed.dump() + "\n" + whole;
  };
  refused("my diary", "rows.jsonl, line 1: is no row of this program");
  refused(whole + "\n12\n", "line 5: is no row of this program (it is not a JSON object)");
  refused(with("key", 1), "line 2: is no row of this program (its key is not a string)");
  refused(with("rmse", {"much"}), "line 2: is no row of this program (its rmse is not a list of numbers");
  refused(with("psnr", json::array()), "line 2: is no row of this program (its psnr");
  refused(with("costs", {{"passes", "many"}}), "line 2: is no row of this program (its costs");
  refused(with("settings", nullptr), "line 2: is no row of this program (its settings");
  json other = row;
  other["checksums"]["weights"] = "0";
  refused(whole.substr(0, second_line) + other.dump() + "\n",
          "line 2: is of other digits or of other weights");

  write_bytes(rows, whole.substr(0, whole.size() - 1)); // whole, but for the end of the line
  CHECK(evaluate("--tasks", "inpaint_lower").status == 0);
  const std::string more = read_bytes(rows);
  CHECK(more.rfind(whole, 0) == 0);
  CHECK(std::count(more.begin(), more.end(), '\n') == 5);
  write_bytes(rows, whole.substr(0, whole.size() - 40));
  const auto cut = evaluate();
  CHECK(cut.status == 0);
  CHECK(holds(cut.said, "rows.jsonl, line 3: is cut short"));
  CHECK(std::count(cut.said.begin(), cut.said.end(), '\n') >= 1);

  fs::remove(rows);
  make_fifo(rows);
  CHECK(holds(evaluate().said, "rows.jsonl: cannot be written (it is not a regular file)"));
  CHECK(
      holds(evaluate("--out", "/dev/full").said, "/dev/full: cannot be written (it is not a regular file)"));
}

TEST_CASE("evaluate goes on where it was stopped") {
  const scratch_folder folder;
  const std::vector<std::string> command{"--digits",
                                         "2",
                                         "--batch",
                                         "1",
                                         "--steps",
                                         "2",
                                         "--K",
                                         "1",
                                         "--tasks",
                                         "inpaint_upper",
                                         "--policies",
                                         "none",
                                         "inexact_newton",
                                         "--out",
                                         (folder / "rows.jsonl").string()};
  REQUIRE(run(folder, "evaluate", command).status == 0);
  const std::string whole = read_bytes(folder / "rows.jsonl");
  CHECK(std::count(whole.begin(), whole.end(), '\n') == 1 + 2 * 2);
  SECTION("nothing is left to do") {
    REQUIRE(run(folder, "evaluate", command).status == 0);
    CHECK(read_bytes(folder / "rows.jsonl") == whole);
  }
  SECTION("a row that was being written is computed again") {
    write_bytes(folder / "rows.jsonl", whole.substr(0, whole.size() - 40));
    REQUIRE(run(folder, "evaluate", command).status == 0);
    const std::string again = read_bytes(folder / "rows.jsonl");
    CHECK(std::count(again.begin(), again.end(), '\n') == 1 + 2 * 2);
  }
  SECTION("a file that is no such file is left alone") {
    write_bytes(folder / "rows.jsonl", "my diary\n");
    CHECK(run(folder, "evaluate", command).status == 2);
    CHECK(read_bytes(folder / "rows.jsonl") == "my diary\n");
  }
}
