// The programs that compare methods, run as their users run them, with few passes and few images.

#include <support/catch.hpp>
#include <support/program.hpp>
#include <support/scratch_folder.hpp>

#include <common/png.hpp>

#include <nlohmann/json.hpp>

#include <set>
#include <sstream>
#include <string>
#include <vector>

using namespace testing_support;

namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using words = std::vector<std::string>;

finished run(const scratch_folder& folder, const std::string& program, words arguments,
             const words& more = {}) {
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_program(folder, PROGRAM_FOLDER "/pushforward_" + program + "policies_benchmark", arguments);
}

finished mixtures(const scratch_folder& folder, const words& more) {
  return run(folder, "mixtures_",
             {"--truths", "1", "--samples", "2", "--passes", "10", "--tuned-at", "10", "--out",
              (folder / "lines").string()},
             more);
}

std::vector<json> lines_of(const fs::path& path) {
  std::vector<json> all;
  std::istringstream text(read_bytes(path));
  for (std::string line; std::getline(text, line);) all.push_back(json::parse(line));
  return all;
}

std::set<std::string> all_of(const std::vector<json>& lines, const char* name) {
  std::set<std::string> found;
  for (const auto& line : lines) found.insert(line.at(name).get<std::string>());
  return found;
}

/// A folder of one picture.
void write_pictures(const fs::path& folder) {
  fs::create_directories(folder);
  examples::write_png(folder / "a.png", examples::picture(192, 192, 3, 128));
}

} // namespace

TEST_CASE("a bench goes on from its file, and measures again what a line that was cut short was for") {
  const scratch_folder folder;
  const words two{"--tasks", "half", "--methods", "plain sampling", "DDNM"};
  REQUIRE(mixtures(folder, two).status == 0);
  const auto whole = read_bytes(folder / "lines");
  auto before = lines_of(folder / "lines");
  REQUIRE(before.size() == 3 + 1 + 2); // of DDNM three settings
  const auto again = mixtures(folder, two);
  CHECK(again.status == 0);
  CHECK(again.said.empty());
  CHECK(read_bytes(folder / "lines") == whole);

  write_bytes(folder / "lines", whole.substr(0, whole.size() - 9));
  const auto cut = mixtures(folder, two);
  CHECK(cut.status == 0);
  CHECK(holds(cut.said, "line 6: is cut short"));
  auto after = lines_of(folder / "lines");
  REQUIRE(after.size() == before.size());
  for (auto* line : {&before.back(), &after.back()})
    for (const char* of_the_run : {"seconds", "peak_bytes"}) line->erase(of_the_run);
  CHECK(after.back() == before.back());
}

TEST_CASE("a bench does not go on from lines of other images, and leaves them as they are") {
  const scratch_folder folder;
  const words one{"--tasks", "half", "--methods", "plain sampling"};
  REQUIRE(mixtures(folder, one).status == 0);
  const auto whole = read_bytes(folder / "lines");
  const auto other =
      run(folder, "mixtures_", {"--truths", "2", "--samples", "2", "--out", (folder / "lines").string()});
  CHECK(other.status == 2);
  CHECK(holds(other.said, "line 1: is of another run: its tuned is 2, this run's 4"));
  CHECK(read_bytes(folder / "lines") == whole);
  auto lines = lines_of(folder / "lines");
  lines[0].erase("energy");
  write_bytes(folder / "lines", lines[0].dump() + "\n");
  CHECK(holds(mixtures(folder, one).said, "line 1: is no line of this program (its scores"));
}

TEST_CASE("tasks and methods that are not there are refused, naming those that are") {
  const scratch_folder folder;
  const auto task = mixtures(folder, {"--tasks", "x9"});
  CHECK(task.status == 2);
  CHECK(holds(task.said, R"(unknown task "x9"; take "half", "x2", "x2_noise")"));
  const auto method = mixtures(folder, {"--methods", "newton"});
  CHECK(method.status == 2);
  CHECK(holds(method.said, R"(unknown method "newton"; take "posterior step", )"));
  CHECK_FALSE(fs::exists(folder / "lines"));
}

TEST_CASE("variants are measured with --variants, and where they are named") {
  const scratch_folder folder;
  const words one{"--tasks", "half", "--methods", "plain sampling"};
  REQUIRE(mixtures(folder, one).status == 0);
  CHECK(all_of(lines_of(folder / "lines"), "method") == std::set<std::string>{"plain sampling"});
  REQUIRE(mixtures(folder, {"--tasks", "half", "--methods", "plain sampling", "--variants"}).status == 0);
  CHECK(all_of(lines_of(folder / "lines"), "method") ==
        std::set<std::string>{"plain sampling", "posterior step, m 4", "posterior step, m 2 undamped",
                              "posterior step, noise of x0'"});
  fs::remove(folder / "lines");
  REQUIRE(mixtures(folder, {"--tasks", "half", "--methods", "posterior step, m 4"}).status == 0);
  CHECK(all_of(lines_of(folder / "lines"), "method") == std::set<std::string>{"posterior step, m 4"});
}

TEST_CASE("of the first tested digits two more samples each, with other noise, say how far they differ") {
  const scratch_folder folder;
  const auto digits = [&](const words& own) {
    return run(folder, "digits_",
               {"--tuned", "2", "--first", "2", "--tested", "3", "--passes", "10", "--tuned-at", "10",
                "--methods", "plain sampling", "--tasks", "upper", "--out", (folder / "lines").string()},
               own);
  };
  REQUIRE(digits({"--diverse", "0"}).status == 0);
  CHECK(all_of(lines_of(folder / "lines"), "role") == std::set<std::string>{"tuned", "tested"});
  CHECK(lines_of(folder / "lines").back()["peak_bytes"].get<double>() > 3 * 1024 * 4); // of three digits
  REQUIRE(digits({"--diverse", "2"}).status == 0);
  const auto lines = lines_of(folder / "lines");
  REQUIRE(lines.size() == 3);
  CHECK(lines.back()["role"] == "again");
  const auto apart = lines.back()["diversity"].get<std::vector<double>>();
  REQUIRE(apart.size() == 2);
  for (const double d : apart) CHECK(d > 0.01);
  CHECK(apart[0] != apart[1]);
  const auto again = digits({"--diverse", "2"});
  CHECK(again.status == 0);
  CHECK(lines_of(folder / "lines").size() == 3);
#ifdef PYTHON
  const auto tables = run_program(folder, PYTHON, {TABLES, (folder / "lines").string()});
  CHECK(tables.status == 0);
  CHECK(holds(tables.said, "### Diversity, 10 passes"));
  CHECK(holds(tables.said, "### Peak memory of a run, MB, 10 passes"));
#endif
}

TEST_CASE("every program has all of its tasks") {
  const scratch_folder folder;
  write_pictures(folder / "photographs/training");
  write_pictures(folder / "photographs/held_out");
  const words few{"--passes",   "10",
                  "--tuned-at", "10",
                  "--methods",  "plain sampling",
                  "--out",      (folder / "lines").string()};
  const auto tasks = [&](const std::string& program, const words& own) {
    fs::remove(folder / "lines");
    const auto r = run(folder, program, few, own);
    INFO(r.said);
    REQUIRE(r.status == 0);
    return all_of(lines_of(folder / "lines"), "task");
  };
  CHECK(tasks("mixtures_", {"--truths", "1", "--samples", "2"}) ==
        std::set<std::string>{"half", "x2", "x2_noise"});
  CHECK(tasks("digits_", {"--tuned", "2", "--first", "2", "--tested", "2"}) ==
        std::set<std::string>{"upper", "left", "box", "random10", "x2", "x4", "blur_noise", "x4_noise"});
  CHECK(tasks("", {"--photographs", (folder / "photographs").string(), "--tuned", "2", "--tested", "2"}) ==
        std::set<std::string>{"block", "lines", "random10", "x4", "x4_noise", "blur_noise"});
}

TEST_CASE("no bench writes its lines into what it reads, or where it cannot") {
  const scratch_folder folder;
  write_pictures(folder / "photographs/training");
  write_pictures(folder / "photographs/held_out");
  write_bytes(folder / "ddpm.safetensors", "weights");
  const auto refused = [&](const std::string& program, const words& arguments, const fs::path& out,
                           const std::string& why) {
    const auto before = read_bytes(out);
    const auto r = run(folder, program, arguments, {"--out", out.string()});
    CHECK(r.status == 2);
    CHECK(holds(r.said, why));
    CHECK(read_bytes(out) == before);
  };
  const std::string photographs = (folder / "photographs").string(),
                    picture = photographs + "/held_out/a.png";
  refused("", {"--photographs", photographs}, picture, "would overwrite the photograph");
  refused("", {"--photographs", photographs, "--denoiser", (folder / "ddpm.safetensors").string()},
          folder / "ddpm.safetensors", "would overwrite the denoiser");
  refused("digits_", {"--weights", folder.path().string()}, folder / "ddpm.safetensors",
          "would overwrite the weights");
  const auto nowhere = run(folder, "mixtures_", {"--out", picture + "/lines"});
  CHECK(nowhere.status == 2);
  CHECK(holds(nowhere.said, "--out"));
}

#ifdef PYTHON
TEST_CASE("the tables are of one run: lines of another, or that lack something, are refused") {
  const scratch_folder folder;
  REQUIRE(mixtures(folder, {"--tasks", "half", "--methods", "plain sampling"}).status == 0);
  const auto file = (folder / "lines").string(), other = (folder / "other").string();
  const auto tables = [&](const words& files) {
    words arguments{TABLES};
    arguments.insert(arguments.end(), files.begin(), files.end());
    return run_program(folder, PYTHON, arguments);
  };
  const auto good = tables({file, file});
  CHECK(good.status == 0);
  CHECK(holds(good.said, "### energy distance, 10 passes"));
  const auto refused = [&](const std::string& text, const std::string& why) {
    write_bytes(other, text);
    const auto r = tables({file, other});
    CHECK(r.status == 2);
    CHECK(holds(r.said, why));
  };
  auto line = lines_of(file).back();
  line["of"]["seed"] = 4;
  refused(line.dump() + "\n", "other, line 1: is of another run: its seed is 4, that of the first 3");
  line = lines_of(file).back();
  line.erase("budget");
  refused(line.dump() + "\n", "other, line 1: has no budget");
  line = lines_of(file).back();
  line["setting"] = "other";
  refused("\n" + line.dump() + "\n", "other, line 2: has plain sampling at 10 passes with another setting");
  line = lines_of(file).back();
  line["energy"] = json::array();
  refused(line.dump() + "\n", "other, line 1: has energy that is no finite number");
  refused("\xff\xfe", "other, line 1: is no line of JSON");
  line.erase("energy");
  refused(line.dump() + "\n", "other, line 1: has no energy");
  refused("{\"of\":", "other, line 1: is no line of JSON");
}
#endif
