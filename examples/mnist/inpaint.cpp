// Completes digits of which some pixels are known.

#include "restore.hpp"

#include "common.hpp"

int main(int argc, char** argv) {
  CLI::App app{
      "Completes handwritten digits of which some pixels are known, and writes a picture of the start,\n"
      "what is known, the result and the truth, with a JSON trace of the run.",
      "pushforward_mnist_inpaint"};
  app.footer("Examples:\n"
             "  pushforward_mnist_inpaint --known upper --batch 8 --eta 1\n"
             "  pushforward_mnist_inpaint --known box --box 8 8 16 16 --policy gradient_descent --eta 1\n"
             "  pushforward_mnist_inpaint --known random --share 0.1 --model flow\n"
             "  pushforward_mnist_inpaint --mask mask.png --data my_digit.png --eta 1 --out completed");
  mnist::arguments a;
  a.out = "inpaint";
  mnist::known_pixels known;
  std::filesystem::path mask;
  app.add_option("--known", known.where,
                 "which pixels are known: upper, lower, left or right half, all but a box, or random ones")
      ->capture_default_str()
      ->check(CLI::IsMember({"upper", "lower", "left", "right", "box", "random"}));
  examples::add_number(app, "--box", known.box, examples::whole_numbers{0, 32},
                       "the unknown box: top, left, height, width");
  examples::add_number(app, "--share", known.share, examples::shares,
                       "of the pixels that are known, with --known random");
  examples::add_name(app, "--mask", mask,
                     "PNG of 32 x 32 pixels: white ones are known; where it has transparent "
                     "parts, those are filled in");
  add_restore_options(app, a);
  add_model_options(app, a);
  add_steering_options(app, a);
  return mnist::run_with(app, argc, argv, [&] {
    if (!mask.empty())
      examples::refuse_given(app, {"--known", "--box", "--share"}, "with --mask: leave one of the two out");
    if (known.where != "box") examples::refuse_given(app, {"--box"}, "without --known box: pass that, too");
    if (known.where != "random")
      examples::refuse_given(app, {"--share"}, "without --known random: pass that, too");
    check_steering_options(app, a);
    bool from_opacity = false;
    if (!mask.empty()) {
      known.where = "picture";
      const auto read = examples::mask_of(examples::read_png(mask, 2));
      from_opacity = read.from_opacity;
      known.mask = read.shades;
    }
    const auto measure = [&](const mnist::chosen_digits& digits) {
      const mnist::measurement m(known, digits.images, a.steering.seed, digits.first);
      if (from_opacity)
        examples::tell_mask_of_opacity(mask); // of one that can be used: else the fault says all
      return m;
    };
    return mnist::restore(a, mnist::name_of(known), measure, {{"the mask", mask}});
  });
}
