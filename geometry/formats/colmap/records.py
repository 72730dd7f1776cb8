"""A COLMAP model in memory, and the rules that its two file forms share."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8

from geometry.errors import InputError
from geometry.formats.distortion import Lens, sphere
from geometry.ops import rotations

# COLMAP's id, name, number of focal lengths, distortion family, where each further parameter goes in the
# family's order.
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
    (11, "RAD_TAN_THIN_PRISM_FISHEYE", 2, "fisheye624", tuple(range(12))),
    (12, "SIMPLE_DIVISION", 1, "division", (0,)),
    (13, "DIVISION", 2, "division", (0,)),
    (14, "SIMPLE_FISHEYE", 1, "fisheye", ()),
    (15, "FISHEYE", 2, "fisheye", ()),
    (16, "EUCM", 2, "eucm", (0, 1)),
    (17, "EQUIRECTANGULAR", 0, "panorama", ()),  # two parameters, its size
)
MODEL_BY_NAME = {row[1]: row for row in MODELS}


@dataclass(frozen=True, kw_only=True)
class ColmapCamera:
    """One camera, parameters in COLMAP's own order."""

    model: str  # COLMAP's name, for example SIMPLE_RADIAL
    image_size: tuple[int, int]  # (H, W)
    params: tuple[float, ...]
    fault: str = ""  # why it cannot be used, if so: a complaint about a camera that no photo has helps nobody

    def lens(self) -> Lens:
        """The same camera in our terms.

        Raises:
            InputError: it has a fault.
        """
        if self.fault:
            raise InputError(self.fault)
        _, _, focals, family, places = MODEL_BY_NAME[self.model]
        if family == "panorama":
            return sphere(self.image_size)
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


def parameter_count(name: str) -> int:
    """How many parameters a camera model has."""
    _, _, focals, _, places = MODEL_BY_NAME[name]
    return focals + 2 + len(places)


def checked_camera(name: str, width: int, height: int, params: tuple, where: str) -> ColmapCamera:
    """A camera of a file's words; ``where`` names their place in its fault."""
    fault = ""
    if name not in MODEL_BY_NAME:
        fault = f"{where}: expected a camera model among {', '.join(MODEL_BY_NAME)}, got {name}"
    elif len(params) != (count := parameter_count(name)):
        fault = f"{where}: expected {count} parameters of {name}, got {len(params)}"
    return ColmapCamera(model=name, image_size=(height, width), params=params, fault=fault)


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


def model_from_cameras(
    names: Sequence[str],
    extrinsics: Float[np.ndarray, "V 4 4"],
    intrinsics: Float[np.ndarray, "V 3 3"],
    image_sizes: Sequence[tuple[int, int]],
    *,
    points: Float[np.ndarray, "N 3"],
    colours: UInt8[np.ndarray, "N 3"],
    seen_by: Int[np.ndarray, " N"],
) -> ColmapModel:
    """A PINHOLE model of cameras and points that came from elsewhere: one camera per photo, ids from 1.

    Args:
        image_sizes: (H, W) of each photo, to which its intrinsics refer.
        seen_by: the one view that observes each point; its keypoint is the projection there.
    """
    cameras, images = {}, {}
    xyz, K = np.asarray(points, dtype=np.float64), np.asarray(intrinsics, dtype=np.float64)
    tracks = np.zeros((len(xyz), 1, 2), np.int64)
    for v, (name, (H, W)) in enumerate(zip(names, image_sizes)):
        pose, focal, principal = np.asarray(extrinsics[v], np.float64), K[v].diagonal()[:2], K[v, :2, 2]
        rows = np.flatnonzero(seen_by == v)
        local = xyz[rows] @ pose[:3, :3].T + pose[:3, 3]
        tracks[rows, 0, 0], tracks[rows, 0, 1] = v + 1, np.arange(len(rows))
        cameras[v + 1] = ColmapCamera(
            model="PINHOLE", image_size=(H, W), params=(*focal.tolist(), *principal.tolist())
        )
        images[v + 1] = ColmapImage(
            name=name,
            camera_id=v + 1,
            extrinsics=pose,
            keypoints=local[:, :2] / local[:, 2:] * focal + principal,
            point_ids=rows + 1,
        )
    ids, errors = np.arange(1, len(xyz) + 1), np.zeros(len(xyz))
    found = ColmapPoints(ids=ids, xyz=xyz, rgb=colours, errors_px=errors, tracks=tuple(tracks))
    return ColmapModel(cameras=cameras, images=images, points=found)
