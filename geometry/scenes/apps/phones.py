"""Cameras of apps on a phone: Polycam, 3D Scanner App, Record3D, Stray Scanner; see the package."""

import csv
import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from geometry.errors import InputError, reading
from geometry.formats.images import IMAGE_SUFFIXES, decode, natural_key
from geometry.formats.text import read_json, read_text
from geometry.scenes import video
from geometry.scenes.apps.shots import OPENGL, Shot, matrix, pixel_keys, pose_from_quat, shot_of

_LARGEST_MEMBER = 1 << 28  # bytes of one file in an archive


def polycam(folder: Path) -> Iterator[Shot]:
    """``t_00`` ... ``t_23`` are the matrix's first rows."""
    names = {"fx": "fl_x", "fy": "fl_y", "cx": "cx", "cy": "cy", "width": "w", "height": "h"}
    for path in sorted(folder.glob("[!.]*.json"), key=natural_key):
        content = read_json(path, "a camera")
        try:
            rows = [[float(content[f"t_{row}{column}"]) for column in range(4)] for row in range(3)]
            keys = {ours: content[theirs] for theirs, ours in names.items()}
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(f"{path}: expected t_00 ... t_23, {', '.join(names)}, got {error}") from None
        yield shot_of(path.stem, np.array([*rows, [0, 0, 0, 1]]) @ OPENGL, keys, str(path))


def scanner_3d(folder: Path) -> Iterator[Shot]:
    """Matrices by rows: ``cameraPoseARFrame`` and, of the stored photo, ``intrinsics``."""
    for path in sorted(folder.glob("frame_*.json"), key=natural_key):
        content = read_json(path, "a camera")
        pose, K = matrix(content["cameraPoseARFrame"], 4), matrix(content["intrinsics"], 3)
        yield shot_of(path.stem, pose @ OPENGL, pixel_keys(K[0, 0], K[1, 1], K[0, 2], K[1, 2]), str(path))


def record3d(path: Path) -> Iterator[Shot]:
    """Poses are qx qy qz qw x y z of photo N, ``rgbd/N.jpg`` or ``rgb/N.jpg``; ``K`` is 3 x 3 by columns."""
    photos: dict[str, str] = {}
    if path.suffix.lower() == ".r3d":
        with reading(path, "Record3D's archive"), zipfile.ZipFile(path) as archive:
            content = json.loads(_member(archive, "metadata", path))
            names = [name for name in archive.namelist() if Path(name).suffix.lower() in IMAGE_SUFFIXES]
        photos = {Path(name).stem: name for name in names if Path(name).parent.name == "rgbd"}
        if not photos:
            raise InputError(f"{path}: expected photos rgbd/*.jpg in the archive, found none")
    else:
        content = read_json(path, "Record3D's metadata")
    W, H = int(content["w"]), int(content["h"])
    K, own = matrix(content["K"], 3), content.get("perFrameIntrinsicCoeffs") or []
    for index, pose in enumerate(content["poses"]):
        numbers = own[index] if index < len(own) else (K[0, 0], K[1, 1], K[2, 0], K[2, 1])
        keys, name = pixel_keys(*numbers) | {"w": W, "h": H}, str(index)
        shot = shot_of(name, pose_from_quat(pose[4:], pose[:4]) @ OPENGL, keys, f"{path}, frame {index}")
        if not photos:
            yield shot
        elif name in photos:
            yield replace(shot, pixels=partial(_zipped, path, photos[name], (H, W)), size=(H, W))


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    """A file of an archive, never larger than the archive says and we allow."""
    if (size := archive.getinfo(name).file_size) > _LARGEST_MEMBER:
        raise InputError(f"{path}: expected at most {_LARGEST_MEMBER:,} bytes in {name}, got {size:,}")
    return archive.read(name)


def _zipped(path: Path, name: str, size: tuple[int, int]) -> UInt8[np.ndarray, "H W 3"]:
    where = f"{path}, {name}"
    with (
        reading(where, "a photo"),
        zipfile.ZipFile(path) as archive,
        archive.open(name) as file,
        Image.open(file) as image,
    ):
        if (image.height, image.width) != size:
            raise InputError(f"{where}: expected {size} (H x W), got {image.height} x {image.width}")
        return decode(image, where)


def stray(path: Path) -> Iterator[Shot]:
    """Rows: timestamp, frame of ``rgb.mp4``, x, y, z, qx, qy, qz, qw, and in newer files fx, fy, cx, cy."""
    movie = path.parent / "rgb.mp4"
    times, _ = video.probe(movie)
    size = video.read_frame(movie, 0.0).shape[:2]
    K = np.loadtxt(path.parent / "camera_matrix.csv", delimiter=",", ndmin=2)
    shared = (K[0, 0], K[1, 1], K[0, 2], K[1, 2])
    for row in csv.reader(read_text(path).splitlines()[1:], skipinitialspace=True):
        number, numbers = int(row[1]), [float(value) for value in row[2:]]
        if number >= len(times):
            continue  # the app writes on for a moment after the video
        pose, keys = pose_from_quat(numbers[:3], numbers[3:7]), pixel_keys(*(numbers[7:11] or shared))
        shot = shot_of(f"{number:06d}", pose, keys, f"{path}, frame {number}")
        start = (times[max(0, number - 1)] + times[number]) / 2 if number else 0.0
        yield replace(shot, pixels=partial(video.read_frame, movie, start), size=size)
