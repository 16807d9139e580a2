#pragma once
/// \file
/// What the programs that restore digits share: run, judge, draw, write.

#include "arguments.hpp"
#include "choose.hpp"
#include "common.hpp"
#include "measurement.hpp"

#include <functional>
#include <string>
#include <vector>

namespace mnist {

/// Makes the measurement of the chosen digits.
using measuring = std::function<measurement(const chosen_digits&)>;

/// Restores `a.batch` digits from their measurement and writes `a.out`.png (a row for each digit: where the
/// run started, what is known, the result, the truth) and `a.out`.json (the trace). After Ctrl-C the same,
/// with the estimates that stood then. Returns the exit status. \param inputs that are read, too, beside the
/// digits and the weights
int restore(const arguments& a, const std::string& task, const measuring& measure,
            const std::vector<input_file>& inputs = {});

/// --batch and --out, with the name of the files that are written.
void add_restore_options(CLI::App& app, arguments& a);

} // namespace mnist
