#pragma once
/// \file
/// Colours of files made sRGB's, by LittleCMS.

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace examples {

/// How the pixels of a file are stored.
struct pixel_format {
  std::size_t channels = 3; ///< 1 grey, 3 red-green-blue
  std::size_t bits = 8;     ///< a channel; 16 are in the machine's byte order
};

/// x and y of CIE 1931.
struct chromaticities {
  std::array<double, 2> white{0.3127, 0.3290}, red{0.64, 0.33}, green{0.30, 0.60}, blue{0.15, 0.06};
};

/// Pixels of one format to 8 bits of sRGB, in as many channels. Colours that sRGB lacks take the nearest of
/// its ends, channel by channel. Cheap to copy.
class srgb_conversion {
public:
  /// Nothing is said of the colours: they are taken to be sRGB's.
  explicit srgb_conversion(pixel_format format) : format_{format} {}

  /// Colours of an ICC profile, by its perceptual intent. One that changes no colour by more than 2 of 255
  /// is sRGB itself, and then pixels stay exactly as they are; so they do where the profile cannot be used.
  srgb_conversion(pixel_format format, std::span<const std::uint8_t> icc);

  /// Values that are light to the power of `encoding` (PNG's gAMA), with primaries (cHRM), sRGB's unless
  /// given. About 1 / 2.2 with sRGB's primaries is sRGB itself.
  srgb_conversion(pixel_format format, double encoding, const std::optional<chromaticities>& primaries);

  /// Whether pixels change.
  bool changes() const { return transform_ != nullptr || !shades_.empty(); }
  /// Why what was said of the colours cannot be used; empty where it can.
  const std::string& fault() const { return fault_; }

  /// `count` pixels. \param from channels x count values of the format
  void operator()(const void* from, std::uint8_t* to, std::size_t count) const;

private:
  class profile;
  void use(const profile& p);

  pixel_format format_;
  std::shared_ptr<void> transform_;  ///< of colours
  std::vector<std::uint8_t> shades_; ///< for grey: of each 16-bit value
  std::string fault_;
};

/// A line on standard error: the colours of a file are taken to be sRGB's, and why.
void tell_unused_profile(const std::filesystem::path& file, const std::string& fault);

} // namespace examples
