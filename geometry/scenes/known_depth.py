"""Depth in metres that lies beside a capture's photos, for those that have none stated with them."""

from dataclasses import replace
from pathlib import Path, PurePosixPath

from PIL import Image

from geometry.formats.depth_files import find_depth
from geometry.scenes.masks import folder_beside
from geometry.scenes.scene import Scene

DEPTH_FOLDERS = ("depth", "depths")
_WHOLE = ("I", "F")  # modes of Pillow: 16 or 32 bits; 8 are a picture of depth


def with_depth(scene: Scene) -> Scene:
    """The scene with ``depth/a.png`` (16 bits, millimetres), .npy, .pfm or .h5 (metres) for ``a.jpg``.

    0 is unknown. Nothing is taken where several photos share a name but for folder and suffix.
    """
    folder = folder_beside(scene, DEPTH_FOLDERS)
    stems = [PurePosixPath(frame.name).stem for frame in scene.frames]
    if folder is None or len(set(stems)) < len(stems):
        return scene
    frames = []
    for frame, stem in zip(scene.frames, stems):
        picture = folder / f"{stem}.png"
        load = None
        if not picture.is_file() or _is_depth(picture):
            load = find_depth(folder, stem, unit=1e-3)
        frames.append(replace(frame, depth=frame.depth or load))
    return replace(scene, frames=tuple(frames))


def _is_depth(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            return image.mode.startswith(_WHOLE)
    except OSError:
        return False
