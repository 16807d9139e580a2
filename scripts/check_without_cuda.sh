#!/usr/bin/env bash
# Proves that no CUDA toolkit is needed: hides the one that is there (in a mount namespace of its own; takes root), then
# installs the library, and configures, builds and runs a program that uses it with libtorch.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

if [ "${1:-}" != --hidden ]; then
  "$repository/scripts/setup.sh"
  exec unshare --mount "$0" --hidden
fi

# From here on nothing outside this process sees what is mounted.
empty=$(mktemp -d)
work=$(mktemp -d)
trap 'rm -rf "$work" "$empty"' EXIT
: >"$work/no-program"
for folder in /usr/local/cuda* /opt/cuda* /usr/lib/cuda*; do
  if [ -d "$folder" ] && [ ! -L "$folder" ]; then mount --bind "$empty" "$folder"; fi
done
for folder in ${PATH//:/ } /usr/bin /usr/local/bin; do
  for program in nvcc ptxas; do
    if [ -e "$folder/$program" ]; then mount --bind "$work/no-program" "$folder/$program"; fi
  done
done
unset CUDA_HOME CUDA_PATH CUDACXX CUDA_ROOT CPATH LIBRARY_PATH LD_LIBRARY_PATH
if nvcc --version >/dev/null 2>&1; then stop "nvcc can still be run"; fi
if [ -n "$(find /usr/local /opt -xdev -name cuda_runtime.h -print -quit 2>/dev/null)" ]; then
  stop "a CUDA toolkit can still be seen"
fi
say "the CUDA toolkit is hidden"

use_tools
cd "$work"
cmake -G Ninja -S "$repository" -B build -DCMAKE_BUILD_TYPE=Release -DPUSHFORWARD_LIBTORCH=ON -DPUSHFORWARD_TESTS=OFF
cmake --build build -j "$(jobs_here)"
cmake --install build --prefix "$work/prefix"
cmake -G Ninja -S "$repository/tests/consumers/find_package" -B use -DCMAKE_BUILD_TYPE=Release -DCOMPONENTS=libtorch \
  -DCMAKE_PREFIX_PATH="$work/prefix"
cmake --build use
use/use_libtorch || stop "the program failed without a CUDA toolkit"
say "built and run with libtorch, without a CUDA toolkit"
