// Files opened for reading.

#include <support/catch.hpp>
#include <support/file_faults.hpp>
#include <support/scratch_folder.hpp>

#include <pushforward/safetensors/file.hpp>
#include <pushforward/safetensors/regular_file.hpp>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

using namespace testing_support;
using pushforward::safetensors::is_there;
using pushforward::safetensors::regular_file;

namespace {

namespace fs = std::filesystem;
const auto says = contains_text;

void bind_socket(const fs::path& path) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  REQUIRE(path.string().size() < sizeof address.sun_path);
  std::strcpy(address.sun_path, path.c_str());
  REQUIRE(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  ::close(fd);
}

} // namespace

TEST_CASE("only regular files are read, and the reason is given for others, at once") {
  const scratch_folder folder;
  make_fifo(folder / "fifo");
  bind_socket(folder / "socket");
  write_bytes(folder / "file", "bytes");
  const auto fault = [&](const fs::path& path) { return fault_of([&] { regular_file{path}; }); };
  CHECK_THAT(fault(folder / "fifo"), says((folder / "fifo").string() + ": is not a regular file but a FIFO"));
  CHECK_THAT(fault(folder / "socket"), says("is not a regular file but a socket"));
  CHECK_THAT(fault(folder.path()), says("is not a regular file but a folder"));
  CHECK_THAT(fault_of([&] { pushforward::safetensors::file{folder / "fifo"}; }),
             says("is not a regular file"));
  CHECK_THAT(fault("/dev/zero"), says("is not a regular file but a device"));
  CHECK_THAT(fault(folder / "none"), says((folder / "none").string() + ": there is no such file"));
  CHECK_THAT(fault(folder / "file/x"), says("there is no such file"));
  CHECK_THAT(fault(folder / std::string(300, 'n')), says("cannot be read (File name too long)"));
  CHECK(regular_file(folder / "file").read(5) == "bytes");
  CHECK_THROWS_WITH(regular_file(folder / "file").read(4), says("too much for a file of its kind"));
  CHECK(regular_file("/proc/self/status").read(1 << 20).find("Name:") == 0); // has no size
  CHECK(is_there(folder / "fifo"));
  CHECK_FALSE(is_there(folder / "none"));
  CHECK_FALSE(is_there(folder / "file/x"));
}

TEST_CASE("a file that may not be read is said to be so") {
  const scratch_folder folder;
  write_bytes(folder / "secret", "bytes");
  fs::create_directory(folder / "closed");
  write_bytes(folder / "closed/x", "bytes");
  ::chmod(folder.path().c_str(), 0755);
  ::chmod((folder / "secret").c_str(), 0);
  ::chmod((folder / "closed").c_str(), 0);
  std::string secret, hidden, unknown;
  {
    const without_rights user;
    secret = fault_of([&] { regular_file{folder / "secret"}; });
    hidden = fault_of([&] { regular_file{folder / "closed/x"}; });
    unknown = fault_of([&] { is_there(folder / "closed/x"); });
  }
  ::chmod((folder / "closed").c_str(), 0755);
  CHECK_THAT(secret, says((folder / "secret").string() + ": cannot be read (Permission denied)"));
  CHECK_THAT(hidden, says("closed/x: cannot be read (Permission denied)"));
  CHECK_THAT(unknown, says("closed/x: cannot be read (Permission denied)"));
}
