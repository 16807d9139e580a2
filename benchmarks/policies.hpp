#pragma once
/// \file
/// Compares ways to steer a denoiser at equal cost: tasks, methods with their grids, and a line for each.
///
///     const policies::images domain;
///     const policies::bench bench(denoiser, domain, {.passes = {40, 100}});
///     bench.run({tuned}, {tested}, [](const policies::json& line) { std::cout << line << '\n'; });
///
/// for any denoiser on the variance exploding path and images [N, C, H, W] in [0, 1]: settings are chosen on
/// `tuned`. Other paths and tasks are other domains, as `digits.hpp` has them.

#include "baselines/blended_diffusion.hpp"
#include "baselines/ddnm_plus.hpp"
#include "baselines/diffpir.hpp"
#include "baselines/ding.hpp"
#include "baselines/dps.hpp"
#include "baselines/flair.hpp"
#include "baselines/flowchef.hpp"
#include "baselines/flowdps.hpp"
#include "baselines/lanpaint.hpp"
#include "baselines/latino.hpp"
#include "baselines/mpgd.hpp"
#include "baselines/pigdm.hpp"
#include "line_file.hpp"

#include <common/usage.hpp>

#include <pushforward/libtorch/tensor.hpp>
#include <pushforward/pushforward.hpp>

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <iostream>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace policies {

namespace pf = pushforward;
using at::Tensor;

/// PSNR in dB of each image, after clamping to [0, 1]; at most 100.
inline std::vector<double> psnr(const Tensor& x, const Tensor& truth) {
  std::vector<double> all;
  const Tensor square = (x.clamp(0.0, 1.0) - truth).to(at::kDouble).square();
  for (std::int64_t i = 0; i < x.size(0); ++i)
    all.push_back(-10.0 * std::log10(std::max(square[i].mean().item<double>(), 1e-10)));
  return all;
}

/// Structural similarity of each image (Wang, Bovik, Sheikh and Simoncelli 2004): Gaussian window of 11
/// and 1.5, of the mean of the channels, where the window lies inside.
inline std::vector<double> ssim(const Tensor& x, const Tensor& truth) {
  const Tensor g = at::exp(-at::arange(-5, 6, at::kDouble).square() / (2.0 * 1.5 * 1.5));
  const Tensor window = (g / g.sum()).outer(g / g.sum()).view({1, 1, 11, 11});
  const auto grey = [](const Tensor& t) { return t.to(at::kDouble).clamp(0.0, 1.0).mean(1, true); };
  const auto local = [&](const Tensor& t) { return at::conv2d(t, window); };
  const Tensor a = grey(x), b = grey(truth), ma = local(a), mb = local(b);
  const Tensor va = local(a * a) - ma * ma, vb = local(b * b) - mb * mb, ab = local(a * b) - ma * mb;
  constexpr double c1 = 0.01 * 0.01, c2 = 0.03 * 0.03;
  const Tensor map = (2.0 * ma * mb + c1) * (2.0 * ab + c2) / ((ma * ma + mb * mb + c1) * (va + vb + c2));
  const Tensor mean = map.mean({1, 2, 3}).contiguous();
  return {mean.const_data_ptr<double>(), mean.const_data_ptr<double>() + mean.numel()};
}

inline double mean(const std::vector<double>& v) {
  double sum = 0.0;
  for (const double x : v) sum += x;
  return v.empty() ? 0.0 : sum / static_cast<double>(v.size());
}

/// What is measured, and asked for again.
struct samples {
  Tensor images;
  std::vector<int> labels{}; ///< where the domain has them
};

/// What `options::methods` may name.
inline const std::vector<std::string> method_names{"posterior step",
                                                   "posterior step by vjp",
                                                   "posterior step, replaced",
                                                   "inexact Newton",
                                                   "gradient descent",
                                                   "DDNM",
                                                   "DDNM+",
                                                   "DiffPIR",
                                                   "MPGD",
                                                   "DPS",
                                                   "PiGDM",
                                                   "blended diffusion",
                                                   "RePaint",
                                                   "LanPaint",
                                                   "DING",
                                                   "FlowChef",
                                                   "FlowDPS",
                                                   "FLAIR",
                                                   "LATINO",
                                                   "plain sampling"};
/// Ablations of the posterior step.
inline const std::vector<std::string> variant_names{"posterior step, m 4", "posterior step, m 2 undamped",
                                                    "posterior step, noise of x0'"};

/// The names in quotes, as some hold commas.
inline std::string listed(const std::vector<std::string>& names) {
  std::string list;
  for (const auto& name : names) list += (list.empty() ? "\"" : ", \"") + name + '"';
  return list;
}

struct options {
  /// Budgets; a backward pass counts two.
  std::vector<std::size_t> passes{20, 40, 60, 100, 220};
  /// Settings are chosen there; a budget takes those of the nearest.
  std::vector<std::size_t> tuned_at{40, 100};
  /// Settings that are so far behind their method's best at one of them are left out at the next.
  double promising = 1.0;
  std::vector<std::string> tasks{}, methods{}; ///< empty: all; of methods, all but the variants
  bool variants = false;                       ///< the variants, too
  /// So many of the tested images are restored twice more, with other noise: how far do samples differ?
  /// Where the domain has a `distance`; 0 for none.
  std::int64_t diverse = 0;
  std::uint64_t seed = 3;
};

/// Where runs go along, what is asked for, and how results are judged: images in [0, 1] on the variance
/// exploding path, by Karras's grid.
struct images {
  pf::variance_exploding path{10.0, 0.01};
  std::vector<double> rates{1.0, 0.5, 0.2}; ///< of the infinity norm that are tried
  double last_rate = 0.02;                  ///< to which they go where there are several inner iterations
  inline static const std::vector<std::string> task_names{"block", "lines",    "random10",
                                                          "x4",    "x4_noise", "blur_noise"};

  pf::path_sampler sampler(std::size_t steps, double renoise) const {
    return pf::karras_euler(path, {.steps = steps, .renoise = renoise});
  }
  std::vector<double> times(std::size_t steps) const { return pf::karras_times(path, steps); }

  /// Of the shape of what the denoiser takes.
  Tensor like(const samples& s) const { return s.images; }

  /// Every task that `wanted` names: calls f(name, constraint, noise level).
  template <class Wanted, class F>
  void each_task(const samples& s, std::uint64_t seed, const Wanted& wanted, F f) const {
    at::manual_seed(seed);
    const Tensor& y = s.images;
    const auto n = y.size(2);
    const Tensor noise = at::randn_like(y);
    const Tensor share = (at::rand({y.size(0), 1, n, n}) < 0.1).to(at::kFloat).expand_as(y).contiguous();
    Tensor block = at::ones_like(y), lines = at::ones_like(y);
    block.narrow(2, n / 3, n / 3).narrow(3, n / 3, n / 3).zero_();
    for (std::int64_t i = 8; i + 3 <= n; i += 16) lines.narrow(2, i, 3).zero_();
    if (wanted("block")) f("block", pf::masked<Tensor>(y, block), 0.0);
    if (wanted("lines")) f("lines", pf::masked<Tensor>(y, lines), 0.0);
    if (wanted("random10")) f("random10", pf::masked<Tensor>(y, share), 0.0);
    const auto mean = pf::averaging(y, 4);
    const auto blur = pf::gaussian_blur(y, 2.0, 6);
    const Tensor small = mean.apply(y);
    if (wanted("x4")) f("x4", pf::linear(mean, small), 0.0);
    if (wanted("x4_noise"))
      f("x4_noise", pf::linear(mean, small + 0.05 * noise.narrow(2, 0, n / 4).narrow(3, 0, n / 4), 0.05),
        0.05);
    if (wanted("blur_noise")) f("blur_noise", pf::linear(blur, blur.apply(y) + 0.05 * noise, 0.05), 0.05);
  }

  json scores(const Tensor& x, const samples& truth, const std::string&) const {
    return {{"psnr", psnr(x, truth.images)}, {"ssim", ssim(x, truth.images)}};
  }
  /// By which a setting is chosen, in dB.
  double merit(const json& scores) const { return mean(scores.at("psnr")); }
};

/// \tparam Denoiser models `differentiable_denoiser` on tensors, or `denoiser`: then what runs backward is
/// left out
template <class Denoiser, class Domain> class bench {
public:
  /// Refers to both. \throws pushforward::bad_option for a task or a method that there is not, or no budget
  bench(const Denoiser& d, const Domain& domain, options o)
      : denoiser_{d}, domain_{domain}, options_{std::move(o)} {
    auto all_methods = method_names;
    all_methods.insert(all_methods.end(), variant_names.begin(), variant_names.end());
    require_known("task", options_.tasks, Domain::task_names);
    require_known("method", options_.methods, all_methods);
    if (options_.passes.empty() || options_.tuned_at.empty())
      throw pf::bad_option("no budget: passes and tuned_at need one each");
    auto& methods = options_.methods;
    if (options_.tasks.empty()) options_.tasks = Domain::task_names;
    named_ = methods;
    if (methods.empty()) methods = method_names;
    if (options_.variants) methods.insert(methods.end(), variant_names.begin(), variant_names.end());
  }

  const Domain& domain() const { return domain_; }
  std::uint64_t seed() const { return options_.seed; }

  /// Every task on these images: calls f(name, constraint, noise level).
  template <class F> void each_task(const samples& s, F f) const {
    domain_.each_task(
        s, options_.seed, [&](const char* name) { return contains(options_.tasks, name); }, f);
  }

  /// Every setting of every method at about `budget` passes: calls f(method, setting, run), run() being a
  /// sample_result; other noise for each `draw`.
  template <class Constraint, class F>
  void each_method(const Constraint& c, const Tensor& y, double noise, std::size_t budget, std::uint64_t draw,
                   F f) const {
    // what the denoiser may be asked, as under guidance each answer is two passes
    const std::size_t passes = budget / pf::detail::passes_per_sample<Denoiser>();
    const auto& path = domain_.path;
    const auto wanted = [&](const char* name) { return contains(options_.methods, name); };
    const auto steps_at = [&](std::size_t cost) { return std::max<std::size_t>(2, passes / cost); };
    const auto with_sampler = [&](const auto& sampler, const auto& rule) {
      return pf::sample(start(y, sampler.time(0), draw), pf::model(denoiser_, path), sampler, c, rule,
                        {.seed = draw});
    };
    const auto go = [&](std::size_t cost, double renoise, const auto& rule) {
      return with_sampler(domain_.sampler(steps_at(cost), renoise), rule);
    };
    constexpr bool backward = pf::differentiable_denoiser<Denoiser, Tensor>;
    constexpr bool replaceable = pf::replaceable_constraint<Constraint, Tensor>;
    for (const double renoise : {0.0, 0.5, 1.0}) {
      const std::string redrawn = text("renoise", renoise);
      if (wanted("posterior step"))
        for (const std::size_t m : {1U, 2U})
          f("posterior step", "m " + std::to_string(m) + redrawn,
            [&] { return go(1 + m, renoise, pf::posterior_step{.krylov = m}); });
      if (wanted("posterior step, m 4"))
        f("posterior step, m 4", redrawn.substr(2),
          [&] { return go(5, renoise, pf::posterior_step{.krylov = 4}); });
      if (wanted("posterior step, m 2 undamped"))
        f("posterior step, m 2 undamped", redrawn.substr(2),
          [&] { return go(3, renoise, pf::posterior_step{.krylov = 2, .damping = 0.0}); });
      if (wanted("posterior step, noise of x0'"))
        f("posterior step, noise of x0'", redrawn.substr(2),
          [&] { return go(2, renoise, pf::posterior_step{.keeps_noise = false}); });
      for (const double first : domain_.rates)
        for (const std::size_t k : {1U, 2U, 5U}) {
          if (renoise == 0.5) continue;
          const double last = k == 1 ? first : domain_.last_rate;
          const std::string setting =
              "K " + std::to_string(k) + text("rate", first) + (k == 1 ? "" : text("to", last)) + redrawn;
          const pf::infinity_norm rate{{first, last}};
          if (passes < 4 * (1 + 2 * k)) continue; // too few time steps
          if (wanted("inexact Newton"))
            f("inexact Newton", setting, [&] {
              return go(1 + 2 * k, renoise, pf::update{pf::inexact_newton{}, rate, k});
            });
          if constexpr (backward)
            if (wanted("gradient descent"))
              f("gradient descent", setting, [&] {
                return go(1 + 3 * k, renoise, pf::update{pf::gradient_descent{}, rate, k});
              });
        }
      if constexpr (backward)
        if (wanted("posterior step by vjp"))
          f("posterior step by vjp", "m 1" + redrawn,
            [&] { return go(3, renoise, pf::posterior_step_by_vjp{}); });
      if constexpr (replaceable)
        if (wanted("posterior step, replaced"))
          for (const double below : {0.15, 1e9})
            f("posterior step, replaced", "m 1" + text("below", below) + redrawn, [&] {
              return go(2, renoise, pf::with_replacement<pf::posterior_step>{{}, below});
            });
    }
    if constexpr (replaceable)
      if (wanted("DDNM"))
        for (const double eta : {0.0, 0.85, 1.0})
          f("DDNM", "eta" + text("", eta).substr(1), [&] { return go(1, eta, pf::replacement{}); });
    if (wanted("DDNM+") && noise > 0.0)
      f("DDNM+", "", [&] {
        const baselines::ddnm_plus_sampler sampler(path, domain_.times(passes), noise);
        return with_sampler(sampler, baselines::ddnm_plus{sampler});
      });
    if (wanted("DiffPIR"))
      for (const double lambda : {1.0, 7.0})
        for (const double zeta : {0.3, 1.0})
          f("DiffPIR", "lambda" + text("", lambda).substr(2) + text("zeta", zeta), [&] {
            return with_sampler(baselines::diffpir_sampler(path, domain_.times(passes), zeta),
                                baselines::diffpir{.noise_level = noise, .lambda = lambda});
          });
    // DDIM with eta, or a share of the next noise drawn anew
    const auto redrawn = [&](std::size_t cost, double share) {
      return domain_.sampler(steps_at(cost), share);
    };
    if (wanted("MPGD"))
      for (const double scale : {17.5, 4.0, 1.0, 0.25})
        f("MPGD", "scale" + text("", scale).substr(2), [&] {
          const auto sampler = redrawn(1, 0.5);
          return with_sampler(sampler, baselines::mpgd{.grid = {path, sampler}, .scale = scale});
        });
    if constexpr (backward) {
      if (wanted("DPS"))
        for (const double scale : {0.3, 1.0, 3.0, 10.0})
          f("DPS", "scale" + text("", scale).substr(2), [&] {
            const auto sampler = redrawn(3, 1.0);
            return with_sampler(sampler, baselines::dps{.grid = {path, sampler}, .scale = scale});
          });
      if (wanted("PiGDM"))
        for (const double share : {0.0, 1.0})
          f("PiGDM", "renoise" + text("", share).substr(2),
            [&] { return with_sampler(redrawn(3, share), baselines::pigdm{.noise_level = noise}); });
    }
    if constexpr (std::same_as<Constraint, pf::masked<Tensor>>) each_inpainting(c, y, passes, draw, f);
    if constexpr (requires { domain_.is_flow(); })
      if (domain_.is_flow()) each_flow(c, y, passes, draw, f);
    if constexpr (requires { c.by_pixels; })
      if (wanted("LATINO"))
        for (const double lambda : {0.1, 1.0, 10.0})
          for (const double share : {0.0, 0.5, 1.0})
            f("LATINO", "lambda" + text("", lambda).substr(2) + text("renoise", share), [&] {
              const auto sampler = redrawn(1, share);
              return pf::sample(start(y, sampler.time(0), draw), pf::model(denoiser_, path), sampler,
                                c.by_pixels, baselines::latino{.noise_level = noise, .lambda = lambda},
                                {.seed = draw});
            });
    if (wanted("plain sampling")) f("plain sampling", "", [&] { return go(1, 0.0, pf::update{pf::none{}}); });
  }

  /// Of each method the setting that is best on `tuned`, on `tested`. `tell` gets a line of JSON for each
  /// that is not in `known`, the lines of earlier runs on the same images.
  template <class Tell>
  void run(const samples& tuned, const samples& tested, const Tell& tell,
           const std::vector<json>& known = {}) const {
    std::map<std::string, double> merits; // of what was measured
    const auto key = [](const std::string& role, const std::string& task, std::size_t budget,
                        const std::string& method, const std::string& setting) {
      return json{role, task, budget, method, setting}.dump();
    };
    for (const auto& l : known)
      merits[key(l.at("role"), l.at("task"), l.at("budget"), l.at("method"), l.at("setting"))] =
          l.at("role") == again ? 0.0 : domain_.merit(l);
    struct choice {
      double merit = -1e300;
      std::string setting;
    };
    std::map<std::tuple<std::string, std::size_t, std::string>, choice> best; // of task, budget and method
    std::set<std::string> told;
    const auto leave_out = [&](const std::string& task, const std::string& method, const std::string& setting,
                               const pf::error& why) {
      const std::string reason = std::string(": left out, as ") + why.what();
      if (told.insert(task + method + reason).second)
        std::cerr << task << ", " << method << (setting.empty() ? "" : " (" + setting + ")") << reason
                  << '\n';
    };
    std::set<std::string> serving; // methods
    const auto look = [&](const std::string& role, const samples& s, std::size_t budget, const auto& wanted) {
      each_task(s, [&](const std::string& task, const auto& c, double noise) {
        each_method(c, domain_.like(s), noise, budget, 0,
                    [&](const std::string& method, const std::string& setting, const auto& go) {
                      serving.insert(method);
                      if (!wanted(task, method, setting)) return;
                      const auto what = key(role, task, budget, method, setting);
                      if (!merits.count(what)) {
                        json line{{"role", role},
                                  {"task", task},
                                  {"method", method},
                                  {"budget", budget},
                                  {"setting", setting}};
                        try {
                          line.update(measured(task, c, s, go));
                        } catch (const pf::bad_option& e) {
                          return leave_out(task, method, setting, e); // replacement wants orthogonal rows
                        } catch (const pf::not_finite& e) {
                          return leave_out(task, method, setting, e); // it diverges
                        }
                        merits[what] = domain_.merit(line);
                        tell(line);
                      }
                      if (auto& b = best[{task, budget, method}]; role == "tuned" && merits[what] > b.merit)
                        b = {merits[what], setting};
                    });
      });
    };
    std::optional<std::size_t> before;
    for (const auto budget : options_.tuned_at) {
      look("tuned", tuned, budget, [&](const auto& task, const auto& method, const auto& setting) {
        const auto there = before ? merits.find(key("tuned", task, *before, method, setting)) : merits.end();
        return there == merits.end() ||
               there->second > best[{task, *before, method}].merit - options_.promising;
      });
      before = budget;
    }
    for (const auto& method : named_)
      if (!serving.count(method)) std::cerr << method << ": left out, as it serves none of the tasks here\n";
    for (const auto budget : options_.passes) {
      const auto far = [&](std::size_t n) {
        return std::abs(std::log(static_cast<double>(n) / static_cast<double>(budget)));
      };
      const auto nearest = *std::min_element(options_.tuned_at.begin(), options_.tuned_at.end(),
                                             [&](std::size_t a, std::size_t b) { return far(a) < far(b); });
      const auto chosen = [&](const auto& task, const auto& method, const auto& setting) {
        return best[{task, nearest, method}].setting == setting;
      };
      look("tested", tested, budget, chosen);
      if constexpr (has_distance)
        restore_again(
            tested, budget,
            [&](const auto& task, const auto& method, const auto& setting) {
              return chosen(task, method, setting) &&
                     merits.count(key("tested", task, budget, method, setting)) > 0 &&
                     merits.count(key(again, task, budget, method, setting)) == 0;
            },
            tell);
    }
  }

  /// What a line lacks of what `run` tells; empty where it has all that `run` reads.
  std::string fault_of(const json& line) const {
    for (const char* name : {"role", "task", "method", "setting"})
      if (!line.contains(name) || !line[name].is_string())
        return std::string("its ") + name + " is not a string";
    if (!line.contains("budget") || !line["budget"].is_number_unsigned())
      return "its budget is not a whole number";
    for (const auto& [name, value] : line.items())
      if (value.is_array() && value.empty()) return "its " + name + " is empty";
    try {
      if (line["role"] == again)
        mean(line.at("diversity"));
      else
        domain_.merit(line);
    } catch (const json::exception&) {
      return "its scores are not lists of numbers";
    }
    return {};
  }

private:
  static std::string text(const char* name, double value) {
    std::ostringstream s;
    s << ", " << name << " " << value;
    return s.str();
  }

  Tensor start(const Tensor& y, double time, std::uint64_t draw) const {
    return pf::noise_at(domain_.path, y, time, options_.seed + draw);
  }

  /// Those that are for masks alone, as `each_method`.
  template <class F>
  void each_inpainting(const pf::masked<Tensor>& c, const Tensor& y, std::size_t passes, std::uint64_t draw,
                       F f) const {
    const auto& path = domain_.path;
    const pf::model model(denoiser_, path);
    const Tensor zeros = at::zeros_like(y);
    const Tensor target = c.replacement(zeros); // m y, where m is 0 or 1
    const Tensor mask = (target - c.replacement(at::ones_like(y))).round();
    const auto wanted = [&](const char* name) { return contains(options_.methods, name); };
    if (wanted("blended diffusion"))
      for (const double share : {0.0, 0.5, 1.0})
        f("blended diffusion", "renoise" + text("", share).substr(2), [&] {
          const baselines::blended<Tensor> sampler(path, domain_.sampler(passes, share), target, mask);
          return pf::sample(start(y, sampler.time(0), draw), model, sampler, c, pf::update{pf::none{}},
                            {.seed = draw});
        });
    if (wanted("RePaint"))
      for (const std::size_t times : {2U, 5U})
        for (const std::size_t jump : {1U, 5U}) {
          const std::size_t steps = passes / times;
          if (steps <= jump) continue;
          f("RePaint", "times " + std::to_string(times) + ", jump " + std::to_string(jump), [&] {
            const baselines::repaint<Tensor> sampler(path, domain_.times(steps), target, mask,
                                                     {.jump = jump, .times = times, .seed = draw});
            return pf::sample(start(y, sampler.time(0), draw), model, sampler, c, pf::update{pf::none{}},
                              {.seed = draw});
          });
        }
    if (wanted("LanPaint"))
      for (const std::size_t inner : {2U, 5U, 10U}) {
        const auto cost = [&](std::size_t steps) { // there are fewer moves late
          const auto sampler = domain_.sampler(steps, 0.0);
          std::size_t sum = 0;
          for (std::size_t i = 0; i < steps; ++i) {
            const auto [alpha, sigma] = path.at(sampler.time(i));
            const double share = sigma * sigma / (alpha * alpha + sigma * sigma);
            sum += 1 + static_cast<std::size_t>(std::llround(static_cast<double>(inner) * share));
          }
          return sum;
        };
        std::size_t steps = 1;
        while (cost(steps + 1) <= passes) ++steps;
        if (steps < 2) continue;
        f("LanPaint", "K " + std::to_string(inner), [&] {
          const auto sampler = domain_.sampler(steps, 0.0);
          return baselines::lanpaint(start(y, sampler.time(0), draw), model, sampler, target, mask,
                                     {.inner = inner}, {.seed = draw});
        });
      }
    if (wanted("DING") && path.at(domain_.times(passes).front()).a < 1.0) // its noise is s' (1 - a')
      f("DING", "", [&] {
        const auto times = domain_.times((passes - 1) / 2 + 2);
        return baselines::ding(start(y, times.front(), draw), model, times, target, mask, {}, {.seed = draw});
      });
  }

  /// What takes a constraint on decoded images apart; any other as it is.
  template <class Constraint> static const auto& taken_apart(const Constraint& c) {
    if constexpr (requires { c.by_pixels; })
      return c.by_pixels;
    else
      return c;
  }

  /// Those that are for flows alone, as `each_method`.
  template <class Constraint, class F>
  void each_flow(const Constraint& c, const Tensor& y, std::size_t passes, std::uint64_t draw, F f) const {
    const auto& path = domain_.path;
    const pf::model model(denoiser_, path);
    const auto wanted = [&](const char* name) { return contains(options_.methods, name); };
    if (wanted("FlowChef"))
      for (const double scale : {5.0, 50.0, 500.0})
        f("FlowChef", "scale" + text("", scale).substr(2), [&] {
          const auto sampler = domain_.sampler(passes, 0.0);
          return pf::sample(start(y, sampler.time(0), draw), model, sampler, c,
                            baselines::flowchef{.grid = {path, sampler}, .scale = scale}, {.seed = draw});
        });
    if (wanted("FlowDPS"))
      for (const bool adjoint : {false, true})
        for (const double rate : {5.0, 15.0, 50.0}) {
          if (adjoint && std::same_as<Constraint, pf::masked<Tensor>>) continue; // the same
          f("FlowDPS", (adjoint ? "A^T" : "A^+") + text("rate", rate), [&] {
            const auto sampler = baselines::flowdps_sampler(path, domain_.times(passes));
            return pf::sample(start(y, sampler.time(0), draw), model, sampler, taken_apart(c),
                              baselines::flowdps{.rate = rate, .adjoint = adjoint}, {.seed = draw});
          });
        }
    if (wanted("FLAIR"))
      for (const double rate : {0.1, 1.0, 12.0})
        f("FLAIR", "rate" + text("", rate).substr(2), [&] {
          return baselines::flair(start(y, 1.0, draw), model, baselines::flair_times(passes), taken_apart(c),
                                  {.rate = rate}, {.seed = draw});
        });
  }

  static constexpr bool has_distance = requires(const Domain& domain, const Tensor& x) {
    domain.distance(x, x);
  };
  static constexpr const char* again = "again"; ///< the role of lines on diversity

  /// The first of the tested images, each restored twice: a line for each method says how far the two are
  /// apart.
  template <class Wanted, class Tell>
  void restore_again(const samples& tested, std::size_t budget, const Wanted& wanted,
                     const Tell& tell) const {
    const auto n = std::min(options_.diverse, tested.images.size(0));
    if (n == 0) return;
    samples some{tested.images.narrow(0, 0, n)};
    if (!tested.labels.empty()) some.labels.assign(tested.labels.begin(), tested.labels.begin() + n);
    each_task(some, [&](const std::string& task, const auto& c, double noise) {
      std::map<std::string, Tensor> first; // of each method
      for (const std::uint64_t draw : {1U, 2U})
        each_method(c, domain_.like(some), noise, budget, draw,
                    [&](const std::string& method, const std::string& setting, const auto& go) {
                      if (!wanted(task, method, setting)) return;
                      try {
                        const Tensor x = go().x;
                        if (draw == 1)
                          first[method] = x;
                        else if (first.count(method) > 0)
                          tell({{"role", again},
                                {"task", task},
                                {"method", method},
                                {"budget", budget},
                                {"setting", setting},
                                {"diversity", domain_.distance(first[method], x)}});
                      } catch (const pf::not_finite& e) {
                        std::cerr << task << ", " << method << ": no diversity, as " << e.what() << '\n';
                      }
                    });
    });
  }

  static bool contains(const std::vector<std::string>& names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  }
  static void require_known(const std::string& what, const std::vector<std::string>& asked,
                            const std::vector<std::string>& there) {
    for (const auto& name : asked)
      if (!contains(there, name))
        throw pf::bad_option("unknown " + what + " \"" + name + "\"; take " + listed(there));
  }

  template <class Constraint, class Go>
  json measured(const std::string& task, const Constraint& c, const samples& s, const Go& go) const {
    const examples::usage cost;
    const auto r = go();
    const double seconds = cost.seconds();
    const std::size_t peak = cost.peak_bytes();
    const double passes = static_cast<double>(r.passes.forward + 2 * r.passes.backward);
    pf::pass_counts counts;
    const Tensor residual = c.least_squares(r.x, counts).residual;
    std::vector<double> rmse;
    for (std::int64_t i = 0; i < residual.size(0); ++i)
      rmse.push_back(residual[i].to(at::kDouble).square().mean().sqrt().template item<double>());
    json line{{"passes", passes / static_cast<double>(r.x.size(0))},
              {"seconds", seconds},
              {"peak_bytes", peak},
              {"rmse", rmse}};
    line.update(domain_.scores(r.x, s, task));
    return line;
  }

  const Denoiser& denoiser_;
  const Domain& domain_;
  options options_;
  std::vector<std::string> named_{}; // methods that were asked for by name
};

/// Runs a bench, and appends its lines to a file, from which a run goes on that was stopped. Each says what
/// it is of: `of`, an object that names the denoiser, the images and what else changes the numbers, and the
/// seed and how many images there are. `after_each` is called after each line, and may throw to stop.
/// \throws pushforward::bad_file as `line_file`
template <class Bench>
void run_into(
    const std::filesystem::path& file, json of, const Bench& b, const samples& tuned, const samples& tested,
    const std::function<void()>& after_each = [] {}) {
  of.update({{"seed", b.seed()}, {"tuned", tuned.images.size(0)}, {"tested", tested.images.size(0)}});
  line_file lines(file, of, [&](const json& line) { return b.fault_of(line); });
  b.run(
      tuned, tested,
      [&](const json& line) {
        lines.add(line);
        std::cout << line["role"].template get<std::string>() << ' '
                  << line["task"].template get<std::string>() << ", " << line["budget"] << ": "
                  << line["method"].template get<std::string>() << " ("
                  << line["setting"].template get<std::string>() << ") ";
        if (line.contains("diversity"))
          std::cout << mean(line["diversity"]) << " apart" << std::endl;
        else
          std::cout << b.domain().merit(line) << ", " << line["passes"] << " passes, " << line["seconds"]
                    << " s" << std::endl;
        after_each();
      },
      lines.known());
}

} // namespace policies
