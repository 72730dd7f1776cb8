"""Splats and captures in the formats of other tools: what `nvs export` does."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from geometry.console import counted, say
from geometry.errors import InputError
from geometry.formats import colmap
from geometry.formats.ply import write_points
from geometry.results import file_names, require_results, result_folder
from geometry.scenes import transforms_json
from geometry.views import Cameras
from geometry.visualize import spread, write_image
from nvs.cameras import cameras_and_size
from nvs.cameras.fit import default_size, fit_cameras
from nvs.drawing import around, axes_of, load_splats
from nvs.gaussians import Gaussians, sh_to_rgb
from nvs.gaussians.files import Y_UP, ending_of, find
from nvs.metrics import psnr
from nvs.options import CAPTURES, SPLATS

_VIEWS = 4  # in which a file is compared with what it was made from
_POINTS = 100_000  # tools read COLMAP's point by point
_WRITTEN = ("images/*.png", "sparse/0/*.bin", "transforms.json", "sparse_pc.ply")


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written, and how much of the picture it keeps."""

    path: Path
    count: int  # of Gaussians, or photos of a capture
    psnr: float | None = None  # dB, mean over views; infinite where they are equal; None for captures


def export(
    source: Path,
    to: str,
    out: Path | None = None,
    *,
    spz_version: Literal[3, 4] = 3,
    world: Literal["opencv", "y-up"] | None = None,
    overwrite: bool = False,
    backend: str = "auto",
) -> Exported:
    """Write the splats of a file or folder in another format, or a folder's photos and cameras as a capture.

    A splat file is read back and drawn beside what it was made from, in views of the photos of the
    transforms.json beside ``source``, or around the Gaussians.

    Args:
        source: a splat file, or a folder with one as `nvs render` leaves it.
        to: a key of `SPLATS`, or one of `CAPTURES`.
        out: file or folder; None is one of the source's name beside it, or a folder of the format's name.
        world: axes of the source, for formats whose own are y up; None is what the folder's scene.json says,
            else ``opencv`` (y down).
        overwrite: replace a file that is there.

    Raises:
        InputError: no splats, no photos, or a file is in the way.
    """
    file = find(Path(source))
    if to in CAPTURES:
        return _export_capture(file, to, out or file.parent / to)
    ending = SPLATS[to]
    out = out or file.with_name(_stem(file) + ending)
    if ending_of(out) != ending:
        raise InputError(f"--out {out}: expected a name that ends in {ending} for --to {to}")
    if out.exists() and (out.samefile(file) or not overwrite):
        raise InputError(
            f"{out}: expected no file there, got one"
            + (", the source itself" if out.samefile(file) else "; give --overwrite or another --out")
        )
    axes = axes_of(file, world)
    gaussians = load_splats(file, world)
    options = {"world": axes} if ending in Y_UP else {}
    count = gaussians.save(out, **options, **({"version": spz_version} if to == "spz" else {}))
    scale = out.stat().st_size / file.stat().st_size
    say(
        f"wrote {counted(count, 'Gaussian')}, {out.stat().st_size / 2**20:.1f} MB, {scale:.0%} of {file.name}"
    )
    if not count:
        return Exported(path=out, count=0)
    score = _likeness(gaussians, Gaussians.load(out, **options), file.parent, backend)
    return Exported(path=out, count=count, psnr=score)


@torch.no_grad()
def _likeness(before: Gaussians, after: Gaussians, folder: Path, backend: str) -> float:
    """PSNR of the one drawn against the other, mean over views."""
    cameras, size = _views(before, folder)
    scores = []
    for v in range(cameras.extrinsics.shape[1]):
        a, b = (g.render(cameras[:, v : v + 1], size, backend=backend).rgb[0] for g in (before, after))
        scores.append(float(psnr(b.clamp(0, 1), a.clamp(0, 1))[0]))
    return float(np.mean(scores))


def _views(gaussians: Gaussians, folder: Path) -> tuple[Cameras, tuple[int, int]]:
    beside = folder / "transforms.json"
    if beside.is_file():
        cameras, old = cameras_and_size(beside)
        size = default_size(old)
        some = spread(cameras.extrinsics.shape[1], _VIEWS)
        return fit_cameras(cameras[:, some], old, size), size
    return around(gaussians, (270, 480), _VIEWS), (270, 480)


def _stem(file: Path) -> str:
    """The name without its ending; a meta.json is named by its folder."""
    if file.name.lower() == "meta.json":
        return file.parent.name
    return file.name[: -len(ending_of(file))]


def _export_capture(file: Path, to: str, out: Path) -> Exported:
    """Photos, cameras and points (centres of opaque Gaussians) as COLMAP or nerfstudio have them."""
    scene_file = file.parent / "transforms.json"
    if not scene_file.is_file():
        raise InputError(
            f"{file.parent}: expected photos and a transforms.json as `nvs render` leaves, found none"
        )
    require_results(out, _WRITTEN, [scene_file])
    frames = transforms_json.read_scene(scene_file).frames
    names = [f"{stem}.png" for stem in file_names([frame.name for frame in frames])]
    extrinsics = np.stack([frame.extrinsics for frame in frames])
    intrinsics = np.stack([frame.intrinsics for frame in frames])
    sizes = [frame.image_size for frame in frames]
    points, colours = _points(load_splats(file))
    with result_folder(out) as folder:
        (folder / "images").mkdir()
        for name, frame in zip(names, frames):
            write_image(folder / "images" / name, frame.load())
        if to == "colmap":
            seen_by = _nearest_view(points, extrinsics, intrinsics, sizes)
            seen = seen_by >= 0
            part = {"points": points[seen], "colours": colours[seen], "seen_by": seen_by[seen]}
            model = colmap.model_from_cameras(names, extrinsics, intrinsics, sizes, **part)
            colmap.write_model(folder / "sparse" / "0", model)
        else:
            write_points(folder / "sparse_pc.ply", points, colours)
            transforms_json.write_scene(
                folder / "transforms.json",
                [f"images/{name}" for name in names],
                extrinsics,
                intrinsics,
                sizes,
                extra={"ply_file_path": "sparse_pc.ply"},
            )
    say(f"wrote {counted(len(names), 'photo')} with cameras, {counted(len(points), 'point')}")
    return Exported(path=out, count=len(names))


def _points(gaussians: Gaussians) -> tuple[np.ndarray, np.ndarray]:
    g = gaussians[:, gaussians.opacities[0] >= 0.5]
    few = torch.linspace(0, g.means.shape[1] - 1, min(g.means.shape[1], _POINTS)).long()
    g = g[:, few]
    colours = (sh_to_rgb(g.sh[0, :, 0]).clamp(0, 1) * 255).round().byte()
    return g.means[0].double().numpy(), colours.numpy()


def _nearest_view(
    points: np.ndarray, extrinsics: np.ndarray, intrinsics: np.ndarray, sizes: list[tuple[int, int]]
) -> np.ndarray:
    """For each point the nearest camera in whose image it lies, -1 where there is none."""
    nearest, view = np.full(len(points), np.inf), np.full(len(points), -1)
    for v, (E, K, (H, W)) in enumerate(zip(extrinsics, intrinsics, sizes)):
        x, y, z = (points @ E[:3, :3].T + E[:3, 3]).T
        ahead = np.where(z > 1e-9, z, np.nan)
        u, w = K[0, 0] * x / ahead + K[0, 2], K[1, 1] * y / ahead + K[1, 2]
        better = (u >= 0) & (u < W) & (w >= 0) & (w < H) & (z < nearest)
        nearest[better], view[better] = z[better], v
    return view
