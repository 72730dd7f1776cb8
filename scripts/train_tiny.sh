#!/bin/sh
# From a seed to the file that ships: train_tiny.sh [OUT]. About an hour on two CPU cores; stopped, the same command
# goes on where it was.
set -e
out=${1:-outputs/tiny}
geometry train experiment=geometry/bundled out="$out/geometry"
nvs train experiment=nvs/bundled model.weights="$out/geometry/model.safetensors" out="$out/head"
python "$(dirname "$0")/bundle_tiny.py" "$out/geometry" "$out/head" \
    --steps "4000 geometry + 2400 head" --hours 1.1 --hardware "one CPU core"
