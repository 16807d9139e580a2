// Draws what a step along J e, J^-1 e and J^T e does to a clean estimate.

#include "arguments.hpp"
#include "choose.hpp"
#include "common.hpp"
#include "jacobian.hpp"

#include <common/drawing.hpp>
#include <common/outputs.hpp>

#include <ATen/core/Tensor.h>
#include <nlohmann/json.hpp>

#include <cstdio>
#include <iostream>

namespace {

std::string rounded(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g", value);
  return text;
}

std::string drawn(const mnist::directions& d, const mnist::directions_options& o) {
  constexpr std::size_t scale = 5;
  constexpr double side = 32.0 * scale, gap = 28.0, left = 110.0, top = 96.0;
  const double width = left + 4.0 * (side + gap),
               height = top + static_cast<double>(d.tried.size()) * (side + 34.0) + 30.0;
  mnist::drawing page(width, height);
  page.text(16, 28, "Which way to move x_t, so that one pixel of the clean estimate x0 turns white?", 18);
  page.text(16, 50,
            "t = " + rounded(d.time) + ". The error e is +1 at pixel (" + std::to_string(o.row) + ", " +
                std::to_string(o.column) + ") and 0 elsewhere; J is the Jacobian of x0 with respect to x_t.",
            13);
  const char* heads[] = {"direction d", "x0(x_t): before", "x0(x_t + d): after", "after - before"};
  for (std::size_t c = 0; c < 4; ++c)
    page.text(left + (side + gap) * static_cast<double>(c) + side / 2, top - 12, heads[c], 13, "middle");
  double y = top;
  for (const auto& t : d.tried) {
    page.text(16, y + side / 2, t.name, 18);
    page.image(left, y, mnist::signed_colours(t.direction, 1.0, scale));
    page.image(left + side + gap, y, mnist::shades(d.before, scale));
    page.image(left + 2 * (side + gap), y, mnist::shades(t.after, scale));
    page.image(left + 3 * (side + gap), y, mnist::signed_colours(t.change, 1.0, scale));
    page.text(left, y + side + 15, "divided by " + t.scaling, 11);
    page.text(left + 3 * (side + gap), y + side + 15, "at the pixel: " + rounded(t.at_pixel), 11);
    y += side + 34.0;
  }
  page.text(16, height - 12,
            "Red is positive, blue negative, white 0. J e and J^T e agree where J is symmetric, as an exact "
            "denoiser's is.",
            11);
  return page.svg();
}

} // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "Takes the dense Jacobian J of the clean estimate at one noisy digit, and draws what a step\n"
      "along J e (inexact Newton), J^-1 e (exact Newton) and J^T e (gradient descent) does to the\n"
      "estimate, for an error e at one pixel. Writes one labelled picture (SVG) and its numbers (JSON).",
      "pushforward_mnist_directions"};
  app.footer("Examples:\n"
             "  pushforward_mnist_directions\n"
             "  pushforward_mnist_directions --first 3 --time 300 --pixel 10 20 --out early\n"
             "  pushforward_mnist_directions --model flow --time 0.5");
  mnist::arguments a;
  a.out = "directions";
  mnist::directions_options o;
  std::array<std::int64_t, 2> pixel{o.row, o.column};
  double time = -1.0;
  add_model_options(app, a);
  app.add_option("--time", time, "t of the noisy digit; sigma for the flow model [500, or 0.5 for flow]");
  app.add_option("--pixel", pixel, "row and column of the error")->capture_default_str();
  app.add_option("--quantile", o.quantile, "of |J e|, by which J e is divided")->capture_default_str();
  app.add_option("--cutoff", o.cutoff, "of singular values, for J^-1 e")->capture_default_str();
  examples::add_output_option(app, a.out, "writes this name with .svg and .json", {".svg", ".json"});
  return mnist::run_with(app, argc, argv, [&] {
    const auto named = [&](const char* end) { return mnist::with_ending(a.out, end); };
    mnist::require_writable({named(".svg"), named(".json")}, inputs_of(a));
    const mnist::digit_model model(a.model, a.weights);
    o.time = time >= 0.0 ? time : a.model == mnist::model_kind::flow ? 0.5 : 500.0;
    o.row = pixel[0];
    o.column = pixel[1];
    o.seed = a.steering.seed;
    const auto digits = mnist::choose_digits(a.data, a.first, 1);
    const auto d = [&] {
      mnist::progress_bar bar("directions");
      return mnist::directions_at(model, digits.images, o, [&](const std::string& what, double done) {
        if (mnist::interrupted()) throw mnist::stopped_early{};
        bar.show(done, 1.0, what);
      });
    }();
    const bool completed = !d.singular_values.empty();

    nlohmann::ordered_json j{{"model", to_string(a.model)},
                             {"time", d.time},
                             {"pixel", pixel},
                             {"seed", o.seed},
                             {"digit", digits.first},
                             {"completed", completed},
                             {"passes", d.passes},
                             {"backward_passes", d.backward}};
    for (const auto& t : d.tried)
      j["directions"].push_back({{"name", t.name},
                                 {"divided_by", t.scaling},
                                 {"change_at_the_pixel", t.at_pixel},
                                 {"change_norm", t.norm},
                                 {"cosine_with_J_e", t.cosine}});
    j["singular_values"] = d.singular_values;
    mnist::file_set files;
    files.add(named(".svg"), drawn(d, o));
    files.add(named(".json"), j.dump(1) + "\n");
    files.write();
    std::cout << "wrote " << a.out.string() << ".svg and " << a.out.string() << ".json\n";
    return completed ? 0 : mnist::interrupted_status;
  });
}
