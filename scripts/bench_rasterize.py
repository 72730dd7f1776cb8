"""Time the CPU rasterizer against its PyTorch reference, in turn, in one process.

    python scripts/bench_rasterize.py            # everything: about two minutes on two cores
    python scripts/bench_rasterize.py --quick    # small sizes: some seconds

Prints, for pixel-aligned scenes, medians of wall and process CPU time, the ratio to the reference, where the
time goes, peak memory, and the cost against the numbers of Gaussians and of pixels. The reference is
`nvs.rasterizer.twin`: gsplat 1.5.3's own PyTorch functions with a vectorised search for the pairs of pixel
and Gaussian. The floor of blending is the pairs that contribute, at the pace at which the kernel lays one
Gaussian over one block after another in the first-level cache, all lanes used: no search, no order, no rest.
``--busy N`` measures beside N other processes that multiply matrices. On a busy machine only ratios of CPU
time on one thread (``--threads 1``) mean anything: PyTorch's threads wait for each other, and a busy core
then stalls all of them.
"""

import argparse
import cProfile
import os
import platform
import pstats
import statistics
import sys
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numba
import numpy as np
import torch
from numba import njit
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import busy

from eval.tables.formats import markdown_rows
from geometry.compiled import OPTIONS
from geometry.ops import se3
from geometry.ops.pinhole import unproject
from geometry.views import Cameras
from nvs.gaussians import Gaussians, rgb_to_sh
from nvs.rasterizer import rasterize, twin
from nvs.rasterizer.cpu import blending
from nvs.rasterizer.cpu.lanes import LANES, splat, store
from nvs.rasterizer.cpu.workspace import workspace

CONTEXT_VIEWS = 12
STAGES = ("project_view", "blend_view", "blend_view_backward", "project_view_backward")


class Case(NamedTuple):
    """One scene and one image size."""

    source: tuple[int, int]  # (H, W) of each of the context views, one Gaussian per pixel
    image: tuple[int, int]  # (H, W)
    degree: int = 0

    @property
    def name(self) -> str:
        count = CONTEXT_VIEWS * self.source[0] * self.source[1]
        many = f"{count / 1e6:.2f}M" if count > 1e6 else f"{count / 1e3:.0f}k"
        return f"{many} @ {self.image[0]} x {self.image[1]}" + (f", SH {self.degree}" if self.degree else "")


def arc_cameras(views: int, image_size: tuple[int, int]) -> Cameras:
    """Cameras on an arc inside a room, 70 degrees wide."""
    H, W = image_size
    focal = 0.5 * W / torch.tensor(35.0).deg2rad().tan().item()
    angles = torch.linspace(-0.2, 0.2, views) if views > 1 else torch.tensor([0.05])
    c, s, zero, one = angles.cos(), angles.sin(), torch.zeros(views), torch.ones(views)
    rotation = torch.stack((c, zero, -s, zero, one, zero, s, zero, c), dim=-1).unflatten(-1, (3, 3))
    centre = torch.stack((1.6 * s, zero - 0.1, -1.6 * c), dim=-1)
    extrinsics = se3.from_rotation_translation(rotation, -(rotation @ centre[..., None])[..., 0])
    intrinsics = torch.tensor([[focal, 0, W / 2], [0, focal, H / 2], [0, 0, 1]])
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
    higher = 0.1 * torch.randn(1, count, (case.degree + 1) ** 2 - 1, 3, generator=generator)
    colours = rgb_to_sh(0.5 + 0.4 * torch.sin(means * torch.tensor([9.0, 13.0, 7.0])))
    return Gaussians(
        means=means,
        quats=torch.randn(1, count, 4, generator=generator),
        scales=pixel * (0.5 + 0.4 * torch.rand(1, count, 3, generator=generator)),
        opacities=0.5 + 0.4 * torch.rand(1, count, generator=generator),
        sh=torch.cat((colours[:, :, None], higher), dim=2),
    )


def calls(case: Case, backend: str = "cpu") -> dict[str, Callable[[], object]]:
    """Forward, and forward + backward, of colour, accumulated depth and alpha."""
    scene, cameras = make_scene(case), arc_cameras(1, case.image)
    generator = torch.Generator().manual_seed(1)
    shapes = (1, 1, 3, *case.image), (1, 1, *case.image), (1, 1, *case.image)
    upstream = [torch.randn(shape, generator=generator) for shape in shapes]

    # The yardstick of the speed goal seeks pairs in whole 16 x 16 tiles. The twin's own search, in smaller
    # squares and with an early stop, is faster; it is timed beside it.
    whole_tiles = partial(twin.touched_pixels, tile=16, at_once=1 << 40)
    search = whole_tiles if backend == "reference" else twin.touched_pixels
    backend = "torch" if backend == "reference" else backend

    def render(gaussians: Gaussians) -> list[Tensor]:
        with mock.patch.object(twin, "touched_pixels", search):
            image = rasterize(gaussians, cameras, case.image, depth="accumulated", backend=backend)
        return [image.rgb, image.depth, image.alpha]

    def both() -> None:
        torch.autograd.backward(render(scene.map(lambda t: t.detach().requires_grad_())), upstream)

    return {"forward": torch.no_grad()(lambda: render(scene)), "both": both}


def table(title: str, header: list[str], rows: list[list[object]]) -> None:
    lines = markdown_rows(header, [[str(cell) for cell in row] for row in rows])
    print(f"\n### {title}\n", *lines, sep="\n", flush=True)


def time_case(case: Case, backends: dict[str, str], rounds: int) -> list[list[object]]:
    """Rows of the main table: the backends take turns, ours (the first) three times as often."""
    candidates = {(name, kind): call for name, b in backends.items() for kind, call in calls(case, b).items()}
    samples: dict[tuple[str, str], list[tuple[float, float]]] = {key: [] for key in candidates}
    for k in range(-1, rounds):  # the first round compiles and fills the workspace
        for key, call in candidates.items():
            if key[0] == "ours" or k < max(2, rounds // 3):
                wall, cpu = time.perf_counter(), time.process_time()
                call()
                samples[key].append((time.perf_counter() - wall, time.process_time() - cpu))
    times = {key: [statistics.median(t) for t in zip(*laps[1:])] for key, laps in samples.items()}
    rows = []
    for name in backends:
        pairs = [(times[name, kind], times["ours", kind]) for kind in ("forward", "both")]
        row = [f"{1e3 * wall:.1f} ({1e3 * cpu:.1f})" for (wall, cpu), _ in pairs]
        ratios = [f"{t[0] / o[0]:.0f} x ({t[1] / o[1]:.0f} x)" for t, o in pairs]
        rows.append([case.name, name, *row, *(["", ""] if name == "ours" else ratios)])
    return rows


def time_stages(case: Case, rounds: int) -> list[object]:
    """Where ours spends its time, and how many of its tile entries it used."""
    laps: list[list[float]] = []
    both = calls(case)["both"]
    for _ in range(rounds + 1):
        profile = cProfile.Profile()
        profile.runcall(both)
        seconds = {name: entry[3] for (_, _, name), entry in pstats.Stats(profile).stats.items()}
        laps.append([1e3 * seconds[stage] for stage in STAGES])
    scene = make_scene(case).map(torch.Tensor.requires_grad_)
    image = rasterize(scene, arc_cameras(1, case.image), case.image)
    *_, offsets, used = image.rgb.grad_fn.saved_tensors
    stages = [f"{statistics.median(times):.1f}" for times in zip(*laps[1:])]
    pairs = contributing_pairs(case)
    floor = f"{1e3 * pairs * seconds_per_pair() / torch.get_num_threads():.1f}"
    return [case.name, *stages, floor, int(offsets[-1]), f"{100 * used.sum() / offsets[-1]:.0f} %", pairs]


def contributing_pairs(case: Case) -> int:
    """Pairs of pixel and Gaussian that the twin composites."""
    with mock.patch.object(twin, "composite", wraps=twin.composite) as composite:
        rasterize(make_scene(case), arc_cameras(1, case.image), case.image, backend="torch")
    return len(composite.call_args.args[1])


@cache
def seconds_per_pair(blocks: int = 1 << 16) -> float:
    """Of one thread, as a share of a block: sixteen blocks take turns, as in a tile."""
    laps = []
    for _ in range(12):
        start = time.process_time()
        lay_over_and_over(blocks, np.zeros(blending.STATE * 16, np.float32))
        laps.append(time.process_time() - start)
    return statistics.median(laps[2:]) / blocks / LANES


@njit(**OPTIONS | {"cache": False})
def lay_over_and_over(blocks, state):  # type: ignore[no-untyped-def]
    shape = np.float32(0.01), np.float32(0.001), np.float32(0.01), np.float32(-3)
    features = np.float32(0.2), np.float32(0.4), np.float32(0.6), np.float32(2)
    for k in range(blocks):
        at = blending.STATE * (k & 15)
        if k & 511 < 16:  # transparent again
            store(state, at, splat(np.float32(1)))
        blending.blend_block(state, at, np.float32(k & 3), np.float32(2), shape, features)


def first_call_memory(case: Case) -> list[object]:
    """GB that a first call of ours adds on one case, before others have filled the workspace (Linux)."""
    calls(Case((4, 4), (16, 16)))["both"]()  # compiled code is not counted

    def peak() -> int:
        return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])  # kB

    row: list[object] = [case.name]
    for call in calls(case).values():
        workspace.clear()
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is resident now
        before = peak()
        call()
        row.append(f"{(peak() - before) / 1e6:.2f}")
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, few rounds")
    parser.add_argument("--rounds", type=int, help="timed calls of ours per case (7; 3 if quick)")
    parser.add_argument("--threads", type=int, help="torch's and so our number of threads (torch's default)")
    parser.add_argument("--busy", type=int, default=0, metavar="N", help="other processes to run beside it")
    args = parser.parse_args()
    busy.start(args.busy)
    torch.set_num_threads(args.threads or torch.get_num_threads())
    rounds = args.rounds or (3 if args.quick else 7)
    least, small = Case((22, 38), (128, 128)), Case((70, 124), (256, 256))
    large = Case((270, 480), (270, 480))
    cases = [least] if args.quick else [least, small, small._replace(degree=3), large]
    # What Gaussians cost at one size, and pixels at one number of Gaussians.
    varied = [Case(source, large.image) for source in ((34, 60), (68, 120), (135, 240), (191, 340))]
    varied += [Case(small.source, (size, size)) for size in (128, 512, 1024)]
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the start")
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, Numba {numba.__version__}"
    print(f"{torch.get_num_threads()} threads, {versions}")
    if sys.platform == "linux":
        title = "Peak memory added to the inputs, GB, first call (gradients included)"
        table(title, ["case", "forward", "forward + backward"], [first_call_memory(cases[-1])])
    rows = []
    for case in cases + ([] if args.quick else varied):
        compared = {"reference": "reference", "twin": "torch"} if case in (least, small) else {}
        rows += time_case(case, {"ours": "cpu", **compared}, rounds)
    title = "Time: median wall ms (process CPU ms), and how many times ours is faster"
    table(title, ["case", "backend", "forward", "forward + backward", "ratio f", "ratio f + b"], rows)
    header = ["project + bin", "sort + blend", "blend backward", "project backward", "floor of blending"]
    header += ["tile entries", "of them used", "pairs that contribute"]
    rows = [time_stages(case, rounds) for case in cases]
    table("Where the time goes: median wall ms per stage", ["case", *header], rows)


if __name__ == "__main__":
    main()
