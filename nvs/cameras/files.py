"""Camera paths from files: transforms.json, and the camera_path.json that nerfstudio's viewer exports."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from geometry.errors import InputError
from geometry.scenes.transforms_json import extrinsics_from_opengl, lens_from_keys
from geometry.views import Cameras


def cameras_from_file(path: Path | str, image_size: tuple[int, int] | None = None) -> Cameras:
    """The cameras of a file in its own order and world, as one scene; photos need not exist.

    Lens distortion is dropped: rendered views are pinhole images.

    Args:
        image_size: (H, W) to which the intrinsics shall refer. The file's image is scaled to cover it and
            the overhang cut off evenly at both sides; a file that gives no size is taken to mean this
            one. None keeps each camera's own size.

    Raises:
        InputError: not such a file, no cameras in it, or a pose that is no rigid transform.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: expected a file of cameras, found no such file") from None
    except ValueError as error:  # includes broken UTF-8
        raise InputError(f"{path}: expected JSON, could not read it ({error})") from error
    key = next((k for k in ("frames", "camera_path") if isinstance(content, dict) and content.get(k)), None)
    if key is None:
        raise InputError(f"{path}: expected a list 'frames' or 'camera_path' of cameras, found neither")

    poses, matrices = [], []
    for index, entry in enumerate(content[key]):
        where = f"{path}, {key} {index}"
        poses.append(_pose(entry, where))
        if key == "frames":
            lens = lens_from_keys(content, entry, where, image_size or (0, 0))
            matrices.append(_matrix(lens.focal, lens.principal, lens.image_size, image_size))
        else:
            matrices.append(_viewer_matrix(content, entry, image_size, where))
    return Cameras(
        extrinsics=torch.from_numpy(extrinsics_from_opengl(np.stack(poses)))[None].float(),
        intrinsics=torch.from_numpy(np.stack(matrices))[None].float(),
    )


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


def _viewer_matrix(
    content: Mapping, entry: Mapping, image_size: tuple[int, int] | None, where: str
) -> np.ndarray:
    """Intrinsics of a viewer's keyframe: a vertical field of view in degrees for a central camera."""
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
    return _matrix((focal, focal), (width / 2, height / 2), (height, width), image_size)


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
