#!/usr/bin/env bash
# Makes a folder of programs for a machine that has a CUDA GPU and Python's torch, and needs no compiler there: the tests
# and benchmarks that scripts/gpu/check.sh runs, pushforward_inpaint, superres and photographs_train, and the benchmarks of
# policies (--device cuda). Sets up and builds first, where that is still to be done.
#
#   scripts/gpu/bundle.sh [folder]          build/gpu-bundle if none is named; and the same in folder.tar.gz
#
# torch there must be of the version that is built with here. The folder may be moved; see docs/gpu.md.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

case ${1:-} in
  -h | --help)
    usage
    exit 0
    ;;
  -*) stop "unknown argument $1; see scripts/gpu/bundle.sh --help" ;;
esac
[ $# -le 1 ] || stop "one folder at most"
bundle=$(realpath -m "${1:-$repository/build/gpu-bundle}")
if [ -e "$bundle" ] && [ ! -e "$bundle/torch-version" ] && [ -n "$(ls -A "$bundle")" ]; then
  stop "$bundle holds other things: name a folder that is not there yet"
fi

cuda=()
if has_nvcc; then cuda=(tests/core/core_cuda tests/cuda/cuda_tests tests/cuda/cuda_device); fi
build_targets ${cuda[@]+"${cuda[@]##*/}"} core_libtorch libtorch_tests models_diffusion models_rectified_flow models_t5 \
  pushforward_expand_recording pushforward_gpu_benchmarks pushforward_inpaint pushforward_superres pushforward_photographs_train \
  pushforward_digits_policies_benchmark pushforward_policies_benchmark

say "collecting in $bundle"
rm -rf "$bundle"
mkdir -p "$bundle/bin" "$bundle/lib"
for program in ${cuda[@]+"${cuda[@]}"} tests/core/core_libtorch tests/libtorch/libtorch_tests tests/models/models_diffusion \
  tests/models/models_rectified_flow tests/models/models_t5 \
  tests/support/pushforward_expand_recording benchmarks/pushforward_gpu_benchmarks adapters/libtorch/pushforward_cuda_graphs.so \
  examples/stable_diffusion/pushforward_inpaint examples/stable_diffusion/pushforward_superres \
  examples/photographs/pushforward_photographs_train \
  benchmarks/pushforward_digits_policies_benchmark benchmarks/pushforward_policies_benchmark; do
  if [ ! -e "$build/$program" ] && [ "${program##*.}" = so ]; then
    say "without captured passes: CMake found no headers of CUDA"
    continue
  fi
  strip --strip-unneeded -o "$bundle/bin/$(basename "$program")" "$build/$program"
done

# What the machine has: libc, the compiler's runtime, libtorch and what CUDA brings.
there='^(ld-linux.*|lib(c|m|dl|rt|pthread|resolv|util|gcc_s|stdc\+\+|gomp|c10.*|torch.*|cu.*|nv.*|nccl.*)[.-].*)$'
for program in "$bundle"/bin/*; do
  ldd "$program" | awk '$2 == "=>" && $3 ~ /^\// { print $1, $3 }' | while read -r name file; do
    if [[ ! $name =~ $there ]]; then cp -Ln "$file" "$bundle/lib/$name"; fi
  done
done
mkdir "$bundle/recorded"
cp -r "$repository"/tests/recorded/{diffusion,rectified_flow,t5,programs} "$bundle/recorded/"
cp "$repository"/scripts/gpu/{check,program_case,with_torch}.sh "$bundle/"
sed -n 's/^torch==\([^ +]*\).*/\1/p' "$repository/scripts/libtorch-cpu.txt" >"$bundle/torch-version"
tar -C "$(dirname "$bundle")" -czf "$bundle.tar.gz" "$(basename "$bundle")"
say "$(du -sh "$bundle" | cut -f 1) in $bundle, packed $(du -h "$bundle.tar.gz" | cut -f 1) in $bundle.tar.gz; there: ./check.sh RESULTS"
