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
  app.add_option("--box", known.box, "the unknown box: top, left, height, width")->capture_default_str();
  app.add_option("--share", known.share, "of the pixels that are known, with --known random")
      ->capture_default_str();
  app.add_option("--mask", mask, "PNG of 32 x 32 pixels: white ones are known");
  add_restore_options(app, a);
  add_model_options(app, a);
  add_steering_options(app, a);
  return mnist::run_with(app, argc, argv, [&] {
    if (!mask.empty()) {
      known.where = "picture";
      known.mask = mnist::read_png(mask);
    }
    const auto measure = [&](const mnist::chosen_digits& digits) {
      return mnist::measurement(known, digits.images, a.steering.seed, digits.first);
    };
    return mnist::restore(a, mnist::name_of(known), measure, {{"the mask", mask}});
  });
}
