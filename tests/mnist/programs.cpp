// The programs that sample, run as their users run them, with the weights of the repository.

#include <support/catch.hpp>
#include <support/program.hpp>
#include <support/scratch_folder.hpp>

#include <common.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstring>
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
      {"inpaint", {"--lr", "-1"}, "positive"},
      {"inpaint", {"--eta", "2"}, "eta"},
      {"inpaint", {"--renoise", "0.5"}, "renoise"},
      {"inpaint", {"--start", "1.5"}, "start"},
      {"inpaint", {"--mask", (folder / "nowhere.png").string()}, "nowhere.png"},
      {"inpaint", {"--mask", (folder / "text.png").string()}, "text.png"},
      {"inpaint", {"--mask", (folder / "small.png").string()}, "28 x 28"},
      {"inpaint", {"--known", "box", "--box", "20", "20", "20", "20"}, "box"},
      {"inpaint", {"--known", "random", "--share", "2"}, "share"},
      {"inpaint", {"--weights", (folder / "empty").string()}, "empty"},
      {"superres", {"--factor", "3"}, "3"},
      {"superres", {"--data", (folder / "text.png").string()}, "text.png"},
      {"superres", {"--data", (folder / "nowhere").string()}, "nowhere"},
      {"superres", {"--first", "1000000"}, "1000000"},
      {"directions", {"--pixel", "40", "3"}, "pixel"},
      {"directions", {"--model", "latent_ddpm"}, "pixel models"},
      {"spectrum", {"--times", "2000"}, "2000"},
      {"evaluate", {"--rates", "quick"}, "quick"},
      {"evaluate", {"--tasks", "colour"}, "colour"},
      {"evaluate", {"--select", "10", "--first", "0"}, "overlap"}};
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

TEST_CASE("a run writes its picture and its trace") {
  const scratch_folder folder;
  const auto r = run(folder, "inpaint",
                     {"--known", "left", "--steps", "3", "--K", "2", "--batch", "2", "--first", "1", "--out",
                      (folder / "two").string()});
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
    const auto one = run(
        folder, "inpaint",
        {"--known", "left", "--steps", "3", "--K", "2", "--first", "2", "--out", (folder / "one").string()});
    INFO(one.said);
    REQUIRE(one.status == 0);
    const json k = json::parse(read_bytes(folder / "one.json"));
    CHECK(k["digits"][0]["index"] == j["digits"][1]["index"]);
    const double alone = k["digits"][0]["constraint_rmse"], together = j["digits"][1]["constraint_rmse"];
    CHECK(alone == Approx(together).epsilon(1e-3));
  }
}

TEST_CASE("gradient descent costs a backward pass an inner iteration, and none costs one pass a step") {
  const scratch_folder folder;
  for (const std::string policy : {"gradient_descent", "none"}) {
    const auto r = run(folder, "superres",
                       {"--policy", policy, "--steps", "2", "--K", "2", "--out", (folder / policy).string()});
    INFO(r.said);
    REQUIRE(r.status == 0);
    const json costs = json::parse(read_bytes(folder / (policy + ".json")))["costs_of_the_batch"];
    CHECK(costs["passes"] == (policy == "none" ? 2 : 2 * 3));
    CHECK(costs["backward_passes"] == (policy == "none" ? 0 : 2 * 2));
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
      start("inpaint", {"--steps", "1000", "--K", "10", "--out", (folder / "part").string()}, output);
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
