"""COLMAP models as text files."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from geometry.errors import InputError
from geometry.formats.colmap.records import (
    MODEL_BY_NAME,
    ColmapCamera,
    ColmapImage,
    ColmapModel,
    ColmapPoints,
    checked_camera,
    checked_pose,
    point_rows,
    points_from_rows,
    pose_numbers,
)


def read_cameras(path: Path) -> dict[int, ColmapCamera]:
    cameras = {}
    for number, words in _lines(path):
        if not words:
            continue
        where = f"{path}, line {number}"
        with _parsing(where, "CAMERA_ID MODEL WIDTH HEIGHT PARAMS"):
            camera_id, label, width, height = int(words[0]), words[1], int(words[2]), int(words[3])
            params = tuple(map(float, words[4:]))
        cameras[camera_id] = checked_camera(MODEL_BY_NAME.get(label), label, width, height, params, where)
    return cameras


def read_images(path: Path) -> dict[int, ColmapImage]:
    images, lines = {}, _lines(path)
    for number, words in lines:
        if not words:
            continue
        where = f"{path}, line {number}"
        with _parsing(where, "IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME"):
            image_id, pose, camera_id = int(words[0]), list(map(float, words[1:8])), int(words[8])
            name = " ".join(words[9:])
            if not name:
                raise IndexError("no name")
        number, observed = next(lines, (number, []))
        with _parsing(f"{path}, line {number}", "triples X Y POINT3D_ID"):
            values = np.array(observed, dtype=np.float64).reshape(-1, 3)
        images[image_id] = ColmapImage(
            name=name,
            camera_id=camera_id,
            extrinsics=checked_pose(pose[:4], pose[4:], f"{where}, image {name}"),
            keypoints=values[:, :2],
            point_ids=values[:, 2].astype(np.int64),
        )
    return images


def read_points(path: Path) -> ColmapPoints:
    rows, tracks = [], []
    for number, words in _lines(path):
        if not words:
            continue
        with _parsing(f"{path}, line {number}", "POINT3D_ID X Y Z R G B ERROR TRACK"):
            rows.append((int(words[0]), *map(float, words[1:4]), *map(int, words[4:7]), float(words[7])))
            tracks.append(np.array(words[8:], dtype=np.int64).reshape(-1, 2))
    return points_from_rows(rows, tracks)


def contents(model: ColmapModel) -> dict[str, bytes]:
    """What the three files of a model hold, by name without suffix."""
    cameras = [
        "# Camera list with one line of data per camera:",
        "#   CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]",
        f"# Number of cameras: {len(model.cameras)}",
    ]
    for camera_id, camera in model.cameras.items():
        height, width = camera.image_size
        cameras.append(_line(camera_id, camera.model, width, height, *camera.params))
    observed = sum(len(image.keypoints) for image in model.images.values()) / max(len(model.images), 1)
    images = [
        "# Image list with two lines of data per image:",
        "#   IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME",
        "#   POINTS2D[] as (X, Y, POINT3D_ID)",
        f"# Number of images: {len(model.images)}, mean observations per image: {observed:g}",
    ]
    for image_id, image in model.images.items():
        images.append(_line(image_id, *pose_numbers(image), image.camera_id, image.name))
        triples = zip(image.keypoints.tolist(), image.point_ids.tolist())
        images.append(" ".join(_line(x, y, point) for (x, y), point in triples))
    lengths = [len(track) for track in model.points.tracks]
    points = [
        "# 3D point list with one line of data per point:",
        "#   POINT3D_ID, X, Y, Z, R, G, B, ERROR, TRACK[] as (IMAGE_ID, POINT2D_IDX)",
        f"# Number of points: {len(lengths)}, mean track length: {np.mean(lengths) if lengths else 0:g}",
    ]
    for point_id, xyz, rgb, error, track in point_rows(model.points):
        points.append(_line(point_id, *xyz, *rgb, error, *np.asarray(track).ravel().tolist()))
    lists = {"cameras": cameras, "images": images, "points3D": points}
    return {name: ("\n".join(lines) + "\n").encode() for name, lines in lists.items()}


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and words of a text file; comment lines are left out, empty ones kept."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected a text file in UTF-8, got other bytes at {error.start}") from None
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.startswith("#"):
            yield number, line.split()


class _parsing:
    """Turn a malformed line into one error that says what the line should hold."""

    def __init__(self, where: str, wanted: str) -> None:
        self.where, self.wanted = where, wanted

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (ValueError, IndexError)):
            raise InputError(f"{self.where}: expected {self.wanted}, could not read it ({error})") from error


def _line(*values: object) -> str:
    """Numbers separated by blanks; floats keep every digit."""
    return " ".join(repr(v) if isinstance(v, float) else str(v) for v in values)
