#!/usr/bin/env bash
# Runs the programs that sample on held-out digits, under seven update policies (posterior step, inexact, forward-mode,
# exact and VAE-Newton, gradient descent, none), and writes FOLDER/index.html.
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
mark="demo of pushforward's MNIST programs"
if [ -n "$(ls -A "$out")" ] && [ "$(head -n 1 "$out/log.txt" 2>/dev/null)" != "$mark" ]; then
  stop "$out holds files that are not of this demo: name another folder with --out, or move them away"
fi
rm -f "$out"/*__*.json "$out"/*__*.png "$out/rows.jsonl"

run() { "$programs/pushforward_mnist_$1" "${@:2}" >>"$out/log.txt" || stop "pushforward_mnist_$1 failed, as it says above"; }
echo "$mark" >"$out/log.txt"

made=0
picture() { # picture <program> <name> <its options...>
  run "$1" "${@:3}" --out "$out/$2"
  made=$((made + 1))
  printf '   %s of 15: %s\n' $made "$out/$2.png"
}

restore() { # restore <program> <task> <its options...>
  local program=$1 task=$2 policy
  shift 2
  for policy in posterior_step inexact_newton forward_mode_newton gradient_descent none; do
    local iterations=(--K 3)
    case $policy in none | posterior_step) iterations=() ;; esac
    picture "$program" "${task}__$policy" "$@" "${noise[@]}" --policy $policy "${iterations[@]}" --batch $pictures
  done
  picture "$program" "${task}__flow" "$@" --model flow --batch $pictures
  picture "$program" "${task}__vae_newton" "$@" "${noise[@]}" --model latent_ddpm --policy vae_newton --K 5 --lr 0.5 \
    --lr-last 0.1 --batch $pictures
}

printf '== pictures: noise, what is known, what is made of it, the truth\n'
restore superres superres_x4 --factor 4
restore inpaint inpaint_upper --known upper
picture superres superres_x4__exact_newton "${exact[@]}" --policy exact_newton --lr 0.5 --lr-last 0.5

printf '== the policies on %s digits\n' $digits
evaluate() { run evaluate --digits $digits --batch $digits --K 3 --out "$out/rows.jsonl" "$@"; }
evaluate "${noise[@]}" --policies posterior_step inexact_newton forward_mode_newton gradient_descent none
evaluate --model flow --policies posterior_step inexact_newton gradient_descent
evaluate "${noise[@]}" --model latent_ddpm --policies posterior_step vae_newton gradient_descent none --rates 0.5:0.1
run evaluate --digits 1 --out "$out/rows.jsonl" --policies exact_newton "${exact[@]}" --rates 0.5

printf '== directions and spectrum\n'
run directions --out "$out/directions"
run spectrum --krylov $krylov --out "$out/spectrum"

python3 "$here/report.py" page "$out" "$out/index.html"
printf '== wrote %s\n' "$out/index.html"
