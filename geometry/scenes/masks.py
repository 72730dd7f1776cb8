"""Masks that lie beside a capture's photos: white is what may be used, black what is to be ignored.

COLMAP names the mask of ``a.jpg`` ``a.jpg.png``, nerfstudio ``a.png`` or by ``mask_path`` in transforms.json,
which its reader has put into `Frame.mask`. `Frame.load_mask` reads them all.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from geometry.errors import InputError
from geometry.formats.images import IMAGE_SUFFIXES, Colour
from geometry.scenes.photo_files import MASK_FOLDERS, is_usual, match_names, photos_in
from geometry.scenes.scene import Frame, Scene


def with_masks(scene: Scene, masks: str | Path | None, background: Colour | None = None) -> Scene:
    """The scene with masks for the photos that have one, and what lies behind transparent photos.

    Args:
        masks: a folder of them; None looks for one beside the photos; ``none`` ignores masks, and alpha.
        background: see `Frame.background`.

    Raises:
        InputError: no such folder, or no mask in it belongs to a photo.
    """
    if str(masks) == "none":
        frames = [replace(f, mask=None, transparent=False, background=background) for f in scene.frames]
        return replace(scene, frames=tuple(frames))
    folder = folder_beside(scene, MASK_FOLDERS) if masks is None else Path(masks).expanduser()
    found: dict[str, Path] = {}
    if folder is not None:
        if not folder.is_dir():
            raise InputError(f"{folder}: expected a folder of masks, found no such folder")
        found = _of_photos(scene, folder)
        if masks is not None and not found:
            raise InputError(
                f"{folder}: expected masks named as the photos ({scene.frames[0].name}.png, ...), found none"
            )

    def masked(frame: Frame) -> Frame:
        stated = frame.mask if masks is None else None
        return replace(frame, mask=stated or found.get(frame.rig or frame.name), background=background)

    return replace(scene, frames=tuple(masked(frame) for frame in scene.frames))


def folder_beside(scene: Scene, names: Sequence[str]) -> Path | None:
    """A folder of such a name in that of the photos, in the capture's, or beside one of a usual name."""
    photos = {frame.image.parent for frame in scene.frames if isinstance(frame.image, Path)}
    places = [*photos, *([scene.folder] if scene.folder else [])]
    places += [place.absolute().parent for place in places if is_usual(place)]
    folders = (place / name for place in places for name in names)
    return next((folder for folder in folders if folder.is_dir()), None)


def _of_photos(scene: Scene, folder: Path) -> dict[str, Path]:
    """The mask of each frame that has one, by the frame's name."""
    files: dict[str, Path] = {}
    for mask in photos_in(folder, deep=True):
        name = mask.relative_to(folder)
        bare = name.with_suffix("")  # of COLMAP's a.jpg.png
        files[(bare if bare.suffix.lower() in IMAGE_SUFFIXES else name).as_posix()] = mask
    matched = match_names(list(dict.fromkeys(f.rig or f.name for f in scene.frames)), files)
    return {name: files[mask] for name, mask in matched.items() if mask is not None}
