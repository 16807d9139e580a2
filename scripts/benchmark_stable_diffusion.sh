#!/usr/bin/env bash
# Measures Stable Diffusion's UNet at full size beside diffusers' from Python, with the same random weights and as many
# threads, and writes docs/benchmarks-stable-diffusion.md. Half an hour on one core; 12 GB of memory, 4 GB of disk.
#
#   scripts/benchmark_stable_diffusion.sh             sets up and builds first, where that is still to be done
#   scripts/benchmark_stable_diffusion.sh --sd3       the transformer of Stable Diffusion 3.5 medium in its place, for
#                                                     docs/benchmarks-stable-diffusion-3.md: 21 GB of memory, 10 of disk
#
# --program FILE runs that program instead, and builds nothing. --repetitions N (5) of passes. --threads N (1).
# --out FILE writes there instead. --only PATTERN measures only that, for example 'pass/float32'.
# The model is made once and kept in random-models in the cache folder (PUSHFORWARD_CACHE, or pushforward/ below
# XDG_CACHE_HOME or ~/.cache). diffusers is that of scripts/setup.sh --ci, or of the Python in PUSHFORWARD_ORACLES_PYTHON.
# All figures of Google Benchmark are kept beside the build, in benchmarks-stable-diffusion-*.json.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

program=
repetitions=5
threads=1
only=.
out=
network=sd15_unet size=4 memory=13 layouts= text=
while [ $# -gt 0 ]; do
  case $1 in
    --program | --repetitions | --threads | --only | --out)
      [ $# -ge 2 ] || stop "$1 needs a value"
      case $1 in
        --program) program=$(realpath -m "$2") ;;
        --repetitions) repetitions=$2 ;;
        --threads) threads=$2 ;;
        --only) only=$2 ;;
        --out) out=$(realpath -m "$2") ;;
      esac
      shift
      ;;
    --sd3) network=sd35_medium size=10 memory=21 layouts=/default text=/without_t5 ;;
    -h | --help)
      usage
      exit 0
      ;;
    *) stop "unknown argument $1; see scripts/benchmark_stable_diffusion.sh --help" ;;
  esac
  shift
done
page=benchmarks-stable-diffusion
[ "$network" = sd15_unet ] || page+=-3
[ -n "$out" ] || out=$repository/docs/$page.md
[[ $repetitions =~ ^[1-9][0-9]*$ ]] || stop "--repetitions $repetitions is no number of repetitions"
[[ $threads =~ ^[1-9][0-9]*$ ]] || stop "--threads $threads is no number of threads"

python=${PUSHFORWARD_ORACLES_PYTHON:-$cache/oracles/bin/python3}
"$python" -c 'import diffusers, safetensors, torch, transformers' 2>/dev/null ||
  stop "$python has no diffusers, safetensors, torch and transformers to compare with: run scripts/setup.sh --ci, or name" \
    "a Python that has them in PUSHFORWARD_ORACLES_PYTHON"
if [ -z "$program" ]; then
  build_targets
  program=$build/benchmarks/pushforward_stable_diffusion_benchmarks
fi
[ -x "$program" ] || stop "there is no program $program"
export OMP_NUM_THREADS=$threads HF_HUB_OFFLINE=1

model=$cache/random-models/$network
if [ ! -d "$model" ]; then
  [ "$(df --output=avail -B1 "$(dirname "$(realpath -m "$cache")")" | tail -n 1)" -gt ${size}000000000 ] ||
    stop "the model takes $size GB in $cache, and there is less: make room, or name another folder in PUSHFORWARD_CACHE"
  say "making a random model of full size in $model (a minute)"
  part=$cache/random-models/part.$$
  mkdir -p "$cache/random-models"
  trap 'rm -rf "$part"' EXIT
  PYTHONPATH=$repository/tests/support "$python" "$repository/tests/models/full_size.py" "$part" "$network" ||
    stop "the model could not be made"
  mv "$part/$network" "$model"
fi
available=$(awk '/^MemAvailable/ { print int($2 / 1000000) }' /proc/meminfo)
[ "$available" -ge "$memory" ] || stop "$memory GB of memory are needed, and $available GB are free"

figures=()
# measure <name> <pattern> <repetitions>: in a process of its own, so that memory is its own.
measure() {
  local file=$(dirname "$program")/$page-$1.json list
  list=$("$program" --benchmark_list_tests --benchmark_filter="$2" "$model" "$python" \
    "$repository/benchmarks/network_diffusers.py" | grep -E "$only" | paste -s -d '|') || return 0
  "$program" --benchmark_filter="^($list)\$" --benchmark_repetitions="$3" --benchmark_out="$file" \
    --benchmark_out_format=json --benchmark_display_aggregates_only=true \
    "$model" "$python" "$repository/benchmarks/network_diffusers.py" || stop "the benchmarks failed (see above)"
  figures+=("$file")
}
# Without instructions for bfloat16 diffusers takes minutes for what it takes seconds for with them.
bfloat16=pass/bfloat16${layouts:-/channels_last}$text
if grep -qwE 'avx512_bf16|amx_bf16|avx512bw' /proc/cpuinfo; then bfloat16="(peak/bfloat16|pass/bfloat16$layouts)"; fi
say "running the benchmarks"
measure float32 "(peak/float32|pass/float32$layouts)" "$repetitions"
measure profile-float32 'profile/float32/default' 1
measure bfloat16 "$bfloat16" $(((repetitions + 1) / 2))
measure profile-bfloat16 "profile/bfloat16${layouts:-/channels_last}$text" 1
measure inner-float32 'inner_iteration/float32' $(((repetitions + 1) / 2))
measure inner-bfloat16 'inner_iteration/bfloat16' $(((repetitions + 1) / 2))
for kind in float32 bfloat16; do
  for policy in none inexact_newton gradient_descent; do measure "memory-$policy-$kind" "memory/$policy/$kind" 1; done
done
[ ${#figures[@]} -gt 0 ] || stop "--only $only is no benchmark"
python3 "$repository/scripts/benchmark_stable_diffusion_page.py" "${figures[@]}" "$out" ||
  stop "the page could not be written"
say "wrote $out"
