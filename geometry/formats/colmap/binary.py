"""COLMAP models as binary files."""

import struct
from pathlib import Path

import numpy as np

from geometry.errors import InputError
from geometry.formats.colmap.records import (
    MODEL_BY_ID,
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

_KEYPOINT = np.dtype([("xy", "<f8", 2), ("point", "<i8")])


def read_cameras(path: Path) -> dict[int, ColmapCamera]:
    file, cameras = _Bytes(path), {}
    for _ in range(file.take("Q")[0]):
        where = f"{path}, byte {file.offset}"
        camera_id, model_id, width, height = file.take("iiQQ")
        model = MODEL_BY_ID.get(model_id)
        count = 2 + model[2] + len(model[4]) if model else 0
        cameras[camera_id] = checked_camera(
            model, f"id {model_id}", width, height, file.take(f"{count}d"), where
        )
    file.end()
    return cameras


def read_images(path: Path) -> dict[int, ColmapImage]:
    file, images = _Bytes(path), {}
    for _ in range(file.take("Q")[0]):
        where = f"{path}, byte {file.offset}"
        image_id, *pose, camera_id = file.take("I7dI")
        name = file.name()
        keypoints = file.array(file.take("Q")[0], _KEYPOINT)
        images[image_id] = ColmapImage(
            name=name,
            camera_id=camera_id,
            extrinsics=checked_pose(pose[:4], pose[4:], f"{where}, image {name}"),
            keypoints=keypoints["xy"].copy(),
            point_ids=keypoints["point"].copy(),
        )
    file.end()
    return images


def read_points(path: Path) -> ColmapPoints:
    file, rows, tracks = _Bytes(path), [], []
    for _ in range(file.take("Q")[0]):
        *row, length = file.take("Q3d3BdQ")
        rows.append(tuple(row))
        tracks.append(file.array(2 * length, "<u4").reshape(-1, 2).astype(np.int64))
    file.end()
    return points_from_rows(rows, tracks)


def contents(model: ColmapModel) -> dict[str, bytes]:
    """What the three files of a model hold, by name without suffix."""
    cameras = [struct.pack("<Q", len(model.cameras))]
    for camera_id, camera in model.cameras.items():
        (height, width), n = camera.image_size, len(camera.params)
        cameras.append(
            struct.pack(
                f"<iiQQ{n}d", camera_id, MODEL_BY_NAME[camera.model][0], width, height, *camera.params
            )
        )
    images = [struct.pack("<Q", len(model.images))]
    for image_id, image in model.images.items():
        images.append(struct.pack("<I7dI", image_id, *pose_numbers(image), image.camera_id))
        images.append(image.name.encode() + b"\0" + struct.pack("<Q", len(image.keypoints)))
        keypoints = np.empty(len(image.keypoints), _KEYPOINT)
        keypoints["xy"], keypoints["point"] = image.keypoints, image.point_ids
        images.append(keypoints.tobytes())
    points = [struct.pack("<Q", len(model.points.ids))]
    for point_id, xyz, rgb, error, track in point_rows(model.points):
        points.append(struct.pack("<Q3d3BdQ", point_id, *xyz, *rgb, error, len(track)))
        points.append(np.asarray(track, "<u4").tobytes())
    return {"cameras": b"".join(cameras), "images": b"".join(images), "points3D": b"".join(points)}


class _Bytes:
    """A cursor over a binary file; errors name the byte where reading failed."""

    def __init__(self, path: Path) -> None:
        self.path, self.data, self.offset = path, path.read_bytes(), 0

    def take(self, layout: str) -> tuple:
        layout = "<" + layout
        self._need(struct.calcsize(layout))
        values = struct.unpack_from(layout, self.data, self.offset)
        self.offset += struct.calcsize(layout)
        return values

    def array(self, count: int, dtype: np.dtype | str) -> np.ndarray:
        dtype = np.dtype(dtype)
        self._need(count * dtype.itemsize)
        values = np.frombuffer(self.data, dtype, count, self.offset)
        self.offset += count * dtype.itemsize
        return values

    def name(self) -> str:
        end = self.data.find(b"\0", self.offset)
        if end < 0:
            raise InputError(
                f"{self.path}: expected a name ending in NUL at byte {self.offset}, the file ends"
            )
        raw, self.offset = self.data[self.offset : end], end + 1
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            raise InputError(
                f"{self.path}: expected a name in UTF-8 before byte {end}, got {raw[:40]!r}"
            ) from None

    def end(self) -> None:
        if self.offset != len(self.data):
            raise InputError(
                f"{self.path}: expected the end at byte {self.offset}, the file has {len(self.data)}"
            )

    def _need(self, size: int) -> None:
        if self.offset + size > len(self.data):
            raise InputError(
                f"{self.path}: expected {size} more bytes at byte {self.offset}, the file ends at "
                f"{len(self.data)} (truncated, or not a COLMAP file)"
            )
