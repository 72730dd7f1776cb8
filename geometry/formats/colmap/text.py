"""COLMAP models as text files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from geometry.errors import InputError
from geometry.formats.colmap import records
from geometry.formats.colmap.records import ColmapCamera, ColmapImage, ColmapModel, ColmapPoints
from geometry.formats.text import read_text

_CAMERA = "CAMERA_ID MODEL WIDTH HEIGHT PARAMS"
_IMAGE = "IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME"
_KEYPOINTS = "triples X Y POINT3D_ID (a line for each image, empty without keypoints)"
_POINT = "POINT3D_ID X Y Z R G B ERROR TRACK"


def read_cameras(path: Path) -> dict[int, ColmapCamera]:
    cameras = {}
    for where, words in _lines(path):
        if words:
            with _parsing(where, _CAMERA):
                name, (camera_id, width, height) = words[1], map(_whole, (words[0], *words[2:4]))
                params = tuple(map(float, words[4:]))
            cameras[camera_id] = records.checked_camera(name, width, height, params, where)
    return cameras


def read_images(path: Path) -> dict[int, ColmapImage]:
    images, lines = {}, _lines(path)
    for where, words in lines:
        if not words:
            continue
        with _parsing(where, _IMAGE):
            image_id, pose, camera_id = _whole(words[0]), list(map(float, words[1:8])), _whole(words[8])
            name = " ".join([words[9], *words[10:]])
        place, observed = next(lines, (where, []))
        with _parsing(place, _KEYPOINTS):
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
            with _parsing(where, _POINT):
                point, xyz, rgb = _whole(words[0]), map(float, words[1:4]), map(_whole, words[4:7])
                rows.append((point, *xyz, *bytes(rgb), float(words[7])))
                tracks.append(np.array(words[8:], dtype=np.int64).reshape(-1, 2))
    return records.points_from_rows(rows, tracks)


def contents(model: ColmapModel) -> dict[str, bytes]:
    """What the three files of a model hold, by name without suffix."""
    cameras = [f"# {_CAMERA}, a line for each of {len(model.cameras)} cameras"]
    for camera_id, camera in model.cameras.items():
        height, width = camera.image_size
        cameras.append(_line(camera_id, camera.model, width, height, *camera.params))
    images = [f"# {_IMAGE}, then {_KEYPOINTS}: two lines for each of {len(model.images)} images"]
    for image_id, image in model.images.items():
        images.append(_line(image_id, *records.pose_numbers(image), image.camera_id, image.name))
        triples = zip(image.keypoints.tolist(), image.point_ids.tolist())
        images.append(" ".join(_line(x, y, point) for (x, y), point in triples))
    points = [f"# {_POINT} as (IMAGE_ID, POINT2D_IDX), a line for each of {len(model.points.ids)} points"]
    for point_id, xyz, rgb, error, track in records.point_rows(model.points):
        points.append(_line(point_id, *xyz, *rgb, error, *np.ravel(track).tolist()))
    lists = {"cameras": cameras, "images": images, "points3D": points}
    return {name: ("\n".join(lines) + "\n").encode() for name, lines in lists.items()}


def _lines(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Place and words of each line; comments are left out, empty lines kept."""
    try:
        text = read_text(path)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected a text file in UTF-8, got other bytes at {error.start}") from None
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.startswith("#"):
            yield f"{path}, line {number}", line.split()


@contextmanager
def _parsing(where: str, expected: str) -> Iterator[None]:
    """A malformed line is one error that says what the line should hold."""
    try:
        yield
    except (ValueError, IndexError, OverflowError) as error:
        raise InputError(f"{where}: expected {expected}, could not read it ({error})") from error


def _whole(word: str) -> int:
    """A whole number, as scripts also write it: ``518.0``."""
    number = float(word)
    if not (number.is_integer() and abs(number) < 2**53):
        raise ValueError(f"{word} is no whole number")
    return int(number)


def _line(*values: object) -> str:
    """Numbers separated by blanks; floats keep every digit."""
    return " ".join(repr(v) if isinstance(v, float) else str(v) for v in values)
