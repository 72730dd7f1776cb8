"""Intrinsics that are known where poses are not: a focal length, EXIF's, or a calibration file's."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from geometry.errors import InputError, reading
from geometry.formats.colmap import read_cameras
from geometry.formats.distortion import Lens, pinhole_intrinsics
from geometry.formats.images import read_exif_lens, read_header
from geometry.formats.text import read_json
from geometry.scenes.scene import Frame, Scene, photo_frame
from geometry.scenes.transforms_json import lens_from_keys

FILM_WIDTH_MM = 36.0  # of the film that EXIF's equivalent focal lengths refer to
_OPENCV = (".yml", ".yaml", ".xml")


def with_intrinsics(scene: Scene, focal: str | float | Path) -> Scene:
    """The scene with intrinsics for the photos that had none; `Frame.load` undoes a calibration's distortion.

    Args:
        focal: pixels of the photos as they are; ``26mm`` for a lens that shows as much on film 36 mm wide;
            ``exif`` takes what photos say of that; or a file: a JSON with the keys of a transforms.json
            (``fl_x``, ``camera_angle_x``, ...), COLMAP's cameras.txt or .bin, or what OpenCV's calibration
            writes (.yml, .xml).

    Raises:
        InputError: no such file or number, or no photo has such EXIF.
    """
    known = _with_intrinsics(scene, str(focal))
    if all(frame.intrinsics is None for frame in known.frames):
        raise InputError("--focal exif: expected photos whose EXIF has FocalLengthIn35mmFilm, found none")
    return known


def with_exif(scene: Scene) -> Scene:
    """The scene with the focal length that EXIF states, if it does, for photos that had no intrinsics."""
    return _with_intrinsics(scene, "exif")


def _with_intrinsics(scene: Scene, focal: str) -> Scene:
    frames = [f if f.intrinsics is not None or f.rig else _with_lens(f, focal) for f in scene.frames]
    found = any(ours is not theirs for ours, theirs in zip(frames, scene.frames))
    return replace(scene, frames=tuple(frames)) if found else scene


def _with_lens(frame: Frame, focal: str) -> Frame:
    path = Path(focal).expanduser()
    if path.suffix and path.is_file():
        if isinstance(frame.image, Path):
            lens = read_calibration(path, read_header(frame.image).stored_size)
            kept = {name: getattr(frame, name) for name in ("mask", "background", "depth")}
            return photo_frame(frame.image, name=frame.name, lens=lens, where=str(path), **kept)
        lens = read_calibration(path, frame.image_size)
    else:
        pixels = _focal_px(frame, focal)
        if pixels is None:
            return frame
        H, W = frame.image_size
        lens = Lens(image_size=(H, W), focal=(pixels, pixels), principal=(W / 2, H / 2))
    lens = lens.resized(frame.image_size)
    K, pinhole = pinhole_intrinsics(lens), lens.is_pinhole
    return replace(frame, intrinsics=K, lens=None if pinhole else lens)


def _focal_px(frame: Frame, focal: str) -> float | None:
    """Pixels of the loaded photo; None where EXIF does not say."""
    film = focal.removesuffix("mm")
    try:
        if focal == "exif":
            lens = read_exif_lens(frame.image) if isinstance(frame.image, Path) else None
            value = None if lens is None else lens.focal_35mm
        else:
            value = float(film)
    except ValueError:
        value = -1.0
    if value is not None and not 0 < value < float("inf"):
        raise InputError(
            f"--focal {focal}: expected pixels (1200), an equivalent focal length (26mm), exif, or a file of "
            "a calibration (.json, .txt, .bin, .yml, .xml)"
        )
    in_film = focal == "exif" or film != focal
    return value / FILM_WIDTH_MM * max(frame.image_size) if in_film and value else value


def read_calibration(path: Path, photo_size: tuple[int, int]) -> Lens:
    """The camera of a calibration file.

    Args:
        photo_size: (H, W) as stored, where the file gives none.

    Raises:
        InputError: no such file, or none or several cameras in it.
    """
    suffix = path.suffix.lower()
    if suffix == ".json":
        content = read_json(path, "a camera")
        return lens_from_keys({}, content if isinstance(content, dict) else {}, str(path), photo_size)
    if suffix in _OPENCV:
        return _opencv(path, photo_size)
    cameras = read_cameras(path)
    if len(cameras) != 1:
        raise InputError(f"{path}: expected one camera, got {len(cameras)}")
    return next(iter(cameras.values())).lens()


def _opencv(path: Path, photo_size: tuple[int, int]) -> Lens:
    """What OpenCV's calibration programs write."""
    with reading(path, "a camera_matrix of OpenCV"):
        file = cv2.FileStorage(str(path), cv2.FILE_STORAGE_READ)
        K, found = (file.getNode(n).mat() for n in ("camera_matrix", "distortion_coefficients"))
        w, h = (int(file.getNode(name).real()) for name in ("image_width", "image_height"))
        if K is None or K.shape != (3, 3):
            raise ValueError("no camera_matrix of 3 x 3")
        numbers = np.zeros(0) if found is None else found.ravel()
        if len(numbers) > 8:
            raise ValueError(f"{len(numbers)} distortion coefficients, where 8 are known")
        return Lens(
            image_size=(h, w) if w and h else photo_size,
            focal=(K[0, 0], K[1, 1]),
            principal=(K[0, 2] + 0.5, K[1, 2] + 0.5),  # OpenCV's first pixel centre is at 0
            coefficients=tuple(numbers.tolist()),
        )
