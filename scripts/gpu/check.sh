#!/usr/bin/env bash
# Tests and measures on this machine's GPU, from a folder that scripts/gpu/bundle.sh made. Ends within 3 minutes.
#
#   ./check.sh [folder]          for the results; gpu-check if none is named
#
# --cpu runs the tests on the CPU: a trial of the folder itself.
# --tests SECONDS (80) and --benchmark SECONDS (75): how long each may take; 0 leaves it out. A part that fails does not
# stop the others; the exit status tells whether one did. Without a GPU it says what it leaves out.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
results=gpu-check
test_seconds=80
benchmark_seconds=75
device=cuda
while [ $# -gt 0 ]; do
  case $1 in
    --cpu) device=cpu ;;
    --tests | --benchmark)
      [[ ${2:-} =~ ^[0-9]+$ ]] || {
        echo "stopped: $1 needs a number of seconds" >&2
        exit 2
      }
      if [ "$1" = --tests ]; then test_seconds=$2; else benchmark_seconds=$2; fi
      shift
      ;;
    -h | --help)
      sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"
      exit 0
      ;;
    -*)
      echo "stopped: unknown argument $1; see check.sh --help" >&2
      exit 2
      ;;
    *) results=$1 ;;
  esac
  shift
done
mkdir -p "$results" && results=$(cd "$results" && pwd) || exit 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

torch=$("$here/with_torch.sh") || exit 2
export PUSHFORWARD_TORCH=$torch
version=$(sed -n "s/^__version__ = '\(.*\)'/\1/p" "$torch/version.py" 2>/dev/null)
{
  nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit --format=csv 2>/dev/null ||
    echo "no GPU"
  echo "torch ${version:-unknown} in $torch; built with $(cat "$here/torch-version")"
  sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1
  echo "$(nproc) cores"
} | tee "$results/machine.txt"
case $version in
  "$(cat "$here/torch-version")"*) ;;
  *) echo "the programs may not load: torch is of another version than they were built with" ;;
esac

# start <name> <seconds> <command>...: in the background; leaves log, status and time in the working folder.
start() {
  local name=$1 limit=$2
  shift 2
  (
    begun=$(date +%s.%N)
    timeout -k 5 "$limit" "$@" >"$work/$name.log" 2>&1 </dev/null
    status=$?
    echo "$status $(awk -v a="$begun" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f", b - a }')" >"$work/$name.status"
  ) &
}

names=()
# test_on_device <name> <program> <processes> <recording> [<tag>]: its cases, dealt out to that many processes.
test_on_device() {
  local name=$1 program=$2 processes=$3 recording=$4 i
  shift 4
  "$here/with_torch.sh" "$program" --list-test-names-only "$@" >"$work/$name.cases" || true # it returns their number
  for ((i = 0; i < processes; ++i)); do
    names+=("$name-$i")
    awk -v n="$processes" -v i="$i" 'NR % n == i { gsub(/,/, "\\,"); print }' "$work/$name.cases" >"$work/$name-$i.cases"
    start "$name-$i" "$test_seconds" env PUSHFORWARD_TEST_DEVICE=$device PUSHFORWARD_ORACLE_FOLDER="$work/$recording" \
      OMP_NUM_THREADS=2 "$here/with_torch.sh" "$program" -w NoTests --input-file "$work/$name-$i.cases"
  done
}

if [ "$test_seconds" -gt 0 ]; then
  for recorded in diffusion rectified_flow t5 programs; do
    "$here/with_torch.sh" pushforward_expand_recording "$here/recorded/$recorded" "$work/$recorded" ||
      echo "$recorded could not be expanded"
  done
  test_on_device core core_libtorch 4 none
  test_on_device libtorch libtorch_tests 3 none '[device]'
  test_on_device models models_diffusion 6 diffusion '[device]'
  test_on_device sd3 models_rectified_flow 2 rectified_flow '[device]'
  test_on_device t5 models_t5 1 t5 '[device]'
  if [ -e "$here/bin/cuda_device" ]; then # where there was an nvcc
    test_on_device core-cuda core_cuda 2 none
    test_on_device cuda cuda_tests 1 none '[device]'
    test_on_device device-and-host cuda_device 1 none
  fi
  given=$work/programs
  names+=(inpaint superres train)
  start inpaint "$test_seconds" "$here/program_case.sh" pushforward_inpaint "$given" "$device" plain 1e-3 \
    "$given/picture.png" --mask "$given/mask.png" --batch 2 --prompt 'a cat'
  start superres "$test_seconds" "$here/program_case.sh" pushforward_superres "$given" "$device" encoder 2e-3 \
    "$given/small.png" --factor 4 --pullback encoder
  start train 20 "$here/with_torch.sh" pushforward_photographs_train --help
  wait
fi
if [ "$benchmark_seconds" -gt 0 ]; then
  names+=(benchmark)
  # its own limit leaves parts out and ends in order; the second one is for a part that hangs
  start benchmark $((benchmark_seconds + 10)) "$here/with_torch.sh" pushforward_gpu_benchmarks \
    --seconds "$benchmark_seconds" --out "$results/benchmark.json"
  wait
  cp "$work/benchmark.log" "$results/benchmark.log"
fi

failed=0
{
  echo '{'
  printf '  "machine": "%s",\n' "$(tr '\n"\\' ';  ' <"$results/machine.txt")"
  echo '  "parts": ['
  comma=
  for name in "${names[@]+"${names[@]}"}"; do
    read -r status seconds <"$work/$name.status" || { status=-1 seconds=0; }
    says=$(grep -aE 'skipped: no CUDA device|All tests passed|^test cases:|^relative L2' "$work/$name.log" | tail -n 1 | tr -d '"\\')
    printf '%s    {"name": "%s", "status": %s, "seconds": %s, "says": "%s"}' "$comma" "$name" "$status" "$seconds" "$says"
    comma=$',\n'
  done
  printf '\n  ]\n}\n'
} >"$results/check.json"
: >"$results/tests.log"
for name in "${names[@]+"${names[@]}"}"; do
  [ "$name" != benchmark ] || continue
  printf '==== %s\n' "$name" >>"$results/tests.log"
  head -c 1000000 "$work/$name.log" >>"$results/tests.log"
done

[ ! -e "$results/benchmark.log" ] || sed -n '/^$/,$p' "$results/benchmark.log"
printf '\n%-32s %8s %9s  %s\n' part status seconds says
for name in "${names[@]+"${names[@]}"}"; do
  read -r status seconds <"$work/$name.status" || { status=-1 seconds=0; }
  says=$(grep -aE 'skipped: no CUDA device|All tests passed|^test cases:|^relative L2' "$work/$name.log" | tail -n 1)
  case $status in
    0) word=ok ;;
    124 | 137) word='too long' ;;
    *) word="exit $status" ;;
  esac
  [[ $says != skipped* ]] || word=skipped
  [ "$status" = 0 ] || failed=1
  printf '%-32s %8s %9s  %s\n' "$name" "$word" "$seconds" "${says#skipped: }"
done
# the failed checks, for those who read no more than this
grep -ahE -A 12 'FAILED:|error while loading|terminate called|Segmentation' "$results/tests.log" | head -n 120
echo "results in $results"
exit $failed
