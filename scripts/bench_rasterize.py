"""Time the CPU rasterizer against its PyTorch reference, in turn, in one process.

    python scripts/bench_rasterize.py            # everything: about two minutes on two cores
    python scripts/bench_rasterize.py --quick    # small sizes: some seconds

Prints, for pixel-aligned scenes, medians of wall and process CPU time, the ratio to the reference, where the
time goes, peak memory, and the cost against the numbers of Gaussians and of pixels. The reference is
`nvs.rasterizer.twin`: gsplat 1.5.3's own PyTorch functions with a vectorised search for the pairs of pixel
and Gaussian. On a busy machine only ratios of CPU time on one thread (``--threads 1``) mean anything:
PyTorch's threads wait for each other, and a busy core then stalls all of them.
"""

import argparse
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numba
import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from geometry.ops import se3
from geometry.ops.pinhole import intrinsics_matrix, unproject
from geometry.views import Cameras
from nvs.gaussians import Gaussians, rgb_to_sh
from nvs.rasterizer import rasterize, twin
from nvs.rasterizer.cpu.binning import chunk_shift
from nvs.rasterizer.cpu.function import pack_cameras
from nvs.rasterizer.cpu.view import (
    Scene,
    blend_view,
    blend_view_backward,
    project_view,
    project_view_backward,
)
from nvs.rasterizer.cpu.workspace import workspace
from nvs.rasterizer.settings import CONSTANTS, Settings

CONTEXT_VIEWS = 12
Seconds = tuple[float, float]  # wall, CPU of the process
Calls = dict[str, Callable[[], object]]


class Case(NamedTuple):
    """One scene and one image size."""

    source: tuple[int, int]  # (H, W) of each of the context views, one Gaussian per pixel
    image: tuple[int, int]  # (H, W)
    degree: int = 0

    @property
    def name(self) -> str:
        count = self.gaussians
        many = f"{count / 1e6:.2f}M" if count > 1e6 else f"{count / 1e3:.0f}k"
        return f"{many} @ {self.image[0]} x {self.image[1]}" + (f", SH {self.degree}" if self.degree else "")

    @property
    def gaussians(self) -> int:
        return CONTEXT_VIEWS * self.source[0] * self.source[1]


def arc_cameras(views: int, image_size: tuple[int, int]) -> Cameras:
    """Cameras on an arc inside a room, 70 degrees wide."""
    H, W = image_size
    focal = 0.5 * W / math.tan(math.radians(70) / 2)
    angles = torch.linspace(-0.2, 0.2, views) if views > 1 else torch.tensor([0.05])
    c, s = angles.cos(), angles.sin()
    rotation = torch.eye(3).repeat(views, 1, 1)
    rotation[:, 0, 0], rotation[:, 0, 2], rotation[:, 2, 0], rotation[:, 2, 2] = c, -s, s, c
    centre = torch.stack((1.6 * s, 0 * s - 0.1, -1.6 * c), dim=-1)
    extrinsics = se3.from_rotation_translation(rotation, -(rotation @ centre[..., None])[..., 0])
    intrinsics = intrinsics_matrix(torch.tensor([focal, focal]), torch.tensor([W / 2, H / 2]))
    return Cameras(extrinsics=extrinsics[None], intrinsics=intrinsics.expand(1, views, 3, 3))


def room_depth(cameras: Cameras, image_size: tuple[int, int]) -> Tensor:
    """z-depth [B, V, H, W] of a 5 x 3 x 5 box around the cameras with a sphere of radius 0.6 in it."""
    ones = torch.ones(*cameras.extrinsics.shape[:2], *image_size)
    origin = se3.centres(cameras.extrinsics)[:, :, None, None]
    ray = unproject(ones, cameras) - origin  # z = 1 in the camera: its factor is z-depth
    walls = ((torch.tensor([2.5, 1.5, 2.5]) * ray.sign() - origin) / ray).amin(-1)
    a, b, c = (ray * ray).sum(-1), (ray * origin).sum(-1), (origin * origin).sum(-1) - 0.36
    root = b * b - a * c
    return torch.minimum(walls, torch.where(root > 0, (-b - root.clamp(min=0).sqrt()) / a, torch.inf))


def make_scene(case: Case) -> Gaussians:
    """One Gaussian per pixel of the context views, as a feed-forward head gives them."""
    generator = torch.Generator().manual_seed(0)
    cameras = arc_cameras(CONTEXT_VIEWS, case.source)
    depth = room_depth(cameras, case.source)
    depth = depth * (1 + 0.01 * torch.randn(depth.shape, generator=generator))
    means = unproject(depth, cameras).reshape(1, -1, 3)
    count = means.shape[1]
    pixel = (depth / cameras.intrinsics[..., 0, 0][..., None, None]).reshape(1, -1, 1)
    sh = torch.zeros(1, count, (case.degree + 1) ** 2, 3)
    sh[:, :, 0] = rgb_to_sh(0.5 + 0.4 * torch.sin(means * torch.tensor([9.0, 13.0, 7.0])))
    sh[:, :, 1:] = 0.1 * torch.randn(sh[:, :, 1:].shape, generator=generator)
    return Gaussians(
        means=means,
        quats=torch.randn(1, count, 4, generator=generator),
        scales=pixel * (0.5 + 0.4 * torch.rand(1, count, 3, generator=generator)),
        opacities=0.5 + 0.4 * torch.rand(1, count, generator=generator),
        sh=sh,
    )


def settings_of(image_size: tuple[int, int]) -> Settings:
    constants = CONSTANTS["gsplat-1.5.3"]
    return Settings(
        image_size=image_size, near=0.01, far=1e10, eps2d=0.3, antialiased=False, constants=constants
    )


def reference(gaussians: Gaussians, cameras: Cameras, image_size: tuple[int, int]) -> list[Tensor]:
    """gsplat's functions, pairs sought in whole 16 x 16 tiles: the yardstick of the speed goal.

    The twin's own search, in smaller squares and with an early stop, is faster; it is timed beside it.
    """
    settings = settings_of(image_size)
    scene = gaussians.map(lambda t: t[0])
    seen = twin.project(scene, None, cameras.extrinsics[0, 0], cameras.intrinsics[0, 0], settings)
    pairs = twin.touched_pixels(seen, settings, tile=16, at_once=max(1, seen.index.numel()))
    image = twin.composite(seen, *pairs, settings)[None, None]
    return [image[:, :, :3], image[:, :, 3], image[:, :, 4]]


def calls(case: Case, backend: str) -> Calls:
    """Forward, and forward + backward, of colour, accumulated depth and alpha."""
    scene, cameras = make_scene(case), arc_cameras(1, case.image)
    generator = torch.Generator().manual_seed(1)
    shapes = (1, 1, 3, *case.image), (1, 1, *case.image), (1, 1, *case.image)
    upstream = [torch.randn(shape, generator=generator) for shape in shapes]

    def render(gaussians: Gaussians) -> list[Tensor]:
        if backend == "reference":
            return reference(gaussians, cameras, case.image)
        image = rasterize(gaussians, cameras, case.image, depth="accumulated", backend=backend)
        return [image.rgb, image.depth, image.alpha]

    def forward() -> None:
        with torch.no_grad():
            render(scene)

    def both() -> None:
        torch.autograd.backward(render(scene.map(lambda t: t.detach().requires_grad_())), upstream)

    return {"forward": forward, "both": both}


def medians(candidates: dict[str, tuple[Callable[[], object], int]]) -> dict[str, Seconds]:
    """Median time of each call; the candidates take turns until each has had its rounds."""
    samples: dict[str, list[Seconds]] = {name: [] for name in candidates}
    for k in range(max(rounds for _, rounds in candidates.values())):
        for name, (call, rounds) in candidates.items():
            if k < rounds:
                wall, cpu = time.perf_counter(), time.process_time()
                call()
                samples[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {name: tuple(map(statistics.median, zip(*pairs))) for name, pairs in samples.items()}


def table(title: str, header: list[str], rows: list[list[object]]) -> None:
    print(f"\n### {title}\n")
    for cells in (header, ["---"] * len(header), *rows):
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def ms(time: Seconds) -> str:
    return f"{1e3 * time[0]:.1f} ({1e3 * time[1]:.1f})"


def time_cases(cases: list[Case], compared: list[Case], rounds: int) -> None:
    """The main table: ours, in turn with the reference and the twin for the cases that are compared."""
    rows = []
    for case in cases:
        names = {"ours": "cpu"} | ({"reference": "reference", "twin": "torch"} if case in compared else {})
        candidates = {}
        for name, backend in names.items():
            made = calls(case, backend)
            made["both" if name == "ours" else "forward"]()  # compiles, fills the workspace
            each = rounds if name == "ours" else max(2, rounds // 3)
            candidates |= {f"{name} {kind}": (call, each) for kind, call in made.items()}
        times = medians(candidates)
        for name in names:
            row = [times[f"{name} {kind}"] for kind in ("forward", "both")]
            ours = [times[f"ours {kind}"] for kind in ("forward", "both")]
            ratios = [f"{t[0] / o[0]:.0f} x ({t[1] / o[1]:.0f} x)" for t, o in zip(row, ours)]
            rows.append([case.name, name, *map(ms, row), *(["", ""] if name == "ours" else ratios)])
    title = "Time: median wall ms (process CPU ms), and how many times ours is faster"
    table(title, ["case", "backend", "forward", "forward + backward", "ratio f", "ratio f + b"], rows)


def time_stages(cases: list[Case], rounds: int) -> None:
    """Where ours spends its time."""
    rows = []
    for case in cases:
        g, cameras, (H, W) = make_scene(case), arc_cameras(1, case.image), case.image
        settings = settings_of(case.image)
        scene = Scene(
            *(t[0].reshape(-1).numpy() for t in (g.means, g.quats, g.scales, g.opacities, g.sh)), case.degree
        )
        camera = pack_cameras(cameras.extrinsics, cameras.intrinsics, se3.centres(cameras.extrinsics))[0, 0]
        image = [np.empty((3, H, W), np.float32), np.empty((H, W), np.float32), np.empty((H, W), np.float32)]
        upstream = [np.ones_like(plane) for plane in image]
        fields = (scene.means, scene.quats, scene.scales, scene.opacities, scene.colors)
        outputs = [np.empty_like(field) for field in fields]
        laps = []
        for _ in range(rounds + 1):
            ticks = [time.perf_counter()]
            binned, entries = project_view(scene, camera, settings)
            ticks.append(time.perf_counter())
            blend_view(binned, entries, settings, *image)
            ticks.append(time.perf_counter())
            sums = blend_view_backward(binned, settings, chunk_shift(scene.count), image, upstream)
            ticks.append(time.perf_counter())
            project_view_backward(scene, camera, binned, settings, *sums, outputs, fresh=True)
            laps.append(np.diff([*ticks, time.perf_counter()]))
        total = int(binned.offsets[-1])
        stages = [f"{1e3 * lap:.1f}" for lap in np.median(laps[1:], axis=0)]
        rows.append([case.name, *stages, total, f"{100 * binned.used.sum() / max(total, 1):.0f} %"])
    header = ["project + bin", "sort + blend", "blend backward", "project backward", "tile entries"]
    table("Where the time goes: median wall ms per stage", ["case", *header, "of them used"], rows)


def report_memory(case: Case) -> None:
    """First calls of ours on one case, before others have filled the workspace (Linux)."""
    calls(Case((4, 4), (16, 16)), "cpu")["both"]()  # compiled code is not counted

    def peak() -> int:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0])  # kB

    row = []
    for call in calls(case, "cpu").values():
        workspace.clear()
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is resident now
        before = peak()
        call()
        row.append(f"{(peak() - before) / 1e6:.2f}")
    title = "Peak memory added to the inputs, GB, first call (gradients included)"
    table(title, ["case", "forward", "forward + backward"], [[case.name, *row]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, few rounds")
    parser.add_argument("--rounds", type=int, help="timed calls of ours per case (7; 3 if quick)")
    parser.add_argument("--threads", type=int, help="torch's and so our number of threads (torch's default)")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    quick = arguments.quick
    rounds = arguments.rounds or (3 if quick else 7)
    least, small = Case((22, 38), (128, 128)), Case((70, 124), (256, 256))
    large = Case((270, 480), (270, 480))
    cases = [least] if quick else [least, small, small._replace(degree=3), large]
    # What Gaussians cost at one size, and pixels at one number of Gaussians.
    varied = [Case(source, large.image) for source in ((34, 60), (68, 120), (135, 240), (191, 340))]
    varied += [Case(small.source, (size, size)) for size in (128, 512, 1024)]
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    print(f"{(names or [platform.machine()])[0]}, {os.cpu_count()} cores, load {load} before the start")
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, Numba {numba.__version__}"
    print(f"{torch.get_num_threads()} threads, {versions}")
    if sys.platform == "linux":
        report_memory(cases[-1])
    time_cases(cases + ([] if quick else varied), [least, small], rounds)
    time_stages(cases, rounds)


if __name__ == "__main__":
    main()
