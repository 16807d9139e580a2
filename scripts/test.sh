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
log=$build/last-tests.log
status=0
ctest --preset libtorch -j "$(jobs_here)" "$@" 2>&1 | tee "$log" || status=$?

# ctest's summary names what it skipped: "  12 - oracles/clip (Skipped)".
oracles=$(grep -cE '^[[:space:]]+[0-9]+ - oracles/.*\(Skipped\)$' "$log" || true)
gpu=$(grep -cE '^[[:space:]]+[0-9]+ - gpu/.*\(Skipped\)$' "$log" || true)
others=$(grep -E '^[[:space:]]+[0-9]+ - .*\(Skipped\)$' "$log" | grep -vE ' - (oracles|gpu)/' || true)
if [ -n "$others" ]; then printf 'not run:\n%s\n' "$others"; fi
missing=
if [ "$oracles" -gt 0 ]; then
  missing="$oracles comparisons with diffusers, transformers and Pillow made anew (the tests above have recordings);"
  missing+=" scripts/setup.sh --ci installs them (5 GB), then run scripts/test.sh again"
fi
if [ "$gpu" -gt 0 ]; then missing+="${missing:+; and }$gpu groups of tests on a CUDA device, see docs/gpu.md"; fi
if [ -n "$missing" ]; then say "not run: $missing"; fi
if [ "$status" != 0 ]; then say "FAILED: the tests that are listed above"; fi
exit "$status"
