#!/usr/bin/env bash
# Completes and super-resolves real handwritten digits under seven update policies (posterior step, inexact, forward-mode,
# exact and VAE-Newton, gradient descent, none), and writes out/mnist/index.html.
#
#   scripts/demo.sh           the whole comparison, in minutes; it says where the first picture is as soon as it is there
#   scripts/demo.sh --quick   a few digits, to see that everything runs
#
# --out FOLDER writes there instead of out/mnist. Sets up and builds what it runs first, where that is still to be done.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

quick=()
out=$repository/out/mnist
while [ $# -gt 0 ]; do
  case $1 in
    --quick) quick=(--quick) ;;
    --out)
      [ $# -ge 2 ] || stop "--out needs a folder"
      out=$(realpath -m "$2")
      shift
      ;;
    -h | --help)
      usage
      exit 0
      ;;
    *) stop "unknown argument $1; see scripts/demo.sh --help" ;;
  esac
  shift
done

build_targets mnist_demo
"$repository/examples/mnist/demo.sh" ${quick[@]+"${quick[@]}"} --programs "$build/examples/mnist" --out "$out" ||
  stop "the demo failed (see above)"
say "open $out/index.html"
