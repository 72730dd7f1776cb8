"""Time the CPU rasterizer against its PyTorch reference, in turn, in one process.

    python scripts/bench_rasterize.py            # everything: about two minutes on two cores
    python scripts/bench_rasterize.py --quick    # small sizes: some seconds

Prints, for pixel-aligned scenes, medians of wall and process CPU time, the ratio to the reference, where the
time goes, peak memory, and the cost against the numbers of Gaussians and of pixels. The reference is
`nvs.rasterizer.twin`: gsplat 1.5.3's own PyTorch functions with a vectorised search for the pairs of pixel
and Gaussian. On a busy machine only ratios of CPU time on one thread (``--threads 1``)
mean anything: PyTorch's threads wait for each other, and a busy core then stalls all of them.
"""

import argparse
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

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
from nvs.rasterizer.settings import CONSTANTS, Settings

CONTEXT_VIEWS = 12


@dataclass(frozen=True)
class Case:
    """One scene and one image size."""

    name: str
    source_size: tuple[int, int]  # (H, W) of each of the context views, one Gaussian per pixel
    image_size: tuple[int, int]
    reference: bool = False  # time the PyTorch reference too
    degree: int = 0

    @property
    def count(self) -> int:
        return CONTEXT_VIEWS * self.source_size[0] * self.source_size[1]


def arc_cameras(views: int, image_size: tuple[int, int], fov_x_deg: float = 70.0) -> Cameras:
    """Cameras on an arc that look at the sphere in the middle of the room."""
    H, W = image_size
    focal = 0.5 * W / math.tan(math.radians(fov_x_deg) / 2)
    angles = torch.linspace(-0.2, 0.2, views) if views > 1 else torch.tensor([0.05])
    c, s, zero, one = angles.cos(), angles.sin(), torch.zeros(views), torch.ones(views)
    rotation = torch.stack((c, zero, -s, zero, one, zero, s, zero, c), dim=-1).unflatten(-1, (3, 3))
    centre = torch.stack((1.6 * s, zero - 0.1, -1.6 * c), dim=-1)
    rotation = rotation.mT
    extrinsics = se3.from_rotation_translation(rotation.mT, -(rotation.mT @ centre[..., None])[..., 0])
    intrinsics = intrinsics_matrix(torch.tensor([focal, focal]), torch.tensor([W / 2, H / 2]))
    return Cameras(extrinsics=extrinsics[None], intrinsics=intrinsics.expand(1, views, 3, 3))


def room_depth(cameras: Cameras, image_size: tuple[int, int]) -> Tensor:
    """z-depth [B, V, H, W] of a 5 x 3 x 5 box around the cameras with a sphere of radius 0.6 in it."""
    ones = torch.ones(*cameras.extrinsics.shape[:2], *image_size)
    origin = se3.centres(cameras.extrinsics)[:, :, None, None]
    ray = unproject(ones, cameras) - origin  # z = 1 in the camera: its factor is z-depth
    half = torch.tensor([2.5, 1.5, 2.5])
    walls = ((half * ray.sign() - origin) / ray).amin(-1)
    a, b, c = (ray * ray).sum(-1), (ray * origin).sum(-1), (origin * origin).sum(-1) - 0.36
    root = b * b - a * c
    sphere = torch.where(root > 0, (-b - root.clamp(min=0).sqrt()) / a, torch.inf)
    return torch.minimum(walls, sphere)


def make_scene(source_size: tuple[int, int], degree: int = 0, seed: int = 0) -> Gaussians:
    """One Gaussian per pixel of the context views, as a feed-forward head gives them."""
    generator = torch.Generator().manual_seed(seed)
    H, W = source_size
    cameras = arc_cameras(CONTEXT_VIEWS, source_size)
    depth = room_depth(cameras, source_size)
    depth = depth * (1 + 0.01 * torch.randn(depth.shape, generator=generator))
    means = unproject(depth, cameras).reshape(1, -1, 3)
    count = means.shape[1]
    pixel = (depth / cameras.intrinsics[..., 0, 0][..., None, None]).reshape(1, -1, 1)
    sh = torch.zeros(1, count, (degree + 1) ** 2, 3)
    stripes = 0.5 + 0.4 * torch.sin(means * torch.tensor([9.0, 13.0, 7.0]))
    sh[:, :, 0] = rgb_to_sh(stripes)
    sh[:, :, 1:] = 0.1 * torch.randn(sh[:, :, 1:].shape, generator=generator)
    return Gaussians(
        means=means,
        quats=torch.randn(1, count, 4, generator=generator),
        scales=pixel * (0.5 + 0.4 * torch.rand(1, count, 3, generator=generator)),
        opacities=0.5 + 0.4 * torch.rand(1, count, generator=generator),
        sh=sh,
    )


class Run:
    """Forward, and forward + backward, of one backend on one case."""

    def __init__(self, case: Case, backend: str) -> None:
        self.case, self.backend = case, backend
        self.gaussians = make_scene(case.source_size, case.degree)
        self.cameras = arc_cameras(1, case.image_size)
        generator = torch.Generator().manual_seed(1)
        shapes = (1, 1, 3, *case.image_size), (1, 1, *case.image_size), (1, 1, *case.image_size)
        self.gradients = [torch.randn(shape, generator=generator) for shape in shapes]

    def render(self, gaussians: Gaussians) -> list[Tensor]:
        """Colour, accumulated depth, alpha."""
        if self.backend == "reference":
            return reference(gaussians, self.cameras, self.case.image_size)
        image = rasterize(
            gaussians, self.cameras, self.case.image_size, depth="accumulated", backend=self.backend
        )
        return [image.rgb, image.depth, image.alpha]

    def forward(self) -> None:
        with torch.no_grad():
            self.render(self.gaussians)

    def both(self) -> None:
        gaussians = self.gaussians.map(lambda t: t.detach().requires_grad_())
        torch.autograd.backward(self.render(gaussians), self.gradients)


def reference(gaussians: Gaussians, cameras: Cameras, image_size: tuple[int, int]) -> list[Tensor]:
    """gsplat's functions, pairs sought in whole 16 x 16 tiles: the yardstick of the speed goal.

    The twin's own search, in smaller squares and with an early stop, is faster; it is timed beside it.
    """
    settings = default_settings(image_size)
    scene = gaussians.map(lambda t: t[0])
    seen = twin.project(scene, None, cameras.extrinsics[0, 0], cameras.intrinsics[0, 0], settings)
    pairs = twin.touched_pixels(seen, settings, tile=16, at_once=max(1, seen.index.numel()))
    image = twin.composite(seen, *pairs, settings)[None, None]
    return [image[:, :, :3], image[:, :, 3], image[:, :, 4]]


def default_settings(image_size: tuple[int, int]) -> Settings:
    return Settings(
        image_size=image_size,
        near=0.01,
        far=1e10,
        eps2d=0.3,
        antialiased=False,
        constants=CONSTANTS["gsplat-1.5.3"],
    )


def timed(call: Callable[[], None]) -> tuple[float, float]:
    """Wall and process CPU seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu


def interleaved(calls: dict[str, tuple[Callable[[], None], int]]) -> dict[str, tuple[float, float]]:
    """Median (wall, CPU) seconds of each call; the candidates take turns until each has had its rounds."""
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for k in range(max(rounds for _, rounds in calls.values())):
        for name, (call, rounds) in calls.items():
            if k < rounds:
                samples[name].append(timed(call))
    return {
        name: (statistics.median(w for w, _ in pairs), statistics.median(c for _, c in pairs))
        for name, pairs in samples.items()
    }


def table(title: str, header: list[str], rows: list[list[str]]) -> None:
    """Print a Markdown table."""
    print(f"\n### {title}\n")
    for cells in (header, ["---"] * len(header), *rows):
        print("| " + " | ".join(cells) + " |", flush=True)


def milliseconds(pair: tuple[float, float]) -> str:
    return f"{1e3 * pair[0]:.1f} ({1e3 * pair[1]:.1f})"


def time_cases(cases: list[Case], rounds: int) -> None:
    """The main table: ours in turn with the reference where the case asks for it."""
    rows = []
    for case in cases:
        runs = {"cpu": Run(case, "cpu")}
        if case.reference:
            runs |= {name: Run(case, name) for name in ("reference", "torch")}
        for name, run in runs.items():
            if name == "cpu":
                run.both()  # compiles, fills the workspace
            run.forward()
        slow = max(2, rounds // 3)
        result = interleaved(
            {
                f"{name} {kind}": (call, rounds if name == "cpu" else slow)
                for name, run in runs.items()
                for kind, call in (("f", run.forward), ("fb", run.both))
            }
        )
        for name in runs:
            ratios = [
                f"{result[f'{name} {kind}'][k] / result[f'cpu {kind}'][k]:.0f} x"
                for kind in ("f", "fb")
                for k in (0, 1)
            ]
            rows.append(
                [
                    case.name,
                    {"cpu": "ours", "torch": "twin"}.get(name, name),
                    milliseconds(result[f"{name} f"]),
                    milliseconds(result[f"{name} fb"]),
                    *(
                        ["", ""]
                        if name == "cpu"
                        else [f"{ratios[0]} ({ratios[1]})", f"{ratios[2]} ({ratios[3]})"]
                    ),
                ]
            )
    table(
        "Time: median wall ms (process CPU ms), and how many times ours is faster",
        ["case", "backend", "forward", "forward + backward", "ratio f", "ratio f + b"],
        rows,
    )


class Laps:
    """Wall seconds of named calls, in the order of their first call."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    def run(self, name: str, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        start = time.perf_counter()
        result = call(*arguments, **options)
        self.seconds.setdefault(name, []).append(time.perf_counter() - start)
        return result


def time_stages(cases: list[Case], rounds: int) -> None:
    """Where ours spends its time, stage by stage."""
    rows = []
    for case in cases:
        gaussians, cameras = make_scene(case.source_size, case.degree), arc_cameras(1, case.image_size)
        settings, (H, W) = default_settings(case.image_size), case.image_size
        inputs = (gaussians.means, gaussians.quats, gaussians.scales, gaussians.opacities, gaussians.sh)
        scene = Scene(*(t[0].reshape(-1).numpy() for t in inputs), degree=case.degree)
        centres = se3.centres(cameras.extrinsics)
        camera = pack_cameras(cameras.extrinsics, cameras.intrinsics, centres)[0, 0]
        image = [np.empty((3, H, W), np.float32), np.empty((H, W), np.float32), np.empty((H, W), np.float32)]
        upstream = [np.ones_like(plane) for plane in image]
        outputs = [
            np.empty_like(a) for a in (scene.means, scene.quats, scene.scales, scene.opacities, scene.colors)
        ]
        laps = Laps()
        for _ in range(rounds + 1):
            binned, entries = laps.run("project + bin", project_view, scene, camera, settings)
            laps.run("sort + blend", blend_view, binned, entries, settings, *image)
            shift = chunk_shift(scene.count)
            sums = laps.run("blend backward", blend_view_backward, binned, settings, shift, image, upstream)
            laps.run(
                "project backward",
                *(project_view_backward, scene, camera, binned, settings, *sums, outputs),
                fresh=True,
            )
        total = int(binned.offsets[-1])
        rows.append(
            [
                case.name,
                *(f"{1e3 * statistics.median(times[1:]):.1f}" for times in laps.seconds.values()),
                f"{total}",
                f"{100 * binned.used.sum() / max(total, 1):.0f} %",
            ]
        )
    table(
        "Where the time goes: median wall ms per stage",
        ["case", *laps.seconds, "tile entries", "of them used"],
        rows,
    )


def peak_memory(case: Case, mode: str) -> float:
    """GB that ``mode`` ('forward' or 'both') adds to a fresh process that holds the inputs."""
    command = [
        sys.executable,
        __file__,
        "--memory",
        mode,
        "--sizes",
        *map(str, (*case.source_size, *case.image_size)),
    ]
    output = subprocess.run([*command, str(case.degree)], check=True, capture_output=True, text=True).stdout
    return float(output.split()[-1])


def measure_memory(mode: str, sizes: list[int]) -> None:
    """The child of `peak_memory`: prints the peak's growth in GB."""
    Run(Case("warm", (4, 4), (16, 16)), "cpu").both()
    run = Run(Case("", (sizes[0], sizes[1]), (sizes[2], sizes[3]), degree=sizes[4]), "cpu")
    status = Path("/proc/self/status")
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")  # the peak starts again from what is resident now

    def peak() -> float:
        if status.exists():
            line = next(s for s in status.read_text().splitlines() if s.startswith("VmHWM"))
            return int(line.split()[1]) / 1e6
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9

    before = peak()
    run.forward() if mode == "forward" else run.both()
    print(f"{peak() - before:.3f}")


def report_memory(cases: list[Case]) -> None:
    rows = [[c.name, *(f"{peak_memory(c, mode):.2f}" for mode in ("forward", "both"))] for c in cases]
    table(
        "Peak memory added to the inputs, GB, first call of a fresh process (gradients included)",
        ["case", "forward", "forward + backward"],
        rows,
    )


def report_curve(rounds: int, quick: bool) -> None:
    """Cost against the number of Gaussians at one size, and against pixels at one number."""
    rows = []
    sources = [(34, 60), (68, 120), (135, 240)] + ([] if quick else [(191, 340), (270, 480)])
    images = [(128, 128), (256, 256)] + ([] if quick else [(512, 512), (1024, 1024)])
    cases = [Case("Gaussians", source, (270, 480)) for source in sources]
    cases += [Case("pixels", (70, 124), image) for image in images]
    for case in cases:
        run = Run(case, "cpu")
        run.both()
        result = interleaved({"f": (run.forward, rounds), "fb": (run.both, rounds)})
        varied = case.count if case.name == "Gaussians" else case.image_size[0] * case.image_size[1]
        rows.append(
            [
                case.name,
                f"{case.count}",
                f"{case.image_size[0]} x {case.image_size[1]}",
                milliseconds(result["f"]),
                milliseconds(result["fb"]),
                f"{1e9 * result['fb'][0] / varied:.0f}",
            ]
        )
    table(
        "Cost curve: what is varied, and ns per Gaussian or per pixel of forward + backward",
        ["varied", "Gaussians", "H x W", "forward ms", "forward + backward ms", "ns each"],
        rows,
    )


def describe_machine() -> None:
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            s.split(":")[1].strip() for s in cpuinfo.read_text().splitlines() if s.startswith("model name")
        ]
        model = names[0] if names else model
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    print(f"{model}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, load {load} before the start")
    print(f"Python {platform.python_version()}, torch {torch.__version__}, Numba {numba.__version__}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, few rounds")
    parser.add_argument("--rounds", type=int, default=0, help="timed calls of ours per case (7; 3 if quick)")
    parser.add_argument("--threads", type=int, help="torch's and so our number of threads (torch's default)")
    parser.add_argument("--memory", choices=("forward", "both"), help=argparse.SUPPRESS)
    parser.add_argument("--sizes", type=int, nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory:
        measure_memory(arguments.memory, arguments.sizes)
        return
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    rounds = arguments.rounds or (3 if arguments.quick else 7)
    small = Case("104k @ 256 x 256", (70, 124), (256, 256), reference=True)
    large = Case("1.55M @ 270 x 480", (270, 480), (270, 480))
    if arguments.quick:
        cases = [Case("10k @ 128 x 128", (22, 38), (128, 128), reference=True)]
    else:
        cases = [
            Case("10k @ 128 x 128", (22, 38), (128, 128), reference=True),
            small,
            replace(small, name="104k @ 256 x 256, SH 3", reference=False, degree=3),
            large,
        ]
    describe_machine()
    time_cases(cases, rounds)
    time_stages(cases, rounds)
    report_memory(cases[-1:] if arguments.quick else [small, large])
    report_curve(min(rounds, 5), arguments.quick)


if __name__ == "__main__":
    main()
