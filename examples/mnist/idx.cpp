#include "idx.hpp"

#include "common.hpp"

#include <pushforward/error.hpp>
#include <pushforward/safetensors/regular_file.hpp>

#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <memory>
#include <new>
#include <string>
#include <system_error>

namespace mnist {

namespace fs = std::filesystem;
using pushforward::bad_file;
using pushforward::safetensors::is_there;

namespace {

constexpr std::size_t largest = std::size_t{1} << 30;

/// The whole file, unpacked where it is gzipped; zlib reads plain files as they are.
std::vector<std::uint8_t> unpacked(const fs::path& path) {
  const pushforward::safetensors::regular_file opened(path);
  const int own = ::dup(opened.descriptor()); // which gzclose closes
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> file(gzdopen(own, "rb"), gzclose);
  if (!file) throw bad_file(path.string() + ": cannot be opened");
  std::vector<std::uint8_t> bytes;
  std::array<std::uint8_t, 1 << 16> chunk{};
  for (;;) {
    const int n = gzread(file.get(), chunk.data(), static_cast<unsigned>(chunk.size()));
    if (n < 0) throw bad_file(path.string() + ": is damaged (gzip); fetch it again");
    if (n == 0) break;
    bytes.insert(bytes.end(), chunk.begin(), chunk.begin() + n);
    if (bytes.size() > largest)
      throw bad_file(path.string() + ": is over 1 GB unpacked, too large for digits");
  }
  int code = Z_OK;
  gzerror(file.get(), &code);
  if (code != Z_OK && code != Z_STREAM_END)
    throw bad_file(path.string() + ": is cut short (gzip); fetch it again");
  return bytes;
}

std::size_t big_endian(const std::vector<std::uint8_t>& bytes, std::size_t at) {
  std::size_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value = value << 8 | bytes[at + i];
  return value;
}

/// Extents of an IDX file of unsigned bytes whose size fits them.
std::vector<std::size_t> extents(const std::vector<std::uint8_t>& bytes, std::size_t dimensions,
                                 const fs::path& path) {
  const std::size_t header = 4 + 4 * dimensions;
  if (bytes.size() < header) throw bad_file(path.string() + ": is too short for an IDX header");
  if (bytes[0] != 0 || bytes[1] != 0 || bytes[2] != 8 || bytes[3] != dimensions)
    throw bad_file(path.string() + ": is not an IDX file of bytes with " + std::to_string(dimensions) +
                   " dimensions; MNIST's images have 3, its labels 1");
  std::vector<std::size_t> sizes;
  std::size_t total = 1;
  for (std::size_t d = 0; d < dimensions; ++d) {
    sizes.push_back(big_endian(bytes, 4 + 4 * d));
    if (sizes.back() != 0 && total > largest / sizes.back())
      throw bad_file(path.string() + ": claims more than 1 GB of pixels");
    total *= sizes.back();
  }
  if (bytes.size() - header != total)
    throw bad_file(path.string() + ": claims " + std::to_string(total) + " bytes, but holds " +
                   std::to_string(bytes.size() - header));
  return sizes;
}

fs::path find(const fs::path& folder, const std::string& part) {
  std::error_code fault;
  if (!is_there(folder) || !fs::is_directory(folder, fault))
    throw bad_file(folder.string() + ": there is no such folder; give the one with MNIST's IDX files");
  std::vector<fs::path> found;
  for (fs::directory_iterator i(folder, fault), end; !fault && i != end; i.increment(fault))
    if (i->path().filename().string().find(part) != std::string::npos) found.push_back(i->path());
  if (fault) throw bad_file(folder.string() + ": cannot be read (" + fault.message() + ")");
  if (found.empty()) throw bad_file(folder.string() + ": holds no file named *" + part + "*");
  std::sort(found.begin(), found.end());
  const auto train = std::find_if(found.begin(), found.end(), [](const fs::path& p) {
    return p.filename().string().rfind("train", 0) == 0;
  });
  return train == found.end() ? found.front() : *train;
}

void append(std::vector<std::uint8_t>& bytes, std::size_t value) {
  for (int shift = 24; shift >= 0; shift -= 8)
    bytes.push_back(static_cast<std::uint8_t>(value >> shift & 0xff));
}

std::vector<std::uint8_t> gzipped(const std::vector<std::uint8_t>& bytes) {
  constexpr int gzip = 15 + 16; // the largest window, and gzip's header
  z_stream stream{};
  if (deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, gzip, 8, Z_DEFAULT_STRATEGY) != Z_OK)
    throw std::bad_alloc();
  std::vector<std::uint8_t> packed(deflateBound(&stream, static_cast<uLong>(bytes.size())));
  stream.next_in = const_cast<Bytef*>(bytes.data());
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = packed.data();
  stream.avail_out = static_cast<uInt>(packed.size());
  deflate(&stream, Z_FINISH); // there is room for all
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

} // namespace

digit_set read_digits(const fs::path& images, const fs::path& labels) {
  const auto image_bytes = unpacked(images);
  const auto label_bytes = unpacked(labels);
  const auto sizes = extents(image_bytes, 3, images);
  const auto count = extents(label_bytes, 1, labels).front();
  if (sizes[0] != count)
    throw bad_file(images.string() + " holds " + std::to_string(sizes[0]) + " images, but " +
                   labels.string() + " " + std::to_string(count) + " labels");
  if (sizes[1] == 0 || sizes[1] > 32 || sizes[2] == 0 || sizes[2] > 32)
    throw bad_file(images.string() + ": images of " + std::to_string(sizes[1]) + " x " +
                   std::to_string(sizes[2]) + "; sides of 1 to 32 are taken (MNIST has 28 x 28)");
  if (const auto wrong =
          std::find_if(label_bytes.begin() + 8, label_bytes.end(), [](auto v) { return v > 9; });
      wrong != label_bytes.end())
    throw bad_file(labels.string() + ": holds a label of " + std::to_string(*wrong) + "; digits are 0 to 9");
  return {count,
          sizes[1],
          sizes[2],
          {image_bytes.begin() + 16, image_bytes.end()},
          {label_bytes.begin() + 8, label_bytes.end()}};
}

digit_set read_digits(const fs::path& folder) {
  const fs::path images = find(folder, "images-idx3-ubyte");
  std::string name = images.filename().string();
  name.replace(name.find("images-idx3-ubyte"), 17, "labels-idx1-ubyte");
  fs::path labels = folder / name;
  if (!is_there(labels))
    labels = labels.extension() == ".gz" ? fs::path(labels).replace_extension() : fs::path(labels += ".gz");
  return read_digits(images, labels);
}

void write_digits(const fs::path& folder, const digit_set& digits) {
  std::vector<std::uint8_t> images{0, 0, 8, 3}, labels{0, 0, 8, 1};
  for (std::size_t size : {digits.count, digits.rows, digits.columns}) append(images, size);
  append(labels, digits.count);
  images.insert(images.end(), digits.pixels.begin(), digits.pixels.end());
  labels.insert(labels.end(), digits.labels.begin(), digits.labels.end());
  file_set both;
  both.add(folder / "images-idx3-ubyte.gz", gzipped(images));
  both.add(folder / "labels-idx1-ubyte.gz", gzipped(labels));
  both.write();
}

} // namespace mnist
