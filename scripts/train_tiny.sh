#!/bin/sh
# From a seed to the file that ships: train_tiny.sh [OUT]. An hour on two CPU cores; stopped, the same command
# goes on where it was.
set -e
out=${1:-outputs/tiny}
mkdir -p "$out"
began=$(date +%s)
# The file says how long it took: the time of all starts together.
trap 'echo $(($(date +%s) - began)) >> "$out/seconds"' EXIT
trap 'exit 1' INT TERM
geometry train experiment=geometry/bundled out="$out/geometry"
nvs train experiment=nvs/bundled model.weights="$out/geometry/model.safetensors" out="$out/head"
hours=$({ cat "$out/seconds" 2>/dev/null || :; echo $(($(date +%s) - began)); } | awk '{s += $1} END {printf "%.1f", s / 3600}')
python "$(dirname "$0")/bundle_tiny.py" "$out/geometry" "$out/head" \
    --steps "6000 geometry + 2400 head" --hours "$hours" --hardware "2 CPU cores"
