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
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import torch
from jaxtyping import Float

from geometry.datasets.sources import SceneSource, existing_folder, scene_names
from geometry.errors import InputError
from geometry.formats.depth_files import read_h5_depth
from geometry.formats.images import read_header
from geometry.ops import se3
from geometry.ops.pinhole import pixel_rays
from geometry.scenes.scene import Frame, Scene, check_pose

LENS_TABLE = "metadata_camera_parameters.csv"
_GL_TO_CV = np.diag([1.0, -1.0, -1.0])


class Hypersim(SceneSource):
    """Camera paths of Hypersim; scene names are ``<scene>/cam_XX``.

    Args:
        root: folder of the scenes.
        lens_table: the set's ``metadata_camera_parameters.csv``; None looks for it in the root.
        scenes: names to take, or a file with one per line; None takes all.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        lens_table: str | Path | None = None,
        scenes: str | Path | Sequence[str] | None = None,
    ) -> None:
        self.root = existing_folder(root, "Hypersim scenes")
        path = self.root / LENS_TABLE if lens_table is None else Path(lens_table).expanduser()
        self._lenses = read_lens_table(path)
        names = [
            f"{p.parents[2].name}/{p.parent.name}"
            for p in sorted(self.root.glob("*/_detail/cam_*/camera_keyframe_positions.hdf5"))
        ]
        self.names = scene_names(
            names, scenes, self.root, "scenes with _detail/cam_*/camera_keyframe_positions.hdf5"
        )

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Whether scenes with V-Ray camera paths are there."""
        return any(root.glob("*/_detail/cam_*/camera_keyframe_positions.hdf5"))

    def read(self, name: str) -> Scene:
        scene, camera = self._require(name, self.root).split("/")
        if scene not in self._lenses:
            raise InputError(f"{self.root}: expected a row of {scene} in {LENS_TABLE}, found none")
        folder = self.root / scene
        detail = folder / "_detail" / camera
        unit = _read_unit(folder / "_detail" / "metadata_scene.csv")
        rotations = _read_dataset(detail / "camera_keyframe_orientations.hdf5", (3, 3))
        centres = _read_dataset(detail / "camera_keyframe_positions.hdf5", (3,)) * unit
        indices = detail / "camera_keyframe_frame_indices.hdf5"
        numbers = _read_dataset(indices, ()).astype(int) if indices.is_file() else np.arange(len(centres))
        if not len(rotations) == len(centres) == len(numbers):
            raise InputError(
                f"{detail}: expected one orientation, position and number per frame, got {len(rotations)}, "
                f"{len(centres)}, {len(numbers)}"
            )
        frames = []
        for number, rotation, centre in zip(numbers, rotations, centres):
            stem = f"frame.{number:04d}"
            photo = folder / "images" / f"scene_{camera}_final_preview" / f"{stem}.tonemap.jpg"
            if not photo.is_file():
                continue  # the set leaves out frames that were rendered badly
            depth = folder / "images" / f"scene_{camera}_geometry_hdf5" / f"{stem}.depth_meters.hdf5"
            frames.append(self._frame(scene, photo, depth, rotation, centre))
        if not frames:
            raise InputError(
                f"{folder}: expected images/scene_{camera}_final_preview/*.tonemap.jpg, found none"
            )
        return Scene(name=name, frames=tuple(frames), source=str(detail), metric=True, folder=folder)

    def _frame(self, scene: str, photo: Path, depth: Path, rotation: np.ndarray, centre: np.ndarray) -> Frame:
        size = read_header(photo).stored_size
        K, turn = pinhole_from_uv(self._lenses[scene], size)
        cam_to_world = np.eye(4)
        cam_to_world[:3, :3], cam_to_world[:3, 3] = rotation @ _GL_TO_CV, centre
        check_pose(cam_to_world, f"{photo}")
        extrinsics = se3.invert(torch.from_numpy(cam_to_world)).numpy()
        extrinsics[:3] = turn @ extrinsics[:3]
        return Frame(
            name=photo.name,
            image=photo,
            image_size=size,
            extrinsics=extrinsics,
            intrinsics=K,
            exif=False,
            depth=partial(read_ray_distance, depth, K, size) if depth.is_file() else None,
        )


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
    """Scene -> M_cam_from_uv.

    Raises:
        InputError: the table is missing or has other columns.
    """
    columns = [f"M_cam_from_uv_{i}{j}" for i in range(3) for j in range(3)]
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return {
                row["scene_name"]: np.array([float(row[c]) for c in columns]).reshape(3, 3)
                for row in csv.DictReader(file)
            }
    except OSError as error:
        raise InputError(
            f"{path}: expected Hypersim's table of lenses (contrib/mikeroberts3000 of its repository), could "
            f"not read it ({error.strerror})"
        ) from error
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"{path}: expected columns scene_name and {columns[0]} ..., got others ({error})"
        ) from None


def _read_unit(path: Path) -> float:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = {row["parameter_name"]: row["parameter_value"] for row in csv.DictReader(file)}
        return float(rows["meters_per_asset_unit"])
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path}: expected meters_per_asset_unit, could not read it ({error})") from error


def _read_dataset(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    try:
        with h5py.File(path, "r") as file:
            values = np.asarray(file["dataset"], dtype=np.float64)
    except (OSError, KeyError) as error:
        raise InputError(
            f"{path}: expected an HDF5 dataset 'dataset', could not read it ({error})"
        ) from error
    if values.shape[1:] != shape:
        raise InputError(
            f"{path}: expected shape [N, {', '.join(map(str, shape))}], got {list(values.shape)}"
        )
    return values
