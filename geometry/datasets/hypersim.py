"""Hypersim: photorealistic rooms rendered with V-Ray, in metres.

``<scene ai_VVV_NNN>/``:

- ``_detail/metadata_scene.csv``: ``meters_per_asset_unit``;
- ``_detail/cam_XX/camera_keyframe_{orientations [N, 3, 3], positions [N, 3], frame_indices [N]}.hdf5``
  (dataset ``dataset``): camera-to-world rotation with OpenGL axes, centre in asset units, frame number;
- ``images/scene_cam_XX_final_preview/frame.IIII.tonemap.jpg`` (768 x 1024);
- ``images/scene_cam_XX_geometry_hdf5/frame.IIII.depth_meters.hdf5``: distance in metres from the camera's
  centre along the ray, not z; NaN or infinite where there is nothing.

Lenses differ by scene, some are shifted and tilted: ``metadata_camera_parameters.csv`` (from the set's
repository) gives M_cam_from_uv, which takes (u, v, 1), u to the right and v up in -1..1 between the image's
borders, to a ray in OpenGL camera axes. Its QR decomposition is a turn of the camera and an upper
triangular inverse of pinhole intrinsics: exact for tilted lenses too (intrinsics may then have skew), and
z-depth is along the turned axis.

Licence: CC BY-SA 3.0. Source: apple/ml-hypersim README and ``contrib/mikeroberts3000``. The lens table was
seen; no image or depth yet.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import torch
from jaxtyping import Float

from geometry.datasets.sources import DataSet, if_there, inverted, rigid, stored_frame
from geometry.errors import InputError, reading
from geometry.formats.depth_files import read_h5_depth
from geometry.formats.images import read_header
from geometry.ops.pinhole import pixel_rays
from geometry.scenes.scene import Frame, Scene

LENS_TABLE = "metadata_camera_parameters.csv"
_GL_TO_CV = np.diag([1.0, -1.0, -1.0])


@dataclass(eq=False, kw_only=True)
class Hypersim(DataSet):
    """Camera paths of Hypersim; scene names are ``<scene>/cam_XX``.

    Args:
        root: folder of the scenes.
        lens_table: the set's ``metadata_camera_parameters.csv``; None looks for it in the root.
    """

    holds = "Hypersim scenes with _detail/cam_*/camera_keyframe_positions.hdf5"
    lens_table: str | Path | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._lenses = read_lens_table(Path(self.lens_table or self.base / LENS_TABLE).expanduser())

    @classmethod
    def find(cls, root: Path) -> dict[str, Path]:
        cameras = [p.parent for p in sorted(root.glob("*/_detail/cam_*/camera_keyframe_positions.hdf5"))]
        return {f"{p.parents[1].name}/{p.name}": p for p in cameras}

    def _read(self, name: str, place: Path) -> Scene:
        scene, camera = name.split("/")
        if scene not in self._lenses:
            raise InputError(f"{self.base}: expected a row of {scene} in {LENS_TABLE}, found none")
        folder = self.base / scene
        unit = _read_unit(folder / "_detail" / "metadata_scene.csv")
        rotations = _read_dataset(place / "camera_keyframe_orientations.hdf5", (3, 3))
        centres = _read_dataset(place / "camera_keyframe_positions.hdf5", (3,)) * unit
        indices = place / "camera_keyframe_frame_indices.hdf5"
        numbers = _read_dataset(indices, ()).astype(int) if indices.is_file() else np.arange(len(centres))
        if not len(rotations) == len(centres) == len(numbers):
            raise InputError(
                f"{place}: expected one orientation, position and number per frame, got {len(rotations)}, "
                f"{len(centres)}, {len(numbers)}"
            )
        frames = []
        for number, rotation, centre in zip(numbers, rotations, centres):
            base = folder / "images" / f"scene_{camera}_"
            photo = Path(f"{base}final_preview/frame.{number:04d}.tonemap.jpg")
            depth = Path(f"{base}geometry_hdf5/frame.{number:04d}.depth_meters.hdf5")
            if photo.is_file():  # the set leaves out frames that were rendered badly
                frames.append(self._frame(scene, photo, depth, rotation, centre))
        return Scene(name=name, frames=tuple(frames), source=str(place), metric=True, folder=folder)

    def _frame(self, scene: str, photo: Path, depth: Path, rotation: np.ndarray, centre: np.ndarray) -> Frame:
        size = read_header(photo).stored_size
        K, turn = pinhole_from_uv(self._lenses[scene], size)
        extrinsics = inverted(rigid(rotation @ _GL_TO_CV, centre, str(photo)))
        extrinsics[:3] = turn @ extrinsics[:3]
        return stored_frame(photo, extrinsics, K, depth=if_there(read_ray_distance, depth, K, size))


def pinhole_from_uv(
    cam_from_uv: Float[np.ndarray, "3 3"], image_size: tuple[int, int]
) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "3 3"]]:
    """Intrinsics, and the rotation that takes V-Ray's camera (OpenCV axes) to the one they belong to.

    Rays of pixels are A p with A = diag(1, -1, -1) M N, N from pixels to (u, v, 1). A = Q U with Q a
    rotation and U upper triangular with a positive diagonal: K = U^-1 up to scale, turn = Q^T.
    """
    H, W = image_size
    uv_from_pixels = np.array([[2 / W, 0, -1], [0, -2 / H, 1], [0, 0, 1]])
    A = _GL_TO_CV @ cam_from_uv @ uv_from_pixels
    Q, U = np.linalg.qr(A)
    signs = np.sign(np.diag(U))
    Q, U = Q * signs, signs[:, None] * U
    if np.linalg.det(Q) < 0:
        raise InputError(f"expected a lens that does not mirror, got M_cam_from_uv {cam_from_uv.tolist()}")
    K = np.linalg.inv(U)
    return K / K[2, 2], Q.T


def read_ray_distance(
    path: Path, intrinsics: Float[np.ndarray, "3 3"], image_size: tuple[int, int]
) -> Float[np.ndarray, "H W"]:
    """z-depth from distance along the ray: divided by the length of the pixel's ray at z = 1."""
    distance = read_h5_depth(path, dataset="dataset")
    if distance.shape != tuple(image_size):
        raise InputError(f"{path}: expected the photo's size (H, W) {image_size}, got {distance.shape}")
    rays = pixel_rays(torch.from_numpy(np.linalg.inv(intrinsics)), image_size).numpy()
    return (distance / np.linalg.norm(rays, axis=-1)).astype(np.float32)


def read_lens_table(path: Path) -> dict[str, Float[np.ndarray, "3 3"]]:
    """Scene -> M_cam_from_uv."""
    columns = [f"M_cam_from_uv_{i}{j}" for i in range(3) for j in range(3)]
    with reading(
        path,
        "Hypersim's table of lenses (contrib/mikeroberts3000 of its repository) with columns scene_name and "
        f"{columns[0]} ...",
    ):
        rows = _read_csv(path)
        return {row["scene_name"]: np.reshape([float(row[c]) for c in columns], (3, 3)) for row in rows}


def _read_unit(path: Path) -> float:
    with reading(path, "meters_per_asset_unit"):
        values = {row["parameter_name"]: row["parameter_value"] for row in _read_csv(path)}
        return float(values["meters_per_asset_unit"])


def _read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _read_dataset(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    with reading(path, "an HDF5 dataset 'dataset'"), h5py.File(path, "r") as file:
        values = np.asarray(file["dataset"], dtype=np.float64)
    if values.shape[1:] != shape:
        raise InputError(f"{path}: expected shape {['N', *shape]}, got {list(values.shape)}")
    return values
