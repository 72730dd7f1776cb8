"""protocol=speed: images a second, peak memory and most views of a method on this device."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from eval.methods.geometry import Estimator, GeometryTask, build_estimator
from eval.options import MethodOptions
from eval.run_folder import Store, write_json
from geometry.console import say
from geometry.device import pick_device
from geometry.errors import InputError
from geometry.peak_memory import peak_bytes, reset_peak
from geometry.version import stamp
from geometry.views import Views

_PRECISE = 0.05  # share to which the most views are found


@dataclass(frozen=True, kw_only=True)
class SpeedOptions:
    """What is timed.

    Args:
        image_size: (H, W).
        views: images of a scene, all seen at once.
        rounds: timed, after one that is not.
        max_views: find how many images fit into the device's memory; ``auto`` on CUDA alone, since a process
            that runs out of a computer's memory is killed.
    """

    out: str | Path
    method: MethodOptions
    image_size: tuple[int, int] = (336, 504)
    views: int = 32
    rounds: int = 5
    max_views: bool | Literal["auto"] = "auto"
    label: str | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        if len(self.image_size) != 2 or any(side < 14 or side % 14 for side in self.image_size):
            raise InputError(f"speed.image_size: expected multiples of 14, got {list(self.image_size)}")
        if self.views < 1 or self.rounds < 1:
            raise InputError(
                f"speed: expected views and rounds of 1 or more, got {self.views} and {self.rounds}"
            )


def measure_speed(options: SpeedOptions) -> dict[str, Any]:
    """Time a method and write ``scores_speed.json``, which tables read; returns its content."""
    device = pick_device(options.device)
    store = Store(options.out, "speed")
    store.require_own()
    method = build_estimator(options.method, device)
    on_gpu = device.type == "cuda"
    threads = torch.get_num_threads()
    cpu = f"CPU, {threads} thread{'s' if threads > 1 else ''}"
    machine = torch.cuda.get_device_name(device) if on_gpu else cpu

    def call(views: int) -> float:
        return _seconds(method, views, options.image_size, device)

    call(options.views)
    reset_peak(device)
    seconds = [call(options.views) for _ in range(options.rounds)]
    means: dict[str, float | None] = {
        "images_per_s": options.views / statistics.median(seconds),
        "peak_gb": peak_bytes(device) / 1e9,
    }
    reasons = {}
    if options.max_views is True or (options.max_views == "auto" and on_gpu):
        means["max_views"] = most_views(call, options.views)
    else:
        means["max_views"] = None
        reasons["max_views"] = "found by filling the memory, on CUDA, or with speed.max_views=true"
    precision = options.method.network.precision
    H, W = options.image_size
    label = f"{options.label or method.about.name}, {machine}"
    stated = "bfloat16" if precision == "auto" and on_gpu else precision.replace("auto", "float32")
    summary = {
        "benchmark": "speed",
        "protocol": "speed",
        "method": label,
        "weights": method.about.weights,
        "licence": method.about.licence,
        "trained": True,  # weights change no time
        "line": [f"{options.views} images of {H}x{W}"],
        "image_size": [H, W],
        "views": options.views,
        "device": machine,
        "precision": stated,
        "torch": torch.__version__,
        "seconds": [round(s, 4) for s in seconds],
        "sizes": [[H, W]],
        "split": "",
        "rule": {},
        "expected_scenes": None,
        "commits": [stamp()],
        "means": means,
        "reasons": reasons,
        "scenes": [{"scene": "random images", "means": means, "targets": []}],
        "failed": {},
    }
    write_json(store.summary, summary)
    return summary


@torch.no_grad()
def _seconds(method: Estimator, views: int, size: tuple[int, int], device: torch.device) -> float:
    images = torch.rand(1, views, 3, *size, generator=torch.Generator().manual_seed(0)).to(device)
    task = GeometryTask(
        scene="random images",
        views=Views(images=images),
        indices=tuple(range(views)),
        frames=(),
        intrinsics=None,
    )
    wait = (lambda: torch.cuda.synchronize(device)) if device.type == "cuda" else (lambda: None)
    wait()
    start = time.perf_counter()
    method.estimate(task)
    wait()
    return time.perf_counter() - start


def most_views(call: Callable[[int], object], first: int) -> int:
    """Most views for which ``call`` does not run out of memory, to a twentieth; 0: not even ``first``."""
    fits, fails = 0, None
    views = first
    while fails is None or fails - fits > max(1, _PRECISE * fits):
        try:
            call(views)
            fits = views
            say(f"{views} images fit")
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            fails = views
            say(f"{views} images do not fit")
            if fits == 0:
                break
        views = 2 * fits if fails is None else (fits + fails) // 2
    return fits
