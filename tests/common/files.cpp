// Files that are written together or not at all, and names of outputs.

#include <support/catch.hpp>
#include <support/file_faults.hpp>
#include <support/scratch_folder.hpp>

#include <common/files.hpp>
#include <common/outputs.hpp>

#include <pushforward/error.hpp>

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

using namespace testing_support;
using examples::append_line;
using examples::file_set;
using examples::require_writable;
using examples::write_text;
using pushforward::bad_file;

namespace {

namespace fs = std::filesystem;
const auto says = contains_text;

} // namespace

TEST_CASE("files of a set are there together, in folders that are made") {
  const scratch_folder folder;
  file_set files;
  files.add(folder / "a", "first");
  files.add(folder / "new/er/b", std::vector<std::uint8_t>{'x', 0, 'y'});
  files.add(folder / "a", "second"); // in place of the first
  CHECK(folder.size() == 0);
  files.write();
  CHECK(read_bytes(folder / "a") == "second");
  CHECK(read_bytes(folder / "new/er/b") == std::string("x\0y", 3));
  CHECK(files.paths() == std::vector<fs::path>{folder / "a", folder / "new/er/b"});
  CHECK(folder.size() == 2);
}

TEST_CASE("a new file has the permissions that the umask leaves, one that is replaced keeps its own") {
  const scratch_folder folder;
  for (const mode_t mask : {mode_t{0022}, mode_t{0077}, mode_t{0002}}) {
    const auto path = folder / std::to_string(mask);
    const mode_t before = ::umask(mask);
    write_text(path, "new");
    append_line(path.string() + ".log", "new");
    ::umask(before);
    CHECK(mode_of(path) == (0666 & ~mask));
    CHECK(mode_of(path.string() + ".log") == (0666 & ~mask));
  }
  write_text(folder / "kept", "old");
  ::chmod((folder / "kept").c_str(), 0640);
  write_text(folder / "kept", "new");
  CHECK(mode_of(folder / "kept") == 0640);
  CHECK(read_bytes(folder / "kept") == "new");
}

TEST_CASE("a symbolic link stays one, and the file that it leads to is replaced") {
  const scratch_folder folder;
  fs::create_directory(folder / "elsewhere");
  write_text(folder / "elsewhere/a", "old");
  fs::create_symlink("elsewhere/a", folder / "relative");
  fs::create_symlink(folder / "elsewhere/b", folder / "dangling");
  write_text(folder / "relative", "new");
  write_text(folder / "dangling", "made");
  CHECK(fs::is_symlink(folder / "relative"));
  CHECK(fs::is_symlink(folder / "dangling"));
  CHECK(read_bytes(folder / "elsewhere/a") == "new");
  CHECK(read_bytes(folder / "elsewhere/b") == "made");
}

TEST_CASE("where a file cannot be renamed, those that were are taken back, and older ones are as they were") {
  const scratch_folder folder;
  write_text(folder / "old", "older result");
  ::chmod((folder / "old").c_str(), 0600);
  file_set files;
  files.add(folder / "old", "newer result");
  files.add(folder / "fresh", "newer result");
  files.add(folder / "x", "a file where the next one needs a folder");
  files.add(folder / "x/y", "");
  const auto fault = fault_of([&] { files.write(); });
  CHECK_THAT(fault, says((folder / "x").string() + ": cannot be written"));
  CHECK(folder.size() == 1);
  CHECK(read_bytes(folder / "old") == "older result");
  CHECK(mode_of(folder / "old") == 0600);
}

TEST_CASE("a full disk is an error that names the file, and leaves none") {
  const scratch_folder folder;
  write_text(folder / "old", "older result");
  append_line(folder / "log", "one");
  file_set files;
  files.add(folder / "old", "newer result");
  files.add(folder / "new/small", "fits");
  files.add(folder / "large", std::string(10000, 'x'));
  std::string fault, line, fresh, tried;
  {
    const size_limit full(4000);
    fault = fault_of([&] { files.write(); });
    line = fault_of([&] { append_line(folder / "log", std::string(5000, 'x')); });
    fresh = fault_of([&] { append_line(folder / "log2", std::string(5000, 'x')); });
    tried = fault_of([&] { require_writable({folder / "result"}); });
  }
  CHECK_THAT(fault, says((folder / "large").string() + ": cannot be written (File too large)"));
  CHECK_THAT(line, says((folder / "log").string() + ": cannot be written (File too large)"));
  CHECK_THAT(fresh, says((folder / "log2").string() + ": cannot be written"));
  CHECK_THAT(tried, says((folder / "result").string() + ": cannot be written (File too large)"));
  CHECK(folder.size() == 2);
  CHECK(read_bytes(folder / "old") == "older result");
  CHECK(read_bytes(folder / "log") == "one\n");
}

TEST_CASE("an interrupt while files are written waits until they are whole") {
  static volatile std::sig_atomic_t heard = 0;
  heard = 0;
  std::signal(SIGINT, [](int) { heard = heard + 1; });
  const scratch_folder folder;
  // a file so large that the signal, sent from a child, comes while it is written
  const pid_t parent = ::getpid();
  file_set files;
  files.add(folder / "large", std::string(64 << 20, 'x'));
  const pid_t child = ::fork();
  if (child == 0) {
    for (;;) {
      bool writing = false;
      std::error_code none;
      for (fs::directory_iterator i(folder.path(), none), end; i != end; i.increment(none)) writing = true;
      if (writing) break;
    }
    ::kill(parent, SIGINT);
    ::kill(parent, SIGINT);
    ::_exit(0);
  }
  files.write();
  int status = 0;
  ::waitpid(child, &status, 0);
  std::signal(SIGINT, SIG_DFL);
  CHECK(heard >= 1);
  CHECK(fs::file_size(folder / "large") == 64 << 20);
  CHECK(folder.size() == 1);
}

TEST_CASE("lines are added whole, and after one that was cut short as a new one") {
  const scratch_folder folder;
  append_line(folder / "new/log", "one");
  append_line(folder / "new/log", "two");
  CHECK(read_bytes(folder / "new/log") == "one\ntwo\n");
  write_bytes(folder / "cut", "one\ntw");
  append_line(folder / "cut", "three");
  CHECK(read_bytes(folder / "cut") == "one\ntw\nthree\n");
}

TEST_CASE("what could not be written is found out beforehand, with the reason, and nothing is left") {
  const scratch_folder folder;
  write_text(folder / "file", "");
  fs::create_directory(folder / "folder");
  make_fifo(folder / "fifo");
  const std::string long_name(256, 'n'), longest_name(255, 'n');
  const auto refused = [&](const fs::path& path) {
    return fault_of([&] { require_writable({folder / "fine", path}, {}, "--out"); });
  };
  struct hopeless {
    fs::path path;
    std::string reason;
  };
  for (const auto& h : std::vector<hopeless>{{folder / "file/x", "is not a folder"},
                                             {folder / "file/x/y", "is not a folder"},
                                             {folder / "folder", "it is a folder"},
                                             {folder / "fifo", "it is not a regular file"},
                                             {"/proc/none/x", "the folder /proc/none cannot be made"},
                                             {"/proc/x", "cannot be written"},
                                             {folder / long_name, "File name too long"}}) {
    const auto fault = refused(h.path);
    CHECK_THAT(fault, says(h.path.string() + ": cannot be written") && says(h.reason));
    CHECK_THAT(fault, says("; choose another place with --out"));
    CHECK_THROWS_AS(write_text(h.path, "x"), bad_file);
  }
  CHECK_THAT(refused("/dev/full"), says("it is not a regular file")); // and is never tried to be written
  CHECK_NOTHROW(
      require_writable({folder / "new/er/a", folder / "new/er/b", folder / "file", folder / longest_name}));
  CHECK(folder.size() == 3);
  CHECK(read_bytes(folder / "file").empty());
}

TEST_CASE("places without the right to write are found out beforehand") {
  const scratch_folder folder;
  fs::create_directory(folder / "closed");
  write_text(folder / "closed/protected", "old");
  ::chmod(folder.path().c_str(), 0777);
  ::chmod((folder / "closed").c_str(), 0555);
  write_text(folder / "protected", "old");
  ::chmod((folder / "protected").c_str(), 0444);
  std::string into, over, beside;
  {
    const without_rights user;
    into = fault_of([&] { require_writable({folder / "closed/x"}); });
    over = fault_of([&] { require_writable({folder / "protected"}); });
    beside = fault_of([&] { require_writable({folder / "closed/y/x"}); });
  }
  ::chmod((folder / "closed").c_str(), 0755);
  CHECK_THAT(into, says("closed/x: cannot be written (Permission denied)"));
  CHECK_THAT(over, says("protected: cannot be written (Permission denied)"));
  CHECK_THAT(beside, says("closed/y cannot be made: Permission denied"));
}

TEST_CASE("an input is not overwritten, by whatever path it is named") {
  const scratch_folder folder;
  write_text(folder / "cat.png", "the picture");
  fs::create_hard_link(folder / "cat.png", folder / "hard.png");
  fs::create_symlink("cat.png", folder / "soft.png");
  fs::create_symlink(folder.path(), folder / "again");
  const std::vector<examples::input_file> inputs{{"the mask", folder / "none.png"},
                                                 {"the picture", folder / "cat.png"}};
  for (const std::string name : {"cat.png", "hard.png", "soft.png", "again/cat.png", "./again/cat.png"}) {
    const auto fault = fault_of([&] { require_writable({folder / "new.png", folder / name}, inputs); });
    CHECK_THAT(fault, says((folder / name).string() + " would overwrite the picture, ") &&
                          says((folder / "cat.png").string() + ";") && says("--out"));
  }
  write_text(folder / "other.png", "the picture");
  CHECK_NOTHROW(require_writable({folder / "other.png", folder / "none.png"}, inputs));
  CHECK(read_bytes(folder / "cat.png") == "the picture");
}

TEST_CASE("a name for what is written: a folder gets the standard name in it, and endings are left out") {
  const scratch_folder folder;
  fs::create_directory(folder / "there");
  fs::create_directory(folder / "there.png");
  const auto named = [](const std::string& given) {
    return examples::output_name(given, "result", {".png", ".json"}).string();
  };
  const std::string in = folder.path().string();
  CHECK(named("out") == "out");
  CHECK(named("out.png") == "out");
  CHECK(named("out.json") == "out");
  CHECK(named("out.2.png") == "out.2");
  CHECK(named("out.v1.5") == "out.v1.5");
  CHECK(named("out.jpg/new") == "out.jpg/new");
  CHECK(named("a/out") == "a/out");
  CHECK(named(".") == "./result");
  CHECK(named("..") == "../result");
  CHECK(named("new/") == "new/result");
  CHECK(named("new/.") == "new/./result");
  CHECK(named("new/..") == "new/../result");
  CHECK(named(in + "/there") == in + "/there/result");
  CHECK(named(in + "/there/") == in + "/there/result");
  CHECK(named(in + "/there.png") == in + "/there.png/result");
  CHECK(named(".hidden") == ".hidden");
  CHECK_THROWS_AS(named(""), CLI::ValidationError);
  CHECK_THROWS_AS(named(".png"), CLI::ValidationError);
  CHECK_THROWS_AS(named("new/.json"), CLI::ValidationError);
  for (const std::string other : {"out.jpg", "a/out.JPEG", "out.webp", "out.html", "out.PNG"})
    CHECK_THROWS_WITH(named(other),
                      says(other + " ends in ") &&
                          says("but what is written ends in .png, .json: leave the ending out"));
  CHECK(examples::output_name("rows.json", "rows.jsonl", {}) == "rows.json");
}

TEST_CASE("an option for outputs keeps its standard name, and refuses an empty one") {
  const scratch_folder folder;
  const auto parsed = [&](const std::vector<std::string>& arguments) {
    CLI::App app;
    fs::path out = "result", into = "results";
    examples::add_output_option(app, out, "", {".png"});
    examples::add_output_folder_option(app, "--into", into, "");
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
    return std::vector<std::string>{out.string(), into.string()};
  };
  CHECK(parsed({}) == std::vector<std::string>{"result", "results"});
  CHECK(parsed({"--out", folder.path().string(), "--into", "x/"}) ==
        std::vector<std::string>{(folder / "result").string(), "x/"});
  CHECK_THROWS_WITH(parsed({"--out", ""}), says("--out") && says("is empty"));
  CHECK_THROWS_WITH(parsed({"--into", ""}), says("--into") && says("is empty"));
}
