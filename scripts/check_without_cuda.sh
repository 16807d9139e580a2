#!/usr/bin/env bash
# Proves that no CUDA toolkit is needed: hides the one that is there (in a mount namespace of its own; takes root), then
# installs the library, and configures, builds and runs a program that uses it with libtorch.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

if [ "${1:-}" != --hidden ]; then
  "$repository/scripts/setup.sh"
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  unshare --mount "$0" --hidden "$work"
  exit
fi

# From here on, nothing outside this process sees what is mounted.
work=$2
mkdir "$work/empty"
for folder in /usr/local/cuda* /opt/cuda* /usr/lib/cuda*; do
  if [ -d "$folder" ] && [ ! -L "$folder" ]; then mount --bind "$work/empty" "$folder"; fi
done
for folder in ${PATH//:/ }; do
  if [ -e "$folder/nvcc" ]; then mount --bind /dev/null "$folder/nvcc"; fi
done
unset CUDA_HOME CUDA_PATH CUDACXX CUDA_ROOT CPATH CPLUS_INCLUDE_PATH LIBRARY_PATH LD_LIBRARY_PATH
use_tools
if nvcc --version >/dev/null 2>&1 || "${CXX:-c++}" -E -x c++ - <<<'#include <cuda_runtime.h>' >/dev/null 2>&1; then
  stop "a CUDA toolkit can still be seen"
fi
say "the CUDA toolkit is hidden"

cd "$work"
cmake -G Ninja -S "$repository" -B build -DCMAKE_BUILD_TYPE=Release -DPUSHFORWARD_LIBTORCH=ON -DPUSHFORWARD_TESTS=OFF
cmake --build build -j "$(jobs_here)"
cmake --install build --prefix "$work/prefix" >/dev/null
cmake -G Ninja -S "$repository/tests/consumers/find_package" -B use -DCMAKE_BUILD_TYPE=Release -DCOMPONENTS=libtorch \
  -DCMAKE_PREFIX_PATH="$work/prefix"
cmake --build use
use/use_libtorch || stop "the program failed without a CUDA toolkit"
say "built and run with libtorch, without a CUDA toolkit"
