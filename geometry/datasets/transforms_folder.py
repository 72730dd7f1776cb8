"""Any folder of nerfstudio or instant-ngp captures as a data set.

A scene is a folder with a ``transforms.json``; OpenGL camera-to-world poses, distortion, depth
(``depth_file_path``) and masks are what that file says (`geometry.scenes.transforms_json`).
"""

from dataclasses import dataclass, replace
from pathlib import Path

from geometry.datasets.colmap_folder import scene_folders
from geometry.datasets.sources import DataSet, existing_folder
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
    """

    holds = "captures with a transforms.json"
    images: str | None = None
    metric: bool = False

    @classmethod
    def find(cls, root: Path) -> dict[str, Path]:
        return scene_folders(root, lambda folder: (folder / "transforms.json").is_file())

    def _read(self, name: str, place: Path) -> Scene:
        images = None if self.images is None else existing_folder(place / self.images, "photos")
        scene = transforms_json.read_scene(place / "transforms.json", images)
        return replace(scene, name=name, metric=self.metric)
