// The training program, run as its users run it, on digits made here.

#include <support/catch.hpp>
#include <support/file_faults.hpp>
#include <support/program.hpp>
#include <support/scratch_folder.hpp>

#include <common.hpp>
#include <idx.hpp>

#include <pushforward/safetensors/file.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstring>
#include <functional>
#include <thread>

using namespace testing_support;

namespace {

namespace fs = std::filesystem;

/// The program at work; what it writes goes to a file.
class child {
public:
  child(std::vector<std::string> arguments, const fs::path& output)
      : output_{output}, id_{start_program(TRAIN_PROGRAM, std::move(arguments), output)} {}
  ~child() {
    if (id_ > 0) {
      send(SIGKILL);
      wait();
    }
  }

  pid_t id() const { return id_; }
  void send(int signal) const { ::kill(id_, signal); }
  bool running() {
    if (id_ > 0 && ::waitpid(id_, &status_, WNOHANG) == id_) id_ = -1;
    return id_ > 0;
  }
  /// Its exit status; minus the signal that ended it.
  int wait() {
    if (id_ > 0) ::waitpid(id_, &status_, 0);
    id_ = -1;
    return WIFEXITED(status_) ? WEXITSTATUS(status_) : -WTERMSIG(status_);
  }
  /// Waits until something is so; false if the program ended first.
  bool wait_for(const std::function<bool()>& so) {
    while (running()) {
      if (so()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return false;
  }
  std::string output() const { return read_bytes(output_); }

private:
  fs::path output_;
  ::pid_t id_ = -1;
  int status_ = 0;
};

/// 1,032 digits of the classes 0 to 9: bars whose place is their class, with some dirt. 1,000 are held out.
void make_digits(const fs::path& folder, std::size_t count = 1032) {
  mnist::digit_set set{count, 28, 28, std::vector<std::uint8_t>(count * 784, 0), {}};
  std::uint32_t dirt = 1;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t label = i % 10;
    set.labels.push_back(static_cast<std::uint8_t>(label));
    for (std::size_t p = 0; p < 784; ++p) {
      dirt = dirt * 1664525u + 1013904223u;
      const bool bar = p / 28 >= 2 * label + 2 && p / 28 < 2 * label + 6;
      set.pixels[784 * i + p] = static_cast<std::uint8_t>(bar ? 255 - (dirt >> 27) : dirt >> 28);
    }
  }
  mnist::write_digits(folder, set);
}

std::vector<std::string> train(const std::string& task, const scratch_folder& folder,
                               const std::string& where, const std::string& steps) {
  return {task,
          "--data",
          folder.path().string(),
          "--folder",
          (folder / where).string(),
          "--steps",
          steps,
          "--batch",
          "8",
          "--every",
          "4"};
}

int run(const std::vector<std::string>& arguments, const scratch_folder& folder) {
  return child(arguments, folder / "output").wait();
}

/// The averaged weights of a checkpoint, bit by bit.
std::map<std::string, std::string> weights_of(const std::string& task, const scratch_folder& folder,
                                              const std::string& where) {
  REQUIRE(run({"export", task, "--float32", "--folder", (folder / where).string(), "--out",
               (folder / where).string()},
              folder) == 0);
  const pushforward::safetensors::file file(folder / where / (task + ".safetensors"));
  std::map<std::string, std::string> weights;
  for (const auto& [name, tensor] : file.tensors()) {
    auto& bytes = weights[name];
    bytes.resize(tensor.bytes.size());
    std::memcpy(bytes.data(), tensor.bytes.data(), bytes.size());
  }
  return weights;
}

std::size_t lines_of(const fs::path& log) {
  if (!fs::exists(log)) return 0;
  const auto text = read_bytes(log);
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

const auto says = contains_text;

} // namespace

TEST_CASE("a training killed at bad moments makes the weights of one that ran straight on") {
  const scratch_folder folder;
  make_digits(folder.path());
  REQUIRE(run(train("judge", folder, "straight", "16"), folder) == 0);

  const auto broken = folder / "broken";
  int kills = 0;
  { // between two checkpoints
    child first(train("judge", folder, "broken", "16"), folder / "output");
    if (first.wait_for([&] { return lines_of(broken / "judge.jsonl") >= 2; })) {
      first.send(SIGKILL);
      ++kills;
    }
    first.wait();
  }
  { // while a checkpoint is written
    child second(train("judge", folder, "broken", "16"), folder / "output");
    const auto writing = [&] {
      for (const auto& entry : fs::directory_iterator(broken))
        if (entry.path().string().find(".part") != std::string::npos) return true;
      return false;
    };
    if (second.wait_for(writing)) {
      second.send(SIGKILL);
      ++kills;
    }
    second.wait();
  }
  CHECK(kills >= 1);
  REQUIRE(run(train("judge", folder, "broken", "16"), folder) == 0);
  CHECK(weights_of("judge", folder, "broken") == weights_of("judge", folder, "straight"));
}

TEST_CASE("Ctrl-C saves and stops, and the same command goes on from there") {
  const scratch_folder folder;
  make_digits(folder.path());
  REQUIRE(run(train("judge", folder, "straight", "32"), folder) == 0);
  child stopped(train("judge", folder, "broken", "32"), folder / "output");
  REQUIRE(stopped.wait_for([&] { return lines_of(folder / "broken/judge.jsonl") >= 1; }));
  stopped.send(SIGINT);
  CHECK(stopped.wait() == 130);
  CHECK_THAT(stopped.output(), says("stopped at step") && says("goes on from there"));
  CHECK(lines_of(folder / "broken/judge.jsonl") < 8); // of 32 / 4
  REQUIRE(run(train("judge", folder, "broken", "32"), folder) == 0);
  CHECK(weights_of("judge", folder, "broken") == weights_of("judge", folder, "straight"));
}

TEST_CASE("Ctrl-C ends the drawing of samples, and leaves no file") {
  const scratch_folder folder;
  make_digits(folder.path());
  child stopped({"samples", "ddpm", "--weights", WEIGHTS_FOLDER, "--data", folder.path().string(), "--out",
                 (folder / "sheets").string()},
                folder / "output");
  REQUIRE(stopped.wait_for([&] { return catches(stopped.id(), SIGINT); }));
  stopped.send(SIGINT);
  CHECK(stopped.wait() == 130);
  CHECK_THAT(stopped.output(), says("stopped, nothing was written"));
  CHECK_FALSE(fs::exists(folder / "sheets/samples_ddpm.png"));
}

TEST_CASE("every network trains, resumes and is exported") {
  const scratch_folder folder;
  make_digits(folder.path());
  for (const std::string task : {"vae", "ddpm", "latent_ddpm"}) { // flow differs from ddpm in its loss alone
    CAPTURE(task);
    auto arguments = train(task, folder, "t", "1");
    arguments.push_back("--no-sheet");
    REQUIRE(run(arguments, folder) == 0);
    arguments[6] = "2";
    REQUIRE(run(arguments, folder) == 0);
    CHECK_THAT(read_bytes(folder / "output"), says("from step 1 of 2"));
    REQUIRE(run(arguments, folder) == 0);
    CHECK_THAT(read_bytes(folder / "output"), says("nothing to train: 2 steps are done"));
    CHECK(lines_of(folder / ("t/" + task + ".jsonl")) == 2);
    REQUIRE(run({"export", task, "--folder", (folder / "t").string(), "--out", (folder / "w").string()},
                folder) == 0);
    const pushforward::safetensors::file file(folder / ("w/" + task + ".safetensors"));
    CHECK(file.metadata().at("task") == task);
    CHECK(file.metadata().contains("architecture"));
    for (const auto& [name, tensor] : file.tensors())
      CHECK(tensor.type == pushforward::safetensors::dtype::f16);
  }
}

TEST_CASE("a checkpoint that does not fit on the disk leaves the one before it") {
  const scratch_folder folder;
  make_digits(folder.path());
  REQUIRE(run(train("judge", folder, "t", "1"), folder) == 0);
  const auto checkpoint = read_bytes(folder / "t/judge.ckpt"), log = read_bytes(folder / "t/judge.jsonl");
  {
    const size_limit full(100000);
    CHECK(run(train("judge", folder, "t", "2"), folder) == 2);
  }
  CHECK_THAT(read_bytes(folder / "output"), says("judge.ckpt: cannot be written (File too large)"));
  CHECK(read_bytes(folder / "t/judge.ckpt") == checkpoint);
  CHECK(read_bytes(folder / "t/judge.jsonl") == log);
  CHECK(std::distance(fs::directory_iterator(folder / "t"), {}) == 2);

  write_bytes(folder / "t/judge.jsonl", log + "{\"step\": "); // as a killed run may leave it
  REQUIRE(run({"export", "judge", "--folder", (folder / "t").string(), "--out", (folder / "w").string()},
              folder) == 0);
  CHECK(pushforward::safetensors::file(folder / "w/judge.safetensors").metadata().at("training") + "\n" ==
        log);
}

TEST_CASE("what cannot be done is said in one line, with exit status 2") {
  const scratch_folder folder;
  make_digits(folder.path());
  fs::create_directories(folder / "damaged");
  write_bytes(folder / "damaged/judge.ckpt", "not a checkpoint");
  fs::create_directories(folder / "few");
  make_digits(folder / "few", 1000);
  const std::string data = folder.path().string();
  const auto in = [&](const std::string& name) { return (folder / name).string(); };
  const auto refused = [&](const std::vector<std::string>& arguments) {
    child program(arguments, folder / "output");
    CHECK(program.wait() == 2);
    const auto text = program.output();
    CHECK(std::count(text.begin(), text.end(), '\n') == 1);
    return text;
  };
  CHECK_THAT(refused({}), says("a subcommand is needed; there are judge, "));
  CHECK_THAT(refused({"paint"}), says("paint is no subcommand; there are judge, "));
  CHECK_THAT(refused({"judge"}), says("--data"));
  CHECK_THAT(refused({"judge", "--data", data, "--steps", "many"}), says("many"));
  CHECK_THAT(refused({"judge", "--data", data, "--steps", "0", "--folder", in("t")}), says("--steps"));
  CHECK_THAT(refused({"judge", "--data", data, "--rate", "nan"}), says("--rate: must be a finite number"));
  CHECK_THAT(refused({"judge", "--data", data, "--batch", "-1"}), says("--batch: must be a whole number"));
  CHECK_THAT(refused({"judge", "--data", data, "--every", "010x"}), says("--every: must be a whole number"));
  CHECK_THAT(refused({"judge", "--data", data, "--no-sheet"}), says("--no-sheet")); // it draws none
  CHECK_THAT(refused({"judge", "--data", in("none"), "--folder", in("t")}),
             says("none") && says("no such folder"));
  CHECK_THAT(refused({"judge", "--data", in("few"), "--folder", in("t")}), says("1000 digits"));
  CHECK_THAT(refused({"judge", "--data", data, "--folder", in("damaged")}),
             says("judge.ckpt") && says("not a readable checkpoint"));
  CHECK_THAT(refused({"latent_ddpm", "--data", data, "--folder", in("t")}),
             says("vae.ckpt") && says("train it first"));
  CHECK_THAT(refused({"export", "painter", "--folder", in("t")}), says("painter"));
  write_bytes(folder / "file", "");
  CHECK_THAT(refused({"judge", "--data", data, "--folder", in("file/t")}),
             says("judge.ckpt: cannot be written") && says("another place with --folder"));
  make_fifo(folder / "damaged/vae.jsonl");
  CHECK_THAT(refused({"vae", "--data", data, "--folder", in("damaged")}),
             says("vae.jsonl: cannot be written (it is not a regular file)"));
  make_fifo(folder / "damaged/vae.ckpt");
  CHECK_THAT(
      refused({"latent_ddpm", "--data", data, "--folder", in("t"), "--start-from", in("damaged/vae.ckpt")}),
      says("vae.ckpt: is not a regular file but a FIFO"));
  CHECK_THAT(
      refused({"judge", "--data", data, "--folder", in("damaged"), "--start-from", in("damaged/judge.ckpt")}),
      says("would overwrite the checkpoint to start from"));
  CHECK_THAT(refused({"export", "judge", "--folder", in("damaged"), "--out", in("file")}),
             says("judge.safetensors: cannot be written"));
  CHECK_THAT(refused({"export", "judge", "--folder", in("damaged"), "--out", ""}), says("--out"));
  CHECK_THAT(refused({"samples", "vae", "--weights", in("t"), "--data", data, "--out", in("file")}),
             says("samples_vae.png: cannot be written"));
  CHECK_FALSE(fs::exists(folder / "t"));
  CHECK_THAT(refused({"export", "judge", "--folder", in("t")}), says("judge.ckpt"));
  CHECK_THAT(refused({"samples", "judge", "--weights", in("t"), "--data", data}), says("judge.safetensors"));
}

TEST_CASE("--help says what there is") {
  const scratch_folder folder;
  child program({"--help"}, folder / "output");
  CHECK(program.wait() == 0);
  for (const std::string word : {"judge", "ddpm", "flow", "vae", "latent_ddpm", "export", "samples", "all"})
    CHECK_THAT(program.output(), says(word));
  CHECK_THAT(program.output(), says("Usage: pushforward_mnist_train ["));
}
