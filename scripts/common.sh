# Read by the other scripts: how they speak, and which tools they use.

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [ -z "${PUSHFORWARD_CACHE:-}${XDG_CACHE_HOME:-}${HOME:-}" ]; then
  printf 'stopped: HOME is not set; set it, or PUSHFORWARD_CACHE, to a folder for what is downloaded\n' >&2
  exit 1
fi
cache=${PUSHFORWARD_CACHE:-${XDG_CACHE_HOME:-${HOME:-}/.cache}/pushforward}
case $cache in /*) ;; *) cache=$PWD/$cache ;; esac
export PUSHFORWARD_CACHE=$cache

say() { printf '== %s\n' "$*"; }
stop() {
  printf 'stopped: %s\n' "$*" >&2
  exit 1
}

# Prints the comment at the head of the script that was called.
usage() { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"; }

# True if version $1 is at least $2.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# Is there an NVIDIA GPU that programs can use?
has_gpu() { command -v nvidia-smi >/dev/null && nvidia-smi -L 2>/dev/null | grep -q '^GPU'; }

# Is there a compiler of CUDA, where CMake looks for it?
has_nvcc() {
  local nvcc
  for nvcc in "${CUDACXX:-}" "$(command -v nvcc)" "${CUDA_PATH:-}/bin/nvcc" /usr/local/cuda/bin/nvcc; do
    if [ -n "$nvcc" ] && [ -s "$nvcc" ] && [ -x "$nvcc" ]; then return 0; fi
  done
  return 1
}

# True if compiler $1 can build the project: g++ 12 or clang 14.
can_compile() {
  local macros
  macros=$("$1" -dM -E -x c++ /dev/null 2>/dev/null) || return 1
  if grep -q '__clang_major__' <<<"$macros"; then
    [ "$(awk '$2 == "__clang_major__" { print $3 }' <<<"$macros")" -ge 14 ]
  else
    [ "$(awk '$2 == "__GNUC__" { print $3 }' <<<"$macros")" -ge 12 ]
  fi
}

# Puts the tools that scripts/setup.sh chose in front: a new enough compiler and CMake.
use_tools() {
  local compiler
  if [ -z "${CXX:-}" ]; then
    for compiler in g++ g++-14 g++-13 g++-12 c++ clang++; do
      if can_compile "$compiler"; then
        export CXX=$compiler
        break
      fi
    done
  fi
  if [ -x "$cache/tools/cmake/data/bin/cmake" ]; then
    PATH=$cache/tools/cmake/data/bin:$PATH
  fi
}

# How many compilers to run at once: one for each core, and 2 GB for each.
jobs_here() {
  local cores memory
  cores=$(nproc)
  memory=$(awk '/^MemAvailable/ { print int($2 / 2000000) }' /proc/meminfo)
  [ "$memory" -ge 1 ] || memory=1
  echo $((cores < memory ? cores : memory))
}

build=$repository/build/libtorch

# Sets up and builds all there is (all adapters, examples, benchmarks, tests), or the targets that are named.
build_targets() {
  "$repository/scripts/setup.sh"
  use_tools
  local cuda=OFF
  if has_gpu; then cuda=ON; fi
  cd "$repository"
  has_nvcc || say "no nvcc: pushforward::cuda is left out"
  say "configuring in $build"
  cmake --preset libtorch -DPUSHFORWARD_LIBTORCH_CUDA=$cuda --log-level=WARNING ||
    stop "CMake could not configure the build"
  say "building (the first time takes minutes)"
  NINJA_STATUS='%f of %t (%p): ' cmake --build --preset libtorch -j "$(jobs_here)" ${1+--target "$@"} ||
    stop "the build failed"
}
