"""transforms.json of nerfstudio and instant-ngp, read and written.

In the file poses are camera-to-world with OpenGL axes (x right, y up, z back); here they are
world-to-camera with OpenCV axes. Intrinsics are COLMAP's: first pixel centre at (0.5, 0.5).
``applied_transform`` is already part of the stored poses and is not undone.
"""

import json
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from geometry.atomic import atomic_file
from geometry.errors import InputError
from geometry.formats.distortion import Lens, sphere
from geometry.formats.images import read_header, read_map
from geometry.formats.text import read_object
from geometry.ops import se3
from geometry.scenes.panorama import with_views
from geometry.scenes.photo_files import find_named, is_file
from geometry.scenes.scene import Frame, Scene, check_pose, photo_frame, photos_present, readable_frames

_FLIP = np.diag([1.0, -1.0, -1.0, 1.0])  # OpenGL camera axes <-> OpenCV camera axes
# Coefficients by name, in the order of `Lens`; nerfstudio's files have p1 and p2 that fisheyes do not use.
_FISHEYE = dict.fromkeys(
    ("OPENCV_FISHEYE", "FISHEYE", "SIMPLE_FISHEYE", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE"),
    ("k1", "k2", "k3", "k4"),
) | {"THIN_PRISM_FISHEYE": ("k1", "k2", "k3", "k4", "p1", "p2", "sx1", "sy1")}
_LISTED = ("k1", "k2", "k3", "k4", "p1", "p2")  # order of nerfstudio's distortion_params
_UNKNOWN = ("k5", "k6", "s1", "s2", "s3", "s4")  # OpenCV's further terms, which nerfstudio has not
_PINHOLE = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "PERSPECTIVE", "SIMPLE_RADIAL", "RADIAL", "FULL_OPENCV")


def read_scene(
    path: Path,
    image_folder: Path | None = None,
    *,
    only: set[str] | None = None,
    split: str = "frames",
    partly: bool = False,
) -> Scene:
    """Posed photos that the file lists, in natural order of names.

    Listed photos that do not exist are skipped with one warning that counts them. Intrinsics that
    describe another resolution than the photos found (DL3DV's ``images_8``) are rescaled to them.

    Args:
        image_folder: take photos only from there (DL3DV's file says ``images/``, the folder is
            ``images_8/``); see `geometry.scenes.photo_files.find_named`.
        only: resolved paths to keep, when the caller chose some of the photos.
        split: key of the frame list (ScanNet++ also has ``test_frames``).
        partly: a frame without transform_matrix is a photo whose intrinsics alone are known.

    Raises:
        InputError: no JSON of this form, a bad frame (named), or no photo of it exists.
    """
    path = Path(path)
    content, entries = _listed(path, split)
    photos = find_named(list(entries), path.parent, photos_from=image_folder)
    names = photos_present(photos, only, path, image_folder or path.parent)
    frames = readable_frames(names, lambda name: _frame(content, entries[name], photos[name], path, partly))
    return with_views(
        Scene(name=path.parent.name, frames=tuple(frames), source=str(path), folder=path.parent)
    )


def photo_names(path: Path) -> list[str]:
    """The photos that the file lists, as it names them; errors as of `read_scene`."""
    return list(_listed(path, "frames")[1])


def _listed(path: Path, split: str) -> tuple[dict, dict[str, dict]]:
    """The file's content, and its entry of each photo by name."""
    content = read_object(path, "a transforms.json with frames")
    listed = content.get(split)
    if not isinstance(listed, list) or not listed:
        raise InputError(f"{path}: expected a list {split!r} of photos with poses, found none")
    for index, entry in enumerate(listed):
        if not isinstance(entry, dict) or not isinstance(entry.get("file_path"), str):
            raise InputError(
                f"{path}, frame {index}: expected an object with a file_path, got {str(entry)[:60]}"
            )
    return content, {entry["file_path"]: entry for entry in listed}


def write_scene(
    path: Path,
    file_paths: Sequence[str],
    extrinsics: Float[np.ndarray, "V 4 4"],
    intrinsics: Float[np.ndarray, "V 3 3"],
    image_sizes: Sequence[tuple[int, int]],
    *,
    per_frame: Sequence[Mapping[str, object]] | None = None,
    extra: Mapping[str, object] | None = None,
) -> None:
    """Write nerfstudio's form: OpenGL camera-to-world poses, pinhole intrinsics.

    Intrinsics stand once at the top if all frames share them, else in every frame (nerfstudio reads both).

    Args:
        file_paths: photos relative to the file's folder.
        extrinsics: world-to-camera, OpenCV axes.
        image_sizes: (H, W) of each photo.
        per_frame, extra: further keys of each frame (``depth_file_path``), of the file (``ply_file_path``).
    """
    poses = se3.invert(torch.from_numpy(np.asarray(extrinsics, dtype=np.float64))).numpy() @ _FLIP
    cameras = [_camera_keys(np.asarray(K), size) for K, size in zip(intrinsics, image_sizes, strict=True)]
    shared = cameras[0] if cameras and all(camera == cameras[0] for camera in cameras) else {}
    frames = [
        {"file_path": name, **({} if shared else camera), **more, "transform_matrix": pose.tolist()}
        for name, pose, camera, more in zip(
            file_paths, poses, cameras, per_frame or [{}] * len(poses), strict=True
        )
    ]
    content = {"camera_model": "OPENCV", **shared, **(extra or {}), "frames": frames}
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def lens_from_keys(content: Mapping, entry: Mapping, where: str, photo_size: tuple[int, int]) -> Lens:
    """The camera of one frame: the frame's own keys come before those of the file.

    Args:
        photo_size: (H, W) as stored, used where the file gives no w and h.

    Raises:
        InputError: no focal length in any of the known forms, or an unknown camera model.
    """

    keys = _with_distortion(content, where) | _with_distortion(entry, where)

    def number(key: str) -> float | None:
        value = keys.get(key)
        try:
            return None if value is None else float(value)
        except (TypeError, ValueError, OverflowError):
            raise InputError(f"{where}: expected a number for {key}, got {value!r}") from None

    cx, cy = number("cx"), number("cy")
    h, w = number("h"), number("w")
    if w is None or h is None:
        h, w = _size_without_any(photo_size, cx, cy, where)
    if not (w >= 1 and h >= 1 and math.isfinite(w * h)):
        raise InputError(f"{where}: expected a positive image size, got w {w}, h {h}")
    model = str(keys.get("camera_model", "OPENCV")).upper()
    if model == "EQUIRECTANGULAR":
        return sphere((round(h), round(w)))

    def focal(axis: str, size: float) -> float | None:
        angle, degrees = f"camera_angle_{axis}", number(f"{axis}_fov")  # instant-ngp takes either
        value = number(angle) or (degrees and math.radians(degrees))
        if not value:
            return None
        if not 0 < value < math.pi:
            raise InputError(f"{where}: expected {angle} in radians, between 0 and pi, got {value}")
        return 0.5 * size / math.tan(0.5 * value)

    fx, fy = number("fl_x"), number("fl_y")
    if fx is None:
        fx, fy = focal("x", w), focal("y", h) if fy is None else fy
    fx, fy = fx if fx is not None else fy, fy if fy is not None else fx
    if fx is None:
        raise InputError(f"{where}: expected fl_x, camera_angle_x or x_fov, found none of them")
    fisheye = model in _FISHEYE or bool(keys.get("is_fisheye", False))
    if not fisheye and model not in _PINHOLE:
        raise InputError(f"{where}: expected camera_model OPENCV, OPENCV_FISHEYE or PINHOLE, got {model}")
    names = _FISHEYE.get(model, _FISHEYE["FISHEYE"]) if fisheye else ("k1", "k2", "p1", "p2", "k3", "k4")
    coefficients = tuple(number(name) or 0.0 for name in names)
    if not fisheye and coefficients[5]:
        # OpenCV's k4 is in the denominator; nerfstudio's is the next power of r^2. The two cannot be
        # distinguished.
        raise InputError(f"{where}: expected k4 = 0 in a perspective camera, got {coefficients[5]}")
    if unknown := [name for name in _UNKNOWN if number(name)]:
        raise InputError(f"{where}: expected no further distortion, got {unknown[0]} = {keys[unknown[0]]}")
    try:
        return Lens(
            image_size=(round(h), round(w)),
            focal=(fx, fy),
            principal=(w / 2 if cx is None else cx, h / 2 if cy is None else cy),
            family="fisheye" if fisheye else "opencv",
            coefficients=coefficients,
        )
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _with_distortion(keys: Mapping, where: str) -> dict[str, Any]:
    """Keys of a file or a frame, with nerfstudio's list ``distortion_params`` under the parts' names."""
    listed = keys.get("distortion_params")
    if listed is None:
        return dict(keys)
    if not isinstance(listed, list) or len(listed) > len(_LISTED):
        raise InputError(f"{where}: expected distortion_params {', '.join(_LISTED)}, got {str(listed)[:60]}")
    return {**keys, **dict(zip(_LISTED, listed))}


def _size_without_any(
    photo_size: tuple[int, int], cx: float | None, cy: float | None, where: str
) -> tuple[float, float]:
    """(h, w) of a camera whose file gives none: the photo's, unless the principal point is of another size.

    Raises:
        InputError: the point lies off the middle by one factor in both directions, or outside the photo.
    """
    h, w = photo_size
    if cx is None or cy is None or min(h, w) < 1 or not math.isfinite(cx * cy):
        return h, w
    across, down = 2 * cx / w, 2 * cy / h
    inside = 0 < across < 2 and 0 < down < 2
    if inside and (abs(across / down - 1) > 0.1 or 0.8 < across < 1.25):
        return h, w  # off the middle as lenses and cut photos are
    middle = max(1e-9, (across + down) / 2)
    whole = round(middle) if middle >= 1 else 1 / round(1 / middle)
    if whole != 1 and max(abs(across / whole - 1), abs(down / whole - 1)) < 0.15:
        return h * whole, w * whole  # the photo is a copy, so many times smaller or larger
    raise InputError(
        f"{where}: expected w and h of the photos that the camera was made for: its principal point "
        f"({cx:g}, {cy:g}) is not that of a photo of {h} x {w} (H x W)"
    )


def _frame(content: Mapping, entry: Mapping, photo: Path, path: Path, partly: bool) -> Frame:
    where = f"{path}, frame {entry['file_path']}"
    extrinsics = None if partly and "transform_matrix" not in entry else _pose(entry, where)
    lens = lens_from_keys(content, entry, where, read_header(photo).stored_size)
    depth, mask = (_beside(entry.get(key), path.parent) for key in ("depth_file_path", "mask_path"))
    unit = content.get("depth_unit_scale_factor", 1e-3)  # nerfstudio's default: millimetres
    if not isinstance(unit, (int, float)):
        raise InputError(f"{path}: expected a number for depth_unit_scale_factor, got {unit!r}")
    return photo_frame(
        photo,
        name=entry["file_path"],
        extrinsics=extrinsics,
        lens=lens,
        where=where,
        depth=None if depth is None else partial(read_depth, depth, float(unit)),
        mask=mask,
    )


def _pose(entry: Mapping, where: str) -> np.ndarray:
    """The entry's world-to-camera pose, OpenCV axes."""
    try:
        matrix = np.array(entry["transform_matrix"], dtype=np.float64)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise InputError(f"{where}: expected a transform_matrix of 4x4 numbers") from None
    return extrinsics_from_matrix(matrix, where)


def extrinsics_from_matrix(cam_to_world: np.ndarray, where: str) -> Float[np.ndarray, "4 4"]:
    """World-to-camera with OpenCV axes of a ``transform_matrix`` [3 or 4, 4].

    Raises:
        InputError: no rigid transform; ``where`` names its place in the file.
    """
    if cam_to_world.shape == (4, 4) and not cam_to_world[3, :3].any() and cam_to_world[3, 3] not in (0, 1):
        cam_to_world = cam_to_world / cam_to_world[3, 3]  # homogeneous: any factor means the same
    if cam_to_world.shape == (3, 4):
        cam_to_world = np.concatenate((cam_to_world, [[0.0, 0.0, 0.0, 1.0]]))
    check_pose(cam_to_world, where)
    opencv = np.ascontiguousarray(cam_to_world @ _FLIP)
    return se3.invert(torch.from_numpy(opencv)).numpy()


def read_depth(path: Path, unit: float) -> np.ndarray:
    return read_map(path).astype(np.float32) * np.float32(unit)


def _camera_keys(intrinsics: np.ndarray, image_size: tuple[int, int]) -> dict[str, float]:
    H, W = image_size
    (fx, _, cx), (_, fy, cy) = intrinsics[:2].tolist()
    distortion = dict.fromkeys(("k1", "k2", "p1", "p2"), 0.0)
    return {"fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy, "w": W, "h": H, **distortion}


def _beside(name: object, folder: Path) -> Path | None:
    paths = [folder / n for n in (name, name.replace("\\", "/"))] if isinstance(name, str) else []
    return next((path for path in paths if is_file(path)), None)
