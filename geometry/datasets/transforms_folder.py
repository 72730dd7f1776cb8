"""Any folder of nerfstudio or instant-ngp captures as a data set.

A scene is a folder with a ``transforms.json``; OpenGL camera-to-world poses, distortion, depth
(``depth_file_path``) and masks are what that file says (`geometry.scenes.transforms_json`).
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from geometry.datasets.colmap_folder import scene_folders
from geometry.datasets.sources import SceneSource, existing_folder, scene_names
from geometry.scenes import transforms_json
from geometry.scenes.scene import Scene


class TransformsFolders(SceneSource):
    """Scenes with a transforms.json.

    Args:
        root: one scene's folder, or a folder of such folders.
        images: sub-folder to take photos from instead of the listed one, for example ``images_4``.
        metric: poses and depth are in metres; true for depth-camera apps, false for COLMAP.
        scenes: names to take, or a file with one per line; None takes all.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        images: str | None = None,
        metric: bool = False,
        scenes: str | Path | Sequence[str] | None = None,
    ) -> None:
        self.root = existing_folder(root, "captures with a transforms.json")
        self.images, self.metric = images, metric
        self._folders = scene_folders(self.root, _is_capture)
        self.names = scene_names(sorted(self._folders), scenes, self.root, "folders with a transforms.json")

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Whether the folder, or one in it, has a transforms.json."""
        return bool(scene_folders(root, _is_capture))

    def read(self, name: str) -> Scene:
        folder = self._folders[self._require(name, self.root)]
        images = None if self.images is None else existing_folder(folder / self.images, "photos")
        scene = transforms_json.read_scene(folder / "transforms.json", images)
        return replace(scene, name=name, metric=self.metric)


def _is_capture(folder: Path) -> bool:
    return (folder / "transforms.json").is_file()
