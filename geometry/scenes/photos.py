"""Photos as a folder, a list, a video or images in memory, opened as a `Scene`."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from geometry.errors import InputError, PhotoError
from geometry.formats import colmap
from geometry.formats.images import FOREIGN_SUFFIXES, Colour, natural_key, read_header, remedy
from geometry.scenes import apps, memory, transforms_json, video
from geometry.scenes.calibration import with_intrinsics
from geometry.scenes.checks.cameras import require_consistent_cameras
from geometry.scenes.colmap import read_colmap
from geometry.scenes.known_depth import with_depth
from geometry.scenes.local_origin import around_local_origin
from geometry.scenes.masks import with_masks
from geometry.scenes.panorama import recognised
from geometry.scenes.photo_files import is_usual, match_names, photo_places, visible_files
from geometry.scenes.scene import Frame, Scene, decodable, photo_frame, readable_frames
from geometry.views import Cameras

SMALLEST_SIDE = 14  # pixels: one patch of the network
_Place = tuple[Path, list[Path]]  # a folder and the photos in it


def open_photos(
    inputs: str | Path | Any | Sequence[Any],
    *,
    poses: str | Path | None = None,
    cameras: Cameras | None = None,
    unposed: bool = False,
    panorama: bool = False,
    check: bool = True,
    in_order: bool = False,
    whole: bool = False,
    masks: str | Path | None = None,
    background: Colour | None = None,
    focal: str | float | Path | None = None,
    partly: bool = False,
    max_video_frames: int = 300,
) -> Scene:
    """Open photos, with their cameras where a file beside them has some.

    Photos come in natural order (numbers as numbers), upright, and without lens distortion where it is known;
    images in memory stay in the order given. A ``transforms.json``, a COLMAP model in the folder, ``sparse``,
    ``sparse/N`` or ``colmap``, or Polycam's cameras are found in the folder, or beside it; photos that they
    do not cover, and those that cannot be read, are left out with a warning. Pixels are decoded later, by
    `Frame.load`. Georeferenced cameras are moved to the world's origin, see `Scene.origin`.

    Args:
        inputs: one folder, one video, a ``transforms.json``, or photos one by one; or an image or images
            in memory: uint8 arrays [H, W, 3], float arrays or tensors [3, H, W] in 0..1 (or 4 for 3, with
            alpha), Pillow images.
        poses: a ``transforms.json``, a COLMAP model's folder or Polycam's to take cameras from.
        cameras: one for each photo, [1, V, ...], in pixels of the photos as they are, upright.
        unposed: ignore every camera.
        panorama: photos twice as wide as high are equirectangular panoramas, also where they do not say so.
        check: refuse cameras whose convention contradicts the points or the photos.
        in_order: photos one by one stay in the order given.
        whole: read all of every file now, and leave damaged ones out; else `Frame.load` meets them.
        masks: a folder of them (white keeps, black hides); None looks beside the photos; ``none`` ignores
            masks, and transparency.
        background: what lies behind transparent photos; None: white, and what shines through is masked.
        focal: of photos without intrinsics, see `geometry.scenes.calibration.with_intrinsics`.
        partly: keep the photos for which the cameras found have none.
        max_video_frames: of a video, at most so many frames (`geometry.scenes.keyframes`).

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
        scene = _open(paths, place, unposed or cameras is not None, max_video_frames, partly)
        scene = decodable(scene) if whole else scene
        if in_order and len(paths) > 1:
            scene = _in_order(scene, paths)
    elif poses is not None:
        raise InputError(f"{poses}: expected poses of photos in files, got images in memory")
    else:
        scene = memory.scene_of(given)
    scene = with_depth(with_masks(scene, masks, background))
    if cameras is None:
        scene = recognised(scene, panorama)
        scene = scene.without_cameras() if unposed else scene
        scene = scene if focal is None else with_intrinsics(scene, focal)
    else:
        scene = _with_cameras(scene, cameras)
    for frame in scene.frames:
        if min(frame.image_size) < SMALLEST_SIDE:
            where = frame.image if isinstance(frame.image, Path) else frame.name
            H, W = frame.image_size
            raise InputError(
                f"{where}: expected at least {SMALLEST_SIDE} x {SMALLEST_SIDE} pixels, got {H} x {W}"
            )
    if check and scene.known:
        require_consistent_cameras(scene.select(scene.known))
    near = around_local_origin(scene)
    if cameras is not None and near.origin is not None:
        raise InputError(
            f"cameras: expected them near the origin, which single precision needs, got them around "
            f"{near.origin.tolist()}; take that off first"
        )
    return near


def _open(paths: list[Path], poses: Path | None, unposed: bool, max_video_frames: int, partly: bool) -> Scene:
    first, *more = paths
    if not more and first.is_dir():
        return _open_folder(first, poses, unposed, max_video_frames, partly)
    if not more and first.suffix.lower() == ".json":
        scene = transforms_json.read_scene(first, partly=partly)
        return scene.without_cameras() if unposed else scene
    if not more and apps.app_of(first) is not None:
        scene = _open_folder(first.parent, first, False, max_video_frames, partly)
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
    return _open_list(paths, poses, unposed, partly)


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


def _open_folder(
    folder: Path, poses: Path | None, unposed: bool, max_video_frames: int, partly: bool
) -> Scene:
    places = photo_places(folder)
    name = folder.resolve().name
    source, ours = poses, True
    if source is None and not unposed:
        source, ours = _find_cameras(folder, places[0][0] if places else folder)
    if not places and source is None:
        if (held := apps.find_cameras(folder)) is not None:  # an export that holds its photos
            return _posed(held, [], folder, partly=False).without_cameras()
        videos = [p for p in visible_files(folder) if p.suffix.lower() in video.VIDEO_SUFFIXES]
        if len(videos) == 1:
            return video.read_scene(videos[0], max_video_frames)
        raise InputError(f"{folder}: expected photos (JPEG, PNG, ...) or one video, {_what_is_there(folder)}")
    _warn_of_foreign(places[0][0] if places else folder)
    if source is None:
        return _unposed(*_most_photos(folder, places), name)
    try:
        scene = _posed(source, places, folder, partly=partly)
    except PhotoError:
        raise
    except InputError as error:
        if not ours:
            _warn(f"{error}; they are ignored")
            return _unposed(*_most_photos(folder, places), name)
        if poses is None:
            raise InputError(f"{error} (--unposed, in Python unposed=True, ignores cameras)") from error
        raise
    return replace(scene, name=name)


def _most_photos(folder: Path, places: list[_Place]) -> _Place:
    """Where the photos of a folder lie: a few in it beside more in a sub-folder are previews."""
    (top, photos), *inner = places
    if top != folder or not inner or len(inner[0][1]) <= len(photos):
        return top, photos
    _warn(
        f"{folder}: photos are taken from {inner[0][0].relative_to(folder)}, which has {len(inner[0][1])}; "
        f"those beside it ({photos[0].name}, {len(photos)} in all) are ignored"
    )
    return inner[0]


def _open_list(photos: list[Path], poses: Path | None, unposed: bool, partly: bool) -> Scene:
    photos = sorted(photos, key=natural_key)
    folder, alone = photos[0].parent, len({photo.resolve().parent for photo in photos}) == 1
    source = poses
    if source is None and not unposed and alone:
        source, _ = _find_cameras(folder, folder, parent=False)
    if source is None:
        return _unposed(folder, photos, folder.resolve().name)
    chosen = {str(photo.resolve()) for photo in photos}
    return _posed(source, [(folder, photos)] if alone else [], folder, only=chosen, partly=partly)


def _unposed(folder: Path, photos: list[Path], name: str) -> Scene:
    names = [p.relative_to(folder).as_posix() if p.is_relative_to(folder) else p.name for p in photos]
    if len(set(names)) < len(names):
        names = [str(photo) for photo in photos]
    paths = dict(zip(names, photos))
    frames = readable_frames(paths, lambda name: photo_frame(paths[name], name=name))
    return Scene(name=name, frames=tuple(frames), folder=folder)


def _posed(
    source: Path, places: list[_Place], folder: Path, only: set[str] | None = None, *, partly: bool
) -> Scene:
    """Scene of the cameras in a transforms.json or a COLMAP folder; says how many photos have none.

    Args:
        partly: photos without a camera there stay in the scene.
        places: where photos may lie; those where the most names are found count.
        folder: searched for a COLMAP model's photos where none of the places has any.
    """
    if source.suffix.lower() in (".bin", ".txt") and colmap.is_model(source.parent):
        source = source.parent
    elif source.is_dir() and not colmap.is_model(source) and (source / "transforms.json").is_file():
        source = source / "transforms.json"
    if not source.exists():
        raise InputError(
            f"{source}: expected poses (a transforms.json or a COLMAP model), found no such file"
        )
    is_app = not colmap.is_model(source) and apps.app_of(source) is not None  # RealityCapture writes both
    if is_app:
        names = apps.photo_names(source)
    elif source.is_file():
        names = transforms_json.photo_names(source)
    else:
        model = colmap.find_model(source)
        if model is None:
            raise InputError(f"{source}: expected a transforms.json or a COLMAP model, found neither in it")
        if len(rivals := colmap.numbered_models(model.parent)) > 1:
            _warn(f"{model.parent}: of {len(rivals)} models {model.name} is taken, which has the most photos")
        source, names = model, colmap.photo_names(model) if len(places) > 1 else []
    here, photos = (None, []) if not places else places[0]
    if len(places) > 1:
        files = [[photo.relative_to(place).as_posix() for photo in photos] for place, photos in places]
        counts = [len(names) - list(match_names(names, those).values()).count(None) for those in files]
        here, photos = places[counts.index(max(counts))] if any(counts) else (None, [])
    if is_app:
        scene = apps.read_scene(source, here or folder, only=only)
    elif source.is_file():
        scene = transforms_json.read_scene(source, here, only=only, partly=partly)
    else:
        scene = read_colmap(source, here or folder, only=only)
    used = {frame.image.resolve() for frame in scene.frames if isinstance(frame.image, Path)}
    left_out = [photo for photo in photos if photo.resolve() not in used and _readable(photo)]
    if left_out and not partly:
        _warn(
            f"{source}: {len(left_out)} of {len(photos)} photos have no camera there "
            f"({left_out[0].name}, ...); they are left out"
        )
    return _joined(scene, left_out, here) if left_out and partly and here else scene


def _joined(scene: Scene, more: list[Path], folder: Path) -> Scene:
    """A scene with further photos, which have no pose, and intrinsics only if all that were given agree."""
    twin, *others = scene.frames
    lenses = {(f.image_size, f.lens, f.exif, str(f.intrinsics)) for f in (twin, *others)}

    def frame_of(name: str) -> Frame:
        frame = photo_frame(folder / name, name=name)
        sized = read_header(folder / name) == read_header(twin.image)  # type: ignore[arg-type]
        if len(lenses) > 1 or not sized:
            return frame
        none: dict[str, Any] = dict.fromkeys(("extrinsics", "depth", "mask", "sky", "objects"))
        return replace(twin, name=name, image=frame.image, transparent=frame.transparent, **none)

    names = [photo.relative_to(folder).as_posix() for photo in more]
    frames = [*scene.frames, *readable_frames(names, frame_of)]
    order = sorted(range(len(frames)), key=lambda i: natural_key(str(frames[i].image)))
    visibility = scene.visibility
    if visibility is not None:
        visibility = (*visibility, *[np.empty(0, np.int64)] * (len(frames) - len(scene)))
    return replace(scene, frames=tuple(frames), visibility=visibility).select(order)


def _find_cameras(folder: Path, photo_folder: Path, *, parent: bool = True) -> tuple[Path | None, bool]:
    """A transforms.json or a COLMAP model in the folder, with the photos, or beside their folder.

    And whether it must belong to these photos: beside a folder of an unusual name it may belong to others.
    """
    places = [(folder, True), (photo_folder, True)]
    if is_usual(photo_folder) or parent:
        places.append((photo_folder.resolve().parent, is_usual(photo_folder)))
    # The Blender sets have a file for each of their folders train/, val/ and test/.
    files = ("transforms.json", f"transforms_{photo_folder.resolve().name}.json", "transforms_train.json")
    for place, ours in places:
        for path in (place / name for name in files):
            if path.is_file():
                return path, ours
        source = colmap.find_model(place) or apps.find_cameras(place)
        if source is not None:
            return source, ours
    return None, True


def _readable(photo: Path) -> bool:
    try:
        read_header(photo)
    except PhotoError:
        return False
    return True


def _warn_of_foreign(folder: Path) -> None:
    foreign = [p for p in visible_files(folder) if p.suffix.lower() in FOREIGN_SUFFIXES]
    if foreign:
        _warn(
            f"{folder}: {len(foreign)} files such as {foreign[0].name} are of kinds that are not "
            f"supported and are ignored; to use one, {remedy(foreign[0].suffix)}"
        )


def _what_is_there(folder: Path) -> str:
    files = visible_files(folder)
    if not files:
        folders = [p.name for p in sorted(folder.iterdir()) if p.is_dir()]
        return f"found only folders ({folders[0]}, ...)" if folders else "the folder is empty"
    foreign = [p for p in files if p.suffix.lower() in FOREIGN_SUFFIXES]
    if foreign:
        return f"found {foreign[0].name}, a kind that is not supported: {remedy(foreign[0].suffix)}"
    return f"found {len(files)} other files ({files[0].name}, ...)"


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=2)
