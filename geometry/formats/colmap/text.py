"""COLMAP models as text files, which are read; ours are written as binary ones."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from geometry.errors import InputError, reading
from geometry.formats.colmap import records
from geometry.formats.colmap.records import ColmapCamera, ColmapImage, ColmapPoints
from geometry.formats.text import read_text

_CAMERA = "CAMERA_ID MODEL WIDTH HEIGHT PARAMS"
_IMAGE = "IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME"
_KEYPOINTS = "triples X Y POINT3D_ID (a line for each image, empty without keypoints)"
_POINT = "POINT3D_ID X Y Z R G B ERROR TRACK"


def read_cameras(path: Path) -> dict[int, ColmapCamera]:
    cameras = {}
    for where, words in _lines(path):
        if words:
            with reading(where, _CAMERA):
                name, (camera_id, width, height) = words[1], map(_whole, (words[0], *words[2:4]))
                params = tuple(map(float, words[4:]))
            cameras[camera_id] = records.checked_camera(name, width, height, params, where)
    return cameras


def read_images(path: Path) -> dict[int, ColmapImage]:
    images, lines = {}, _lines(path)
    for where, words in lines:
        if not words:
            continue
        with reading(where, _IMAGE):
            image_id, pose, camera_id = _whole(words[0]), list(map(float, words[1:8])), _whole(words[8])
            name = " ".join([words[9], *words[10:]])
        place, observed = next(lines, (where, []))
        with reading(place, _KEYPOINTS):
            values = np.array(observed, dtype=np.float64).reshape(-1, 3)
        images[image_id] = ColmapImage(
            name=name,
            camera_id=camera_id,
            extrinsics=records.checked_pose(pose[:4], pose[4:], f"{where}, image {name}"),
            keypoints=values[:, :2],
            point_ids=values[:, 2].astype(np.int64),
        )
    return images


def read_points(path: Path) -> ColmapPoints:
    rows, tracks = [], []
    for where, words in _lines(path):
        if words:
            with reading(where, _POINT):
                point, xyz, rgb = _whole(words[0]), map(float, words[1:4]), map(_whole, words[4:7])
                rows.append((point, *xyz, *bytes(rgb), float(words[7])))
                tracks.append(np.array(words[8:], dtype=np.int64).reshape(-1, 2))
    return records.points_from_rows(rows, tracks)


def _lines(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Place and words of each line; comments are left out, empty lines kept."""
    try:
        text = read_text(path)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected a text file in UTF-8, got other bytes at {error.start}") from None
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.startswith("#"):
            yield f"{path}, line {number}", line.split()


def _whole(word: str) -> int:
    """A whole number, as scripts also write it: ``518.0``."""
    number = float(word)
    if not (number.is_integer() and abs(number) < 2**53):
        raise ValueError(f"{word} is no whole number")
    return int(number)
