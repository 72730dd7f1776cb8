"""`Shot`: one photo's camera as an app states it, and how readers make one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8

from geometry.formats.distortion import Lens
from geometry.ops import rotations
from geometry.scenes.transforms_json import lens_from_keys

OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])  # OpenGL camera axes <-> OpenCV camera axes


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One photo's camera as an app states it."""

    name: str  # as the app names the photo, with or without suffix
    cam_to_world: Float[np.ndarray, "4 4"]  # OpenCV axes
    lens: Callable[[tuple[int, int]], Lens]  # of a photo stored as (H, W)
    where: str  # the camera's place in its file, for messages
    pixels: Callable[[], UInt8[np.ndarray, "H W 3"]] | None = None  # where the photo is no file of its own
    size: tuple[int, int] = (0, 0)  # (H, W) of those pixels


def shot_of(name: str, cam_to_world: np.ndarray, keys: Mapping[str, Any], where: str) -> Shot:
    """A shot whose lens is stated in the keys of a transforms.json."""
    lens = partial(lens_from_keys, {}, keys, where)
    return Shot(name=name, cam_to_world=cam_to_world, lens=lens, where=where)


def pixel_keys(fx: Any, fy: Any, cx: Any, cy: Any) -> dict[str, Any]:
    return {"fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy}


def matrix(numbers: Any, side: int) -> Float[np.ndarray, "n n"]:
    return np.array(numbers, np.float64).reshape(side, side)


def pose_from_quat(place: Any, quat_xyzw: Any) -> Float[np.ndarray, "4 4"]:
    pose = np.eye(4)
    pose[:3, :3] = rotations.matrix_from_quat_xyzw(torch.tensor(quat_xyzw, dtype=torch.float64)).numpy()
    pose[:3, 3] = place
    return pose


def starts_with(path: Path, suffix: str, *words: str) -> bool:
    """Whether a file of this suffix has all the words in its first kilobytes."""
    if path.suffix.lower() != suffix or not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(4096)
    return all(word.encode() in start for word in words)
