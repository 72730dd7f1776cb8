"""Tanks and Temples trajectories: ``*_COLMAP_SfM.log``.

The log holds, per photo, a line of three integers and a 4x4 camera-to-world matrix with OpenCV axes;
entry k belongs to the k-th photo in name order. It has no intrinsics.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from geometry.datasets.sources import inverted
from geometry.errors import InputError, reading
from geometry.formats.text import read_text
from geometry.scenes.scene import check_pose


class Trajectory(NamedTuple):
    """Poses in photo order."""

    extrinsics: Float[np.ndarray, "V 4 4"]  # world-to-camera, OpenCV axes
    registered: Bool[np.ndarray, " V"]  # False: the photo has no pose, its entry is the identity


def read_log(path: Path) -> Trajectory:
    """Read a trajectory.

    Raises:
        InputError: the file is no trajectory; the line is named.
    """
    lines = []
    with reading(path, "a trajectory"):
        text = read_text(path)
    for number, line in enumerate(text.splitlines(), start=1):
        with reading(f"{path}, line {number}", "numbers"):
            words = [float(word) for word in line.split()]
        if words:
            lines.append((number, words))
    if not lines or len(lines) % 5:
        raise InputError(f"{path}: expected 5 lines per photo, got {len(lines)} lines")
    extrinsics, registered = [], []
    for start in range(0, len(lines), 5):
        (number, header), *rows = lines[start : start + 5]
        if len(header) != 3:
            raise InputError(f"{path}, line {number}: expected three integers, got {len(header)} numbers")
        if any(len(row) != 4 for _, row in rows):
            raise InputError(f"{path}, line {number + 1}: expected 4 rows of 4 numbers")
        pose = np.array([row for _, row in rows])
        check_pose(pose, f"{path}, line {number}")
        extrinsics.append(inverted(pose))
        registered.append(header[1] != -1)
    return Trajectory(np.stack(extrinsics), np.array(registered))
