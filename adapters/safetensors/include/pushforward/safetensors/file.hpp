#pragma once
/// \file
/// The safetensors format, read and written without a tensor library.

#include <pushforward/error.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace pushforward::safetensors {

/// Element types of the format. Those under 8 bits are packed; their tensors take a whole number of bytes.
enum class dtype {
  boolean,
  f4,
  f6_e2m3,
  f6_e3m2,
  u8,
  i8,
  f8_e5m2,
  f8_e4m3,
  f8_e8m0,
  u16,
  i16,
  f16,
  bf16,
  u32,
  i32,
  f32,
  c64,
  u64,
  i64,
  f64
};

/// Size of one element, in bits.
std::size_t bits_of(dtype type);
/// The format's name: "F32", "BF16", ...
const char* name_of(dtype type);

/// A tensor inside a file: row-major, little-endian. `bytes` need not be aligned.
struct tensor_view {
  dtype type = dtype::f32;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;
};

/// What a file holds.
struct contents {
  std::map<std::string, tensor_view> tensors;
  std::map<std::string, std::string> metadata;
};

/// Reads a file that lies in memory; the views point into it. Nothing is believed before it is checked: the
/// header's length, its JSON, every dtype and shape, every size against its offsets, and that the tensors
/// fill the rest of the file without overlap or hole. \throws bad_file, naming `name`
contents parse(std::span<const std::byte> bytes, const std::string& name);

/// A memory-mapped file. Views live as long as a copy of the object does; replace the file on the disk by
/// renaming another over it (as `write` does), not by writing into it.
class file {
public:
  /// \throws bad_file for a file that is missing, may not be read, is not a regular file, or not safetensors
  explicit file(const std::filesystem::path& path);

  bool contains(const std::string& name) const { return contents_.tensors.count(name) != 0; }
  /// \throws bad_file, naming the file and the tensor, for a tensor that is not there
  const tensor_view& at(const std::string& name) const;
  const std::map<std::string, tensor_view>& tensors() const { return contents_.tensors; }
  const std::map<std::string, std::string>& metadata() const { return contents_.metadata; }
  const std::string& name() const { return name_; }

  /// Keeps the mapping, and so the views, alive.
  const std::shared_ptr<const void>& mapping() const noexcept { return mapping_; }
  /// Gives the memory of the pages that lie wholly in a tensor of this file back to the system; they are read
  /// again when they are looked at again.
  void release(const tensor_view& tensor) const noexcept;

private:
  std::string name_;
  std::shared_ptr<const void> mapping_;
  contents contents_;
};

/// A tensor to be written.
struct named_tensor {
  std::string name;
  tensor_view tensor;
};

/// The bytes of a file. \throws shape_mismatch for a tensor whose bytes do not fit its shape, bad_option for
/// a name that comes twice or is "__metadata__", for text that is not UTF-8, and for a header over the
/// format's 100 MB
std::string serialize(const std::vector<named_tensor>& tensors,
                      const std::map<std::string, std::string>& metadata = {});

/// Writes a file whole or not at all: to a temporary name in the same folder, flushed to the disk, then
/// renamed. A new file has the permissions that the umask leaves, one that is replaced keeps its own; a
/// symbolic link stays one. \throws bad_file where that fails, and as `serialize`
void write(const std::filesystem::path& path, const std::vector<named_tensor>& tensors,
           const std::map<std::string, std::string>& metadata = {});

} // namespace pushforward::safetensors
