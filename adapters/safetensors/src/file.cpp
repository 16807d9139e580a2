#include <pushforward/safetensors/file.hpp>

#include <pushforward/safetensors/regular_file.hpp>

#include <nlohmann/json.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <limits>
#include <optional>
#include <set>
#include <utility>

namespace pushforward::safetensors {

namespace {

using json = nlohmann::json;

constexpr std::size_t length_size = 8;
constexpr std::uint64_t header_limit = 100'000'000;
constexpr std::size_t depth_limit = 4;

struct type_row {
  dtype type;
  const char* name;
  std::size_t bits;
};

constexpr std::array<type_row, 20> types{
    {{dtype::boolean, "BOOL", 8},    {dtype::f4, "F4", 4},           {dtype::f6_e2m3, "F6_E2M3", 6},
     {dtype::f6_e3m2, "F6_E3M2", 6}, {dtype::u8, "U8", 8},           {dtype::i8, "I8", 8},
     {dtype::f8_e5m2, "F8_E5M2", 8}, {dtype::f8_e4m3, "F8_E4M3", 8}, {dtype::f8_e8m0, "F8_E8M0", 8},
     {dtype::u16, "U16", 16},        {dtype::i16, "I16", 16},        {dtype::f16, "F16", 16},
     {dtype::bf16, "BF16", 16},      {dtype::u32, "U32", 32},        {dtype::i32, "I32", 32},
     {dtype::f32, "F32", 32},        {dtype::c64, "C64", 64},        {dtype::u64, "U64", 64},
     {dtype::i64, "I64", 64},        {dtype::f64, "F64", 64}}};

const type_row& row_of(dtype type) {
  return *std::find_if(types.begin(), types.end(), [&](const auto& row) { return row.type == type; });
}

/// Bytes of a tensor; nothing where that overflows, where an extent is negative, or where packed elements do
/// not fill their last byte.
std::optional<std::uint64_t> bytes_of(dtype type, const std::vector<std::int64_t>& shape) {
  std::uint64_t bits = row_of(type).bits;
  for (const std::int64_t extent : shape) {
    const auto n = static_cast<std::uint64_t>(extent);
    if (extent < 0 || (n != 0 && bits > std::numeric_limits<std::uint64_t>::max() / n)) return std::nullopt;
    bits *= n;
  }
  return bits % 8 == 0 ? std::optional(bits / 8) : std::nullopt;
}

[[noreturn]] void refuse(const std::string& name, const std::string& what) {
  throw bad_file(name + ": " + what + "; the file is damaged or not safetensors, fetch it again");
}

/// A name that may hold anything, for a message.
std::string quoted(const std::string& text) {
  return json(text.substr(0, 200)).dump(-1, ' ', true, json::error_handler_t::replace);
}

/// Hears the header as it is parsed, and stops at what a plain parse would swallow (a key that comes twice in
/// one object) or recurse into (deep nesting). The library's own filter, a callback, takes time that grows
/// with the square of the number of tensors.
class header_check : public json::json_sax_t {
public:
  std::string fault; ///< what is wrong, beside faults of the JSON itself

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(std::size_t) override { return deeper(); }
  bool end_object() override { return leave(); }
  bool start_array(std::size_t) override { return deeper(); }
  bool end_array() override { return leave(); }
  bool key(string_t& name) override {
    if (!keys_.back().insert(name).second) fault = "its header has " + quoted(std::as_const(name)) + " twice";
    return fault.empty();
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override {
    return false;
  }

private:
  bool deeper() {
    keys_.emplace_back();
    if (keys_.size() > depth_limit) fault = "its header is nested too deep";
    return fault.empty();
  }
  bool leave() {
    keys_.pop_back();
    return true;
  }

  std::vector<std::set<std::string>> keys_; // of each object and array that is open
};

json header_json(std::span<const std::byte> bytes, const std::string& name) {
  const char* first = reinterpret_cast<const char*>(bytes.data());
  header_check check;
  const bool sound = json::sax_parse(first, first + bytes.size(), &check);
  if (!check.fault.empty()) refuse(name, check.fault);
  if (!sound) refuse(name, "its header is not JSON");
  json header = json::parse(first, first + bytes.size());
  if (!header.is_object()) refuse(name, "its header is not a JSON object");
  return header;
}

std::uint64_t whole_number(const json& value, const std::string& name, const std::string& what) {
  if (!value.is_number_unsigned()) refuse(name, what + " is not a whole number");
  return value.get<std::uint64_t>();
}

tensor_view view_of(const json& entry, std::span<const std::byte> data, const std::string& name,
                    const std::string& key) {
  const std::string what = "tensor " + quoted(key);
  if (!entry.is_object() || entry.size() != 3 || !entry.contains("dtype") || !entry.contains("shape") ||
      !entry.contains("data_offsets"))
    refuse(name, what + " does not have exactly dtype, shape and data_offsets");
  tensor_view view;
  const auto& type = entry["dtype"];
  const auto row = std::find_if(types.begin(), types.end(), [&](const auto& r) {
    return type.is_string() && type.get_ref<const std::string&>() == r.name;
  });
  if (row == types.end()) refuse(name, what + " has an unknown dtype");
  view.type = row->type;

  const auto& shape = entry["shape"];
  if (!shape.is_array()) refuse(name, what + " has a shape that is not an array");
  // beyond the largest int64 an extent turns negative here, which bytes_of refuses
  for (const auto& extent : shape)
    view.shape.push_back(static_cast<std::int64_t>(whole_number(extent, name, "an extent of " + what)));
  const auto size = bytes_of(view.type, view.shape);
  if (!size) refuse(name, what + " has a shape that no memory can hold");

  const auto& offsets = entry["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2) refuse(name, what + " does not have two data_offsets");
  const std::uint64_t first = whole_number(offsets[0], name, "an offset of " + what);
  const std::uint64_t last = whole_number(offsets[1], name, "an offset of " + what);
  if (first > last || last > data.size())
    refuse(name, what + " lies at bytes " + std::to_string(first) + " to " + std::to_string(last) + " of " +
                     std::to_string(data.size()));
  if (last - first != *size)
    refuse(name, what + " takes " + std::to_string(last - first) + " bytes, but its shape needs " +
                     std::to_string(*size));
  view.bytes = data.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(*size));
  return view;
}

std::string system_reason() { return std::strerror(errno); }

/// Closes on every way out.
struct descriptor {
  int number;
  ~descriptor() {
    if (number >= 0) ::close(number);
  }
};

void write_all(int fd, const std::byte* data, std::size_t size, const std::string& name) {
  while (size > 0) {
    const ::ssize_t written = ::write(fd, data, std::min<std::size_t>(size, std::size_t{1} << 30));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) throw bad_file(name + ": cannot be written (" + system_reason() + ")");
    data += written;
    size -= static_cast<std::size_t>(written);
  }
}

} // namespace

std::size_t bits_of(dtype type) { return row_of(type).bits; }
const char* name_of(dtype type) { return row_of(type).name; }

contents parse(std::span<const std::byte> bytes, const std::string& name) {
  if (bytes.size() < length_size) refuse(name, "it is shorter than the 8 bytes of a header's length");
  std::uint64_t length = 0;
  for (std::size_t i = length_size; i-- > 0;) length = length << 8 | std::to_integer<std::uint64_t>(bytes[i]);
  if (length > header_limit)
    throw bad_file(name + ": is not a safetensors file (its first 8 bytes would be those of a header of " +
                   std::to_string(length) + " bytes, over the format's limit)");
  if (length > bytes.size() - length_size)
    refuse(name, "its header claims " + std::to_string(length) + " bytes, but " +
                     std::to_string(bytes.size() - length_size) + " are there");
  const auto data = bytes.subspan(length_size + static_cast<std::size_t>(length));
  const json header = header_json(bytes.subspan(length_size, static_cast<std::size_t>(length)), name);

  contents result;
  for (const auto& [key, entry] : header.items()) {
    if (key == "__metadata__") {
      if (!entry.is_object()) refuse(name, "its metadata is not an object");
      for (const auto& [k, v] : entry.items()) {
        if (!v.is_string()) refuse(name, "its metadata " + quoted(k) + " is not a string");
        result.metadata[k] = v.get<std::string>();
      }
    } else {
      result.tensors.emplace(key, view_of(entry, data, name, key));
    }
  }

  std::vector<std::pair<std::size_t, std::size_t>> places;
  for (const auto& [key, view] : result.tensors)
    places.emplace_back(static_cast<std::size_t>(view.bytes.data() - data.data()), view.bytes.size());
  std::sort(places.begin(), places.end());
  std::size_t end = 0;
  for (const auto& [first, size] : places) {
    if (first < end) refuse(name, "two of its tensors overlap at byte " + std::to_string(first));
    if (first > end)
      refuse(name, "no tensor holds its bytes " + std::to_string(end) + " to " + std::to_string(first));
    end = first + size;
  }
  if (end != data.size()) refuse(name, std::to_string(data.size() - end) + " bytes follow its last tensor");
  return result;
}

file::file(const std::filesystem::path& path) : name_{path.string()} {
  const regular_file opened(path);
  const auto size = static_cast<std::size_t>(opened.size());
  if (size < length_size) refuse(name_, "it is shorter than the 8 bytes of a header's length");
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, opened.descriptor(), 0);
  if (data == MAP_FAILED) throw bad_file(name_ + ": cannot be mapped into memory (" + system_reason() + ")");
  mapping_ =
      std::shared_ptr<const void>(data, [size](const void* p) { ::munmap(const_cast<void*>(p), size); });
  contents_ = parse({static_cast<const std::byte*>(data), size}, name_);
}

const tensor_view& file::at(const std::string& name) const {
  const auto found = contents_.tensors.find(name);
  if (found == contents_.tensors.end())
    throw bad_file(name_ + ": holds no tensor " + quoted(name) + "; it belongs to another network");
  return found->second;
}

void file::release(const tensor_view& tensor) const noexcept {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<std::uintptr_t>(tensor.bytes.data());
  const auto first = (begin + page - 1) / page * page, end = (begin + tensor.bytes.size()) / page * page;
  if (first < end) ::madvise(reinterpret_cast<void*>(first), end - first, MADV_DONTNEED);
}

namespace {

/// The header of a file, with its length before it.
std::string header_of(const std::vector<named_tensor>& tensors,
                      const std::map<std::string, std::string>& metadata) {
  json header = json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::uint64_t end = 0;
  for (const auto& [name, tensor] : tensors) {
    if (name == "__metadata__" || header.contains(name))
      throw bad_option("safetensors: the name " + quoted(name) + " is taken");
    const auto size = bytes_of(tensor.type, tensor.shape);
    if (!size || *size != tensor.bytes.size())
      throw shape_mismatch("safetensors: tensor " + quoted(name) + " has " +
                           std::to_string(tensor.bytes.size()) + " bytes, but its shape needs " +
                           (size ? std::to_string(*size) : "more than there can be"));
    header[name] = {
        {"dtype", name_of(tensor.type)}, {"shape", tensor.shape}, {"data_offsets", {end, end + *size}}};
    end += *size;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const json::exception&) {
    throw bad_option("safetensors: a tensor's name or the metadata is not UTF-8");
  }
  text.append((8 - text.size() % 8) % 8, ' ');
  if (text.size() > header_limit)
    throw bad_option("safetensors: the names and metadata take " + std::to_string(text.size()) +
                     " bytes, over the format's 100 MB");
  std::string length;
  for (std::size_t i = 0; i < length_size; ++i) length += static_cast<char>(text.size() >> (8 * i) & 0xff);
  return length + text;
}

/// Where a file of this name is written: where a symbolic link leads, if it leads to a file.
std::filesystem::path place_of(const std::filesystem::path& path) {
  std::error_code none;
  const auto place = std::filesystem::canonical(path, none);
  return none ? path : place;
}

/// A new file beside another, made as any is: with the permissions that the umask leaves. Its name goes to
/// `temporary`.
int open_beside(const std::filesystem::path& path, std::string& temporary) {
  const auto stem =
      path.parent_path() / path.filename().string().substr(0, 200); // of 255 that a name may have
  for (int number = 0;; ++number) {
    temporary = stem.string() + ".part" + std::to_string(::getpid()) + "-" + std::to_string(number);
    const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0 || errno != EEXIST || number == 1000) return fd;
  }
}

} // namespace

std::string serialize(const std::vector<named_tensor>& tensors,
                      const std::map<std::string, std::string>& metadata) {
  std::string bytes = header_of(tensors, metadata);
  for (const auto& t : tensors)
    bytes.append(reinterpret_cast<const char*>(t.tensor.bytes.data()), t.tensor.bytes.size());
  return bytes;
}

void write(const std::filesystem::path& path, const std::vector<named_tensor>& tensors,
           const std::map<std::string, std::string>& metadata) {
  const std::string header = header_of(tensors, metadata), name = path.string();
  const auto place = place_of(path);
  struct ::stat old {};
  const bool replaces = ::stat(place.c_str(), &old) == 0;
  if (replaces && !S_ISREG(old.st_mode))
    throw bad_file(name + ": cannot be written (it is not a regular file)");
  std::string temporary;
  const int number = open_beside(place, temporary);
  if (number < 0) throw bad_file(name + ": cannot be written (" + system_reason() + ")");
  try {
    const descriptor fd{number};
    write_all(fd.number, reinterpret_cast<const std::byte*>(header.data()), header.size(), name);
    for (const auto& t : tensors) write_all(fd.number, t.tensor.bytes.data(), t.tensor.bytes.size(), name);
    if ((replaces && ::fchmod(fd.number, old.st_mode & 0777) != 0) || ::fsync(fd.number) != 0)
      throw bad_file(name + ": cannot be written (" + system_reason() + ")");
    if (::rename(temporary.c_str(), place.c_str()) != 0)
      throw bad_file(name + ": cannot be put in place (" + system_reason() + ")");
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
}

} // namespace pushforward::safetensors
