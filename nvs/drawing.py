"""Splats of any origin drawn along cameras that are given, named, or placed around them."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from geometry.console import say
from geometry.errors import InputError
from geometry.formats.text import read_json
from geometry.ops import se3
from geometry.views import Cameras
from geometry.visualize import depth_limits, depth_unit, spread
from nvs.cameras import camera_path, cameras_and_size
from nvs.cameras.files import SCALE
from nvs.cameras.fit import fit_cameras, scaled_size
from nvs.cameras.orbit import look_at
from nvs.gaussians import Gaussians
from nvs.gaussians.files import Y_UP, ending_of
from nvs.options import PATHS, VIDEO_SIDE
from nvs.outputs import Frame, frame_stems, render_frames, write_cameras, write_frames

_SAMPLED = 8  # frames whose depths set the colours and steps of all
_SHAPE = (540, 960)  # of frames, where nothing else says


def axes_of(file: Path, world: Literal["opencv", "y-up"] | None = None) -> Literal["y_down", "y_up"]:
    """The axes of the world that a splat file belongs to: as given, or as the scene.json beside it says."""
    if world is None and "+y is up" in str(read_about(file.parent).get("world")):
        return "y_up"
    return "y_up" if world == "y-up" else "y_down"


def read_about(folder: Path) -> dict[str, Any]:
    """The scene.json of a folder that `nvs render` wrote; empty where there is none."""
    about = folder / "scene.json"
    return read_json(about, "the scene.json of nvs render") if about.is_file() else {}


def scene_background(folder: Path) -> list[float] | None:
    """Red, green and blue in 0..1 that the scene.json of a folder names, if any."""
    colour = read_about(folder).get("background")
    return None if colour is None else [float(c) for c in colour]


def load_splats(file: Path, world: Literal["opencv", "y-up"] | None = None) -> Gaussians:
    """The Gaussians of any splat file, in the axes of the files beside it."""
    return Gaussians.load(file, **({"world": axes_of(file, world)} if ending_of(file) in Y_UP else {}))


def cameras_for(
    which: str, source: Path, gaussians: Gaussians, *, size: tuple[int, int] | None = None, frames: int = 120
) -> tuple[Cameras, tuple[int, int]]:
    """The cameras that ``which`` means, in the Gaussians' world, and the (H, W) they are for.

    Args:
        which: a file of cameras or a folder with some (`cameras_from_file`; a transforms.json in a folder
            comes first), or a path of `PATHS` through the cameras of the transforms.json beside ``source``.
            Where there is none, ``orbit`` goes around the Gaussians.
        source: the file that the Gaussians are from.
        size: None keeps that of the first camera; named paths get a long side of 960.
        frames: of the paths ``orbit`` and ``spline``.

    Raises:
        InputError: no such cameras.
    """
    beside = source.parent / "transforms.json"
    if which not in PATHS:
        given = Path(which)
        if not given.exists():
            raise InputError(
                f"--cameras {which}: expected a file of cameras, a folder with a COLMAP model, or one of "
                f"{', '.join(PATHS)}"
            )
        inside = given / "transforms.json"
        about = read_about(source.parent)
        origin, scale = np.array(about.get("origin", (0.0, 0.0, 0.0))), about.get(SCALE, 1.0)
        return cameras_and_size(inside if inside.is_file() else given, size, origin, scale)
    if beside.is_file():
        inputs, old = cameras_and_size(beside, scale=read_about(source.parent).get(SCALE, 1.0))
        small = scaled_size(old, 64)
        depth = gaussians.render(fit_cameras(inputs, old, small), small).depth if which == "orbit" else None
        path = camera_path(which, inputs, old, depth=depth, frames=frames)
        size = size or scaled_size(old, VIDEO_SIDE)
        return fit_cameras(path, old, size), size
    if which != "orbit":
        raise InputError(
            f"--cameras {which}: expected a transforms.json beside {source} for the path to go by, found "
            "none; give a file of cameras, or orbit"
        )
    size = size or _SHAPE
    return around(gaussians, size, frames), size


def around(gaussians: Gaussians, size: tuple[int, int], count: int) -> Cameras:
    """Cameras on a level ring, a little above (y down), that see most opaque Gaussians of one scene."""
    means = gaussians.means[0].double()
    opaque = gaussians.opacities[0] >= 0.5
    means = means[opaque] if opaque.any() else means
    if len(means) == 0:
        raise InputError("cameras around the Gaussians: expected some, there is none")
    middle = means.median(dim=0).values
    reach = float(np.percentile((means - middle).norm(dim=-1).numpy(), 90))
    H, W = size
    focal = 0.8 * max(H, W)
    distance = max(reach, 1e-6) * 2 * focal / min(H, W)
    angle = torch.arange(count, dtype=torch.float64) * (2 * math.pi / count)
    height = math.radians(15)
    direction = torch.stack(
        (
            angle.sin() * math.cos(height),
            torch.full_like(angle, -math.sin(height)),
            -angle.cos() * math.cos(height),
        ),
        dim=-1,
    )
    up = torch.tensor([0.0, -1.0, 0.0], dtype=torch.float64)
    extrinsics = se3.invert(look_at(middle + distance * direction, middle, up))
    K = torch.tensor([[focal, 0, W / 2], [0, focal, H / 2], [0, 0, 1]])
    return Cameras(extrinsics=extrinsics[None].float(), intrinsics=K.expand(1, count, 3, 3))


def draw(
    gaussians: Gaussians,
    cameras: Cameras,
    size: tuple[int, int],
    folder: Path,
    *,
    background: Float[Tensor, " 3"] | None = None,
    backend: str = "auto",
    fps: int = 24,
    scale: float = 1.0,
) -> None:
    """Write what `nvs render` writes of novel views: video, frames/, depth/, depth16/frames/, frames.json.

    Args:
        scale: that of the Gaussians' world, for frames.json.
    """
    total = cameras.extrinsics.shape[1]

    def frames_of(some: Cameras) -> Iterator[Frame]:
        return render_frames(gaussians, some, size, background=background, backend=backend)

    few = frames_of(cameras[:, spread(total, _SAMPLED)])
    depths = np.stack([np.where(alpha > 0.5, depth, 0) for _, depth, alpha in few])
    unit = depth_unit(depths)
    write_frames(folder, frames_of(cameras), total, fps=fps, limits=depth_limits(depths), unit=unit)
    write_cameras(folder / "frames.json", "frames", frame_stems(total), cameras, size, unit=unit, scale=scale)
    say(f"wrote {total} views of {size[0]} x {size[1]} (H x W), {total / fps:.1f} s of video")
