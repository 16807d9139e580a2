#!/usr/bin/env bash
# Sets up, builds everything and runs all tests. Arguments go to ctest (-L core, -R superres, ...).
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

case ${1:-} in
  -h | --help)
    usage
    exit 0
    ;;
esac

build_targets
cd "$repository"
say "running the tests"
ctest --preset libtorch -j "$(jobs_here)" "$@"
