#include "raster.hpp"

#include <pushforward/error.hpp>

#include <cairo.h>
#include <fontconfig/fontconfig.h>
#include <librsvg/rsvg.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>

namespace examples {

namespace {

template <auto Free> struct freed {
  template <class T> void operator()(T* p) const { Free(p); }
};
template <class T, auto Free> using owned = std::unique_ptr<T, freed<Free>>;

pushforward::error failed(GError* reason) {
  const owned<GError, g_error_free> held(reason);
  return pushforward::error(std::string("the drawing cannot be made a PNG (") +
                            (held ? held->message : "no reason given") + ")");
}

} // namespace

void require_fonts() {
  const FcFontSet* fonts = FcConfigGetFonts(nullptr, FcSetSystem);
  if (fonts == nullptr || fonts->nfont == 0)
    throw pushforward::error("no font was found, and the picture's words need one: install the package "
                             "fonts-dejavu-core, or put a .ttf file into ~/.fonts");
}

picture rasterised(const std::string& svg) {
  require_fonts();
  GError* reason = nullptr;
  const auto* bytes = reinterpret_cast<const guint8*>(svg.data());
  const owned<RsvgHandle, g_object_unref> handle(rsvg_handle_new_from_data(bytes, svg.size(), &reason));
  double width = 0.0, height = 0.0;
  if (!handle || !rsvg_handle_get_intrinsic_size_in_pixels(handle.get(), &width, &height))
    throw failed(reason);

  picture p(static_cast<std::size_t>(std::ceil(height)), static_cast<std::size_t>(std::ceil(width)), 3);
  const owned<cairo_surface_t, cairo_surface_destroy> surface(
      cairo_image_surface_create(CAIRO_FORMAT_RGB24, static_cast<int>(p.width), static_cast<int>(p.height)));
  const owned<cairo_t, cairo_destroy> canvas(cairo_create(surface.get()));
  cairo_set_source_rgb(canvas.get(), 1.0, 1.0, 1.0);
  cairo_paint(canvas.get());
  const RsvgRectangle all{0.0, 0.0, width, height};
  if (!rsvg_handle_render_document(handle.get(), canvas.get(), &all, &reason)) throw failed(reason);
  cairo_surface_flush(surface.get());
  if (cairo_surface_status(surface.get()) != CAIRO_STATUS_SUCCESS)
    throw pushforward::error("a drawing of " + std::to_string(p.width) + " x " + std::to_string(p.height) +
                             " pixels is too large for a PNG");

  const unsigned char* data = cairo_image_surface_get_data(surface.get());
  const auto stride = static_cast<std::size_t>(cairo_image_surface_get_stride(surface.get()));
  for (std::size_t y = 0; y < p.height; ++y)
    for (std::size_t x = 0; x < p.width; ++x) {
      std::uint32_t pixel = 0; // red, green and blue from the third byte down, whatever the byte order
      std::copy_n(data + y * stride + x * sizeof pixel, sizeof pixel,
                  reinterpret_cast<unsigned char*>(&pixel));
      for (unsigned c = 0; c < 3; ++c) p.at(y, x)[c] = static_cast<std::uint8_t>(pixel >> (16 - 8 * c));
    }
  return p;
}

void add_drawing(file_set& files, const std::filesystem::path& out, const std::string& svg) {
  files.add(with_ending(out, ".svg"), svg);
  files.add(with_ending(out, ".png"), png_bytes(rasterised(svg)));
}

} // namespace examples
