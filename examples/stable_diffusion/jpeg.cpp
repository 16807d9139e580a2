#include "jpeg.hpp"

#include <common/colour.hpp>
#include <common/orientation.hpp>

#include <pushforward/error.hpp>
#include <pushforward/safetensors/regular_file.hpp>

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <jpeglib.h>

#include <jerror.h>

namespace stable_diffusion {

using examples::picture;
using pushforward::bad_file;

namespace {

constexpr std::uintmax_t largest_file = std::uintmax_t{1} << 30;

/// Whether a warning says that pixels are missing or are not those that were written. The others are of
/// headers that break the standard, and of bytes between the parts.
bool of_pixels(int warning) {
  return warning == JWRN_HIT_MARKER || warning == JWRN_HUFF_BAD_CODE || warning == JWRN_ARITH_BAD_CODE ||
         warning == JWRN_MUST_RESYNC || warning == JWRN_BOGUS_PROGRESSION;
}

/// libjpeg's object with its error handler. libjpeg reports an error by calling `fail`, which jumps out of
/// it: each call goes through `guarded`, whose frame, and those of the functions it is given, hold no object
/// with a destructor.
struct decompressor {
  jpeg_decompress_struct info{};
  jpeg_error_mgr errors{};
  jpeg_progress_mgr progress{};
  std::jmp_buf out{};
  char message[JMSG_LENGTH_MAX]{};
  bool no_end = false;      ///< the file ends before its end mark
  bool lacks_scans = false; ///< and before all of its scans
  bool bad_profile = false; ///< the parts of an ICC profile do not make one
  bool too_many_scans = false;
  std::array<bool, MAX_COMPONENTS> scanned{}; ///< components that were in a scan
  const std::string* source = nullptr;
  picture* target = nullptr;
  JOCTET* profile = nullptr;
  unsigned profile_size = 0;

  decompressor() {
    info.err = jpeg_std_error(&errors);
    info.client_data = this;
    errors.error_exit = [](j_common_ptr c) {
      auto& self = *static_cast<decompressor*>(c->client_data);
      c->err->format_message(c, self.message);
      std::longjmp(self.out, 1);
    };
    errors.emit_message = [](j_common_ptr c, int level) {
      if (level >= 0) return;
      auto& self = *static_cast<decompressor*>(c->client_data);
      if (of_pixels(c->err->msg_code)) c->err->error_exit(c);
      if (c->err->msg_code == JWRN_JPEG_EOF) self.no_end = true;
      if (c->err->msg_code == JWRN_BOGUS_ICC) self.bad_profile = true;
    };
    progress.progress_monitor = [](j_common_ptr c) {
      auto& self = *static_cast<decompressor*>(c->client_data);
      for (int i = 0; i < self.info.comps_in_scan; ++i)
        self.scanned[static_cast<std::size_t>(self.info.cur_comp_info[i]->component_index)] = true;
      self.too_many_scans = self.info.input_scan_number > most_scans;
      if (self.too_many_scans) std::longjmp(self.out, 1);
    };
  }
  ~decompressor() {
    jpeg_destroy_decompress(&info);
    std::free(profile);
  }
  decompressor(const decompressor&) = delete;
  decompressor& operator=(const decompressor&) = delete;

  /// False where libjpeg found an error.
  bool guarded(void (*f)(decompressor&)) {
    if (setjmp(out) != 0) return false;
    f(*this);
    return true;
  }

  /// Whether the scans that were read are all that the picture has.
  bool has_all_scans() const {
    for (std::size_t i = 0; i < static_cast<std::size_t>(info.num_components); ++i) {
      if (!scanned[i]) return false;
      // of a progressive picture, the lowest bit that is known of each coefficient
      if (info.coef_bits != nullptr &&
          std::any_of(info.coef_bits[i], info.coef_bits[i] + DCTSIZE2, [](int bit) { return bit != 0; }))
        return false;
    }
    return true;
  }
};

void read_header(decompressor& d) {
  jpeg_create_decompress(&d.info); // which clears what was set before, but the error handler
  d.info.progress = &d.progress;
  jpeg_save_markers(&d.info, JPEG_APP0 + 1, 0xFFFF);
  jpeg_save_markers(&d.info, JPEG_APP0 + 2, 0xFFFF);
  jpeg_mem_src(&d.info, reinterpret_cast<const unsigned char*>(d.source->data()), d.source->size());
  jpeg_read_header(&d.info, TRUE);
  jpeg_read_icc_profile(&d.info, &d.profile, &d.profile_size);
}

void read_lines(decompressor& d) {
  jpeg_start_decompress(&d.info);
  while (d.info.output_scanline < d.info.output_height) {
    JSAMPROW row = d.target->at(d.info.output_scanline, 0);
    jpeg_read_scanlines(&d.info, &row, 1);
  }
  d.lacks_scans = d.no_end && !d.has_all_scans();
  jpeg_finish_decompress(&d.info);
}

unsigned orientation_of(const jpeg_decompress_struct& info) {
  for (auto marker = info.marker_list; marker != nullptr; marker = marker->next) {
    constexpr char exif[] = {'E', 'x', 'i', 'f', 0, 0}; // other segments of this kind hold XMP
    if (marker->marker != JPEG_APP0 + 1 || marker->data_length < sizeof exif ||
        std::memcmp(marker->data, exif, sizeof exif) != 0)
      continue;
    if (const auto found = examples::exif_orientation({marker->data, marker->data_length})) return *found;
  }
  return 1;
}

/// The picture in sRGB, as the file's profile has its colours.
void convert(decompressor& d, picture& p, const std::string& name) {
  std::string fault = d.bad_profile ? "it is damaged" : "";
  if (d.profile != nullptr) {
    const examples::srgb_conversion c({p.channels, 8}, {d.profile, d.profile_size});
    fault = c.fault();
    std::vector<std::uint8_t> row(p.channels * p.width);
    for (std::size_t y = 0; y < p.height && c.changes(); ++y) {
      std::copy_n(p.at(y, 0), row.size(), row.data());
      c(row.data(), p.at(y, 0), p.width);
    }
  }
  if (!fault.empty()) examples::tell_unused_profile(name, fault);
}

} // namespace

picture read_jpeg(const std::filesystem::path& path, std::size_t channels,
                  const examples::picture_limits& limits) {
  const std::string name = path.string();
  const std::string bytes = pushforward::safetensors::regular_file(path).read(largest_file);

  decompressor d;
  d.source = &bytes;
  const auto damaged = [&](const char* how) { return bad_file(name + ": is a damaged JPEG (" + how + ")"); };
  const char* const cut_short = "it is cut short";
  if (!d.guarded(read_header)) throw damaged(d.message);
  auto& info = d.info;
  examples::check_size(path, info.image_height, info.image_width, limits);
  if (info.jpeg_color_space == JCS_CMYK || info.jpeg_color_space == JCS_YCCK)
    throw bad_file(name + ": has CMYK colours, of a printing press; convert it to RGB first");
  // a block of 8 x 8 values has a code, and a code a bit, at the least: no memory for what cannot be there
  std::size_t blocks = 0;
  for (int i = 0; i < info.num_components; ++i)
    blocks = std::max<std::size_t>(blocks, std::size_t{info.comp_info[i].width_in_blocks} *
                                               info.comp_info[i].height_in_blocks);
  if (!info.arith_code && 8 * bytes.size() < blocks) throw damaged(cut_short);

  const bool grey = info.jpeg_color_space == JCS_GRAYSCALE;
  // a mask's light is the luma that the file itself has
  info.out_color_space = grey || channels == 2 ? JCS_GRAYSCALE : JCS_RGB;
  const unsigned orientation = orientation_of(info); // the markers are gone after the last line
  picture p(info.image_height, info.image_width, info.out_color_space == JCS_RGB ? 3 : 1);
  d.target = &p;
  const bool read = d.guarded(read_lines);
  if (d.too_many_scans)
    throw bad_file(name + ": has more than " + std::to_string(most_scans) +
                   " scans, which takes long to no purpose; save it anew with another program");
  if (!read || d.lacks_scans) throw damaged(read ? cut_short : d.message);
  if (channels != 2) {
    convert(d, p, name);
    return turned(examples::in_channels(std::move(p), channels), orientation);
  }
  picture mask(p.height, p.width, 2);
  for (std::size_t i = 0; i < p.pixels.size(); ++i) mask.pixels[2 * i] = p.pixels[i];
  return turned(std::move(mask), orientation);
}

} // namespace stable_diffusion
