#include "picture_arguments.hpp"

#include <common/command_line.hpp>

namespace stable_diffusion {

std::optional<picture_size> picture_arguments::asked_size() const {
  if (size.height == 0 && size.width == 0) return {};
  return size;
}

void add_picture_options(CLI::App& app, picture_arguments& a, const std::string& what) {
  const std::string group = "Picture";
  app.add_option("picture", a.picture, what + ", JPEG or PNG")->required()->group(group);
  app.add_option("--width", a.size.width, "brings the picture to this width [its own]")
      ->check(CLI::Range(1, 8192))
      ->group(group);
  app.add_option("--height", a.size.height, "and to this height; one of the two gives the other")
      ->check(CLI::Range(1, 8192))
      ->group(group);
  examples::add_choice<fitting>(app, "--fit", a.how, {{"crop", fitting::crop}, {"resize", fitting::resize}},
                                "how it is brought to a size that the model takes", group);
}

} // namespace stable_diffusion
