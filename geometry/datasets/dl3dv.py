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
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from geometry.datasets.sources import (
    SCENE_HASH,
    SceneSource,
    existing_folder,
    read_hashes,
    scene_names,
)
from geometry.errors import InputError
from geometry.formats import colmap
from geometry.scenes import transforms_json
from geometry.scenes.scene import Scene

IMAGE_FOLDERS = {"480P": "images_8", "960P": "images_4", "2K": "images_2", "4K": "images"}
_BATCH = re.compile(r"\d+K")
_INNER = ("", "nerfstudio", "colmap")


class DL3DV(SceneSource):
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
        scenes: names to take, or a file with one per line; None takes all.

    Raises:
        InputError: no scene there, or a list that cannot be read.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        exclude: str | Path | None,
        resolution: str | None = None,
        points: bool = True,
        scenes: str | Path | Sequence[str] | None = None,
    ) -> None:
        self.root = existing_folder(root, "DL3DV scenes")
        if resolution is not None and resolution not in IMAGE_FOLDERS:
            raise InputError(
                f"{self.root}: expected a resolution among {', '.join(IMAGE_FOLDERS)}, got {resolution}"
            )
        self.resolution, self.points = resolution, points
        self._folders = _find_scenes(self.root)
        excluded = frozenset() if exclude is None else read_hashes(exclude)
        names = [name for name in sorted(self._folders) if name not in excluded]
        self.excluded = tuple(name for name in sorted(self._folders) if name in excluded)
        self.names = scene_names(
            names, scenes, self.root, "DL3DV scenes (64-digit folders with a transforms.json)"
        )

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Whether the folder looks like a DL3DV download."""
        return root.is_dir() and bool(_find_scenes(root))

    def read(self, name: str) -> Scene:
        folder = self._folders[self._require(name, self.root)]
        scene = transforms_json.read_scene(folder / "transforms.json", self._image_folder(folder))
        model = colmap.find_model(folder) if self.points else None
        return replace(scene if model is None else _with_points(scene, folder, model), name=name)

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
    content = json.loads(path.read_text(encoding="utf-8"))  # `read_scene` has checked its form
    try:
        applied = np.asarray(content.get("applied_transform", np.eye(4)[:3]), dtype=np.float64).reshape(-1, 4)
        image_of = {entry["file_path"]: int(entry["colmap_im_id"]) for entry in content["frames"]}
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: expected applied_transform and colmap_im_id to place the points of {model_folder} "
            f"(points=false leaves them out), got others ({error!r})"
        ) from None
    model = colmap.read_model(model_folder)
    visibility = []
    for frame in scene.frames:
        image = model.images.get(image_of[frame.name])
        visibility.append(model.points.rows(() if image is None else image.point_ids))
    points = model.points.xyz @ applied[:3, :3].T + applied[:3, 3]
    return replace(scene, points=points, visibility=tuple(visibility))


def _find_scenes(root: Path) -> dict[str, Path]:
    """Hash -> the folder of its transforms.json."""
    found: dict[str, Path] = {}
    for first in sorted(p for p in root.iterdir() if p.is_dir()):
        if SCENE_HASH.fullmatch(first.name):
            _add_scene(first, found)
        elif _BATCH.fullmatch(first.name):
            for second in sorted(p for p in first.iterdir() if p.is_dir()):
                if SCENE_HASH.fullmatch(second.name):
                    _add_scene(second, found)
    return found


def _add_scene(folder: Path, found: dict[str, Path]) -> None:
    for inner in _INNER:
        if (folder / inner / "transforms.json").is_file():
            found.setdefault(folder.name, folder / inner if inner else folder)
            return
