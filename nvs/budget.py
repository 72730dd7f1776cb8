"""How many photos become Gaussians where minutes are few."""

import time
from dataclasses import replace

from geometry.capture import Capture, load_views
from geometry.console import Stopwatch
from geometry.device import pick_device
from geometry.options import PhotoOptions
from geometry.scenes.view_selection import select_views
from nvs.pipeline import Pipeline

# Of the minutes, for depth and Gaussians: refinement wins more with the others than more photos do. Measured:
# docs/bundled-model.md
SHARE = 1 / 3
TIMED = (2, 5)  # photos; the first ones load and compile
FEWEST = 8  # photos that are taken however long they take


def limit_photos(capture: Capture, photos: PhotoOptions, pipeline: Pipeline) -> Capture:
    """A posed capture with as many photos as ``--minutes`` allow, after timing a few of them."""
    minutes, scene = pipeline.options.minutes, capture.scene
    if minutes is None or not scene.posed or len(capture.context) <= max(FEWEST, *TIMED):
        return capture
    trial = replace(pipeline, report=lambda line: None, watch=Stopwatch())
    device, each = pick_device(pipeline.network.device), 0.0
    with pipeline.watch("trial"):
        for count in TIMED:
            few = select_views(scene.extrinsics, len(scene), count, capture.context)
            start = time.perf_counter()
            trial.splat(load_views(capture, few, photos, device)[0])
            each = (time.perf_counter() - start) / count
    left = 60 * minutes - sum(pipeline.watch.seconds.values())
    return capture.limited(max(FEWEST, int(SHARE * left / each)), "--minutes")
