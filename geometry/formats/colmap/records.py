"""A COLMAP model in memory, and the rules that its two file forms share."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8

from geometry.errors import InputError
from geometry.formats.distortion import Lens
from geometry.ops import rotations

# model id, name, whether there are two focal lengths, distortion family, where each further parameter
# goes in the family's order.
MODELS = (
    (0, "SIMPLE_PINHOLE", 1, "opencv", ()),
    (1, "PINHOLE", 2, "opencv", ()),
    (2, "SIMPLE_RADIAL", 1, "opencv", (0,)),
    (3, "RADIAL", 1, "opencv", (0, 1)),
    (4, "OPENCV", 2, "opencv", (0, 1, 2, 3)),
    (5, "OPENCV_FISHEYE", 2, "fisheye", (0, 1, 2, 3)),
    (6, "FULL_OPENCV", 2, "opencv", (0, 1, 2, 3, 4, 5, 6, 7)),
    (7, "FOV", 2, "fov", (0,)),
    (8, "SIMPLE_RADIAL_FISHEYE", 1, "fisheye", (0,)),
    (9, "RADIAL_FISHEYE", 1, "fisheye", (0, 1)),
    (10, "THIN_PRISM_FISHEYE", 2, "fisheye", (0, 1, 4, 5, 2, 3, 6, 7)),
)
MODEL_BY_ID = {row[0]: row for row in MODELS}
MODEL_BY_NAME = {row[1]: row for row in MODELS}


@dataclass(frozen=True, kw_only=True)
class ColmapCamera:
    """One camera, parameters in COLMAP's own order."""

    model: str  # COLMAP's name, for example SIMPLE_RADIAL
    image_size: tuple[int, int]  # (H, W)
    params: tuple[float, ...]

    def lens(self) -> Lens:
        """The same camera in our terms."""
        _, _, focals, family, places = MODEL_BY_NAME[self.model]
        coefficients = [0.0] * (max(places, default=-1) + 1)
        for place, value in zip(places, self.params[focals + 2 :]):
            coefficients[place] = value
        return Lens(
            image_size=self.image_size,
            focal=(self.params[0], self.params[focals - 1]),
            principal=(self.params[focals], self.params[focals + 1]),
            family=family,
            coefficients=tuple(coefficients),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class ColmapImage:
    """One registered photo."""

    name: str  # may contain sub-folders
    camera_id: int
    extrinsics: Float[np.ndarray, "4 4"]  # world-to-camera
    keypoints: Float[np.ndarray, "n 2"]  # pixels
    point_ids: Int[np.ndarray, " n"]  # id of each keypoint's 3D point, -1 without


@dataclass(frozen=True, kw_only=True, eq=False)
class ColmapPoints:
    """Sparse points, one row each."""

    ids: Int[np.ndarray, " n"]
    xyz: Float[np.ndarray, "n 3"]
    rgb: UInt8[np.ndarray, "n 3"]
    errors_px: Float[np.ndarray, " n"]
    tracks: tuple[Int[np.ndarray, "_ 2"], ...]  # (image id, index of the keypoint)

    def rows(self, ids: Int[np.ndarray, " k"] | Sequence[int]) -> Int[np.ndarray, " m"]:
        """Rows of these points in order, each once; ids of no point, such as -1, are passed over."""
        found = [self._row_of[i] for i in map(int, ids) if i in self._row_of]
        return np.unique(np.array(found, dtype=np.int64))

    @cached_property
    def _row_of(self) -> dict[int, int]:
        return {point: row for row, point in enumerate(self.ids.tolist())}


@dataclass(frozen=True, kw_only=True, eq=False)
class ColmapModel:
    """A sparse model: cameras and images by id, points."""

    cameras: dict[int, ColmapCamera]
    images: dict[int, ColmapImage]
    points: ColmapPoints


def checked_pose(quat_wxyz: Sequence[float], translation: Sequence[float], where: str) -> np.ndarray:
    """World-to-camera [4, 4] of a file's numbers; ``where`` names their place in the error."""
    quat = torch.tensor(quat_wxyz, dtype=torch.float64)
    if not torch.isfinite(quat).all() or not np.isfinite(translation).all() or quat.norm() < 1e-9:
        raise InputError(f"{where}: expected a finite pose, got q {list(quat_wxyz)}, t {list(translation)}")
    pose = np.eye(4)
    pose[:3, :3] = rotations.matrix_from_quat_xyzw(rotations.xyzw_from_wxyz(quat)).numpy()
    pose[:3, 3] = translation
    return pose


def checked_camera(
    model: tuple | None, label: object, width: int, height: int, params: tuple, where: str
) -> ColmapCamera:
    """A camera of a file's numbers; ``label`` is what the file calls the model, ``model`` its row or None."""
    if model is None:
        raise InputError(f"{where}: expected a camera model among {', '.join(MODEL_BY_NAME)}, got {label}")
    wanted = 2 + model[2] + len(model[4])
    if len(params) != wanted:
        raise InputError(f"{where}: expected {wanted} parameters of {model[1]}, got {len(params)}")
    return ColmapCamera(model=model[1], image_size=(height, width), params=params)


def points_from_rows(rows: list[tuple], tracks: list[np.ndarray]) -> ColmapPoints:
    """Points of rows (id, x, y, z, r, g, b, error) and their tracks."""
    return ColmapPoints(
        ids=np.array([r[0] for r in rows], dtype=np.int64),
        xyz=np.array([r[1:4] for r in rows], dtype=np.float64).reshape(-1, 3),
        rgb=np.array([r[4:7] for r in rows], dtype=np.uint8).reshape(-1, 3),
        errors_px=np.array([r[7] for r in rows], dtype=np.float64),
        tracks=tuple(tracks),
    )


def pose_numbers(image: ColmapImage) -> list[float]:
    """The pose as a file states it: qw qx qy qz tx ty tz."""
    rotation = torch.from_numpy(np.ascontiguousarray(image.extrinsics[:3, :3]))
    quat = rotations.wxyz_from_xyzw(rotations.quat_xyzw_from_matrix(rotation))
    return [*quat.tolist(), *image.extrinsics[:3, 3].tolist()]


def point_rows(points: ColmapPoints) -> Iterator[tuple]:
    """(id, xyz, rgb, error, track) of each point."""
    return zip(
        points.ids.tolist(),
        points.xyz.tolist(),
        points.rgb.tolist(),
        points.errors_px.tolist(),
        points.tracks,
    )
