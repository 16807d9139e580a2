// Compares update policies on many digits: every combination of task, policy, K and rates, one JSON line a
// batch.

#include "arguments.hpp"
#include "choose.hpp"
#include "common.hpp"
#include "data.hpp"
#include "trace.hpp"
#include "weights.hpp"

#include <common/outputs.hpp>

#include <pushforward/error.hpp>
#include <pushforward/safetensors/regular_file.hpp>

#include <algorithm>
#include <cmath>
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
  std::vector<std::string> policies{"posterior_step", "inexact_newton", "gradient_descent", "none"};
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
  const auto taken = [](const std::optional<double>& r) {
    return r && examples::taken_by(examples::rates, *r);
  };
  if (!taken(first) || !taken(last))
    throw bad_option("--rates: must be rates such as 0.5:0.02, or 0.1, " +
                     examples::words_for(examples::rates) + ", not " + examples::shown(text));
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

bool numbers(const json& list) {
  return list.is_array() &&
         std::all_of(list.begin(), list.end(), [](const json& v) { return v.is_number(); });
}

/// What a row lacks of what is read from it here, or in report.py; empty where it is as `evaluation` adds
/// them.
std::string fault_of(const json& row) {
  const auto of = [&](const char* name) { return row.contains(name) ? row[name] : json(); };
  if (!of("key").is_string()) return "its key is not a string";
  if (!of("role").is_string()) return "its role is not a string";
  const bool real = row["role"] == "real";
  const std::size_t digits = of("label").size();
  std::vector<const char*> lists{"label", "read"};
  if (!real) lists.insert(lists.end(), {"rmse", "psnr"});
  for (const char* list : lists)
    if (!numbers(of(list)) || of(list).size() != digits || digits == 0)
      return std::string("its ") + list + " is not a list of numbers, one for each digit";
  if (real) return {};
  if (!of("settings").is_object()) return "its settings are not an object";
  if (!of("first").is_number_integer()) return "its first is not a whole number";
  if (!numbers(of("curve"))) return "its curve is not a list of numbers";
  const json costs = of("costs");
  for (const char* cost : {"passes", "backward_passes", "seconds", "processor_seconds", "peak_bytes"})
    if (!costs.is_object() || !costs.contains(cost) || !costs[cost].is_number())
      return std::string("its costs have no number ") + cost;
  return {};
}

/// The file of rows: what it holds already is not computed again. Is made with the first row.
class row_file {
public:
  /// \throws pushforward::bad_file, naming the line, for a file of anything else; of a last line that was cut
  /// short, as a killed run leaves it, says so
  explicit row_file(fs::path path) : path_{std::move(path)} {
    if (!pushforward::safetensors::is_there(path_)) return;
    const std::string text = pushforward::safetensors::regular_file(path_).read(std::uint64_t{1} << 28);
    std::size_t number = 1;
    for (std::size_t at = 0; at < text.size(); ++number) {
      const std::size_t end = std::min(text.find('\n', at), text.size());
      const std::string line = text.substr(at, end - at);
      const json row = json::parse(line, nullptr, false);
      if (row.is_discarded() && end == text.size() && starts_a_row(line)) {
        std::cerr << named(number) << " is cut short; what it was for is computed again\n";
        whole_ = at;
        return;
      }
      if (!line.empty()) {
        const std::string fault = row.is_object() ? fault_of(row) : "it is not a JSON object";
        if (!fault.empty())
          throw bad_file(named(number) + " is no row of this program (" + fault + "); name another --out");
        rows_[row["key"].get<std::string>()] = {row, number};
      }
      at = end + 1;
    }
  }

  /// The row of that key. \throws pushforward::bad_file where it is of other digits or weights
  const json* find(const std::string& key, const json& origin) const {
    const auto found = rows_.find(key);
    if (found == rows_.end()) return nullptr;
    const auto& [row, number] = found->second;
    if (row.contains("checksums") && row["checksums"] != origin)
      throw bad_file(named(number) +
                     " is of other digits or of other weights than --data and --weights name; name another "
                     "--out");
    return &row;
  }

  const json& add(const std::string& key, json row, const json& origin) {
    row["checksums"] = origin;
    row["key"] = key;
    if (whole_) fs::resize_file(path_, *whole_);
    whole_.reset();
    mnist::append_line(path_, row.dump());
    return (rows_[key] = {std::move(row), 0}).first;
  }

private:
  static bool starts_a_row(const std::string& line) {
    const std::string start = "{\"role\":\"";
    return line.compare(0, start.size(), start, 0, line.size()) == 0;
  }
  std::string named(std::size_t line) const {
    return path_.string() + ", line " + std::to_string(line) + ":";
  }

  fs::path path_;
  std::map<std::string, std::pair<json, std::size_t>> rows_; ///< with the number of the line
  std::optional<std::size_t> whole_;                         ///< bytes before a line that was cut short
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
      : request_{r}, model_{r.base.model, r.base.weights}, judge_{r.base.weights}, rows_{r.base.out} {
    std::vector<fs::path> files{r.base.weights / (to_string(model_.kind()) + ".safetensors"),
                                r.base.weights / "judge.safetensors"};
    if (model_.latent()) files.push_back(r.base.weights / "vae.safetensors");
    judged_by_ = mnist::checksum({files[1]});
    made_by_ = mnist::checksum(files);
    check();
  }

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
  struct digits_with_origin {
    mnist::chosen_digits digits;
    std::string checksum;
  };

  /// Everything that can be wrong with a setting, before the first row is made.
  void check() {
    const auto one = digits_from(request_.base.first, 1).digits;
    digits_from(request_.base.first, request_.digits);
    if (request_.select > 0) digits_from(0, request_.select);
    for (const auto& task : request_.tasks) measure(task, one, request_.base.steering.seed);
    for (const auto& word : request_.policies) product(word);
    model_.path().sampler(request_.base.steering.sampling);
  }

  const digits_with_origin& digits_from(std::int64_t first, std::int64_t count) {
    auto& known = digits_[{first, count}];
    if (known.checksum.empty()) {
      known.digits = mnist::choose_digits(request_.base.data, first, count);
      known.checksum = mnist::checksum(known.digits.images);
    }
    return known;
  }

  std::vector<mnist::steering_options> product(const std::string& word) const {
    mnist::steering_options o = request_.base.steering;
    o.policy = mnist::policies().at(word);
    if (o.policy == policy_kind::none || o.policy == policy_kind::posterior_step) return {o};
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
    const auto& [digits, sum] = digits_from(request_.base.first, request_.digits);
    const json origin{{"digits", sum}, {"weights", judged_by_}};
    if (rows_.find(key, origin)) return;
    json row{{"role", "real"},
             {"first", digits.first},
             {"label", digits.labels},
             {"read", judge_.read(digits.images)}};
    rows_.add(key, std::move(row), origin);
  }

  std::optional<totals> evaluated(const std::string& task, const mnist::steering_options& s,
                                  std::int64_t first, std::int64_t count, const std::string& role) {
    totals sums;
    const std::string name =
        task + " " + mnist::to_string(model_.kind()) + " " + mnist::to_string(s.policy) +
        (s.policy == policy_kind::none             ? ""
         : s.policy == policy_kind::posterior_step ? ", " + std::to_string(s.krylov) + " products"
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
    const auto& [digits, sum] = digits_from(first, count);
    const json origin{{"digits", sum}, {"weights", made_by_}};
    if (const auto* row = rows_.find(key, origin)) return row;
    auto s = settings;
    s.first_sample = digits.first;
    const auto known = measure(task, digits, s.seed);
    const auto result = mnist::steer(model_, known, s, go_on);
    if (result.run.reason != pushforward::ending::completed) return nullptr;
    const auto scores = mnist::score(result, known, digits, judge_);
    return &rows_.add(key,
                      {{"role", role},
                       {"settings", named},
                       {"first", first},
                       {"label", digits.labels},
                       {"read", scores.read},
                       {"rmse", scores.rmse},
                       {"psnr", scores.psnr},
                       {"costs", mnist::costs(result)},
                       {"curve", mnist::error_curve(result, known)}},
                      origin);
  }

  request request_;
  mnist::digit_model model_;
  mnist::judge judge_;
  row_file rows_;
  std::string judged_by_, made_by_; ///< checksums of weights
  std::map<std::pair<std::int64_t, std::int64_t>, digits_with_origin> digits_;
};

/// Refuses options that were given and would do nothing, and what a run would refuse after a while.
void check(const CLI::App& app, const request& r) {
  using examples::refuse_given;
  bool steers = false, by_rates = false, by_products = false, probes = false;
  for (const auto& word : r.policies) {
    const auto policy = mnist::policies().at(word);
    mnist::check_policy(r.base, policy);
    steers = steers || policy != policy_kind::none;
    by_rates = by_rates || (policy != policy_kind::none && policy != policy_kind::posterior_step);
    by_products = by_products || policy == policy_kind::posterior_step;
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
  if (!by_rates)
    refuse_given(app, {"--K", "--rates", "--select", "--limit"},
                 "with --policies posterior_step, which has neither K nor rates: leave it out, or name other "
                 "policies");
  if (!by_products)
    refuse_given(app, {"--krylov"}, "without --policies posterior_step: name that, too, or leave it out");
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
  examples::add_krylov_option(app, r.base.steering.krylov);
  add_number(app, "--digits", r.digits, mnist::digit_counts, "how many digits");
  add_number(app, "--batch", r.base.batch, mnist::batch_sizes, "digits at once");
  add_number(app, "--select", r.select, mnist::first_digits,
             "choose K and rates for each policy on this many of the first held-out digits, and report on "
             "the others with these alone; 0: report all");
  add_number(app, "--limit", r.limit, not_negative, "constraint RMSE that a choice must keep to");
  add_output_option(app, r.base.out, "file of rows", {});
  return mnist::run_with(app, argc, argv, [&] {
    check(app, r);
    if (r.select > r.base.first && r.select > 0)
      throw bad_option("--select " +
                       examples::counted(static_cast<std::uint64_t>(r.select), "digit", "digits") +
                       " and --first " + std::to_string(r.base.first) +
                       " overlap: report on digits that nothing was chosen on");
    mnist::require_writable({r.base.out}, inputs_of(r.base));
    evaluation e(r);
    if (e.all()) return 0;
    std::cerr << app.get_name() << ": stopped; the same command goes on from here\n";
    return mnist::interrupted_status;
  });
}
