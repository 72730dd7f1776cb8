"""WildRGB-D: objects filmed all around with a phone's colour and depth camera, in metres.

``<category>/scenes/scenes_<id>/``: ``rgb/%05d.png``, ``depth/%05d.png`` (uint16 millimetres along z, 0 =
unknown), ``masks/%05d.png`` (the object), ``metadata`` (JSON: ``w``, ``h`` and ``K``, 9 numbers column by
column), ``cam_poses.txt`` (a line per frame: its number, then camera-to-world row by row, OpenCV axes).
``<category>/types.json`` tells single objects, several, and objects held in a hand; the last move.

Source: wildrgbd/wildrgbd README; naver/dust3r's preprocessing for K's order. Not yet tested on a real scene.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from geometry.datasets.sources import SceneSource, existing_folder, scene_names
from geometry.errors import InputError
from geometry.formats.depth_files import read_png_depth
from geometry.formats.images import read_header, read_map
from geometry.formats.text import read_json, read_table
from geometry.ops import se3
from geometry.scenes.scene import Frame, Scene, check_pose


class WildRGBD(SceneSource):
    """Scenes of WildRGB-D; names are ``<category>/scenes_<id>``.

    Args:
        root: folder of the categories.
        categories: names to take; None takes all.
        kinds: of ``types.json``, kinds to take. Objects held in a hand move against their background, so
            they are left out unless asked for. Scenes of a category without the file are all taken.
        scenes: names to take, or a file with one per line; None takes all.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        categories: Sequence[str] | None = None,
        kinds: Sequence[str] = ("single", "multi"),
        scenes: str | Path | Sequence[str] | None = None,
    ) -> None:
        self.root = existing_folder(root, "WildRGB-D categories")
        names = []
        for folder in sorted(p.parent for p in self.root.glob("*/scenes")):
            if categories is None or folder.name in categories:
                names += [f"{folder.name}/{scene}" for scene in _scenes(folder, kinds)]
        self.names = scene_names(names, scenes, self.root, "scenes (<category>/scenes/*/cam_poses.txt)")

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Whether scenes with cam_poses.txt are there."""
        return any(root.glob("*/scenes/*/cam_poses.txt"))

    def read(self, name: str) -> Scene:
        category, scene = self._require(name, self.root).split("/")
        folder = self.root / category / "scenes" / scene
        path = folder / "cam_poses.txt"
        K, size = _read_camera(folder / "metadata")
        frames = []
        for row in read_table(path, 17, "a frame's number and its pose"):
            stem = f"{int(row[0]):05d}"
            cam_to_world = row[1:].reshape(4, 4)
            check_pose(cam_to_world, f"{path}, frame {stem}")
            photo = folder / "rgb" / f"{stem}.png"
            stored = read_header(photo).stored_size
            if stored != size:
                raise InputError(f"{photo}: expected size (H, W) {size} as in metadata, got {stored}")
            depth, mask = folder / "depth" / f"{stem}.png", folder / "masks" / f"{stem}.png"
            frames.append(
                Frame(
                    name=photo.name,
                    image=photo,
                    image_size=size,
                    extrinsics=se3.invert(torch.from_numpy(cam_to_world)).numpy(),
                    intrinsics=K,
                    exif=False,
                    depth=partial(read_png_depth, depth, unit=1e-3) if depth.is_file() else None,
                    objects=partial(_read_object, mask) if mask.is_file() else None,
                )
            )
        return Scene(name=name, frames=tuple(frames), source=str(path), metric=True, folder=folder)


def _read_object(path: Path) -> np.ndarray:
    return read_map(path) > 0


def _scenes(category: Path, kinds: Sequence[str]) -> list[str]:
    names = [p.parent.name for p in sorted((category / "scenes").glob("*/cam_poses.txt"))]
    types = category / "types.json"
    if not types.is_file():
        return names
    kind_of = read_json(types, "an object of scene: kind")
    if not isinstance(kind_of, dict):
        raise InputError(f"{types}: expected an object of scene: kind, got a {type(kind_of).__name__}")
    return [name for name in names if kind_of.get(name) in kinds]


def _read_camera(path: Path) -> tuple[np.ndarray, tuple[int, int]]:
    content = read_json(path, "K, w and h")
    try:
        K = np.asarray(content["K"], dtype=np.float64).reshape(3, 3).T  # stored column by column
        return K, (round(content["h"]), round(content["w"]))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: expected JSON with K, w and h, could not read it ({error})") from error
