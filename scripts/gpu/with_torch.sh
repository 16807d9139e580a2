#!/usr/bin/env bash
# with_torch.sh PROGRAM [ARGUMENT...]: runs a program of this folder on the libtorch of python3's torch, with its CUDA
# backend. PUSHFORWARD_TORCH names another libtorch: the folder that holds lib/.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
find='import importlib.util as u; s = u.find_spec("torch"); print(s.submodule_search_locations[0] if s else "")'
torch=${PUSHFORWARD_TORCH:-$(python3 -c "$find" || true)}
if [ ! -e "$torch/lib/libtorch_cpu.so" ]; then
  echo "stopped: python3 has no torch; name the folder of a libtorch in PUSHFORWARD_TORCH" >&2
  exit 1
fi
[ $# -gt 0 ] || {
  echo "$torch"
  exit 0
}
program=$here/bin/$1
shift
libraries=$here/lib:$torch/lib
for folder in "$torch"/../nvidia/*/lib; do # some are loaded by name alone, when they are first needed
  if [ -d "$folder" ]; then libraries+=:$folder; fi
done
export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
# the programs name no symbol of it; loading it is what registers the backend
if [ -e "$torch/lib/libtorch_cuda.so" ]; then
  LD_PRELOAD=$torch/lib/libtorch_cuda.so exec "$program" "$@"
fi
exec "$program" "$@"
