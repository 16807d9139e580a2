#include "weights.hpp"

#include <pushforward/safetensors/regular_file.hpp>

#include <zlib.h>

#include <sstream>

namespace mnist {

std::vector<input_file> weight_files(const std::filesystem::path& folder) {
  std::vector<input_file> files;
  for (const char* name : {"ddpm", "flow", "latent_ddpm", "vae", "judge"})
    files.push_back({"the weights", folder / (std::string(name) + ".safetensors")});
  return files;
}

std::string checksum(const std::vector<std::filesystem::path>& files) {
  uLong crc = 0;
  for (const auto& path : files) {
    const std::string bytes = pushforward::safetensors::regular_file(path).read(std::uint64_t{1} << 30);
    crc = ::crc32_z(crc, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
  }
  std::ostringstream text;
  text << std::hex << crc;
  return text.str();
}

} // namespace mnist
