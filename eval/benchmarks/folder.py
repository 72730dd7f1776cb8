"""Own captures as a benchmark: one folder of photos with poses, or a folder of such folders."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from geometry.datasets.sources import SceneSource, chosen_scenes, existing_folder
from geometry.errors import InputError, PhotoError
from geometry.formats.images import natural_key
from geometry.scenes.photos import open_photos
from geometry.scenes.scene import Scene


class Captures(SceneSource):
    """Whatever `open_photos` opens: a COLMAP model or a transforms.json beside its photos.

    Args:
        root: one capture, or a folder that holds one capture per sub-folder.
        scenes: names of sub-folders to take, or a file with one per line; None takes all.

    Raises:
        InputError: neither the folder nor a folder in it is a capture with poses.
    """

    def __init__(self, root: str | Path, *, scenes: str | Path | Sequence[str] | None = None) -> None:
        self.root = existing_folder(root, "captures")
        self._folders = _captures(self.root)
        self.names = chosen_scenes(sorted(self._folders, key=natural_key), scenes, self.root)

    def read(self, name: str) -> Scene:
        # Splits hold poses and refuse others, so the check of conventions has its place when they are made.
        folder = self._folders[self._require(name, self.root)]
        try:
            scene = open_photos(folder)
        except PhotoError:  # of one that the check looks at; whether it is needed, the run will see
            scene = open_photos(folder, check=False)
        if not scene.posed:
            raise InputError(
                f"{folder}: expected photos with poses (a COLMAP model or a transforms.json), "
                f"got photos alone; nvs render --holdout N measures on those"
            )
        return replace(scene, name=name)


def _captures(root: Path) -> dict[str, Path]:
    """Name -> folder: the root itself if it can be opened, else the sub-folders that can."""
    try:
        open_photos(root, unposed=True)
        return {root.resolve().name: root}
    except InputError as error:
        reason = error
    found = {}
    for folder in sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")):
        try:
            open_photos(folder, unposed=True)
            found[folder.name] = folder
        except InputError:
            continue  # other folders may lie beside captures
    if not found:
        raise InputError(f"{reason}; nor is any folder in it a capture")
    return found
