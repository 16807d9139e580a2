// Where a change of one latent pixel is felt: J v beside J^T v.

#include "model.hpp"
#include "pictures.hpp"
#include "run.hpp"
#include "subject.hpp"

#include <common/command_line.hpp>
#include <common/console.hpp>
#include <common/drawing.hpp>
#include <common/files.hpp>
#include <common/outputs.hpp>
#include <common/raster.hpp>
#include <common/updates.hpp>

#include <pushforward/estimate.hpp>

#include <ATen/ATen.h>

#include <cmath>
#include <cstdio>
#include <iostream>

namespace {

using namespace stable_diffusion;
using namespace pushforward;
using json = nlohmann::ordered_json;

/// The vectors v at the latent pixel that is looked at.
enum class probe_vectors {
  one_hot, ///< as many as the latent has channels, each 1 in one of them
  ones     ///< one, which is 1 in all channels
};

struct arguments {
  model_arguments model;
  subject_arguments subject;
  std::optional<double> time{}; ///< unless given six tenths of the noisiest
  std::array<std::int64_t, 2> pixel{24, 26};
  probe_vectors vectors = probe_vectors::one_hot;
  double probe = 1.0;
  std::filesystem::path out = "jacobian";
};

std::vector<at::Tensor> vectors_at(const at::Tensor& like, const arguments& a) {
  const auto one_in = [&](std::int64_t first, std::int64_t channels) {
    at::Tensor v = at::zeros_like(like);
    v.narrow(1, first, channels).narrow(2, a.pixel[0], 1).narrow(3, a.pixel[1], 1).fill_(1.0);
    return v;
  };
  if (a.vectors == probe_vectors::ones) return {one_in(0, like.size(1))};
  std::vector<at::Tensor> all;
  for (std::int64_t c = 0; c < like.size(1); ++c) all.push_back(one_in(c, 1));
  return all;
}

/// Magnitude of the products J v, one for each v, at each latent pixel. Of one-hot vectors
/// it is exp(mean over the output channels c of log sqrt(sum over v of (J v)_c^2)), the geometric
/// mean over the channels, and 0 where one of them is; of the one vector of ones it is the root of the sum of
/// squares over the channels.
at::Tensor magnitude_of(const at::Tensor& products, probe_vectors vectors) {
  const at::Tensor squares = products.square();
  if (vectors == probe_vectors::ones) return squares.sum({1}, true).sqrt();
  return squares.sum({0}, true).log().mean({1}, true).mul(0.5).exp();
}

/// J v or J^T v for each v, and their magnitude.
struct product {
  const char* name;
  const char* how;
  at::Tensor values; ///< [vectors, C, H, W]
  at::Tensor magnitude;

  product(const char* n, const char* h, const std::vector<at::Tensor>& products, probe_vectors vectors)
      : name{n}, how{h}, values{at::cat(products).to(at::kCPU, at::kDouble)}, magnitude{magnitude_of(
                                                                                  values, vectors)} {}

  double at(const std::array<std::int64_t, 2>& pixel) const {
    return magnitude[0][0][pixel[0]][pixel[1]].item<double>();
  }
};

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g", value);
  return text;
}

/// From the smallest to the largest magnitude, as decimal logarithms, over at most six decades.
std::pair<double, double> scale_of(const std::vector<product>& products) {
  double low = INFINITY, high = 0.0;
  for (const auto& p : products) {
    high = std::max(high, p.magnitude.max().item<double>());
    const at::Tensor positive = p.magnitude.masked_select(p.magnitude > 0.0);
    if (positive.numel() > 0) low = std::min(low, positive.min().item<double>());
  }
  if (high == 0.0) return {-1.0, 0.0};
  const double top = std::log10(high), bottom = std::max(std::log10(low), top - 6.0);
  return {bottom < top ? bottom : top - 1.0, top};
}

/// Both heat maps with their scale, as SVG; `maps` are the pictures alone.
std::string drawn(const std::vector<product>& products, const std::vector<examples::picture>& maps,
                  const std::pair<double, double>& scale, std::size_t zoom, const arguments& a) {
  constexpr double left = 24, top = 98, gap = 24, bar = 18;
  const auto width = static_cast<double>(maps[0].width), height = static_cast<double>(maps[0].height);
  const double bar_x = left + 2.0 * (width + gap);
  examples::drawing page(std::max(bar_x + bar + 76.0, 700.0), top + height + 44.0,
                         "Heat maps of J v and J^T v for one latent pixel");
  page.text(left, 28, "Where one latent pixel is felt, at t = " + number(*a.time), 17);
  const std::string pixel =
      "the framed pixel (" + std::to_string(a.pixel[0]) + ", " + std::to_string(a.pixel[1]) + ")";
  if (a.vectors == probe_vectors::ones) {
    page.text(left, 46, "v = 1 in all channels of " + pixel, 12);
    page.text(left, 62, "root of the sum of squares over the channels", 12);
  } else {
    page.text(left, 46, "v = 1 in one channel of " + pixel + ", each channel in turn", 12);
    page.text(left, 62,
              "in each output channel the root of the sum of squares over v; then their geometric mean", 12);
  }
  for (std::size_t i = 0; i < maps.size(); ++i) {
    const double x = left + static_cast<double>(i) * (width + gap);
    page.text(x, top - 8, products[i].name, 14, "start", "font-weight:600");
    page.text(x + 48, top - 8, products[i].how, 12);
    page.image(x, top, maps[i]);
    const auto z = static_cast<double>(zoom);
    const double px = x + z * static_cast<double>(a.pixel[1]), py = top + z * static_cast<double>(a.pixel[0]);
    page.line({{px - 1, py - 1},
               {px + z + 1, py - 1},
               {px + z + 1, py + z + 1},
               {px - 1, py + z + 1},
               {px - 1, py - 1}},
              "#ffffff");
    page.text(x, top + height + 18, "at the pixel: " + number(products[i].at(a.pixel)), 12);
  }
  const at::Tensor shades = at::linspace(1.0, 0.0, static_cast<std::int64_t>(maps[0].height), at::kDouble)
                                .view({1, 1, -1, 1})
                                .expand({1, 1, -1, static_cast<std::int64_t>(bar)});
  page.image(bar_x, top, examples::heat_colours(shades, 0.0, 1.0, 1));
  for (int i = 0; i <= 4; ++i) {
    const double share = i / 4.0, y = top + height * (1.0 - share);
    page.line({{bar_x + bar, y}, {bar_x + bar + 4, y}}, "#333333");
    page.text(bar_x + bar + 8, y + 4,
              number(std::pow(10.0, scale.first + share * (scale.second - scale.first))), 12);
  }
  return page.svg();
}

json rows_of_map(const at::Tensor& map) {
  const auto values = tensor_traits<at::Tensor>::elements(map);
  const auto width = static_cast<std::size_t>(map.size(3));
  json rows = json::array();
  for (std::size_t i = 0; i < values.size(); i += width)
    rows.push_back(std::vector<double>(values.begin() + static_cast<std::ptrdiff_t>(i),
                                       values.begin() + static_cast<std::ptrdiff_t>(i + width)));
  return rows;
}

int run(arguments a) {
  examples::require_fonts();
  const auto named = [&](const char* end) { return examples::with_ending(a.out, end); };
  examples::require_writable({named(".json"), named(".svg"), named(".png")}, inputs_of(a.model, a.subject));
  const subject what(a.subject);
  const model_outline outline = outline_of(a.model);
  if (!a.time) a.time = 0.6 * outline.path.last();
  const picture_size size = what.require_servable(outline, {*a.time}, "--time");
  const auto [row, column] = a.pixel;
  const auto rows = size.height / outline.scale, columns = size.width / outline.scale;
  if (row >= rows || column >= columns)
    throw bad_option("--pixel " + std::to_string(row) + " " + std::to_string(column) +
                     " lies outside the latent of " + std::to_string(rows) + " x " + std::to_string(columns));
  what.require_room(a.model);
  const latent_model m(a.model, [](const std::string& part) { std::cerr << "loading the " << part << "\n"; });
  const at::Tensor clean = what.latent(m);
  const auto vectors = vectors_at(clean, a);
  pass_counts counts;
  const auto products = m.with_denoiser([&](const auto& denoiser) {
    const estimator<at::Tensor, std::remove_cvref_t<decltype(denoiser)>, examples::any_path> e(
        model(denoiser, m.path()), counts);
    examples::progress_bar bar("jacobian");
    const auto look = [&](std::size_t done) {
      if (examples::interrupted()) throw examples::stopped_early{};
      bar.show(static_cast<double>(done), static_cast<double>(1 + 2 * vectors.size()));
    };
    look(0);
    const auto at = e.evaluate(what.noised(m, clean, *a.time), *a.time);
    look(1);
    std::vector<at::Tensor> forward, backward; // one after the other: a graph of all takes too much memory
    for (const auto& v : vectors) {
      forward.push_back(e.jvp(at, v, a.probe));
      look(1 + forward.size());
    }
    for (const auto& v : vectors) {
      backward.push_back(e.vjp(at, v));
      look(1 + forward.size() + backward.size());
    }
    return std::vector<product>{{"J v", "forward difference: inexact Newton", forward, a.vectors},
                                {"J\u1d40 v", "backward pass: gradient descent", backward, a.vectors}};
  });
  for (const auto& p : products)
    if (!at::isfinite(p.values).all().item<bool>()) throw not_finite(p.name, 0, 0);

  const at::Tensor &x = products[0].values, &y = products[1].values;
  const double lengths = (x.norm() * y.norm()).item<double>();
  const double cosine = lengths > 0.0 ? (x * y).sum().item<double>() / lengths : 0.0;
  const auto scale = scale_of(products);
  const auto zoom = static_cast<std::size_t>(std::max<std::int64_t>(1, 320 / clean.size(3)));
  std::vector<examples::picture> maps;
  for (const auto& p : products)
    maps.push_back(examples::heat_colours(p.magnitude.log10(), scale.first, scale.second, zoom));

  const auto facts = [&](const product& p) -> json {
    return {{"at_the_pixel", p.at(a.pixel)},
            {"norm", p.values.norm().item<double>()},
            {"magnitude", rows_of_map(p.magnitude)}};
  };
  const json j{{"model", m.facts()},
               {"at", what.name()},
               {"t", *a.time},
               {"pixel", a.pixel},
               {"vectors", a.vectors == probe_vectors::ones ? "ones" : "one_hot"},
               {"probe", a.probe > 0.0 ? json(a.probe) : json("automatic")},
               {"seed", a.subject.seed},
               {"cosine_of_J_v_and_J^T_v", cosine},
               {"costs", passes_of(counts)},
               {"J_v", facts(products[0])},
               {"J^T_v", facts(products[1])}};
  examples::file_set files;
  files.add(named(".json"), j.dump(1, ' ', false, json::error_handler_t::replace) + "\n");
  examples::add_drawing(files, a.out, drawn(products, maps, scale, zoom, a));
  files.write();
  std::cout << "at the pixel: |J v| " << number(products[0].at(a.pixel)) << ", |J^T v| "
            << number(products[1].at(a.pixel)) << "\ncosine of J v and J^T v: " << number(cosine) << '\n'
            << examples::counted(counts.forward, "pass", "passes") << ", "
            << examples::counted(counts.backward, "backward pass", "backward passes") << "\nwrote "
            << named(".svg").string() << ' ' << named(".png").string() << ' ' << named(".json").string()
            << '\n';
  return 0;
}

} // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "Two heat maps of one latent pixel under a Stable Diffusion model: J v by a forward "
      "difference,\n"
      "along which inexact Newton moves, and J^T v by a backward pass, along which gradient descent "
      "does; J is\n"
      "the Jacobian of the clean estimate. Colours go by the logarithm of the magnitude, over six decades "
      "at\n"
      "most. Writes the labelled maps (SVG, PNG) and the magnitudes (JSON).",
      "pushforward_jacobian"};
  app.footer("Examples:\n"
             "  pushforward_jacobian --model stable-diffusion-v1-5 --width 512 --height 512 photo.jpg\n"
             "  pushforward_jacobian --model sd --prompt \"a cat\" --time 300 --pixel 32 32");
  arguments a;
  add_subject_options(app, a.subject);
  const std::string group = "Jacobian", output = "Output";
  examples::add_number(app, "--time", a.time, examples::not_negative,
                       "time t, noise at the greatest: 1000, or 1 of a flow [600, 0.6]")
      ->group(group);
  examples::add_number(app, "--pixel", a.pixel, examples::whole_numbers{0, 8191},
                       "row and column in the latent")
      ->group(group);
  examples::add_choice<probe_vectors>(
      app, "--vectors", a.vectors, {{"one_hot", probe_vectors::one_hot}, {"ones", probe_vectors::ones}},
      "v at the pixel, and the magnitude that is drawn: one_hot: 1 in one channel, each channel in turn, and "
      "exp(mean over the output channels of log sqrt(sum over v of (J v)^2)), as Graikos et al. (2025) "
      "draw it; ones: 1 in all channels at once, and sqrt(sum over the output channels of (J v)^2)",
      group);
  examples::add_probe_option(app, a.probe)->group(group);
  examples::add_output_option(app, a.out, "writes this name with .svg, .png and .json",
                              {".svg", ".png", ".json"})
      ->group(output);
  add_model_options(app, a.model);
  return examples::run_with(app, argc, argv, [&] {
    check_model_options(app, a.model);
    check_subject_options(app, a.subject);
    require_felt(a.probe, a.model.unet.type, "--probe", "--dtype");
    return run(a);
  });
}
