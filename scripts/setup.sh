#!/usr/bin/env bash
# Installs what the project needs and is not there yet. Works from any folder; a second run takes a second or two.
#
#   scripts/setup.sh          compilers, libraries, libtorch: for scripts/test.sh and scripts/demo.sh
#   scripts/setup.sh --ci     also what .ci/run needs: clang, clang-format, doxygen, chromium, and Python's diffusers,
#                             transformers, torch and sentencepiece (5 GB, in the cache folder) that recorded answers are
#                             compared with
#
# Packages come from apt (as root, or with sudo). libtorch is one that is already there (PUSHFORWARD_TORCH, Torch_DIR, a
# Python with torch, the cache folder), else the PyPI wheel, unpacked into the cache folder that all clones share:
# PUSHFORWARD_CACHE, or pushforward/ below XDG_CACHE_HOME or ~/.cache.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

export PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1

packages=(cmake ninja-build ccache python3 libxtensor-dev libxtensor-blas-dev libopenblas-dev librandom123-dev
  nlohmann-json3-dev libcli11-dev libpng-dev libjpeg-dev liblcms2-dev librsvg2-dev fonts-dejavu-core pkg-config libicu-dev
  zlib1g-dev catch2 libexpat1-dev libbenchmark-dev)
case ${1:-} in
  '') ;;
  --ci) packages+=(g++ git python3-venv clang clang-format libclang-rt-dev doxygen chromium) ;;
  -h | --help)
    usage
    exit 0
    ;;
  *) stop "unknown argument $1; see scripts/setup.sh --help" ;;
esac

# --- apt -------------------------------------------------------------------------------------------------------

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# install_packages <package>...: those of them that are missing, by apt.
install_packages() {
  local package missing=()
  for package in "$@"; do
    case $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) in
      installed) ;;
      *) missing+=("$package") ;;
    esac
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  say "installing ${missing[*]}"
  if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
    stop "these packages are missing, and installing them takes root or sudo: apt-get install ${missing[*]}"
  fi
  local log
  log=$(mktemp)
  if ! { as_root apt-get -q update &&
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install "${missing[@]}"; } \
    >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    stop "apt-get could not install ${missing[*]}"
  fi
  rm -f "$log"
}

command -v dpkg-query >/dev/null ||
  stop "this is not Debian or Ubuntu; install what CONTRIBUTING.md lists and call CMake yourself"
install_packages "${packages[@]}"

use_tools
if ! can_compile "${CXX:-c++}"; then
  candidate=$(apt-cache policy g++ | awk '/Candidate:/ { print $2 }')
  candidate=${candidate#*:}
  if at_least "${candidate:-0}" 12; then install_packages g++; else install_packages g++-12; fi
  use_tools
  can_compile "${CXX:-c++}" || stop "no C++ compiler that will do: g++ 12 or newer, or clang 14 or newer"
fi

has_pip() { python3 -m pip --version >/dev/null 2>&1; }

if ! at_least "$(cmake --version | awk 'NR == 1 { print $3 }')" 3.25; then
  say "installing CMake into $cache/tools (the system's is older than 3.25)"
  has_pip || install_packages python3-pip
  python3 -m pip -q install --target "$cache/tools" 'cmake>=3.25,<4' || stop "pip could not install cmake"
  use_tools
fi

# --- libtorch --------------------------------------------------------------------------------------------------

find_libtorch() {
  cmake -D PUSHFORWARD_LIBTORCH_CUDA="$cuda" -P "$repository/scripts/find_libtorch.cmake" 2>/dev/null
}

# fetch_libtorch <libtorch-VERSION[-cuda]>: downloads and unpacks it there, whole or not at all.
fetch_libtorch() {
  local target=$cache/$1 fresh wheels quiet=
  [ "$(uname -m)" = x86_64 ] ||
    stop "no libtorch was found, and only the one for x86_64 can be downloaded; install Python's torch (2.4 or newer)"
  has_pip || install_packages python3-pip
  fresh=$(mktemp -d "$cache/unpacking.XXXXXX")
  trap 'rm -rf "$fresh"' EXIT
  wheels=$fresh/wheels
  if [ ! -t 1 ]; then quiet=-q; fi # on a terminal pip shows how far it is
  say "downloading libtorch into $target"
  python3 -m pip $quiet download --no-deps --only-binary=:all: --require-hashes --python-version 3.11 --implementation cp \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_25_x86_64 --platform manylinux2014_x86_64 \
    -d "$wheels" -r "$repository/scripts/libtorch-cpu.txt" || stop "pip could not download libtorch"
  if [ "$cuda" = ON ]; then
    python3 -m pip $quiet download --only-binary=:all: -d "$wheels" -r "$repository/scripts/libtorch-cuda.txt" ||
      stop "pip could not download the CUDA libraries"
  fi
  python3 "$repository/scripts/unpack_libtorch.py" $([ "$cuda" = ON ] && echo --cuda) "$fresh/tree" "$wheels"/*.whl ||
    stop "the wheels could not be unpacked"
  rm -rf "$target"
  mv "$fresh/tree" "$target"
  rm -rf "$fresh"
  trap - EXIT
}

cuda=OFF
has_gpu && cuda=ON
if ! torch=$(find_libtorch); then
  if [ -n "${PUSHFORWARD_TORCH:-}${Torch_DIR:-}" ]; then
    stop "PUSHFORWARD_TORCH or Torch_DIR is set, but: $(head -n 1 <<<"$torch")"
  fi
  mkdir -p "$cache"
  exec 9>"$cache/lock"
  flock 9 # another clone may be fetching it just now
  if ! torch=$(find_libtorch); then
    name=libtorch-$(sed -n 's/^torch==\([^ ]*\).*/\1/p' "$repository/scripts/libtorch-cpu.txt")
    if [ "$cuda" = ON ]; then name+=-cuda; fi
    fetch_libtorch "$name"
    torch=$(find_libtorch) || stop "the libtorch just unpacked cannot be used: $torch"
  fi
fi
# --- what networks are compared with ---------------------------------------------------------------------------

oracles=$cache/oracles
wanted=$repository/scripts/oracles.txt
if [ "${1:-}" = --ci ] && ! cmp -s "$wanted" "$oracles/installed.txt"; then
  mkdir -p "$cache"
  exec 9>"$cache/lock"
  flock 9
  say "installing diffusers, transformers and torch for Python into $oracles"
  rm -rf "$oracles"
  python3 -m venv "$oracles" && "$oracles/bin/pip" -q install -r "$wanted" ||
    stop "pip could not install the packages of scripts/oracles.txt"
  cp "$wanted" "$oracles/installed.txt" # last: a folder without it was left unfinished
fi

say "set up: $("${CXX:-c++}" --version | head -n 1), libtorch in $torch$([ "$cuda" = ON ] && echo ' with CUDA')"
