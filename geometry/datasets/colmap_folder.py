"""Any folder of COLMAP reconstructions as a data set, with or without depth beside them.

A scene is a folder with a model (in it, ``sparse/0``, ``sparse`` or ``colmap``) and photos in ``images``,
``input`` or the folder itself. Conventions are COLMAP's, which are ours (`geometry.formats.colmap`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from geometry.datasets.sources import DataSet, existing_folder, photo_folder
from geometry.formats import colmap
from geometry.formats.depth_files import find_depth
from geometry.scenes.colmap import read_colmap
from geometry.scenes.scene import Scene


@dataclass(eq=False, kw_only=True)
class ColmapFolders(DataSet):
    """Scenes with COLMAP models.

    Args:
        root: one scene's folder, or a folder of such folders.
        images: sub-folder of the photos; None takes ``images``, ``input`` or the scene's folder.
        depth: sub-folder of z-depth maps named as the photos (see `depth_files.find_depth`); None for none.
        depth_unit: scene units of one step of integer depth; the default suits metric worlds with
            depth in millimetres.
        metric: poses and depth are in metres; COLMAP alone never gives that.
    """

    holds = "folders with a COLMAP model"
    images: str | None = None
    depth: str | None = None
    depth_unit: float = 1e-3
    metric: bool = False

    @classmethod
    def find(cls, root: Path) -> dict[str, Path]:
        return scene_folders(root, lambda folder: colmap.find_model(folder) is not None)

    def _read(self, name: str, place: Path) -> Scene:
        given = self.images and existing_folder(place / self.images, "photos")
        scene = read_colmap(colmap.find_model(place), given or photo_folder(place, ("images", "input")))
        frames = scene.frames
        if self.depth is not None:
            depths = existing_folder(place / self.depth, "depth maps")
            frames = tuple(
                replace(f, depth=find_depth(depths, Path(f.name).stem, unit=self.depth_unit)) for f in frames
            )
        return replace(scene, name=name, frames=frames, metric=self.metric)


def scene_folders(root: Path, is_scene: Callable[[Path], bool]) -> dict[str, Path]:
    """Name -> folder of the scenes that ``root`` is or holds."""
    if is_scene(root):
        return {root.resolve().name: root}
    return {p.name: p for p in sorted(root.glob("[!.]*")) if p.is_dir() and is_scene(p)}
