#include "colour.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <memory>

#include <lcms2.h>

namespace examples {

/// A handle of LittleCMS's; null where it could not be made.
class srgb_conversion::profile {
public:
  explicit profile(cmsHPROFILE handle) : handle_{handle, cmsCloseProfile} {}
  cmsHPROFILE get() const { return handle_.get(); }
  explicit operator bool() const { return get() != nullptr; }

  /// Of values that are light to the power of `encoding`.
  static profile of_power(std::size_t channels, double encoding, const chromaticities& c) {
    const std::unique_ptr<cmsToneCurve, void (*)(cmsToneCurve*)> curve{cmsBuildGamma(nullptr, 1.0 / encoding),
                                                                       cmsFreeToneCurve};
    const auto point = [](const std::array<double, 2>& xy) { return cmsCIExyY{xy[0], xy[1], 1.0}; };
    if (!curve) return profile(nullptr);
    if (channels == 1) return profile(cmsCreateGrayProfile(cmsD50_xyY(), curve.get()));
    const cmsCIExyY white = point(c.white);
    const cmsCIExyYTRIPLE primaries{point(c.red), point(c.green), point(c.blue)};
    cmsToneCurve* const curves[3] = {curve.get(), curve.get(), curve.get()};
    return profile(cmsCreateRGBProfile(&white, &primaries, curves));
  }

private:
  std::shared_ptr<void> handle_;
};

namespace {

constexpr int unseen = 2; ///< of 255: what no eye sees, and what two descriptions of sRGB may differ by

std::shared_ptr<void> transform_between(cmsHPROFILE from, cmsUInt32Number format) {
  const std::shared_ptr<void> srgb(cmsCreate_sRGBProfile(), cmsCloseProfile);
  // of 16 bits, the quick way takes colours between those of a coarse grid, which are off by up to 11 of 255
  const cmsUInt32Number quick = format == TYPE_RGB_8 ? 0 : cmsFLAGS_NOOPTIMIZE;
  const cmsHTRANSFORM t =
      cmsCreateTransform(from, format, srgb.get(), TYPE_RGB_8, INTENT_PERCEPTUAL, cmsFLAGS_NOCACHE | quick);
  return t ? std::shared_ptr<void>(t, cmsDeleteTransform) : nullptr;
}

/// Whether a grid of colours stays as it is.
bool keeps_colours(cmsHPROFILE from) {
  std::vector<std::uint8_t> colours;
  for (int r = 0; r <= 255; r += 15)
    for (int g = 0; g <= 255; g += 15)
      for (int b = 0; b <= 255; b += 15)
        for (const int v : {r, g, b}) colours.push_back(static_cast<std::uint8_t>(v));
  std::vector<std::uint8_t> changed(colours.size());
  const auto t = transform_between(from, TYPE_RGB_8);
  cmsDoTransform(t.get(), colours.data(), changed.data(), static_cast<cmsUInt32Number>(colours.size() / 3));
  return std::equal(colours.begin(), colours.end(), changed.begin(),
                    [](int a, int b) { return std::abs(a - b) <= unseen; });
}

/// A 16-bit value in 8 bits.
std::uint8_t narrowed(unsigned value) { return static_cast<std::uint8_t>((value + 128U) / 257U); }

} // namespace

/// Makes the conversion; leaves pixels as they are where it changes nothing, or the profile is of no use.
void srgb_conversion::use(const profile& p) {
  const auto space = cmsGetColorSpace(p.get());
  if (space != cmsSigRgbData && (space != cmsSigGrayData || format_.channels != 1)) {
    fault_ = std::string("it is for ") +
             (space == cmsSigCmykData   ? "CMYK"
              : space == cmsSigGrayData ? "grey"
                                        : "other") +
             " colours, not for the picture's";
    return;
  }
  const bool deep = format_.bits == 16;
  const auto t = transform_between(p.get(), space == cmsSigGrayData         ? TYPE_GRAY_16
                                            : deep || format_.channels == 1 ? TYPE_RGB_16
                                                                            : TYPE_RGB_8);
  if (!t) {
    fault_ = "it is damaged";
    return;
  }
  if (format_.channels == 3) {
    if (!keeps_colours(p.get())) transform_ = t;
    return;
  }
  const std::size_t each = space == cmsSigGrayData ? 1 : 3, all = 1U << 16U;
  std::vector<std::uint16_t> values(each * all);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<std::uint16_t>(i / each);
  std::vector<std::uint8_t> colours(3 * all), shades(all);
  cmsDoTransform(t.get(), values.data(), colours.data(), static_cast<cmsUInt32Number>(all));
  int most = 0;
  for (std::size_t v = 0; v < all; ++v) {
    shades[v] = colours[3 * v + 1];
    most = std::max(most, std::abs(shades[v] - narrowed(static_cast<unsigned>(v))));
  }
  if (most > unseen) shades_ = std::move(shades);
}

srgb_conversion::srgb_conversion(pixel_format format, std::span<const std::uint8_t> icc) : format_{format} {
  const profile p(cmsOpenProfileFromMem(icc.data(), static_cast<cmsUInt32Number>(icc.size())));
  if (p)
    use(p);
  else
    fault_ = "it is damaged";
}

srgb_conversion::srgb_conversion(pixel_format format, double encoding,
                                 const std::optional<chromaticities>& primaries)
    : format_{format} {
  const chromaticities srgb, c = primaries.value_or(srgb);
  const auto near = [](const std::array<double, 2>& a, const std::array<double, 2>& b) {
    return std::abs(a[0] - b[0]) < 1e-3 && std::abs(a[1] - b[1]) < 1e-3;
  };
  const bool same = near(c.white, srgb.white) && near(c.red, srgb.red) && near(c.green, srgb.green) &&
                    near(c.blue, srgb.blue);
  // 5 % is what libpng, too, takes for no difference
  if (std::abs(encoding * 2.2 - 1.0) < 0.05 && (same || format.channels == 1)) return;
  const auto p = profile::of_power(format.channels, encoding, c);
  if (p)
    use(p);
  else
    fault_ = "its gamma and chromaticities contradict each other";
}

void srgb_conversion::operator()(const void* from, std::uint8_t* to, std::size_t count) const {
  if (transform_) {
    cmsDoTransform(transform_.get(), from, to, static_cast<cmsUInt32Number>(count));
    return;
  }
  const std::size_t n = format_.channels * count;
  const auto* bytes = static_cast<const std::uint8_t*>(from);
  const auto* words = static_cast<const std::uint16_t*>(from);
  const bool deep = format_.bits == 16;
  if (!shades_.empty())
    for (std::size_t i = 0; i < n; ++i) to[i] = shades_[deep ? words[i] : 257U * bytes[i]];
  else if (deep)
    std::transform(words, words + n, to, narrowed);
  else
    std::copy_n(bytes, n, to);
}

void tell_unused_profile(const std::filesystem::path& file, const std::string& fault) {
  std::cerr << file.string() << ": its colour profile is not applied (" << fault
            << "); its colours are taken to be sRGB's\n";
}

} // namespace examples
