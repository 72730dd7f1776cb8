"""Cameras to render, from files: transforms.json, nerfstudio's camera_path.json, COLMAP models."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from geometry.errors import InputError
from geometry.formats.colmap import find_model, read_model
from geometry.formats.distortion import Lens, pinhole_intrinsics
from geometry.formats.images import natural_key
from geometry.formats.text import read_json
from geometry.ops import se3
from geometry.scenes.local_origin import moved
from geometry.scenes.transforms_json import extrinsics_from_opengl, lens_from_keys
from geometry.views import Cameras

SCALE = "scale_factor"  # key of our files: how much larger their world is than that of the given cameras


@dataclass(frozen=True)
class _Camera:
    """One camera as its file has it."""

    extrinsics: np.ndarray  # world-to-camera, OpenCV axes
    focal: tuple[float, float]
    principal: tuple[float, float]
    size: tuple[float, float] | tuple[int, int]  # (H, W) to which these refer


def cameras_from_file(
    path: Path | str,
    image_size: tuple[int, int] | None = None,
    origin: Float[np.ndarray, " 3"] | None = None,
) -> Cameras:
    """The cameras of a file in its own order and world, as one scene; photos need not exist.

    Lens distortion is dropped: rendered views are pinhole images.

    Args:
        path: a transforms.json, the camera_path.json of nerfstudio's viewer, or a COLMAP model's folder or
            one that holds it, whose cameras come in the natural order of their photos' names.
        image_size: (H, W) to which the intrinsics shall refer. The file's image is scaled to cover it and
            the overhang cut off evenly at both sides; a file that gives no size is taken to mean this
            one. None keeps each camera's own size.
        origin: of a world that was moved (`geometry.scenes.local_origin`); cameras nearer to it than to the
            file's own origin are moved too.

    Raises:
        InputError: not such a file, no cameras in it, or a pose that is no rigid transform.
    """
    return _as_record(_read(Path(path), image_size, origin), image_size)


def cameras_and_size(
    path: Path | str,
    image_size: tuple[int, int] | None = None,
    origin: Float[np.ndarray, " 3"] | None = None,
    scale: float = 1.0,
) -> tuple[Cameras, tuple[int, int]]:
    """`cameras_from_file` for images of one size: the size asked for, or the first camera's own.

    Args:
        scale: of a world that was made so many times larger after that; files that say so are in it already.
    """
    cameras = _read(Path(path), image_size, origin, scale)
    H, W = image_size or cameras[0].size
    return _as_record(cameras, (round(H), round(W))), (round(H), round(W))


def _read(
    path: Path,
    image_size: tuple[int, int] | None,
    origin: Float[np.ndarray, " 3"] | None,
    scale: float = 1.0,
) -> list[_Camera]:
    cameras, own = (_read_model(path), 1.0) if path.is_dir() else _read_json(path, image_size)
    poses = np.stack([camera.extrinsics for camera in cameras])
    if origin is not None:
        middle = np.median(se3.centres(torch.from_numpy(poses)).numpy(), axis=0)
        if np.linalg.norm(middle - origin) < np.linalg.norm(middle):
            poses = moved(poses, origin)
    poses[:, :3, 3] *= scale / own
    return [replace(c, extrinsics=E) for c, E in zip(cameras, poses)]


def _as_record(cameras: Sequence[_Camera], image_size: tuple[int, int] | None) -> Cameras:
    matrices = [_matrix(c.focal, c.principal, c.size, image_size) for c in cameras]
    return Cameras(
        extrinsics=torch.from_numpy(np.stack([c.extrinsics for c in cameras]))[None].float(),
        intrinsics=torch.from_numpy(np.stack(matrices))[None].float(),
    )


def _read_json(path: Path, image_size: tuple[int, int] | None) -> tuple[list[_Camera], float]:
    """Cameras, and how much larger their world is than the given cameras'."""
    content = read_json(path, "a file of cameras")
    key = next((k for k in ("frames", "camera_path") if isinstance(content, dict) and content.get(k)), None)
    if key is None:
        raise InputError(f"{path}: expected a list 'frames' or 'camera_path' of cameras, found neither")

    cameras = []
    for index, entry in enumerate(content[key]):
        where = f"{path}, {key} {index}"
        extrinsics = extrinsics_from_opengl(_pose(entry, where))
        if key == "frames":
            lens = lens_from_keys(content, entry, where, image_size or (0, 0))
            cameras.append(_camera(extrinsics, lens))
        else:
            cameras.append(_Camera(extrinsics, *_viewer_lens(content, entry, where)))
    own = content.get(SCALE, 1.0)
    return cameras, float(own) if isinstance(own, (int, float)) and own > 0 else 1.0


def _read_model(folder: Path) -> list[_Camera]:
    """The cameras of a COLMAP model in or below a folder."""
    place = find_model(folder)
    if place is None:
        raise InputError(f"{folder}: expected a COLMAP model (cameras and images, .bin or .txt), found none")
    model = read_model(place)
    if not model.images:
        raise InputError(f"{place}: expected a COLMAP model with registered photos, got an empty one")
    cameras = []
    for image in sorted(model.images.values(), key=lambda image: natural_key(image.name)):
        cameras.append(_camera(image.extrinsics, model.cameras[image.camera_id].lens()))
    return cameras


def _camera(extrinsics: np.ndarray, lens: Lens) -> _Camera:
    """A lens's camera; of a panorama the view ahead."""
    K = pinhole_intrinsics(lens) if lens.family == "panorama" else lens.intrinsics
    (fx, _, cx), (_, fy, cy) = K[:2].tolist()
    return _Camera(extrinsics, (fx, fy), (cx, cy), lens.pinhole_size)


def _pose(entry: object, where: str) -> np.ndarray:
    """cam_to_world [4, 4] with OpenGL axes."""
    try:
        values = entry.get("transform_matrix", entry.get("camera_to_world"))  # type: ignore[attr-defined]
        pose = np.asarray(values, dtype=np.float64).reshape(-1, 4)
    except (AttributeError, TypeError, ValueError):
        raise InputError(f"{where}: expected a pose of 4x4 numbers") from None
    if pose.shape not in ((3, 4), (4, 4)) or not np.isfinite(pose).all():
        raise InputError(f"{where}: expected a pose of 4x4 finite numbers, got {pose.size} of them")
    rotation = pose[:3, :3]
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-3 or np.linalg.det(rotation) < 0:
        raise InputError(f"{where}: expected a rotation in the pose, got {rotation.tolist()}")
    return np.concatenate((pose[:3], [[0.0, 0.0, 0.0, 1.0]]))


def _viewer_lens(
    content: Mapping, entry: Mapping, where: str
) -> tuple[tuple[float, float], tuple[float, float], tuple[float, float]]:
    """Focal, principal point and size of a viewer's keyframe: a central camera by its vertical angle."""
    try:
        height = float(content.get("render_height") or 1080)
        width = float(content.get("render_width") or height * float(entry.get("aspect", 16 / 9)))
        fov = float(entry["fov"])
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{where}: expected fov (vertical, degrees) and a render size in numbers") from None
    if not (0 < fov < 180 and height > 0 and width > 0):
        raise InputError(
            f"{where}: expected fov in 0..180 and a positive size, got {fov}, {height} x {width}"
        )
    focal = 0.5 * height / math.tan(math.radians(fov) / 2)
    return (focal, focal), (width / 2, height / 2), (height, width)


def _matrix(
    focal: tuple[float, float],
    principal: tuple[float, float],
    size: tuple[float, float] | tuple[int, int],
    wanted: tuple[int, int] | None,
) -> np.ndarray:
    """Intrinsics after scaling an image of ``size`` to cover ``wanted`` and cutting it at the centre."""
    (H, W), (h, w) = wanted or size, size
    factor = max(H / h, W / w)
    cx = factor * principal[0] - (factor * w - W) / 2
    cy = factor * principal[1] - (factor * h - H) / 2
    return np.array([[factor * focal[0], 0.0, cx], [0.0, factor * focal[1], cy], [0.0, 0.0, 1.0]])
