// Enlarges digits that are known at a lower resolution.

#include "restore.hpp"

int main(int argc, char** argv) {
  CLI::App app{
      "Enlarges handwritten digits that are known at a lower resolution, and writes a picture of the\n"
      "start, what is known, the result and the truth, with a JSON trace of the run.",
      "pushforward_mnist_superres"};
  app.footer("Examples:\n"
             "  pushforward_mnist_superres --factor 4 --batch 8 --eta 1\n"
             "  pushforward_mnist_superres --factor 2 --cubic --model flow\n"
             "  pushforward_mnist_superres --model latent_ddpm --eta 1 --policy vae_newton");
  mnist::arguments a;
  a.out = "superres";
  mnist::lower_resolution low;
  examples::add_number(app, "--factor", low.factor, examples::whole_numbers{2, 4},
                       "4: known as 8 x 8; 2: known as 16 x 16")
      ->check([](const std::string& text) {
        return text == "3" ? std::string("must be 2 or 4, not 3") : std::string();
      });
  app.add_flag("--cubic", low.cubic, "made smaller by an antialiased cubic resize in place of block means");
  add_restore_options(app, a);
  add_model_options(app, a);
  add_steering_options(app, a);
  return mnist::run_with(app, argc, argv, [&] {
    check_steering_options(app, a);
    return mnist::restore(a, mnist::name_of(low), [&](const mnist::chosen_digits& digits) {
      return mnist::measurement(low, digits.images);
    });
  });
}
