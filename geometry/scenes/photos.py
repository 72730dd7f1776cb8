"""Photos as a folder, a list, a video or images in memory, opened as a `Scene`."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from geometry.errors import InputError
from geometry.formats import colmap
from geometry.formats.images import FOREIGN_SUFFIXES, IMAGE_SUFFIXES, natural_key, remedy
from geometry.scenes import memory, transforms_json, video
from geometry.scenes.checks.cameras import require_consistent_cameras
from geometry.scenes.colmap import read_colmap
from geometry.scenes.scene import Frame, Scene, photo_frame
from geometry.views import Cameras

SMALLEST_SIDE = 14  # pixels: one patch of the network
# Where photos lie in a capture's folder, the sharpest first.
_PHOTO_FOLDERS = ("images", "images_2", "images_4", "images_8", "input", "rgb", "photos", "frames")


def open_photos(
    inputs: str | Path | Any | Sequence[Any],
    *,
    poses: str | Path | None = None,
    cameras: Cameras | None = None,
    unposed: bool = False,
    check: bool = True,
    in_order: bool = False,
    max_video_frames: int = 300,
) -> Scene:
    """Open photos, with their cameras where a file beside them has some.

    Photos come in natural order (numbers as numbers), upright, and without lens distortion where it is known;
    images in memory stay in the order given. A ``transforms.json``, or a COLMAP model in the folder,
    ``sparse/0``, ``sparse`` or ``colmap``, is found in the folder, or beside it; photos it does not cover are
    left out with a warning. Pixels are decoded later, by `Frame.load`.

    Args:
        inputs: one folder, one video, a ``transforms.json``, or photos one by one; or an image or images
            in memory: uint8 arrays [H, W, 3], float arrays or tensors [3, H, W] in 0..1, Pillow images.
        poses: a ``transforms.json`` or a COLMAP model's folder to take cameras from.
        cameras: one for each photo, [1, V, ...], in pixels of the photos as they are, upright.
        unposed: ignore every camera.
        check: refuse cameras whose convention contradicts the points or the photos.
        in_order: photos one by one stay in the order given.
        max_video_frames: of a video, this many frames, evenly spaced in time.

    Raises:
        InputError: nothing to read, a file that is no photo, cameras of other photos, or cameras that
            contradict themselves; the message names the file.
    """
    if (poses is not None) + (cameras is not None) + unposed > 1:
        what = "cameras" if poses is None else poses
        raise InputError(f"{what}: expected either poses, cameras or unposed, got both")
    given = [inputs] if isinstance(inputs, (str, Path)) else memory.as_list(inputs)
    if not given:
        raise InputError("photos: expected a folder, a video or a list of photos, got nothing")
    if all(isinstance(p, (str, Path)) for p in given):
        paths = [Path(p).expanduser() for p in given]
        for path in paths:
            if not path.exists():
                raise InputError(f"{path}: expected photos, found no such file or folder")
        place = None if poses is None else Path(poses).expanduser()
        scene = _open(paths, place, unposed or cameras is not None, max_video_frames)
        if in_order and len(paths) > 1:
            scene = _in_order(scene, paths)
    elif poses is not None:
        raise InputError(f"{poses}: expected poses of photos in files, got images in memory")
    else:
        scene = memory.scene_of(given)
    if cameras is not None:
        scene = _with_cameras(scene, cameras)
    for frame in scene.frames:
        if min(frame.image_size) < SMALLEST_SIDE:
            where = frame.image if isinstance(frame.image, Path) else frame.name
            H, W = frame.image_size
            raise InputError(
                f"{where}: expected at least {SMALLEST_SIDE} x {SMALLEST_SIDE} pixels, got {H} x {W}"
            )
    if check and scene.posed:
        require_consistent_cameras(scene)
    return scene


def _open(paths: list[Path], poses: Path | None, unposed: bool, max_video_frames: int) -> Scene:
    first, *more = paths
    if not more and first.is_dir():
        return _open_folder(first, poses, unposed, max_video_frames)
    if not more and first.suffix.lower() == ".json":
        scene = transforms_json.read_scene(first)
        return scene.without_cameras() if unposed else scene
    for path in paths:
        if path.suffix.lower() in video.VIDEO_SUFFIXES:
            if more:
                raise InputError(f"{path}: expected one video alone, got {len(paths)} files")
            if poses is not None:
                raise InputError(f"{poses}: expected poses of photos, got a video; extract its frames first")
            return video.read_scene(first, max_video_frames)
    for path in paths:
        if path.is_dir():
            raise InputError(f"{path}: expected one folder alone or photos, got a folder in a list")
    return _open_list(paths, poses, unposed)


def _in_order(scene: Scene, paths: list[Path]) -> Scene:
    """The frames in the order in which their files were given."""
    place = {path.resolve(): i for i, path in enumerate(paths)}
    return scene.select(sorted(range(len(scene)), key=lambda i: place[scene.frames[i].image.resolve()]))  # type: ignore[union-attr]


def _with_cameras(scene: Scene, cameras: Cameras) -> Scene:
    """The same photos with cameras from a program."""
    extrinsics, intrinsics = (
        t.detach().double().cpu().numpy() for t in (cameras.extrinsics, cameras.intrinsics)
    )
    if extrinsics.shape[:-2] != (1, len(scene)) or intrinsics.shape[:-2] != (1, len(scene)):
        raise InputError(
            f"cameras: expected one for each photo, [1, {len(scene)}, ...], got extrinsics "
            f"{list(extrinsics.shape)} and intrinsics {list(intrinsics.shape)}"
        )
    frames = [
        replace(frame, extrinsics=E, intrinsics=K)
        for frame, E, K in zip(scene.frames, np.ascontiguousarray(extrinsics[0]), intrinsics[0])
    ]
    return replace(scene, frames=tuple(frames), source="given cameras")


def _open_folder(folder: Path, poses: Path | None, unposed: bool, max_video_frames: int) -> Scene:
    photo_folder, photos = _find_photos(folder)
    name = folder.resolve().name
    source, ours = poses, True
    if source is None and not unposed:
        source, ours = _find_cameras(folder, photo_folder)
    if not photos and source is None:
        videos = [p for p in _visible_files(folder) if p.suffix.lower() in video.VIDEO_SUFFIXES]
        if len(videos) == 1:
            return video.read_scene(videos[0], max_video_frames)
        raise InputError(f"{folder}: expected photos (JPEG, PNG, ...) or one video, {_what_is_there(folder)}")
    foreign = [p for p in _visible_files(photo_folder) if p.suffix.lower() in FOREIGN_SUFFIXES]
    if foreign:
        _warn(
            f"{photo_folder}: {len(foreign)} files such as {foreign[0].name} are of kinds that are not "
            f"supported and are ignored; to use one, {remedy(foreign[0].suffix)}"
        )
    if source is None:
        return _unposed(photos, photo_folder, name)
    try:
        scene = _posed(source, photos, photo_folder if photos else None)
    except InputError as error:
        if not ours:
            _warn(f"{error}; they are ignored")
            return _unposed(photos, photo_folder, name)
        if poses is None:
            raise InputError(f"{error} (unposed ignores cameras)") from error
        raise
    return replace(scene, name=name)


def _open_list(photos: list[Path], poses: Path | None, unposed: bool) -> Scene:
    photos = sorted(photos, key=natural_key)
    folder, alone = photos[0].parent, len({photo.resolve().parent for photo in photos}) == 1
    source = poses
    if source is None and not unposed and alone:
        source, _ = _find_cameras(folder, folder, parent=False)
    if source is None:
        return _unposed(photos, folder, folder.resolve().name)
    chosen = {str(photo.resolve()) for photo in photos}
    return _posed(source, photos, folder if alone else None, only=chosen)


def _unposed(photos: list[Path], folder: Path, name: str) -> Scene:
    names = [p.relative_to(folder).as_posix() if p.is_relative_to(folder) else p.name for p in photos]
    if len(set(names)) < len(names):
        names = [str(photo) for photo in photos]
    frames: list[Frame] = [photo_frame(photo, name=name) for photo, name in zip(photos, names)]
    return Scene(name=name, frames=tuple(frames), folder=folder)


def _posed(source: Path, photos: list[Path], folder: Path | None, only: set[str] | None = None) -> Scene:
    """Scene of the cameras in a transforms.json or a COLMAP folder; says how many photos have none."""
    if source.suffix.lower() in (".bin", ".txt") and colmap.is_model(source.parent):
        source = source.parent
    elif source.is_dir() and not colmap.is_model(source) and (source / "transforms.json").is_file():
        source = source / "transforms.json"
    if source.is_dir():
        model = colmap.find_model(source)
        if model is None:
            raise InputError(f"{source}: expected a transforms.json or a COLMAP model, found neither in it")
        scene = read_colmap(model, folder or source, only=only)
    elif source.is_file():
        scene = transforms_json.read_scene(source, folder, only=only)
    else:
        raise InputError(
            f"{source}: expected poses (a transforms.json or a COLMAP model), found no such file"
        )
    used = {frame.image.resolve() for frame in scene.frames if isinstance(frame.image, Path)}
    left_out = [photo for photo in photos if photo.resolve() not in used]
    if left_out:
        _warn(
            f"{source}: {len(left_out)} of {len(photos)} photos have no camera there "
            f"({left_out[0].name}, ...); they are left out"
        )
    return scene


def _find_cameras(folder: Path, photo_folder: Path, *, parent: bool = True) -> tuple[Path | None, bool]:
    """A transforms.json or a COLMAP model in the folder, with the photos, or beside their folder.

    And whether it must belong to these photos: beside a folder of an unusual name it may belong to others.
    """
    usual = photo_folder.resolve().name.lower() in _PHOTO_FOLDERS
    places = [(folder, True), (photo_folder, True)]
    if usual or parent:
        places.append((photo_folder.resolve().parent, usual))
    for place, ours in places:
        if (place / "transforms.json").is_file():
            return place / "transforms.json", ours
        model = colmap.find_model(place)
        if model is not None:
            return model, ours
    return None, True


def _find_photos(folder: Path) -> tuple[Path, list[Path]]:
    """Photos in the folder itself, else in the first of the usual sub-folders that has some."""
    photos = _photos_of(_visible_files(folder))
    if photos:
        return folder, photos
    for name in _PHOTO_FOLDERS:
        inner = folder / name
        if inner.is_dir():
            found = _photos_of(_visible_files(inner)) or _photos_of(
                p for p in inner.rglob("*") if p.is_file() and not p.name.startswith(".")
            )
            if found:
                return inner, found
    return folder, []


def _photos_of(files: Iterable[Path]) -> list[Path]:
    return sorted((p for p in files if p.suffix.lower() in IMAGE_SUFFIXES), key=natural_key)


def _visible_files(folder: Path) -> list[Path]:
    """Files in the folder; names starting with a dot are the system's."""
    return sorted(
        (p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")), key=natural_key
    )


def _what_is_there(folder: Path) -> str:
    files = _visible_files(folder)
    if not files:
        folders = [p.name for p in sorted(folder.iterdir()) if p.is_dir()]
        return f"found only folders ({folders[0]}, ...)" if folders else "the folder is empty"
    foreign = [p for p in files if p.suffix.lower() in FOREIGN_SUFFIXES]
    if foreign:
        return f"found {foreign[0].name}, a kind that is not supported: {remedy(foreign[0].suffix)}"
    return f"found {len(files)} other files ({files[0].name}, ...)"


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=2)
