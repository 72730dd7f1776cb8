#!/usr/bin/env bash
# Everything that needs a GPU, on one card, in ten minutes from a bare machine: see scripts/check_cuda.py.
#   scripts/check_cuda.sh [--out DIR] [--minutes 10] [--device cpu]
# PYTHON is an interpreter that has the packages; by default make installs them into .venv.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${PYTHON:-}" ]; then
  make setup
  PYTHON=.venv/bin/python
fi
exec "$PYTHON" scripts/check_cuda.py "$@"
