// Draws what a step along J e, J^-1 e and J^T e does to a clean estimate.

#include "arguments.hpp"
#include "choose.hpp"
#include "common.hpp"
#include "jacobian.hpp"

#include <common/drawing.hpp>
#include <common/outputs.hpp>
#include <common/raster.hpp>

#include <ATen/core/Tensor.h>
#include <nlohmann/json.hpp>

#include <cstdio>
#include <iostream>
#include <optional>

namespace {

std::string rounded(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g", value);
  return text;
}

/// What the cut-off of J^-1 e leaves.
std::string cut_of(const mnist::directions& d, const mnist::tried_direction& t) {
  return "the cut-off " + rounded(t.cutoff) + " keeps " + std::to_string(t.kept) + " of " +
         std::to_string(d.singular_values.size()) + " singular values";
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
    page.text(left, y + side + 15,
              "divided by " + t.scaling + (t.kept > 0 ? "; " + cut_of(d, t) : std::string()), 11);
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
      "estimate, for an error e at one pixel. Writes one labelled picture (SVG, PNG) and its numbers (JSON).",
      "pushforward_mnist_directions"};
  app.footer("Examples:\n"
             "  pushforward_mnist_directions\n"
             "  pushforward_mnist_directions --first 3 --time 300 --pixel 10 20 --out early\n"
             "  pushforward_mnist_directions --model flow --time 0.5");
  mnist::arguments a;
  a.out = "directions";
  mnist::directions_options o;
  std::array<std::int64_t, 2> pixel{o.row, o.column};
  std::optional<double> time;
  add_model_options(app, a);
  examples::add_number(app, "--time", time, examples::not_negative,
                       "t of the noisy digit; sigma for the flow model [500, or 0.5 for flow]");
  examples::add_number(app, "--pixel", pixel, examples::whole_numbers{0, 31}, "row and column of the error");
  examples::add_number(app, "--quantile", o.quantile, examples::positive_shares,
                       "of |J e|, by which J e is divided");
  examples::add_number(
      app, "--cutoff", o.cutoffs, examples::shares_below_1,
      "of singular values, relative to the largest, for J^-1 e; a row of the picture for each");
  examples::add_output_option(app, a.out, "writes this name with .svg, .png and .json",
                              {".svg", ".png", ".json"});
  return mnist::run_with(app, argc, argv, [&] {
    mnist::require_fonts();
    const auto named = [&](const char* end) { return mnist::with_ending(a.out, end); };
    mnist::require_writable({named(".svg"), named(".png"), named(".json")}, inputs_of(a));
    o.time = time.value_or(a.model == mnist::model_kind::flow ? 0.5 : 500.0);
    examples::as_option("--time", [&] { return mnist::path_of(a.model).at(o.time); });
    const mnist::digit_model model(a.model, a.weights);
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
    nlohmann::ordered_json j{{"model", to_string(a.model)},
                             {"time", d.time},
                             {"pixel", pixel},
                             {"seed", o.seed},
                             {"digit", digits.first},
                             {"completed", d.completed},
                             {"passes", d.passes},
                             {"backward_passes", d.backward}};
    for (const auto& t : d.tried) {
      auto& told = j["directions"].emplace_back(nlohmann::ordered_json{{"name", t.name},
                                                                       {"divided_by", t.scaling},
                                                                       {"change_at_the_pixel", t.at_pixel},
                                                                       {"change_norm", t.norm},
                                                                       {"cosine_with_J_e", t.cosine}});
      if (t.kept == 0) continue;
      told["cutoff"] = t.cutoff;
      told["singular_values_kept"] = t.kept;
      std::cout << t.name << ": " << cut_of(d, t) << '\n';
    }
    j["singular_values"] = d.singular_values;
    mnist::file_set files;
    mnist::add_drawing(files, a.out, drawn(d, o));
    files.add(named(".json"), j.dump(1) + "\n");
    files.write();
    std::cout << "wrote " << a.out.string() << ".svg, " << a.out.string() << ".png and " << a.out.string()
              << ".json\n";
    if (d.completed) return 0;
    std::cout << "stopped by the user; what was written is of the directions that were finished\n";
    return mnist::interrupted_status;
  });
}
