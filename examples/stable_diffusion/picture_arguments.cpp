#include "picture_arguments.hpp"

#include <common/command_line.hpp>

namespace stable_diffusion {

std::optional<picture_size> picture_arguments::asked_size() const {
  if (size.height == 0 && size.width == 0) return {};
  return size;
}

void add_picture_options(CLI::App& app, picture_arguments& a, const std::string& what) {
  const std::string group = "Picture";
  const examples::whole_numbers sides{1, 8192};
  examples::add_name(app, "picture", a.picture, what + ", JPEG or PNG")->required()->group(group);
  examples::add_number(app, "--width", a.size.width, sides, "brings the picture to this width [its own]")
      ->default_str("")
      ->group(group);
  examples::add_number(app, "--height", a.size.height, sides,
                       "and to this height; one of the two gives the other")
      ->default_str("")
      ->group(group);
  examples::add_choice<fitting>(app, "--fit", a.how, {{"crop", fitting::crop}, {"resize", fitting::resize}},
                                "how it is brought to a size that the model takes", group);
}

} // namespace stable_diffusion
