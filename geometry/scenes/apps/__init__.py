"""Cameras as other apps export them, each read by one small function that gives the same record, `Shot`.

| app | file | camera-to-world, its axes | intrinsics |
|---|---|---|---|
| Polycam, raw | ``keyframes/cameras/*.json`` (``corrected_cameras``) | OpenGL, metres | the photo's pixels |
| 3D Scanner App (ARKit) | ``frame_*.json`` beside the photos | OpenGL, metres | the photo's pixels |
| Record3D (ARKit) | ``metadata.json``, ``metadata`` or a ``.r3d`` | OpenGL, metres | pixels, by columns |
| Stray Scanner (ARKit) | ``odometry.csv`` beside ``rgb.mp4`` | OpenCV, metres | pixels of the video |
| Metashape | ``cameras.xml`` | OpenCV; each component has a Sim(3) | principal point from the middle |
| RealityCapture | CSV "Internal/External camera parameters" | OpenGL, angles, z up | film 36 mm wide |
| RealityCapture | ``.xmp`` beside each photo | OpenCV, as world-to-camera and centre | film 36 mm wide |

Film counts along the photo's longer side, and so do RealityCapture's principal points. P1 and P2 of
Metashape, and T1 and T2 of RealityCapture, are OpenCV's p2 and p1. Both put the first pixel's centre at
(0.5, 0.5).

Source: the apps' documentation (Metashape's manual, appendix "Camera models"; Epic, "RealityCapture XMP
Camera Math"; format descriptions of Stray Scanner and Record3D), nerfstudio's and AliceVision's readers.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from geometry.console import some
from geometry.errors import DAMAGED, InputError, reading
from geometry.formats.distortion import Lens
from geometry.formats.images import natural_key, read_header
from geometry.formats.text import read_json, read_text
from geometry.ops import se3
from geometry.scenes.apps.phones import polycam, record3d, scanner_3d, stray
from geometry.scenes.apps.photogrammetry import metashape, realitycapture_csv, realitycapture_xmp, sidecars
from geometry.scenes.apps.shots import Shot, starts_with
from geometry.scenes.panorama import with_views
from geometry.scenes.photo_files import find_named
from geometry.scenes.scene import Frame, Scene, check_pose, photo_frame, photos_present, readable_frames


@dataclass(frozen=True, kw_only=True)
class App:
    """An app's export."""

    title: str
    places: tuple[str, ...]  # patterns of its file or folder of cameras in a capture's folder; "." is that
    is_mine: Callable[[Path], bool]  # told by the name and the first bytes
    shots: Callable[[Path], Iterable[Shot]]
    metric: bool = False


def find_cameras(folder: Path) -> Path | None:
    """The file or folder with an app's cameras in a folder; None where there is none."""
    for app in APPS:
        for pattern in app.places:
            for path in [folder] if pattern == "." else sorted(folder.glob(pattern), key=natural_key):
                if not path.name.startswith(".") and _is_of(app, path):
                    return path
    return None


def app_of(source: Path) -> App | None:
    """The app whose cameras these are; None for others' files."""
    return next((app for app in APPS if _is_of(app, source)), None)


def photo_names(source: Path) -> list[str]:
    """The photos that have a camera, as the app names them; errors as of `read_scene`."""
    return list(_shots(source)[1])


def read_scene(source: Path, image_folder: Path, *, only: set[str] | None = None) -> Scene:
    """Posed photos of an app's export, in natural order of names.

    Args:
        source: what `find_cameras` found.
        image_folder: take photos from there, unless the export holds them itself.
        only: resolved paths to keep, when the caller chose some of the photos.

    Raises:
        InputError: a file that is no such export (named), or no photo of it is there.
    """
    app, shots = _shots(source)
    photos: dict[str, Path | None] = {}

    def frame_of(name: str) -> Frame:
        shot, photo = shots[name], photos.get(name)
        check_pose(shot.cam_to_world, shot.where)
        extrinsics = se3.invert(torch.from_numpy(np.ascontiguousarray(shot.cam_to_world))).numpy()
        lens = _lens(shot, shot.size if photo is None else read_header(photo).stored_size)
        if photo is not None:
            return photo_frame(photo, name=name, extrinsics=extrinsics, lens=lens, where=shot.where)
        K = lens.resized(shot.size).intrinsics
        return Frame(name=name, image=shot.pixels, image_size=shot.size, extrinsics=extrinsics, intrinsics=K)

    if next(iter(shots.values())).pixels is None:
        photos = find_named(list(shots), image_folder, photos_from=image_folder)
        names = photos_present(photos, only, source, image_folder)
    else:
        names = sorted(shots, key=natural_key)
    frames = tuple(readable_frames(names, frame_of))
    title = f"{app.title} cameras {source}"
    return with_views(
        Scene(name=source.stem, frames=frames, source=title, metric=app.metric, folder=image_folder)
    )


def _lens(shot: Shot, size: tuple[int, int]) -> Lens:
    """The lens of a photo stored as (H, W); its faults say where they are."""
    try:
        return shot.lens(size)
    except DAMAGED as error:  # an InputError is among them
        said = str(error) or type(error).__name__
        raise InputError(said if said.startswith(shot.where) else f"{shot.where}: {said}") from None


def _is_of(app: App, path: Path) -> bool:
    try:
        return app.is_mine(path)
    except (InputError, OSError, TypeError, ValueError):
        return False


def _shots(source: Path) -> tuple[App, dict[str, Shot]]:
    """The app, and its shots by name.

    Raises:
        InputError: no app's file, or one that is damaged or empty.
    """
    app = app_of(source)
    if app is None:
        raise InputError(f"{source}: expected cameras that an app exported, found none of a known kind")
    with reading(source, f"{app.title} cameras"):
        shots = list(app.shots(source))
    twice = [name for name, count in Counter(shot.name for shot in shots).items() if count > 1]
    if twice:
        warnings.warn(
            f"{source}: {len(twice)} names are those of several photos ({some(twice)}); they are left out",
            stacklevel=2,
        )
    own = {shot.name: shot for shot in shots if shot.name not in twice}
    if not own:
        raise InputError(f"{source}: expected {app.title} cameras, found none that is placed")
    return app, own


def _first_holds(key: str, folder: Path, pattern: str) -> bool:
    """Whether the first of a folder's JSON files has a key."""
    first = min(folder.glob(pattern), key=natural_key, default=None)
    return first is not None and key in read_json(first, "a camera")


def _is_record3d(path: Path) -> bool:
    named = path.is_file() and path.name in ("metadata", "metadata.json")
    return path.suffix.lower() == ".r3d" or (named and "poses" in read_json(path, "Record3D's metadata"))


APPS = (
    App(
        title="Polycam",
        places=("keyframes/corrected_cameras", "keyframes/cameras", "corrected_cameras", "cameras"),
        is_mine=lambda path: path.is_dir() and _first_holds("t_00", path, "[!.]*.json"),
        shots=polycam,
        metric=True,
    ),
    App(
        title="3D Scanner App",
        places=(".",),
        is_mine=lambda path: path.is_dir() and _first_holds("cameraPoseARFrame", path, "frame_*.json"),
        shots=scanner_3d,
        metric=True,
    ),
    App(
        title="Record3D",
        places=("metadata.json", "metadata", "EXR_RGBD/metadata.json", "*.r3d"),
        is_mine=_is_record3d,
        shots=record3d,
        metric=True,
    ),
    App(
        title="Stray Scanner",
        places=("odometry.csv",),
        is_mine=lambda path: path.name == "odometry.csv" and (path.parent / "rgb.mp4").is_file(),
        shots=stray,
        metric=True,
    ),
    App(
        title="Metashape",
        places=("*.xml",),
        is_mine=lambda path: starts_with(path, ".xml", "<document", "<chunk"),
        shots=metashape,
    ),
    App(
        title="RealityCapture",
        places=("*.csv",),
        is_mine=lambda path: starts_with(path, ".csv", "#name", "heading"),
        shots=realitycapture_csv,
    ),
    App(
        title="RealityCapture",
        places=(".",),
        is_mine=lambda path: any("capturingreality" in read_text(p) for p in sidecars(path)[:3]),
        shots=realitycapture_xmp,
    ),
)
