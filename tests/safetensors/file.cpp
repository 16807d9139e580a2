// The safetensors reader against files written byte by byte here, and the writer against the reader.

#include <support/catch.hpp>
#include <support/file_faults.hpp>
#include <support/scratch_folder.hpp>

#include <pushforward/safetensors/file.hpp>

#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <ctime>
#include <string>

using namespace pushforward;
using namespace pushforward::safetensors;
using namespace testing_support;

namespace {

/// The format: the header's length in 8 little-endian bytes, the header, the tensors' bytes.
std::string file_of(const std::string& header, const std::string& data) {
  std::string bytes;
  for (unsigned i = 0; i < 8; ++i) bytes += static_cast<char>(header.size() >> (8 * i) & 0xff);
  return bytes + header + data;
}

contents parsed(const std::string& bytes) {
  return parse(std::as_bytes(std::span<const char>(bytes)), "some.safetensors");
}

/// What `parse` says against the bytes; empty if it takes them.
std::string fault(const std::string& bytes) {
  try {
    parsed(bytes);
  } catch (const bad_file& e) {
    return e.what();
  }
  return "";
}

std::string fault(const std::string& header, const std::string& data) { return fault(file_of(header, data)); }

std::string entry(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

std::string text_of(const tensor_view& tensor) {
  std::string text(tensor.bytes.size(), '\0');
  if (!text.empty()) std::memcpy(text.data(), tensor.bytes.data(), text.size());
  return text;
}

named_tensor named(const std::string& name, dtype type, std::vector<std::int64_t> shape,
                   const std::string& data) {
  return {name, {type, std::move(shape), std::as_bytes(std::span<const char>(data))}};
}

const std::string eight(8, 'x');
const auto says = contains_text;

} // namespace

TEST_CASE("a file written byte by byte as the format says is read") {
  // 1.0f and -2.0f in little-endian bytes, then two uint8
  const std::string data{"\x00\x00\x80\x3f\x00\x00\x00\xc0\x07\xff", 10};
  const std::string header = R"({"__metadata__":{"made":"by hand"},"a.weight":)" +
                             entry("F32", "[2,1]", "[0,8]") + R"(,"b":)" + entry("U8", "[2]", "[8,10]") +
                             "}   ";
  const std::string bytes = file_of(header, data); // the views point into it
  const auto file = parsed(bytes);
  REQUIRE(file.tensors.size() == 2);
  CHECK(file.metadata == std::map<std::string, std::string>{{"made", "by hand"}});
  const auto& a = file.tensors.at("a.weight");
  CHECK(a.type == dtype::f32);
  CHECK(a.shape == std::vector<std::int64_t>{2, 1});
  float values[2];
  REQUIRE(a.bytes.size() == sizeof values);
  std::memcpy(values, a.bytes.data(), sizeof values);
  CHECK(values[0] == 1.0f);
  CHECK(values[1] == -2.0f);
  CHECK(text_of(file.tensors.at("b")) == "\x07\xff");
}

TEST_CASE("every dtype of the format is read with its size") {
  const std::vector<std::pair<std::string, std::size_t>> bits{
      {"BOOL", 8}, {"F4", 4},   {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U8", 8},   {"I8", 8},   {"F8_E5M2", 8},
      {"I16", 16}, {"F16", 16}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"U16", 16}, {"U32", 32}, {"BF16", 16},
      {"I32", 32}, {"F32", 32}, {"C64", 64},    {"U64", 64},    {"I64", 64}, {"F64", 64}};
  for (const auto& [name, n] : bits) {
    CAPTURE(name);
    const auto end = std::to_string(n); // 8 elements of n bits are n bytes
    const auto file =
        parsed(file_of(R"({"t":)" + entry(name, "[2,4]", "[0," + end + "]") + "}", std::string(n, 'x')));
    CHECK(bits_of(file.tensors.at("t").type) == n);
    CHECK(name_of(file.tensors.at("t").type) == name);
    CHECK(file.tensors.at("t").bytes.size() == n);
  }
  CHECK_THAT(fault(R"({"t":)" + entry("F4", "[3]", "[0,2]") + "}", "xx"), says("no memory can hold"));
}

TEST_CASE("numbers, empty tensors and files without tensors are read") {
  const auto number = parsed(file_of(R"({"t":)" + entry("F64", "[]", "[0,8]") + "}", eight));
  CHECK(number.tensors.at("t").shape.empty());
  CHECK(number.tensors.at("t").bytes.size() == 8);
  const auto empty = parsed(file_of(R"({"t":)" + entry("F32", "[3,0]", "[0,0]") + "}", ""));
  CHECK(empty.tensors.at("t").bytes.empty());
  CHECK(parsed(file_of("{}", "")).tensors.empty());
}

TEST_CASE("a file cut at any byte is refused") {
  const std::string whole = file_of(R"({"a":)" + entry("F32", "[2]", "[0,8]") + "}", eight);
  REQUIRE(fault(whole).empty());
  for (std::size_t n = 0; n < whole.size(); ++n) {
    CAPTURE(n);
    CHECK_THAT(fault(whole.substr(0, n)), says("some.safetensors") && says("fetch it again"));
  }
  CHECK_THAT(fault(whole + "x"), says("1 bytes follow its last tensor"));
}

TEST_CASE("a header whose length lies is refused") {
  const std::string header = R"({"a":)" + entry("F32", "[2]", "[0,8]") + "}";
  std::string bytes = file_of(header, eight);
  for (const char value : {'\x01', '\x7f', '\xff'}) {
    std::string more = bytes;
    more[7] = value; // the length's highest byte
    CHECK_THAT(fault(more), says("over the format's limit"));
  }
  bytes[0] = static_cast<char>(header.size() + 100);
  CHECK_THAT(fault(bytes), says("but " + std::to_string(header.size() + 8) + " are there"));
  bytes[0] = static_cast<char>(header.size() - 1);
  CHECK_THAT(fault(bytes), says("not JSON"));
  bytes[0] = static_cast<char>(header.size() + 8); // takes the data for header
  CHECK_THAT(fault(bytes), says("not JSON"));
  // 100,000,001 is over the limit even where so many bytes are there
  std::string huge(8 + 100'000'001, ' ');
  for (unsigned i = 0; i < 8; ++i) huge[i] = static_cast<char>(100'000'001ull >> (8 * i) & 0xff);
  CHECK_THAT(fault(huge), says("over the format's limit"));
}

TEST_CASE("a header that is not the format's JSON is refused") {
  const auto [header, message] = GENERATE(table<std::string, std::string>({
      {"", "not JSON"},
      {"[]", "not a JSON object"},
      {"7", "not a JSON object"},
      {"{} {}", "not JSON"},
      {R"({"a":)", "not JSON"},
      {"{\"\xff\":{}}", "not JSON"},
      {R"({"a":{"dtype":1e999}})", "not JSON"},
      {R"({"a":1})", "does not have exactly dtype, shape and data_offsets"},
      {R"({"a":{}})", "does not have exactly dtype, shape and data_offsets"},
      {R"({"a":{"dtype":"F32","shape":[2]}})", "does not have exactly"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"more":1}})", "does not have exactly"},
      {R"({"a":{"dtype":"F33","shape":[2],"data_offsets":[0,8]}})", "unknown dtype"},
      {R"({"a":{"dtype":"f32","shape":[2],"data_offsets":[0,8]}})", "unknown dtype"},
      {R"({"a":{"dtype":32,"shape":[2],"data_offsets":[0,8]}})", "unknown dtype"},
      {R"({"a":{"dtype":"F32","shape":2,"data_offsets":[0,8]}})", "a shape that is not an array"},
      {R"({"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}})", "not a whole number"},
      {R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", "not a whole number"},
      {R"({"a":{"dtype":"F32","shape":["2"],"data_offsets":[0,8]}})", "not a whole number"},
      {R"({"a":{"dtype":"F32","shape":[[2]],"data_offsets":[0,8]}})", "not a whole number"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}})", "two data_offsets"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}})", "two data_offsets"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":{"0":0,"1":8}}})", "two data_offsets"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}})", "not a whole number"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8.5]}})", "not a whole number"},
      {R"({"__metadata__":[]})", "metadata is not an object"},
      {R"({"__metadata__":{"a":1}})", "is not a string"},
  }));
  CAPTURE(header);
  CHECK_THAT(fault(header, eight), says(message));
}

TEST_CASE("nesting is bounded, however deep") {
  for (const std::size_t depth : {5ul, 100ul, 1'000'000ul}) {
    CHECK_THAT(fault(R"({"a":)" + std::string(depth, '[') + std::string(depth, ']') + "}", ""),
               says("nested too deep"));
    std::string objects;
    for (std::size_t i = 0; i < depth; ++i) objects += R"({"a":)";
    CHECK_THAT(fault(objects, ""), says("nested too deep"));
  }
  // brackets inside a text do not nest
  CHECK(fault(R"({"__metadata__":{"a":"[[[[[[[[\"[{{{{{{"}})", "").empty());
}

TEST_CASE("a key that comes twice is refused") {
  CHECK_THAT(
      fault(R"({"a":)" + entry("F32", "[2]", "[0,8]") + R"(,"a":)" + entry("F32", "[2]", "[0,8]") + "}",
            eight),
      says(R"(has "a" twice)"));
  CHECK_THAT(fault(R"({"a":{"dtype":"F32","dtype":"I32","shape":[2],"data_offsets":[0,8]}})", eight),
             says(R"(has "dtype" twice)"));
  CHECK_THAT(fault(R"({"__metadata__":{"k":"1","\u006b":"2"}})", ""), says(R"(has "k" twice)"));
}

TEST_CASE("a header is read in time that grows as its length does") {
  // processor time, the least of some, so that neighbours of the test do not count
  const auto seconds = [](std::size_t names, const std::string& last) {
    std::string header = "{";
    for (std::size_t i = 0; i < names; ++i)
      header += "\"" + std::to_string(i) + "\":" + entry("F32", "[0]", "[0,0]") + ",";
    const std::string bytes = file_of(header + "\"" + last + "\":" + entry("F32", "[0]", "[0,0]") + "}", "");
    double least = 1e9;
    for (int i = 0; i < 3; ++i) {
      const auto start = std::clock();
      CHECK(fault(bytes).empty() == (last == "last"));
      least = std::min(least, static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC);
    }
    return least;
  };
  for (const char* last : {"last", "0"}) { // the second is there twice
    const double few = seconds(1'000, last), many = seconds(16'000, last);
    CAPTURE(few, many);
    CHECK(many < 64.0 * few + 0.05); // 16 times the names; the square would be 256
  }
}

TEST_CASE("shapes that overflow are refused") {
  const auto [shape, offsets] = GENERATE(table<std::string, std::string>({
      {"[4611686018427387904]", "[0,0]"},             // times 32 bits is 2^67
      {"[4294967296,4294967296]", "[0,0]"},           // 2^64 elements
      {"[9223372036854775808]", "[0,8]"},             // over int64
      {"[0,18446744073709551615]", "[0,0]"},          // an extent over int64 beside an empty one
      {"[18446744073709551615,3]", "[0,8]"},          // wraps
      {"[2305843009213693953,8]", "[0,8]"},           // wraps to 8 elements
      {"[4294967296,4294967296,4294967296]", "[0,0]"} // wraps twice
  }));
  CAPTURE(shape);
  CHECK_THAT(fault(R"({"a":)" + entry("F32", shape, offsets) + "}", eight), says("no memory can hold"));
}

TEST_CASE("sizes and offsets must agree with the shape and the file") {
  const auto [shape, offsets, message] = GENERATE(table<std::string, std::string, std::string>({
      {"[2]", "[0,4]", "takes 4 bytes, but its shape needs 8"},
      {"[1]", "[0,8]", "takes 8 bytes, but its shape needs 4"},
      {"[0]", "[0,8]", "takes 8 bytes, but its shape needs 0"},
      {"[]", "[0,8]", "takes 8 bytes, but its shape needs 4"},
      {"[4]", "[0,16]", "lies at bytes 0 to 16 of 8"},
      {"[2]", "[8,0]", "lies at bytes 8 to 0 of 8"},
      {"[2]", "[18446744073709551608,18446744073709551615]", "of 8"},
      {"[1]", "[4,8]", "no tensor holds its bytes 0 to 4"},
      {"[1]", "[0,4]", "4 bytes follow its last tensor"},
  }));
  CAPTURE(shape, offsets);
  CHECK_THAT(fault(R"({"a":)" + entry("F32", shape, offsets) + "}", eight), says(message));
}

TEST_CASE("tensors that overlap or leave a hole are refused") {
  const auto two = [](const std::string& first, const std::string& second) {
    return R"({"a":)" + entry("U8", "[4]", first) + R"(,"b":)" + entry("U8", "[4]", second) + "}";
  };
  CHECK(fault(two("[4,8]", "[0,4]"), eight).empty()); // any order
  CHECK_THAT(fault(two("[0,4]", "[3,7]"), eight), says("overlap at byte 3"));
  CHECK_THAT(fault(two("[0,4]", "[0,4]"), eight), says("overlap at byte 0"));
  CHECK_THAT(fault(two("[0,4]", "[5,9]"), eight + "x"), says("no tensor holds its bytes 4 to 5"));
}

TEST_CASE("hostile names do not reach the message raw") {
  const auto message = fault("{\"a\\n\\u001b[2J\":1}", "");
  CHECK_THAT(message, says("a\\n\\u001b[2J"));
  CHECK(message.find('\n') == std::string::npos);
  CHECK(message.find('\x1b') == std::string::npos);
  CHECK(fault("{\"" + std::string(1'000'000, 'a') + "\":1}", "").size() < 500);
}

TEST_CASE("what is written is read back") {
  const scratch_folder folder;
  const std::string a = "\x01\x02\x03\x04\x05\x06\x07\x08", b = "\x7f";
  write(folder / "w.safetensors",
        {named("b", dtype::u8, {1}, b), named("a\"\xc3\xa4", dtype::i16, {2, 2}, a),
         named("none", dtype::f32, {0, 5}, "")},
        {{"prediction", "epsilon"}, {"", "empty key"}});
  const file read(folder / "w.safetensors");
  CHECK(read.tensors().size() == 3);
  CHECK(read.at("a\"\xc3\xa4").type == dtype::i16);
  CHECK(read.at("a\"\xc3\xa4").shape == std::vector<std::int64_t>{2, 2});
  CHECK(text_of(read.at("a\"\xc3\xa4")) == a);
  CHECK(text_of(read.at("b")) == b);
  CHECK(read.at("none").shape == std::vector<std::int64_t>{0, 5});
  CHECK(read.metadata().at("prediction") == "epsilon");
  CHECK(read.metadata().at("") == "empty key");
  CHECK(folder.size() == 1);
  CHECK(read.contains("b"));
  CHECK_FALSE(read.contains("c"));
  CHECK_THROWS_WITH(read.at("c"), says("w.safetensors") && says("\"c\""));
  CHECK(read_bytes(folder / "w.safetensors").size() % 8 ==
        1); // the header is padded, so that tensors are aligned
}

TEST_CASE("views outlive the file object they were copied from") {
  const scratch_folder folder;
  write(folder / "w.safetensors", {named("a", dtype::u8, {8}, eight)});
  auto first = std::make_unique<file>(folder / "w.safetensors");
  const file copy = *first;
  first.reset();
  std::filesystem::remove(folder / "w.safetensors");
  CHECK(text_of(copy.at("a")) == eight);
}

TEST_CASE("the writer refuses what it could not read back") {
  const scratch_folder folder;
  const auto path = folder / "w.safetensors";
  CHECK_THROWS_AS(write(path, {named("a", dtype::f32, {3}, eight)}), shape_mismatch);
  CHECK_THROWS_AS(write(path, {named("a", dtype::u8, {-2, -4}, eight)}), shape_mismatch);
  CHECK_THROWS_AS(write(path, {named("a", dtype::u8, {0, -1}, "")}), shape_mismatch);
  CHECK_THROWS_AS(write(path, {named("a", dtype::u8, {std::int64_t{1} << 62, 4, 8}, "")}), shape_mismatch);
  CHECK_THROWS_AS(write(path, {named("a", dtype::f4, {3}, "xx")}), shape_mismatch);
  CHECK_THROWS_AS(write(path, {named("a", dtype::u8, {8}, eight), named("a", dtype::u8, {8}, eight)}),
                  bad_option);
  CHECK_THROWS_AS(write(path, {named("__metadata__", dtype::u8, {8}, eight)}), bad_option);
  CHECK_THROWS_AS(write(path, {named("\xff", dtype::u8, {8}, eight)}), bad_option);
  CHECK_THROWS_AS(write(path, {}, {{"k", "\xff"}}), bad_option);
  CHECK(folder.size() == 0);
}

TEST_CASE("a file that cannot be written whole is not written at all") {
  const scratch_folder folder;
  const auto path = folder / "w.safetensors";
  write(path, {named("a", dtype::u8, {8}, eight)});
  const auto before = read_bytes(path);

  const std::string large(1 << 20, 'y');
  ::rlimit old{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &old) == 0);
  std::signal(SIGXFSZ, SIG_IGN);
  ::rlimit small = old;
  small.rlim_cur = 4096; // a full disk, as far as write() can tell
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  CHECK_THROWS_AS(write(path, {named("a", dtype::u8, {1 << 20}, large)}), bad_file);
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &old) == 0);
  std::signal(SIGXFSZ, SIG_DFL);
  CHECK(read_bytes(path) == before);
  CHECK(folder.size() == 1);

  CHECK_THROWS_WITH(write(folder / "no/such/folder/w", {}), says("cannot be written"));
  std::filesystem::create_directory(folder / "taken");
  write_bytes(folder / "taken/x", "");
  CHECK_THROWS_WITH(write(folder / "taken", {}), says("it is not a regular file"));
  CHECK(folder.size() == 2);
}

TEST_CASE(
    "a written file has the permissions of the umask, or of the file that it replaces, also through a link") {
  const scratch_folder folder;
  const auto path = folder / "w.safetensors";
  const mode_t before = ::umask(0027);
  write(path, {named("a", dtype::u8, {8}, eight)});
  ::umask(before);
  CHECK(mode_of(path) == 0640);
  ::chmod(path.c_str(), 0604);
  std::filesystem::create_symlink("w.safetensors", folder / "link");
  write(folder / "link", {named("b", dtype::u8, {8}, eight)});
  CHECK(mode_of(path) == 0604);
  CHECK(std::filesystem::is_symlink(folder / "link"));
  CHECK(file(path).contains("b"));
  make_fifo(folder / "fifo");
  CHECK_THROWS_WITH(write(folder / "fifo", {}), says("fifo: cannot be written"));
  CHECK(folder.size() == 3);
}

TEST_CASE("serialized tensors are the bytes of the file") {
  const scratch_folder folder;
  const std::vector<named_tensor> tensors{named("a", dtype::u8, {8}, eight),
                                          named("none", dtype::f32, {0}, "")};
  write(folder / "w", tensors, {{"k", "v"}});
  CHECK(serialize(tensors, {{"k", "v"}}) == read_bytes(folder / "w"));
  CHECK_THROWS_AS(serialize({named("a", dtype::f32, {3}, eight)}), shape_mismatch);
}

TEST_CASE("files that are missing, empty or no files are named") {
  const scratch_folder folder;
  CHECK_THROWS_WITH(file(folder / "none"), says((folder / "none").string()) && says("there is no such file"));
  CHECK_THROWS_WITH(file(folder.path()), says("is not a regular file but a folder"));
  write_bytes(folder / "empty", "");
  CHECK_THROWS_WITH(file(folder / "empty"), says("shorter than the 8 bytes"));
  write_bytes(folder / "text", "this is no safetensors file");
  CHECK_THROWS_WITH(file(folder / "text"),
                    says("text: is not a safetensors file (") && says("over the format's limit"));
}
