#!/usr/bin/env bash
# program_case.sh PROGRAM RECORDED DEVICE NAME LIMIT [ARGUMENT...]: runs a program on the small random checkpoint in the
# folder RECORDED, and compares the latents that it writes with those recorded under NAME, which Python's diffusers gave.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
program=$1 recorded=$2 device=$3 name=$4 limit=$5
shift 5
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
expected=$recorded/${program#pushforward_}.safetensors
if [ "$device" = cuda ]; then
  found=$("$here/with_torch.sh" "$program" --list-devices)
  if [[ $found != *cuda* ]]; then
    echo "skipped: no CUDA device"
    exit 0
  fi
fi
# without TF32, which has 10 bits of mantissa
NVIDIA_TF32_OVERRIDE=0 "$here/with_torch.sh" "$program" --model "$recorded/checkpoint" --device "$device" --eta 0 --steps 4 --K 3 \
  --save-latents --latents "$expected" --out "$out/out" "$@"
python3 - "$out/out.safetensors" latents "$expected" "$name" "$limit" <<'PYTHON'
import json, math, struct, sys


def read(path, name):
    data = open(path, "rb").read()
    (n,) = struct.unpack("<Q", data[:8])
    entry = json.loads(data[8 : 8 + n])[name]
    first, last = (8 + n + offset for offset in entry["data_offsets"])
    assert entry["dtype"] == "F32", entry
    return struct.unpack(f"<{(last - first) // 4}f", data[first:last])


x, y = read(*sys.argv[1:3]), read(*sys.argv[3:5])
assert len(x) == len(y)
difference = math.dist(x, y) / math.hypot(*y)
print(f"relative L2 difference {difference:.1e}, allowed {sys.argv[5]}")
sys.exit(not difference < float(sys.argv[5]))
PYTHON
