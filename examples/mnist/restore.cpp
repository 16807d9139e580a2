#include "restore.hpp"

#include "common.hpp"
#include "data.hpp"
#include "trace.hpp"

#include <common/outputs.hpp>

#include <ATen/core/Tensor.h>

#include <iomanip>
#include <iostream>

namespace mnist {

namespace {

double mean(const std::vector<double>& values) {
  double sum = 0.0;
  for (const double v : values) sum += v;
  return sum / static_cast<double>(values.size());
}

} // namespace

void add_restore_options(CLI::App& app, arguments& a) {
  examples::add_number(app, "--batch", a.batch, batch_sizes, "digits at once")->group("Model and digits");
  examples::add_output_option(app, a.out, "writes this name with .png and .json", {".png", ".json"});
}

int restore(const arguments& a, const std::string& task, const measuring& measure,
            const std::vector<input_file>& inputs) {
  const auto picture_path = with_ending(a.out, ".png"), trace_path = with_ending(a.out, ".json");
  auto all_inputs = inputs_of(a);
  all_inputs.insert(all_inputs.end(), inputs.begin(), inputs.end());
  require_writable({picture_path, trace_path}, all_inputs);
  const auto digits = choose_digits(a.data, a.first, a.batch);
  const auto known = measure(digits);
  const digit_model model(a.model, a.weights);
  const judge reader(a.weights);

  auto options = a.steering;
  options.first_sample = digits.first;
  const auto result = [&] {
    progress_bar bar(task + ", " + to_string(options.policy));
    return steer(model, known, options, [&](double done) {
      bar.show(done, 1.0);
      return !interrupted();
    });
  }();
  const auto scores = score(result, known, digits, reader);

  std::vector<at::Tensor> rows;
  for (std::int64_t i = 0; i < a.batch; ++i)
    rows.push_back(row_of({result.start, known.shown(), result.digits, digits.images}, i));
  file_set files;
  files.add(picture_path, png_bytes(sheet(rows, 128)));
  files.add(trace_path, trace(task, model, options, result, scores, digits).dump(1) + "\n");
  files.write();

  const auto n = static_cast<double>(a.batch);
  const auto& passes = result.run.passes;
  std::cout << std::fixed << std::setprecision(3) << "constraint RMSE " << mean(scores.rmse) << ", PSNR "
            << std::setprecision(1) << mean(scores.psnr) << " dB, " << static_cast<double>(passes.forward) / n
            << " passes and " << static_cast<double>(passes.backward + passes.decoder_backward) / n
            << " backward passes a digit, " << std::setprecision(2) << result.seconds << " s\n";
  if (digits.labels.front() >= 0) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < digits.labels.size(); ++i)
      if (digits.labels[i] == scores.read[i]) ++kept;
    std::cout << "the judge reads the right digit in " << kept << " of " << a.batch << '\n';
  } else {
    std::cout << "the judge reads a " << scores.read.front() << '\n';
  }
  std::cout << "wrote " << picture_path.string() << " (from left to right: start, known, result, truth) and "
            << trace_path.string() << '\n';
  if (result.run.reason == pushforward::ending::completed) return 0;
  std::cout << "stopped at step " << result.run.steps << " of " << options.sampling.steps << '\n';
  return interrupted_status;
}

} // namespace mnist
