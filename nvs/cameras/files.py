"""Cameras to render, from files: transforms.json, nerfstudio's camera_path.json, COLMAP models."""

import math
from collections.abc import Mapping, Sequence
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
from geometry.scenes.transforms_json import extrinsics_from_matrix, lens_from_keys
from geometry.views import Cameras
from nvs.cameras.fit import fit_intrinsics

SCALE = "scale_factor"  # key of our files: how much larger their world is than that of the given cameras


_Posed = tuple[np.ndarray, Lens]  # world-to-camera with OpenCV axes, and what the file says of the camera


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
    size = image_size or cameras[0][1].pinhole_size
    return _as_record(cameras, size), size


def _read(
    path: Path,
    image_size: tuple[int, int] | None,
    origin: Float[np.ndarray, " 3"] | None,
    scale: float = 1.0,
) -> list[_Posed]:
    posed, own = (_read_model(path), 1.0) if path.is_dir() else _read_json(path, image_size)
    poses = np.stack([pose for pose, _ in posed])
    if origin is not None:
        middle = np.median(se3.centres(torch.from_numpy(poses)).numpy(), axis=0)
        if np.linalg.norm(middle - origin) < np.linalg.norm(middle):
            poses = moved(poses, origin)
    poses[:, :3, 3] *= scale / own
    return [(pose, lens) for pose, (_, lens) in zip(poses, posed)]


def _as_record(posed: Sequence[_Posed], image_size: tuple[int, int] | None) -> Cameras:
    extrinsics = torch.from_numpy(np.stack([pose for pose, _ in posed]))[None]
    matrices = []
    for _, lens in posed:
        panorama = lens.family == "panorama"  # of which the view ahead is taken
        K = torch.from_numpy(pinhole_intrinsics(lens) if panorama else lens.intrinsics)
        matrices.append(fit_intrinsics(K, lens.pinhole_size, image_size or lens.pinhole_size))
    return Cameras(extrinsics=extrinsics.float(), intrinsics=torch.stack(matrices)[None].float())


def _read_json(path: Path, image_size: tuple[int, int] | None) -> tuple[list[_Posed], float]:
    """Cameras, and how much larger their world is than the given cameras'."""
    content = read_json(path, "a file of cameras")
    key = next((k for k in ("frames", "camera_path") if isinstance(content, dict) and content.get(k)), None)
    if key is None:
        raise InputError(f"{path}: expected a list 'frames' or 'camera_path' of cameras, found neither")
    posed = []
    for index, entry in enumerate(content[key]):
        where = f"{path}, {key} {index}"
        pose = _pose(entry, where)
        if key == "frames":
            posed.append((pose, lens_from_keys(content, entry, where, image_size or (0, 0))))
        else:
            posed.append((pose, _viewer_lens(content, entry, where)))
    own = content.get(SCALE, 1.0)
    return posed, float(own) if isinstance(own, (int, float)) and own > 0 else 1.0


def _read_model(folder: Path) -> list[_Posed]:
    """The cameras of a COLMAP model in or below a folder."""
    place = find_model(folder)
    if place is None:
        raise InputError(f"{folder}: expected a COLMAP model (cameras and images, .bin or .txt), found none")
    model = read_model(place)
    if not model.images:
        raise InputError(f"{place}: expected a COLMAP model with registered photos, got an empty one")
    images = sorted(model.images.values(), key=lambda image: natural_key(image.name))
    return [(image.extrinsics, model.cameras[image.camera_id].lens()) for image in images]


def _pose(entry: object, where: str) -> np.ndarray:
    """World-to-camera, OpenCV axes."""
    try:
        values = entry.get("transform_matrix", entry.get("camera_to_world"))  # type: ignore[attr-defined]
        matrix = np.asarray(values, dtype=np.float64).reshape(-1, 4)
    except (AttributeError, TypeError, ValueError):
        raise InputError(f"{where}: expected a pose of 4x4 numbers") from None
    return extrinsics_from_matrix(matrix, where)


def _viewer_lens(content: Mapping, entry: Mapping, where: str) -> Lens:
    """A viewer's keyframe: a central camera by its vertical angle."""
    try:
        height = float(content.get("render_height") or 1080)
        width = float(content.get("render_width") or height * float(entry.get("aspect", 16 / 9)))
        fov = float(entry["fov"])
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{where}: expected fov (vertical, degrees) and a render size in numbers") from None
    if not (0 < fov < 180 and height >= 1 and width >= 1):
        raise InputError(
            f"{where}: expected fov in 0..180 and a positive size, got {fov}, {height} x {width}"
        )
    focal = 0.5 * height / math.tan(math.radians(fov) / 2)
    size = round(height), round(width)
    return Lens(image_size=size, focal=(focal, focal), principal=(size[1] / 2, size[0] / 2))
