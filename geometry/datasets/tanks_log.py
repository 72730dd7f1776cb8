"""Tanks and Temples trajectories: ``*_COLMAP_SfM.log``.

The log holds, per photo, a line of three integers and a 4x4 camera-to-world matrix with OpenCV axes;
entry k belongs to the k-th photo in name order. It has no intrinsics.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float

from geometry.errors import InputError
from geometry.ops import se3
from geometry.scenes.scene import check_pose


@dataclass(frozen=True, kw_only=True, eq=False)
class Trajectory:
    """Poses in photo order."""

    extrinsics: Float[np.ndarray, "V 4 4"]  # world-to-camera, OpenCV axes
    registered: Bool[np.ndarray, " V"]  # False: the photo has no pose, its entry is the identity


def read_log(path: Path) -> Trajectory:
    """Read a trajectory.

    Raises:
        InputError: the file is no trajectory; the line is named.
    """
    lines = [(n, words) for n, words in _rows(path) if words]
    if not lines or len(lines) % 5:
        raise InputError(f"{path}: expected 5 lines per photo, got {len(lines)} lines")
    cam_to_world, registered = [], []
    for start in range(0, len(lines), 5):
        number, header = lines[start]
        if len(header) != 3:
            raise InputError(f"{path}, line {number}: expected three integers, got {len(header)} numbers")
        rows = [words for _, words in lines[start + 1 : start + 5]]
        if any(len(row) != 4 for row in rows):
            raise InputError(f"{path}, line {number + 1}: expected 4 rows of 4 numbers")
        pose = np.array(rows)
        check_pose(pose, f"{path}, line {number}")
        cam_to_world.append(pose)
        registered.append(header[1] != -1)
    extrinsics = se3.invert(torch.from_numpy(np.stack(cam_to_world))).numpy()
    return Trajectory(extrinsics=extrinsics, registered=np.array(registered))


def _rows(path: Path) -> list[tuple[int, list[float]]]:
    """Line numbers and the numbers on them."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: expected a trajectory, found no such file") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: expected a text file of numbers, got other bytes") from None
    rows = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            rows.append((number, [float(word) for word in line.split()]))
        except ValueError:
            raise InputError(f"{path}, line {number}: expected numbers, got {line[:40]!r}") from None
    return rows
