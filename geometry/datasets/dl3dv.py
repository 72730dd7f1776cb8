"""DL3DV-10K: real videos with COLMAP poses, no depth.

Layouts, all found under one root, at most two folders deep:

- download of 480P or 960P: ``<1K..11K>/<64-digit hash>/transforms.json`` beside ``images_8/`` (270 x 480)
  or ``images_4/`` (540 x 960);
- benchmark: ``<hash>/nerfstudio/transforms.json`` beside its ``images_*``;
- sample: ``<hash>/colmap/transforms.json`` beside its ``images_*``.

transforms.json is nerfstudio's (OpenGL, camera-to-world, one OPENCV camera); its size is that of one
resolution, not of the folder read, and ``file_path`` says ``images/`` whatever the folder. Images are
distorted; `Frame.load` undoes that. Scale is arbitrary. Licence: CC BY-NC 4.0 with terms of use.

The COLMAP cache, a download of its own, brings ``colmap/sparse/0`` into the scene's folder: sparse points and
their observations. They are in COLMAP's world; ``applied_transform`` carries them into that of the poses, and
``colmap_im_id`` names each frame's image.

Source: DL3DV-10K/Dataset and its Hugging Face pages; cvg/depthsplat's conversion scripts. Not yet seen on
a real scene: run ``geometry data check`` on the first download.
"""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from geometry.datasets.sources import SCENE_HASH, DataSet, read_hashes
from geometry.errors import InputError, reading
from geometry.formats import colmap
from geometry.formats.text import read_text
from geometry.scenes import transforms_json
from geometry.scenes.scene import Scene

IMAGE_FOLDERS = {"480P": "images_8", "960P": "images_4", "2K": "images_2", "4K": "images"}
_BATCH = re.compile(r"\d+K")


@dataclass(eq=False, kw_only=True)
class DL3DV(DataSet):
    """Scenes of a DL3DV download.

    Args:
        root: folder holding ``1K`` .. ``11K``, or the scene folders themselves.
        exclude: a file in which the hashes of scenes to leave out occur, in whatever form: for training
            the 140 benchmark scenes, which occur inside the public 10K dump. The file is the metadata
            table of the gated DL3DV-Benchmark repository (or any list made from it). There is no
            default, so that the test set is not trained on by leaving it out; None is for the benchmark
            itself.
        resolution: 480P, 960P, 2K or 4K; None takes the smallest that a scene has.
        points: read sparse points where the COLMAP cache is there; they are the set's only depth.
    """

    holds = "DL3DV scenes (64-digit folders with a transforms.json)"
    exclude: str | Path | None
    resolution: str | None = None
    points: bool = True

    @classmethod
    def find(cls, root: Path) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for first in sorted(p for p in root.iterdir() if p.is_dir()):
            for folder in sorted(first.iterdir()) if _BATCH.fullmatch(first.name) else [first]:
                for place in (folder, folder / "nerfstudio", folder / "colmap"):
                    if SCENE_HASH.fullmatch(folder.name) and (place / "transforms.json").is_file():
                        found.setdefault(folder.name, place)
        return dict(sorted(found.items()))

    def _list(self) -> dict[str, Path]:
        if self.resolution not in (None, *IMAGE_FOLDERS):
            names = ", ".join(IMAGE_FOLDERS)
            raise InputError(f"{self.base}: expected a resolution among {names}, got {self.resolution}")
        found, hashes = self.find(self.base), read_hashes(self.exclude)
        self.excluded = tuple(name for name in found if name in hashes)
        return {name: place for name, place in found.items() if name not in hashes}

    def _read(self, name: str, place: Path) -> Scene:
        scene = transforms_json.read_scene(place / "transforms.json", self._image_folder(place))
        model = colmap.find_model(place) if self.points else None
        return replace(scene if model is None else _with_points(scene, place, model), name=name)

    def camera_files(self, scene: Scene) -> list[Path]:
        file = Path(scene.source)
        model = colmap.find_model(file.parent) if self.points else None
        return [file] if model is None else [file, model]

    def _image_folder(self, folder: Path) -> Path:
        wanted = IMAGE_FOLDERS.values() if self.resolution is None else [IMAGE_FOLDERS[self.resolution]]
        for name in wanted:
            if (folder / name).is_dir():
                return folder / name
        there = sorted(p.name for p in folder.iterdir() if p.is_dir())
        raise InputError(f"{folder}: expected images in {' or '.join(wanted)}, found folders {there}")


def _with_points(scene: Scene, folder: Path, model_folder: Path) -> Scene:
    """The scene with the cache's points in the world of its poses."""
    path = folder / "transforms.json"
    content = json.loads(read_text(path))  # `read_scene` has checked its form
    needs = f"applied_transform and colmap_im_id to place the points of {model_folder} (or points=false)"
    with reading(path, needs):
        applied = np.asarray(content.get("applied_transform", np.eye(4)[:3]), dtype=np.float64).reshape(-1, 4)
        image_of = {entry["file_path"]: int(entry["colmap_im_id"]) for entry in content["frames"]}
    model = colmap.read_model(model_folder)
    images = [model.images.get(image_of[frame.name]) for frame in scene.frames]
    visibility = [model.points.rows(() if image is None else image.point_ids) for image in images]
    points = model.points.xyz @ applied[:3, :3].T + applied[:3, 3]
    return replace(scene, points=points, visibility=tuple(visibility))
