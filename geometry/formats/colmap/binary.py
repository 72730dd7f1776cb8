"""COLMAP models as binary files."""

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from geometry.errors import InputError
from geometry.formats.colmap import records
from geometry.formats.colmap.records import ColmapCamera, ColmapImage, ColmapModel, ColmapPoints

_KEYPOINT = np.dtype([("xy", "<f8", 2), ("point", "<i8")])
_POINT = np.dtype(
    [("id", "<u8"), ("xyz", "<f8", 3), ("rgb", "u1", 3), ("error", "<f8"), ("length", "<u8")]
)  # a track follows


def read_cameras(path: Path) -> dict[int, ColmapCamera]:
    file, cameras = _Bytes(path), {}
    for where in file.items():
        camera_id, model_id, width, height = file.take("iiQQ")
        known = model_id in range(len(records.MODELS))
        name = records.MODELS[model_id][1] if known else f"id {model_id}"
        params = file.take(f"{records.parameter_count(name)}d") if known else ()
        cameras[camera_id] = records.checked_camera(name, width, height, params, where)
        if not known:  # how long it is, nobody can say
            raise InputError(cameras[camera_id].fault)
    return cameras


def read_images(path: Path) -> dict[int, ColmapImage]:
    file, images = _Bytes(path), {}
    for where in file.items():
        image_id, *pose, camera_id = file.take("I7dI")
        name = file.name()
        keypoints = file.array(file.take("Q")[0], _KEYPOINT)
        images[image_id] = ColmapImage(
            name=name,
            camera_id=camera_id,
            extrinsics=records.checked_pose(pose[:4], pose[4:], f"{where}, image {name}"),
            keypoints=keypoints["xy"].copy(),
            point_ids=keypoints["point"].copy(),
        )
    return images


def read_points(path: Path) -> ColmapPoints:
    file, rows, tracks = _Bytes(path), [], []
    for _ in file.items():
        *row, length = file.take("q3d3BdQ")
        rows.append(tuple(row))
        tracks.append(file.array(2 * length, "<u4").reshape(-1, 2).astype(np.int64))
    return records.points_from_rows(rows, tracks)


def contents(model: ColmapModel) -> dict[str, bytes]:
    """What the three files of a model hold, by name without suffix."""
    cameras, images, points = (
        [struct.pack("<Q", len(items))] for items in (model.cameras, model.images, model.points.ids)
    )
    for camera_id, camera in model.cameras.items():
        (height, width), number = camera.image_size, records.MODEL_BY_NAME[camera.model][0]
        cameras.append(struct.pack("<iiQQ", camera_id, number, width, height))
        cameras.append(struct.pack(f"<{len(camera.params)}d", *camera.params))
    for image_id, image in model.images.items():
        keypoints = np.empty(len(image.keypoints), _KEYPOINT)
        keypoints["xy"], keypoints["point"] = image.keypoints, image.point_ids
        images.append(struct.pack("<I7dI", image_id, *records.pose_numbers(image), image.camera_id))
        images.append(image.name.encode() + b"\0" + struct.pack("<Q", len(keypoints)) + keypoints.tobytes())
    heads = np.empty(len(model.points.ids), _POINT)
    heads["id"], heads["xyz"], heads["rgb"] = model.points.ids, model.points.xyz, model.points.rgb
    heads["error"] = model.points.errors_px
    heads["length"] = [len(track) for track in model.points.tracks]
    bare, size = heads.tobytes(), _POINT.itemsize
    for i, track in enumerate(model.points.tracks):
        points += bare[i * size : (i + 1) * size], track.astype("<u4").tobytes()
    return {"cameras": b"".join(cameras), "images": b"".join(images), "points3D": b"".join(points)}


class _Bytes:
    """A cursor over a binary file; errors name the byte where reading failed."""

    def __init__(self, path: Path) -> None:
        self.path, self.data, self.offset = path, path.read_bytes(), 0

    def items(self) -> Iterator[str]:
        """The place of each of as many items as the file announces, after which it must end."""
        for _ in range(self.take("Q")[0]):
            yield f"{self.path}, byte {self.offset}"
        if self.offset != len(self.data):
            raise InputError(
                f"{self.path}: expected the end at byte {self.offset}, the file has {len(self.data)}"
            )

    def take(self, layout: str) -> tuple:
        return struct.unpack_from(f"<{layout}", self.data, self._pass(struct.calcsize(f"<{layout}")))

    def array(self, count: int, dtype: np.dtype | str) -> np.ndarray:
        return np.frombuffer(self.data, dtype, count, self._pass(count * np.dtype(dtype).itemsize))

    def name(self) -> str:
        """A name that ends in NUL."""
        end = self.data.find(b"\0", self.offset)
        raw = self.data[self.offset : end]
        self._pass(len(raw) + 1 if end >= 0 else len(self.data))
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            raise InputError(
                f"{self.path}: expected a name in UTF-8 before byte {end}, got {raw!r}"
            ) from None

    def _pass(self, size: int) -> int:
        """Go on by ``size`` bytes; where they start."""
        start, self.offset = self.offset, self.offset + size
        if self.offset > len(self.data):
            raise InputError(
                f"{self.path}: expected {size} more bytes at byte {start}, the file ends at "
                f"{len(self.data)} (truncated, or not a COLMAP file)"
            )
        return start
