"""Polycam's raw export: a JSON with each photo's camera, ``keyframes/cameras`` beside ``keyframes/images``.

``t_00`` ... ``t_23`` are camera-to-world with OpenGL axes, in metres, y up; ``fx fy cx cy width height`` are
of the stored photo. ``corrected_cameras`` and ``corrected_images`` are the same after Polycam's adjustment.
"""

from pathlib import Path

import numpy as np

from geometry.errors import InputError
from geometry.formats.images import natural_key
from geometry.formats.text import read_json
from geometry.scenes.photo_files import find_named
from geometry.scenes.scene import Frame, Scene, check_pose, photo_frame, photos_present, readable_frames
from geometry.scenes.transforms_json import extrinsics_from_opengl, lens_from_keys

_NAMES = {"fx": "fl_x", "fy": "fl_y", "cx": "cx", "cy": "cy", "width": "w", "height": "h"}


def find_cameras(folder: Path) -> Path | None:
    """The folder of camera files in an export, or in its ``keyframes``; None where there is none."""
    for inner in (folder / "keyframes", folder):
        for name in ("corrected_cameras", "cameras"):
            if is_export(inner / name):
                return inner / name
    return None


def is_export(folder: Path) -> bool:
    """Whether the folder holds camera files of this kind."""
    first = next(iter(_files(folder)), None)
    try:
        return first is not None and "t_00" in read_json(first, "a camera")
    except (InputError, TypeError):
        return False


def photo_names(folder: Path) -> list[str]:
    """The photos that have a camera, without suffix."""
    return [path.stem for path in _files(folder)]


def read_scene(folder: Path, image_folder: Path, *, only: set[str] | None = None) -> Scene:
    """Posed photos that have a camera file, in natural order.

    Args:
        only: resolved paths to keep, when the caller chose some of the photos.

    Raises:
        InputError: a camera file that is none (named), or no photo of them is there.
    """
    files = {path.stem: path for path in _files(folder)}
    photos = find_named(list(files), image_folder, photos_from=image_folder)

    def frame_of(name: str) -> Frame:
        path = files[name]
        content = read_json(path, "a camera")
        try:
            rows = [[float(content[f"t_{row}{column}"]) for column in range(4)] for row in range(3)]
            keys = {ours: content[theirs] for theirs, ours in _NAMES.items()}
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise InputError(f"{path}: expected t_00 ... t_23, {', '.join(_NAMES)}, got {error}") from None
        pose = np.array([*rows, [0, 0, 0, 1]])
        check_pose(pose, str(path))
        lens = lens_from_keys({}, keys, str(path), (0, 0))
        extrinsics = extrinsics_from_opengl(pose)
        return photo_frame(photos[name], name=name, extrinsics=extrinsics, lens=lens, where=str(path))

    names = photos_present(photos, only, folder, image_folder)
    frames = readable_frames(names, frame_of, strict=only is not None)
    return Scene(
        name=folder.name,
        frames=tuple(frames),
        source=f"Polycam cameras {folder}",
        metric=True,
        folder=image_folder,
    )


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("[!.]*.json"), key=natural_key)
