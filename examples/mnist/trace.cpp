#include "trace.hpp"

#include <cmath>

namespace mnist {

using json = nlohmann::ordered_json;

scores score(const steered& s, const measurement& known, const chosen_digits& digits, const judge& j) {
  return {known.rmse(s.digits), psnr(s.digits, digits.images), j.read(s.digits.clamp(-1.0, 1.0))};
}

json settings(const std::string& task, const digit_model& m, const steering_options& o) {
  json j{{"task", task}, {"model", to_string(m.kind())}, {"policy", to_string(o.policy)}};
  if (o.policy != policy_kind::none) {
    if (o.policy == policy_kind::posterior_step) {
      j["krylov"] = o.krylov;
    } else {
      j["step_size"] = to_string(o.step_size);
      j["K"] = o.iterations;
      j["lr"] = o.lr;
      j["lr_last"] = o.lr_last;
    }
    if (o.tolerance >= 0.0) j["tolerance"] = o.tolerance;
    if (o.probe > 0.0) j["probe"] = o.probe;
    if (o.policy == policy_kind::exact_newton) j["cutoff"] = o.cutoff;
  }
  j["steps"] = o.sampling.steps;
  j["start"] = o.sampling.start;
  if (m.kind() == model_kind::flow) {
    j["renoise"] = o.sampling.renoise;
  } else if (o.sampling.one_step_beta) {
    j["one_step_beta"] = true;
  } else {
    j["eta"] = o.sampling.eta;
  }
  j["seed"] = o.seed;
  return j;
}

json costs(const steered& s) {
  json j = examples::passes_of(s.run.passes);
  j["seconds"] = s.seconds;
  j["processor_seconds"] = s.processor_seconds;
  j["peak_bytes"] = s.peak_bytes;
  return j;
}

json error_curve(const steered& s, const measurement& known) {
  const auto counts = known.counts();
  json curve = json::array();
  for (const auto& record : s.run.trace) {
    double sum = 0.0;
    for (std::size_t i = 0; i < counts.size(); ++i)
      sum += counts[i] > 0.0 ? std::sqrt(2.0 * record.loss[i] / counts[i]) : 0.0;
    curve.push_back(sum / static_cast<double>(counts.size()));
  }
  return curve;
}

json trace(const std::string& task, const digit_model& m, const steering_options& o, const steered& s,
           const scores& r, const chosen_digits& digits) {
  json j{{"settings", settings(task, m, o)},
         {"ending", s.run.reason == pushforward::ending::completed ? "completed" : "stopped by the user"},
         {"steps_taken", s.run.steps},
         {"costs_of_the_batch", costs(s)}};
  json all = json::array();
  for (std::size_t i = 0; i < r.rmse.size(); ++i) {
    json one{{"index", digits.first + i},
             {"constraint_rmse", r.rmse[i]},
             {"psnr_db", r.psnr[i]},
             {"judge_reads", r.read[i]}};
    if (digits.labels[i] >= 0) one["label"] = digits.labels[i];
    all.push_back(one);
  }
  j["digits"] = all;
  json iterations = json::array();
  for (const auto& record : s.run.trace)
    iterations.push_back(
        {{"step", record.step}, {"iteration", record.iteration}, {"t", record.t}, {"loss", record.loss}});
  j["iterations"] = iterations;
  return j;
}

} // namespace mnist
