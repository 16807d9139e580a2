#!/usr/bin/env bash
# Runs every program of the example on held-out digits under every update policy, and writes FOLDER/index.html.
#
#   examples/mnist/demo.sh --programs FOLDER --out FOLDER [--quick]
#
# --quick takes fewer digits. Called by scripts/demo.sh, which builds the programs first. Digits come from
# $PUSHFORWARD_MNIST, else from the sample in data/.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

stop() {
  printf 'stopped: %s\n' "$*" >&2
  exit 2
}

quick=
programs=
out=
while [ $# -gt 0 ]; do
  case $1 in
    --quick) quick=yes ;;
    --programs | --out)
      [ $# -ge 2 ] || stop "$1 needs a folder"
      if [ "$1" = --out ]; then out=$2; else programs=$2; fi
      shift
      ;;
    -h | --help)
      sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
      exit 0
      ;;
    *) stop "unknown argument $1; see --help" ;;
  esac
  shift
done
[ -n "$programs" ] && [ -n "$out" ] || stop "--programs and --out are needed; see --help"
[ -x "$programs/pushforward_mnist_inpaint" ] || stop "$programs holds no programs: build them first"
mkdir -p "$out"

if [ -n "$quick" ]; then pictures=2 digits=4 krylov=6 exact_steps=1; else pictures=4 digits=16 krylov=10 exact_steps=4; fi

# DDIM as noisy as DDPM.
noise=(--eta 1)
# Each inner iteration of exact Newton takes 1024 passes and a least-squares problem of that size.
exact=(--K 1 --steps $exact_steps --batch 1)

# The runs that the page shows are made anew; the rows of evaluate too, as the programs may have changed.
rm -f "$out"/*__*.json "$out"/*__*.png "$out/rows.jsonl"

run() { "$programs/pushforward_mnist_$1" "${@:2}" >>"$out/log.txt" || stop "pushforward_mnist_$1 failed; see $out/log.txt"; }
: >"$out/log.txt"

restore() { # restore <program> <task> <its options...>
  local program=$1 task=$2 policy
  shift 2
  for policy in inexact_newton forward_mode_newton gradient_descent none; do
    local iterations=(--K 3)
    if [ $policy = none ]; then iterations=(); fi
    run "$program" "$@" "${noise[@]}" --policy $policy "${iterations[@]}" --batch $pictures --out "$out/${task}__$policy"
  done
  run "$program" "$@" --model flow --policy inexact_newton --K 3 --batch $pictures --out "$out/${task}__flow"
  run "$program" "$@" "${noise[@]}" --model latent_ddpm --policy vae_newton --K 5 --lr 0.5 --lr-last 0.1 --batch $pictures \
    --out "$out/${task}__vae_newton"
}

printf '== pictures\n'
restore superres superres_x4 --factor 4
restore inpaint inpaint_upper --known upper
run superres "${exact[@]}" --policy exact_newton --lr 0.5 --lr-last 0.5 --out "$out/superres_x4__exact_newton"

printf '== the policies on %s digits\n' $digits
evaluate() { run evaluate --digits $digits --batch $digits --K 3 --out "$out/rows.jsonl" "$@"; }
evaluate "${noise[@]}" --policies inexact_newton forward_mode_newton gradient_descent none
evaluate --model flow --policies inexact_newton gradient_descent
evaluate "${noise[@]}" --model latent_ddpm --policies vae_newton gradient_descent none --rates 0.5:0.1
run evaluate --digits 1 --out "$out/rows.jsonl" --policies exact_newton "${exact[@]}" --rates 0.5

printf '== directions and spectrum\n'
run directions --out "$out/directions"
run spectrum --krylov $krylov --out "$out/spectrum"

python3 "$here/report.py" page "$out" "$out/index.html"
printf '== wrote %s\n' "$out/index.html"
