"""Splats and captures in the formats of other tools: what `nvs export` does."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from geometry.console import counted, say
from geometry.errors import InputError
from geometry.results import require_results, result_folder
from geometry.scenes import transforms_json
from geometry.views import Cameras
from geometry.visualize import spread
from nvs.cameras import cameras_and_size
from nvs.cameras.fit import default_size, fit_cameras
from nvs.cameras.transform import turn_cameras
from nvs.cameras.up_axis import y_up_turn
from nvs.captures import write_capture
from nvs.drawing import around, axes_of, load_splats, scene_background
from nvs.gaussians import Gaussians
from nvs.gaussians.files import Y_UP, ending_of, find
from nvs.gaussians.files.common import AXES_FLIP
from nvs.gaussians.transform import turn_gaussians
from nvs.metrics import psnr
from nvs.options import CAPTURES, SPLATS

_VIEWS = 4  # in which a file is compared with what it was made from
_RING = (270, 480)  # size of views around splats that have no cameras
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
    more: dict[str, Any] = {"version": spz_version} if to == "spz" else {}
    views, size = _views(gaussians, file.parent)
    if to == "html":
        turn, more = _page(gaussians, file, axes)
        gaussians, views = turn_gaussians(gaussians, turn), turn_cameras(views, turn)
    count = gaussians.save(out, **options, **more)
    scale = out.stat().st_size / file.stat().st_size
    say(
        f"wrote {counted(count, 'Gaussian')}, {out.stat().st_size / 2**20:.1f} MB, {scale:.0%} of {file.name}"
    )
    if not count:
        return Exported(path=out, count=0)
    score = _likeness(gaussians, Gaussians.load(out, **options), views, size, backend)
    return Exported(path=out, count=count, psnr=score)


@torch.no_grad()
def _likeness(
    before: Gaussians, after: Gaussians, cameras: Cameras, size: tuple[int, int], backend: str
) -> float:
    """PSNR of the one drawn against the other, mean over views."""
    scores = []
    for v in range(cameras.extrinsics.shape[1]):
        a, b = (g.render(cameras[:, v : v + 1], size, backend=backend).rgb[0] for g in (before, after))
        scores.append(float(psnr(b.clamp(0, 1), a.clamp(0, 1))[0]))
    return float(np.mean(scores))


def _page(
    gaussians: Gaussians, file: Path, axes: Literal["y_down", "y_up"]
) -> tuple[Float[Tensor, "1 3 3"], dict[str, Any]]:
    """The turn to a level world with y down, and what a page says of the turned Gaussians.

    It flies along the cameras of the frames.json beside the file, starts at the first of transforms.json, or
    goes around the Gaussians.
    """
    photos, frames = (file.parent / name for name in ("transforms.json", "frames.json"))
    more: dict[str, Any] = {
        "title": _stem(file) if _stem(file) != "gaussians" else file.parent.resolve().name
    }
    colour = scene_background(file.parent)
    if colour is not None:
        more["background"] = tuple(colour)
    known = [path for path in (photos, frames) if path.is_file()]
    if not known:
        turn = AXES_FLIP[None] if axes == "y_up" else torch.eye(3)[None]
        ring = around(turn_gaussians(gaussians, turn), _RING, 120)
        return turn, {**more, "cameras": ring, "image_size": _RING}
    turn = AXES_FLIP @ y_up_turn(cameras_and_size(known[0])[0])
    flight, size = cameras_and_size(known[-1])
    flight = flight if known[-1] == frames else flight[:, :1]
    return turn, {**more, "cameras": turn_cameras(flight, turn), "image_size": size}


def _views(gaussians: Gaussians, folder: Path) -> tuple[Cameras, tuple[int, int]]:
    beside = folder / "transforms.json"
    if beside.is_file():
        cameras, old = cameras_and_size(beside)
        size = default_size(old)
        some = spread(cameras.extrinsics.shape[1], _VIEWS)
        return fit_cameras(cameras[:, some], old, size), size
    return around(gaussians, _RING, _VIEWS), _RING


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
    with result_folder(out) as folder:
        count = write_capture(folder, to, frames, load_splats(file))
    say(f"wrote {counted(len(frames), 'photo')} with cameras, {counted(count, 'point')}")
    return Exported(path=out, count=len(frames))
