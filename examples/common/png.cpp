#include "png.hpp"

#include "files.hpp"

#include <pushforward/error.hpp>

#include <png.h>

#include <string>

namespace examples {

using pushforward::bad_file;

namespace {

png_image image_of(const picture& p) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(p.width);
  image.height = static_cast<png_uint_32>(p.height);
  image.format = p.channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  return image;
}

} // namespace

picture read_png(const std::filesystem::path& path, std::size_t channels, std::size_t largest_side) {
  if (!std::filesystem::is_regular_file(path)) throw bad_file(path.string() + ": there is no such picture");
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  if (!png_image_begin_read_from_file(&image, path.c_str()))
    throw bad_file(path.string() + ": is not a readable PNG (" + image.message + ")");
  if (image.width > largest_side || image.height > largest_side) {
    const std::string size = std::to_string(image.width) + " x " + std::to_string(image.height);
    png_image_free(&image);
    throw bad_file(path.string() + ": is " + size + " pixels, over " + std::to_string(largest_side) +
                   " on a side; shrink it first");
  }
  picture p(image.height, image.width, channels);
  image.format = channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  image.flags |= PNG_IMAGE_FLAG_16BIT_sRGB;
  const png_color white{255, 255, 255};
  if (!png_image_finish_read(&image, &white, p.pixels.data(), 0, nullptr)) {
    const std::string reason = image.message;
    png_image_free(&image);
    throw bad_file(path.string() + ": is a damaged PNG (" + reason + ")");
  }
  return p;
}

std::vector<std::uint8_t> png_bytes(const picture& p) {
  png_image image = image_of(p);
  png_alloc_size_t size = 0;
  if (!png_image_write_to_memory(&image, nullptr, &size, 0, p.pixels.data(), 0, nullptr))
    throw bad_file(std::string("a picture cannot be made a PNG (") + image.message + ")");
  std::vector<std::uint8_t> bytes(size);
  if (!png_image_write_to_memory(&image, bytes.data(), &size, 0, p.pixels.data(), 0, nullptr))
    throw bad_file(std::string("a picture cannot be made a PNG (") + image.message + ")");
  bytes.resize(size);
  return bytes;
}

void write_png(const std::filesystem::path& path, const picture& p) {
  file_set one;
  one.add(path, png_bytes(p));
  one.write();
}

} // namespace examples
