#!/usr/bin/env bash
# Records anew what diffusers and transformers answer, for the tests (tests/recorded).
#
#   scripts/record.sh              all recordings
#   scripts/record.sh clip tiny    those of tests/*/clip.py and tests/*/tiny.py
#
# Needs the Python packages that scripts/setup.sh --ci installs, or a Python that has them in
# PUSHFORWARD_ORACLES_PYTHON.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

case ${1:-} in
  -h | --help)
    usage
    exit 0
    ;;
esac

use_tools
cmake -P "$repository/tests/support/python.cmake" "$repository/tests/support/recording.py" record "$@" ||
  stop "nothing more was recorded (see above)"
