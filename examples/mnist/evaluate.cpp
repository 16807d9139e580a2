// Compares update policies on many digits: every combination of task, policy, K and rates, one JSON line a
// batch.

#include "arguments.hpp"
#include "choose.hpp"
#include "common.hpp"
#include "trace.hpp"

#include <pushforward/error.hpp>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iostream>
#include <map>
#include <optional>
#include <sstream>
#include <tuple>

namespace {

namespace fs = std::filesystem;
using json = nlohmann::ordered_json;
using mnist::policy_kind;
using pushforward::bad_file;
using pushforward::bad_option;

struct request {
  mnist::arguments base;
  std::vector<std::string> tasks{"superres_x4", "inpaint_upper"};
  std::vector<std::string> policies{"inexact_newton", "gradient_descent", "none"};
  std::vector<std::size_t> iterations{5};
  std::vector<std::string> rates{"0.5:0.02"};
  std::int64_t digits = 500;
  std::int64_t select = 0;
  double limit = 0.05;
};

/// "0.5:0.02" or "0.1".
std::pair<double, double> rate(const std::string& text) {
  const auto colon = text.find(':');
  const auto first = examples::number_of(text.substr(0, colon));
  const auto last = colon == std::string::npos ? first : examples::number_of(text.substr(colon + 1));
  if (!first || !last || !(*first > 0.0) || !(*last > 0.0))
    throw bad_option("--rates: must be positive rates such as 0.5:0.02, or 0.1, not " + text);
  return {*first, *last};
}

mnist::measurement measure(const std::string& task, const mnist::chosen_digits& digits, std::uint64_t seed) {
  const std::string inpaint = "inpaint_", superres = "superres_x";
  if (task.rfind(inpaint, 0) == 0) {
    mnist::known_pixels known;
    known.where = task.substr(inpaint.size());
    return {known, digits.images, seed, digits.first};
  }
  if (task == "superres_x2" || task == "superres_x4")
    return {mnist::lower_resolution{task.back() == '2' ? 2U : 4U, false}, digits.images};
  throw bad_option("unknown task " + task +
                   "; take superres_x2, superres_x4, inpaint_upper, inpaint_lower, inpaint_left, "
                   "inpaint_right, inpaint_box or inpaint_random");
}

/// The file of rows: what it holds already is not computed again.
class row_file {
public:
  explicit row_file(fs::path path) : path_{std::move(path)} {
    std::ifstream in(path_);
    std::string whole;
    bool torn = false;
    for (std::string line; std::getline(in, line);) {
      const json row = json::parse(line, nullptr, false);
      if (row.is_discarded() || !row.is_object() || !row.contains("key")) {
        torn = true; // the line that a killed run was writing
        continue;
      }
      rows_[row["key"].get<std::string>()] = row;
      whole += line + '\n';
    }
    if (torn && rows_.empty())
      throw bad_file(path_.string() + ": is there, but holds no rows of this program; name another --out");
    if (torn) mnist::write_text(path_, whole);
    if (path_.has_parent_path()) fs::create_directories(path_.parent_path());
    out_.open(path_, std::ios::app);
    if (!out_) throw bad_file(path_.string() + ": cannot be written");
  }

  const json* find(const std::string& key) const {
    const auto found = rows_.find(key);
    return found == rows_.end() ? nullptr : &found->second;
  }

  const json& add(const std::string& key, json row) {
    row["key"] = key;
    out_ << row.dump() << std::endl;
    if (!out_) throw bad_file(path_.string() + ": cannot be written; is the disk full?");
    return rows_[key] = std::move(row);
  }

private:
  fs::path path_;
  std::map<std::string, json> rows_;
  std::ofstream out_;
};

/// Sums over the batches of one setting.
struct totals {
  double digits = 0.0, square = 0.0, kept = 0.0, psnr = 0.0, passes = 0.0, backward = 0.0, seconds = 0.0;

  void add(const json& row) {
    for (std::size_t i = 0; i < row["label"].size(); ++i) {
      digits += 1.0;
      const double rmse = row["rmse"][i];
      square += rmse * rmse;
      kept += row["label"][i] == row["read"][i] ? 1.0 : 0.0;
      psnr += row["psnr"][i].get<double>();
    }
    passes += row["costs"]["passes"].get<double>();
    backward += row["costs"]["backward_passes"].get<double>();
    seconds += row["costs"]["seconds"].get<double>();
  }
  double rmse() const { return std::sqrt(square / digits); }
  double share_kept() const { return kept / digits; }
};

class evaluation {
public:
  explicit evaluation(const request& r)
      : request_{r}, model_{r.base.model, r.base.weights}, judge_{r.base.weights}, rows_{r.base.out} {}

  /// False when it was stopped.
  bool all() {
    real_digits();
    for (const auto& task : request_.tasks)
      for (const auto& word : request_.policies) {
        std::vector<mnist::steering_options> settings = product(word);
        if (request_.select > 0 && settings.size() > 1) {
          const auto best = selected(task, settings);
          if (!best) return false;
          settings = {*best};
        }
        for (const auto& s : settings)
          if (!evaluated(task, s, request_.base.first, request_.digits, "report")) return false;
      }
    return true;
  }

private:
  std::vector<mnist::steering_options> product(const std::string& word) const {
    mnist::steering_options o = request_.base.steering;
    o.policy = mnist::policies().at(word);
    if (o.policy == policy_kind::none) return {o};
    std::vector<mnist::steering_options> all;
    for (const auto k : request_.iterations)
      for (const auto& text : request_.rates) {
        o.iterations = k;
        std::tie(o.lr, o.lr_last) = rate(text);
        all.push_back(o);
      }
    return all;
  }

  /// Of the settings within the limit, the one that keeps the most labels, then the one of least error; none
  /// within it: the one of least error. Nothing when it was stopped.
  std::optional<mnist::steering_options> selected(const std::string& task,
                                                  const std::vector<mnist::steering_options>& settings) {
    const auto rank = [&](const totals& t) {
      const bool within = t.rmse() <= request_.limit;
      return std::tuple(within, within ? t.share_kept() : 0.0, -t.rmse());
    };
    std::optional<mnist::steering_options> best;
    totals of_best;
    for (const auto& s : settings) {
      const auto t = evaluated(task, s, 0, request_.select, "grid");
      if (!t) return {};
      if (!best || rank(*t) > rank(of_best)) best = s, of_best = *t;
    }
    return best;
  }

  /// What the judge says of the digits themselves.
  void real_digits() {
    const std::string key =
        "real " + std::to_string(request_.base.first) + " " + std::to_string(request_.digits);
    if (rows_.find(key)) return;
    const auto digits = mnist::choose_digits(request_.base.data, request_.base.first, request_.digits);
    json row{{"role", "real"},
             {"first", digits.first},
             {"label", digits.labels},
             {"read", judge_.read(digits.images)}};
    rows_.add(key, std::move(row));
  }

  std::optional<totals> evaluated(const std::string& task, const mnist::steering_options& s,
                                  std::int64_t first, std::int64_t count, const std::string& role) {
    totals sums;
    const std::string name =
        task + " " + mnist::to_string(model_.kind()) + " " + mnist::to_string(s.policy) +
        (s.policy == policy_kind::none ? ""
                                       : " K " + std::to_string(s.iterations) + ", rate " +
                                             json(s.lr).dump() + " -> " + json(s.lr_last).dump());
    mnist::progress_bar bar(name);
    for (std::int64_t b = 0; b < count; b += request_.base.batch) {
      const auto n = std::min(request_.base.batch, count - b);
      const json* row = batch(task, s, first + b, n, role, [&](double done) {
        bar.show(static_cast<double>(b) + done * static_cast<double>(n), static_cast<double>(count));
        return !mnist::interrupted();
      });
      if (!row) return {};
      sums.add(*row);
    }
    std::ostringstream line;
    line.precision(4);
    line << name << ", " << role << ": label kept " << 100.0 * sums.share_kept() << " %, constraint RMSE "
         << sums.rmse() << ", PSNR " << sums.psnr / sums.digits << " dB, " << sums.passes / sums.digits
         << " passes, " << sums.backward / sums.digits << " backward, " << sums.seconds / sums.digits
         << " s a digit";
    bar.line(line.str());
    return sums;
  }

  const json* batch(const std::string& task, const mnist::steering_options& settings, std::int64_t first,
                    std::int64_t count, const std::string& role, const std::function<bool(double)>& go_on) {
    const json named = mnist::settings(task, model_, settings);
    const std::string key = named.dump() + " " + std::to_string(first) + " " + std::to_string(count);
    if (const auto* row = rows_.find(key)) return row;
    const auto digits = mnist::choose_digits(request_.base.data, first, count);
    auto s = settings;
    s.first_sample = digits.first;
    const auto known = measure(task, digits, s.seed);
    const auto result = mnist::steer(model_, known, s, go_on);
    if (result.run.reason != pushforward::ending::completed) return nullptr;
    const auto scores = mnist::score(result, known, digits, judge_);
    return &rows_.add(key, {{"role", role},
                            {"settings", named},
                            {"first", first},
                            {"label", digits.labels},
                            {"read", scores.read},
                            {"rmse", scores.rmse},
                            {"psnr", scores.psnr},
                            {"costs", mnist::costs(result)},
                            {"curve", mnist::error_curve(result, known)}});
  }

  request request_;
  mnist::digit_model model_;
  mnist::judge judge_;
  row_file rows_;
};

/// Refuses options that were given and would do nothing, and what a run would refuse after a while.
void check(const CLI::App& app, const request& r) {
  using examples::refuse_given;
  bool steers = false, probes = false;
  for (const auto& word : r.policies) {
    const auto policy = mnist::policies().at(word);
    mnist::check_policy(r.base, policy);
    steers = steers || policy != policy_kind::none;
    probes = probes || examples::takes_differences(policy);
  }
  const bool decays = std::any_of(r.iterations.begin(), r.iterations.end(), [](auto k) { return k > 1; });
  for (const auto& text : r.rates)
    if (const auto [first, last] = rate(text); first != last && !decays)
      refuse_given(app, {"--rates"}, "on the last rate with --K 1: write one rate in place of " + text);
  mnist::check_sampling_options(app, r.base);
  if (!steers)
    refuse_given(app, {"--K", "--rates", "--probe", "--select", "--limit"},
                 "with --policies none alone: leave it out, or name other policies");
  if (!probes) refuse_given(app, {"--probe"}, "with policies that take no forward differences: leave it out");
  if (r.iterations.size() * r.rates.size() == 1 && r.select > 0)
    refuse_given(app, {"--select"}, "with one K and one pair of rates, as there is no choice: leave it out");
  if (r.select == 0)
    refuse_given(app, {"--limit"}, "without --select, whose choice it is for: pass that, too");
}

} // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "Compares update policies on many digits: each task under each policy, for every K and every\n"
      "pair of rates. Writes one JSON line a batch; what the file holds is not computed again, so a\n"
      "run that was stopped goes on when the command is given again.",
      "pushforward_mnist_evaluate"};
  app.footer(
      "Examples:\n"
      "  pushforward_mnist_evaluate --digits 50 --eta 1 --out rows.jsonl\n"
      "  pushforward_mnist_evaluate --data mnist/ --tasks superres_x4 --policies inexact_newton --eta 1\n"
      "    --K 3 5 --rates 0.5:0.02 0.2:0.02 --select 100 --first 500 --digits 500 --out rows.jsonl\n"
      "    chooses K and the rates on digits 0 to 99 of the held-out ones, and reports on 500 to 999");
  request r;
  r.base.batch = 50;
  r.base.out = "rows.jsonl";
  using namespace examples;
  add_model_options(app, r.base);
  add_sampling_options(app, r.base);
  app.add_option("--tasks", r.tasks,
                 "superres_x2, superres_x4, inpaint_upper, _lower, _left, _right, _box, _random")
      ->capture_default_str()
      ->check(CLI::IsMember({"superres_x2", "superres_x4", "inpaint_upper", "inpaint_lower", "inpaint_left",
                             "inpaint_right", "inpaint_box", "inpaint_random"}));
  app.add_option("--policies", r.policies, "update policies")
      ->capture_default_str()
      ->check(CLI::IsMember(mnist::policies()));
  add_number(app, "--K", r.iterations, iteration_counts,
             "inner iterations a time step, all that are to be tried");
  app.add_option("--rates", r.rates, "first:last rates of the infinity norm, all that are to be tried")
      ->capture_default_str();
  examples::add_probe_option(app, r.base.steering.probe);
  add_number(app, "--digits", r.digits, mnist::digit_counts, "how many digits");
  add_number(app, "--batch", r.base.batch, mnist::batch_sizes, "digits at once");
  add_number(app, "--select", r.select, mnist::first_digits,
             "choose K and rates for each policy on this many of the first held-out digits, and report on "
             "the others with these alone; 0: report all");
  add_number(app, "--limit", r.limit, not_negative, "constraint RMSE that a choice must keep to");
  app.add_option("--out", r.base.out, "file of rows")->capture_default_str();
  return mnist::run_with(app, argc, argv, [&] {
    check(app, r);
    if (r.select > r.base.first && r.select > 0)
      throw bad_option("--select " + std::to_string(r.select) + " digits and --first " +
                       std::to_string(r.base.first) +
                       " overlap: report on digits that nothing was chosen on");
    evaluation e(r);
    if (e.all()) return 0;
    std::cerr << app.get_name() << ": stopped; the same command goes on from here\n";
    return mnist::interrupted_status;
  });
}
