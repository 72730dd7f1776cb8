"""Any folder of nerfstudio or instant-ngp captures as a data set.

A scene is a folder with a ``transforms.json``; OpenGL camera-to-world poses, distortion, depth
(``depth_file_path``) and masks are what that file says (`geometry.scenes.transforms_json`).
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from geometry.datasets.colmap_folder import scene_folders
from geometry.datasets.sources import DataSet, existing_folder
from geometry.formats.images import read_map
from geometry.scenes import transforms_json
from geometry.scenes.scene import Scene


@dataclass(eq=False, kw_only=True)
class TransformsFolders(DataSet):
    """Scenes with a transforms.json.

    Args:
        root: one scene's folder, or a folder of such folders.
        scenes: names of scenes to take, or a file with one per line; None takes all.
        images: sub-folder to take photos from instead of the listed one, for example ``images_4``.
        metric: poses and depth are in metres; true for depth-camera apps, false for COLMAP.
        sky_without_depth: where a depth map is 0 is sky: so in procedural worlds, not in measured depth.
    """

    holds = "captures with a transforms.json"
    images: str | None = None
    metric: bool = False
    sky_without_depth: bool = False

    @classmethod
    def find(cls, root: Path) -> dict[str, Path]:
        return scene_folders(root, lambda folder: (folder / "transforms.json").is_file())

    def _read(self, name: str, place: Path) -> Scene:
        images = None if self.images is None else existing_folder(place / self.images, "photos")
        scene = transforms_json.read_scene(place / "transforms.json", images)
        frames = scene.frames
        if self.sky_without_depth:
            frames = tuple(
                replace(f, sky=partial(read_empty, f.depth.args[0])) if isinstance(f.depth, partial) else f
                for f in frames
            )
        return replace(scene, name=name, frames=frames, metric=self.metric)


def read_empty(path: Path) -> Bool[np.ndarray, "H W"]:
    """Where a depth map has no depth."""
    return read_map(path) == 0
