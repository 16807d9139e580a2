// Runs the benchmarks. All of Google Benchmark's options work; times are processor time where a name says so.

#include <support/heap.hpp>

#include <benchmark/benchmark.h>

#include <cstdio>
#include <exception>

int main(int argc, char** argv) {
  if (!testing_support::heap::watched) {
    std::fputs("pushforward_benchmarks: the heap cannot be watched here, so memory would read 0: "
               "build with the GNU C library and without AddressSanitizer\n",
               stderr);
    return 2;
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  try {
    benchmark::RunSpecifiedBenchmarks();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "pushforward_benchmarks: %s\n", e.what());
    return 2;
  }
  return 0;
}
