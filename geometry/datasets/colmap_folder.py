"""Any folder of COLMAP reconstructions as a data set, with or without depth beside them.

A scene is a folder with a model (in it, ``sparse/0``, ``sparse`` or ``colmap``) and photos in ``images``,
``input`` or the folder itself. Conventions are COLMAP's, which are ours (`geometry.formats.colmap`).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from geometry.datasets.sources import SceneSource, existing_folder, scene_names
from geometry.formats import colmap
from geometry.formats.depth_files import find_depth
from geometry.scenes.colmap import read_colmap
from geometry.scenes.scene import Scene


class ColmapFolders(SceneSource):
    """Scenes with COLMAP models.

    Args:
        root: one scene's folder, or a folder of such folders.
        images: sub-folder of the photos; None takes ``images``, ``input`` or the scene's folder.
        depth: sub-folder of z-depth maps named as the photos (see `depth_files.find_depth`); None for none.
        depth_unit: scene units of one step of integer depth; the default suits metric worlds with
            depth in millimetres.
        metric: poses and depth are in metres; COLMAP alone never gives that.
        scenes: names to take, or a file with one per line; None takes all.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        images: str | None = None,
        depth: str | None = None,
        depth_unit: float = 1e-3,
        metric: bool = False,
        scenes: str | Path | Sequence[str] | None = None,
    ) -> None:
        self.root = existing_folder(root, "COLMAP scenes")
        self.images, self.depth, self.depth_unit, self.metric = images, depth, depth_unit, metric
        self._folders = scene_folders(self.root, lambda folder: colmap.find_model(folder) is not None)
        self.names = scene_names(sorted(self._folders), scenes, self.root, "folders with a COLMAP model")

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Whether the folder, or one in it, has a COLMAP model."""
        return bool(scene_folders(root, lambda folder: colmap.find_model(folder) is not None))

    def read(self, name: str) -> Scene:
        folder = self._folders[self._require(name, self.root)]
        scene = read_colmap(colmap.find_model(folder), self._image_folder(folder))
        frames = scene.frames
        if self.depth is not None:
            depths = existing_folder(folder / self.depth, "depth maps")
            frames = tuple(
                replace(f, depth=find_depth(depths, Path(f.name).stem, unit=self.depth_unit)) for f in frames
            )
        return replace(scene, name=name, frames=frames, metric=self.metric)

    def _image_folder(self, folder: Path) -> Path:
        if self.images is not None:
            return existing_folder(folder / self.images, "photos")
        return next((folder / n for n in ("images", "input") if (folder / n).is_dir()), folder)


def scene_folders(root: Path, is_scene: Callable[[Path], bool]) -> dict[str, Path]:
    """Name -> folder of the scenes that ``root`` is or holds."""
    if not root.is_dir():
        return {}
    if is_scene(root):
        return {root.resolve().name: root}
    return {p.name: p for p in sorted(root.iterdir()) if p.is_dir() and is_scene(p)}
