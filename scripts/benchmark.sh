#!/usr/bin/env bash
# Runs all benchmarks and writes their tables to docs/benchmarks.md.
#
#   scripts/benchmark.sh             sets up and builds first, where that is still to be done
#
# --program FILE runs that program instead, and builds nothing. --repetitions N (5). --out FILE writes there instead.
# All figures of Google Benchmark are kept beside the build, in benchmarks.json.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

program=
repetitions=5
out=$repository/docs/benchmarks.md
while [ $# -gt 0 ]; do
  case $1 in
    --program | --repetitions | --out)
      [ $# -ge 2 ] || stop "$1 needs a value"
      case $1 in
        --program) program=$2 ;;
        --repetitions) repetitions=$2 ;;
        --out) out=$(realpath -m "$2") ;;
      esac
      shift
      ;;
    -h | --help)
      usage
      exit 0
      ;;
    *) stop "unknown argument $1; see scripts/benchmark.sh --help" ;;
  esac
  shift
done

if [ -z "$program" ]; then
  build_targets
  program=$build/benchmarks/pushforward_benchmarks
fi
[ -x "$program" ] || stop "there is no program $program"
figures=$(dirname "$program")/benchmarks.json
say "running the benchmarks (minutes)"
"$program" --benchmark_out="$figures" --benchmark_out_format=json --benchmark_repetitions="$repetitions" \
  --benchmark_enable_random_interleaving=true --benchmark_display_aggregates_only=true ||
  stop "the benchmarks failed (see above)"
python3 "$repository/scripts/benchmark_page.py" "$figures" "$out" || stop "the page could not be written"
say "wrote $out"
