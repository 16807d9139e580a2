#!/usr/bin/env bash
# Fetches the free photographs that examples/photographs is trained on, and those that it is measured on.
#
#   scripts/photographs.sh [folder]     by default photographs/ in the cache folder
#
# They come out of Debian packages, which are downloaded by apt-get and unpacked into the folder; nothing is installed.
# examples/photographs/photographs.tsv says of each file whose it is, its licence, and what it is for; the licences are
# compared with what the packages state. The folder gets training/ and held_out/.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

case ${1:-} in
  -h | --help)
    usage
    exit 0
    ;;
  -*) stop "unknown argument $1; see scripts/photographs.sh --help" ;;
esac
folder=${1:-$cache/photographs}
table=$repository/examples/photographs/photographs.tsv
for tool in apt-get dpkg-deb python3; do
  command -v "$tool" >/dev/null || stop "$tool is missing; this takes Debian or Ubuntu, with python3"
done

mkdir -p "$folder/packages" "$folder/unpacked"
folder=$(cd "$folder" && pwd)
while read -r package; do
  [ ! -d "$folder/unpacked/$package" ] || continue
  say "downloading $package"
  (cd "$folder/packages" && apt-get -q download "$package" >/dev/null 2>"$folder/packages/log") || {
    cat "$folder/packages/log" >&2
    stop "apt-get could not download $package; try apt-get update first"
  }
  rm -rf "$folder/unpacking"
  dpkg-deb -x "$folder/packages/${package}"_*.deb "$folder/unpacking"
  mv "$folder/unpacking" "$folder/unpacked/$package" # last: what has its name is whole
done < <(awk -F'\t' 'NR > 1 && $1 != "left out" { print $2 }' "$table" | sort -u)

python3 "$repository/scripts/photographs.py" "$table" "$folder" || stop "the photographs are not as the table says"
