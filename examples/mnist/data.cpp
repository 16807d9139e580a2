#include "data.hpp"

#include <ATen/ATen.h>

#include <zlib.h>

#include <algorithm>
#include <sstream>
#include <system_error>

namespace mnist {

digits to_tensors(const digit_set& set) {
  const auto n = static_cast<std::int64_t>(set.count), rows = static_cast<std::int64_t>(set.rows),
             columns = static_cast<std::int64_t>(set.columns);
  // from_blob does not write; the copy that `to` makes is ours
  auto* pixels = const_cast<std::uint8_t*>(set.pixels.data());
  auto* labels = const_cast<std::uint8_t*>(set.labels.data());
  const at::Tensor images =
      at::from_blob(pixels, {n, 1, rows, columns}, at::kByte).to(at::kFloat) / 127.5 - 1.0;
  const auto top = (32 - rows) / 2, left = (32 - columns) / 2;
  return {at::constant_pad_nd(images, {left, 32 - columns - left, top, 32 - rows - top}, -1.0),
          at::from_blob(labels, {n}, at::kByte).to(at::kLong)};
}

std::vector<input_file> digit_files(const std::filesystem::path& data) {
  const std::string what = "a file of the digits";
  std::vector<input_file> files{{what, data}};
  std::error_code fault;
  const auto folder = std::filesystem::is_directory(data, fault) ? data : data.parent_path();
  fault.clear();
  for (std::filesystem::directory_iterator i(folder, fault), end; !fault && i != end; i.increment(fault))
    for (const char* part : {"images-idx3-ubyte", "labels-idx1-ubyte"})
      if (i->path().filename().string().find(part) != std::string::npos) files.push_back({what, i->path()});
  return files;
}

std::string checksum(const at::Tensor& images) {
  const at::Tensor host = images.to(at::kCPU).contiguous();
  const auto crc = ::crc32_z(0, static_cast<const Bytef*>(host.const_data_ptr()), host.nbytes());
  std::ostringstream text;
  text << std::hex << crc;
  return text.str();
}

picture sheet(const std::vector<at::Tensor>& rows, std::size_t side) {
  constexpr std::size_t gap = 4;
  std::size_t columns = 0;
  for (const auto& row : rows) columns = std::max(columns, static_cast<std::size_t>(row.size(0)));
  picture page(rows.size() * (side + gap) + gap, columns * (side + gap) + gap, 1, 96);
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const at::Tensor shades = rows[r]
                                  .detach()
                                  .to(at::kCPU, at::kFloat)
                                  .add(1.0)
                                  .mul(127.5)
                                  .round()
                                  .clamp(0, 255)
                                  .to(at::kByte)
                                  .contiguous();
    const auto n = static_cast<std::size_t>(shades.size(0)), h = static_cast<std::size_t>(shades.size(2)),
               w = static_cast<std::size_t>(shades.size(3));
    const std::uint8_t* data = shades.const_data_ptr<std::uint8_t>();
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t y = 0; y < side; ++y)
        for (std::size_t x = 0; x < side; ++x)
          *page.at(gap + r * (side + gap) + y, gap + i * (side + gap) + x) =
              data[(i * h + y * h / side) * w + x * w / side];
  }
  return page;
}

} // namespace mnist
