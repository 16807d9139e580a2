// Files of lines from which a run goes on.

#include <support/catch.hpp>
#include <support/scratch_folder.hpp>

#include <line_file.hpp>

using namespace testing_support;
using policies::json;

namespace {

const json of{{"denoiser", "mine"}, {"largest", 10.0}};

policies::line_file opened(const std::filesystem::path& path, const json& marks = of) {
  return {path, marks, [](const json& line) { return line.contains("x") ? "" : "it has no x"; }};
}

} // namespace

TEST_CASE("what a file of lines holds is known when it is opened again") {
  const scratch_folder folder;
  auto first = opened(folder / "lines");
  CHECK(first.known().empty());
  CHECK(folder.size() == 0);
  first.add({{"x", 1}});
  opened(folder / "lines").add({{"x", 2}});
  CHECK(read_bytes(folder / "lines") == R"({"of":{"denoiser":"mine","largest":10.0},"x":1}
{"of":{"denoiser":"mine","largest":10.0},"x":2}
)");
  const auto both = opened(folder / "lines");
  REQUIRE(both.known().size() == 2);
  CHECK(both.known()[1]["x"] == 2);
}

TEST_CASE("a last line that was cut short gives way to the next") {
  const scratch_folder folder;
  opened(folder / "lines").add({{"x", 1}});
  const auto whole = read_bytes(folder / "lines");
  for (const std::size_t length : {std::size_t{1}, std::size_t{20}, whole.size() - 2}) {
    write_bytes(folder / "lines", whole + whole.substr(0, length));
    auto file = opened(folder / "lines");
    CHECK(file.known().size() == 1);
    file.add({{"x", 2}});
    CHECK(opened(folder / "lines").known().size() == 2);
  }
  write_bytes(folder / "lines", whole.substr(0, whole.size() - 1));
  opened(folder / "lines").add({{"x", 2}});
  CHECK(opened(folder / "lines").known().size() == 2);
}

TEST_CASE("a file of anything else, or of another run, is refused by its line and left as it is") {
  const scratch_folder folder;
  opened(folder / "lines").add({{"x", 1}});
  const auto whole = read_bytes(folder / "lines");
  const auto refused = [&](const std::string& text, const json& marks, const std::string& why) {
    write_bytes(folder / "lines", text);
    CHECK_THROWS_WITH(opened(folder / "lines", marks), contains_text(why));
    CHECK(read_bytes(folder / "lines") == text);
  };
  refused(whole + "some text", of, "line 2: is no line of this program");
  refused(whole.substr(0, 20) + "\n" + whole, of, "line 1: is no line of this program");
  refused(whole + "{\"x\":1}\n", of, "line 2: is no line of this program (it does not say what it is of)");
  refused(R"({"of":{"denoiser":"mine","largest":10.0}})", of,
          "line 1: is no line of this program (it has no x)");
  refused(whole, {{"denoiser", "mine"}, {"largest", 1.0}},
          "line 1: is of another run: its largest is 10.0, this run's 1.0");
  refused(whole, {{"denoiser", "mine"}}, "its largest is 10.0, this run's absent");
}
