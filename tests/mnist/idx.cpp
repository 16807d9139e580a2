// IDX files against bytes written here as MNIST's page describes them.

#include <support/catch.hpp>
#include <support/file_faults.hpp>
#include <support/scratch_folder.hpp>

#include <data.hpp>
#include <idx.hpp>

#include <pushforward/error.hpp>

#include <ATen/ATen.h>

#include <zlib.h>

using namespace mnist;
using namespace testing_support;
using pushforward::bad_file;

namespace {

std::string number(std::uint32_t n) {
  return {static_cast<char>(n >> 24), static_cast<char>(n >> 16 & 0xff), static_cast<char>(n >> 8 & 0xff),
          static_cast<char>(n & 0xff)};
}

std::string images(std::uint32_t count, std::uint32_t rows, std::uint32_t columns,
                   const std::string& pixels) {
  return std::string("\0\0\x08\x03", 4) + number(count) + number(rows) + number(columns) + pixels;
}

std::string labels(std::uint32_t count, const std::string& values) {
  return std::string("\0\0\x08\x01", 4) + number(count) + values;
}

std::string gzipped(const std::string& bytes, const scratch_folder& folder) {
  const auto path = folder / "packed";
  gzFile file = gzopen(path.c_str(), "wb");
  REQUIRE(gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size())) == static_cast<int>(bytes.size()));
  REQUIRE(gzclose(file) == Z_OK);
  const auto packed = read_bytes(path);
  std::filesystem::remove(path);
  return packed;
}

const std::string pixels = "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\xff"; // two images of 2 x 3
const std::string two = images(2, 2, 3, pixels);
const std::string both = labels(2, "\x07\x09");
const auto says = contains_text;

/// What read_digits says against the two files; empty if it takes them.
std::string fault(const std::string& image_bytes, const std::string& label_bytes) {
  const scratch_folder folder;
  write_bytes(folder / "train-images-idx3-ubyte", image_bytes);
  write_bytes(folder / "train-labels-idx1-ubyte", label_bytes);
  try {
    read_digits(folder.path());
  } catch (const bad_file& e) {
    return e.what();
  }
  return "";
}

} // namespace

TEST_CASE("plain and gzipped IDX files are read") {
  const scratch_folder folder;
  const bool packed = GENERATE(false, true);
  write_bytes(folder / (packed ? "train-images-idx3-ubyte.gz" : "train-images-idx3-ubyte"),
              packed ? gzipped(two, folder) : two);
  write_bytes(folder / (packed ? "train-labels-idx1-ubyte.gz" : "train-labels-idx1-ubyte"),
              packed ? gzipped(both, folder) : both);
  const auto set = read_digits(folder.path());
  CHECK(set.count == 2);
  CHECK(set.rows == 2);
  CHECK(set.columns == 3);
  CHECK(set.pixels == std::vector<std::uint8_t>(pixels.begin(), pixels.end()));
  CHECK(set.labels == std::vector<std::uint8_t>{7, 9});
}

TEST_CASE("of several pairs the training set is taken, with labels packed or not") {
  const scratch_folder folder;
  write_bytes(folder / "t10k-images-idx3-ubyte", images(1, 2, 3, pixels.substr(0, 6)));
  write_bytes(folder / "t10k-labels-idx1-ubyte", labels(1, "\x01"));
  write_bytes(folder / "train-images-idx3-ubyte.gz", gzipped(two, folder));
  write_bytes(folder / "train-labels-idx1-ubyte", both);
  CHECK(read_digits(folder.path()).count == 2);
}

TEST_CASE("what write_digits writes is read back") {
  const scratch_folder folder;
  const digit_set set{2, 2, 3, {pixels.begin(), pixels.end()}, {7, 9}};
  write_digits(folder.path(), set);
  const auto back = read_digits(folder.path());
  CHECK(back.pixels == set.pixels);
  CHECK(back.labels == set.labels);
  CHECK(folder.size() == 2);
}

TEST_CASE("IDX files that lie are refused, and named") {
  REQUIRE(fault(two, both).empty());
  CHECK_THAT(fault("", both), says("too short for an IDX header") && says("train-images"));
  CHECK_THAT(fault(two.substr(0, 15), both), says("too short"));
  CHECK_THAT(fault(both, both), says("too short") || says("3 dimensions"));
  std::string floats = two;
  floats[2] = '\x0d';
  CHECK_THAT(fault(floats, both), says("not an IDX file of bytes"));
  CHECK_THAT(fault(two.substr(0, two.size() - 1), both), says("claims 12 bytes, but holds 11"));
  CHECK_THAT(fault(two + "x", both), says("claims 12 bytes, but holds 13"));
  CHECK_THAT(fault(images(0xffffffff, 0xffffffff, 0xffffffff, ""), both), says("more than 1 GB"));
  CHECK_THAT(fault(images(0x40000000, 1, 1, ""), labels(0x40000000, "")), says("but holds 0"));
  CHECK_THAT(fault(two, labels(3, "\x01\x02\x03")), says("holds 2 images") && says("3 labels"));
  CHECK_THAT(fault(two, labels(2, "\x01\x0a")), says("a label of 10"));
  CHECK_THAT(fault(images(2, 0, 3, ""), both), says("0 x 3"));
  CHECK_THAT(fault(images(2, 33, 1, std::string(66, 'x')), both), says("33 x 1"));
}

TEST_CASE("a gzip file that is cut or damaged is refused") {
  const scratch_folder folder;
  const std::string whole = gzipped(images(2, 28, 28, std::string(1568, 'x')), folder);
  const auto with = [&](const std::string& bytes) {
    write_bytes(folder / "images-idx3-ubyte.gz", bytes);
    write_bytes(folder / "labels-idx1-ubyte", both);
    return [&] { read_digits(folder.path()); };
  };
  CHECK_NOTHROW(with(whole)());
  CHECK_THROWS_AS(with(whole.substr(0, whole.size() - 1))(), bad_file);
  CHECK_THROWS_AS(with(whole.substr(0, whole.size() / 2))(), bad_file);
  std::string damaged = whole;
  damaged[whole.size() - 5] = static_cast<char>(damaged[whole.size() - 5] ^ 1); // in the checksum
  CHECK_THROWS_WITH(with(damaged)(), says("damaged (gzip)"));
}

TEST_CASE("folders without digits are named") {
  const scratch_folder folder;
  CHECK_THROWS_WITH(read_digits(folder / "none"), says("there is no such folder"));
  CHECK_THROWS_WITH(read_digits(folder.path()), says("holds no file named *images-idx3-ubyte*"));
  write_bytes(folder / "images-idx3-ubyte", two);
  CHECK_THROWS_WITH(read_digits(folder.path()), says("labels-idx1-ubyte") && says("no such file"));
  make_fifo(folder / "labels-idx1-ubyte");
  CHECK_THROWS_WITH(read_digits(folder.path()), says("labels-idx1-ubyte: is not a regular file but a FIFO"));
  ::chmod(folder.path().c_str(), 0755);
  ::chmod((folder / "images-idx3-ubyte").c_str(), 0);
  const auto fault = [&] {
    const without_rights user;
    return fault_of([&] { read_digits(folder.path()); });
  }();
  CHECK_THAT(fault, says("images-idx3-ubyte: cannot be read (Permission denied)"));
}

TEST_CASE("digits lie in the middle of 32 x 32, paper -1, ink 1") {
  digit_set set{1, 28, 28, std::vector<std::uint8_t>(784, 0), {5}};
  set.pixels[0] = 255;
  set.pixels[783] = 51;
  const auto [x, y] = to_tensors(set);
  REQUIRE(x.sizes() == at::IntArrayRef{1, 1, 32, 32});
  CHECK(x[0][0][2][2].item<float>() == 1.0f);
  CHECK(x[0][0][29][29].item<float>() == Approx(51 / 127.5 - 1));
  CHECK(x[0][0][1][2].item<float>() == -1.0f);
  CHECK(x.sum().item<double>() == Approx(-1024 + 2 + 51 / 127.5));
  CHECK(y[0].item<std::int64_t>() == 5);
}
