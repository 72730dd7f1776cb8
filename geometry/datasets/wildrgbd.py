"""WildRGB-D: objects filmed all around with a phone's colour and depth camera, in metres.

``<category>/scenes/scenes_<id>/``: ``rgb/%05d.png``, ``depth/%05d.png`` (uint16 millimetres along z, 0 =
unknown), ``masks/%05d.png`` (the object), ``metadata`` (JSON: ``w``, ``h`` and ``K``, 9 numbers column by
column), ``cam_poses.txt`` (a line per frame: its number, then camera-to-world row by row, OpenCV axes).
``<category>/types.json`` tells single objects, several, and objects held in a hand; the last move.

Source: wildrgbd/wildrgbd README; naver/dust3r's preprocessing for K's order. Not yet tested on a real scene.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from geometry.datasets.sources import DataSet, if_there, inverted, stored_frame
from geometry.errors import InputError, reading
from geometry.formats.depth_files import read_png_depth
from geometry.formats.images import read_map
from geometry.formats.text import read_json, read_table
from geometry.scenes.scene import Scene, check_pose


@dataclass(eq=False, kw_only=True)
class WildRGBD(DataSet):
    """Scenes of WildRGB-D; names are ``<category>/scenes_<id>``.

    Args:
        root: folder of the categories.
        categories: names to take; None takes all.
        kinds: of ``types.json``, kinds to take. Objects held in a hand move against their background, so
            they are left out unless asked for. Scenes of a category without the file are all taken.
    """

    holds = "scenes of WildRGB-D (<category>/scenes/*/cam_poses.txt)"
    categories: Sequence[str] | None = None
    kinds: Sequence[str] = ("single", "multi")

    @classmethod
    def find(cls, root: Path) -> dict[str, Path]:
        places = [p.parent for p in sorted(root.glob("*/scenes/*/cam_poses.txt"))]
        return {f"{p.parents[1].name}/{p.name}": p for p in places}

    def _list(self) -> dict[str, Path]:
        found = self.find(self.base)
        if self.categories is not None:
            found = {name: p for name, p in found.items() if p.parents[1].name in self.categories}
        kind_of = {c: _kinds(c / "types.json") for c in {p.parents[1] for p in found.values()}}
        kinds = {name: kind_of[p.parents[1]] for name, p in found.items()}
        return {
            name: p
            for name, p in found.items()
            if kinds[name] is None or kinds[name].get(p.name) in self.kinds
        }

    def _read(self, name: str, place: Path) -> Scene:
        path = place / "cam_poses.txt"
        content = read_json(place / "metadata", "K, w and h")
        with reading(place / "metadata", "JSON with K, w and h"):
            K = np.asarray(content["K"], dtype=np.float64).reshape(3, 3).T  # stored column by column
            size = (round(content["h"]), round(content["w"]))
        frames = []
        for row in read_table(path, 17, "a frame's number and its pose"):
            stem, cam_to_world = f"{int(row[0]):05d}", row[1:].reshape(4, 4)
            check_pose(cam_to_world, f"{path}, frame {stem}")
            photo, depth, mask = (place / kind / f"{stem}.png" for kind in ("rgb", "depth", "masks"))
            maps = {
                "depth": if_there(read_png_depth, depth, unit=1e-3),
                "objects": if_there(read_object, mask),
            }
            frames.append(stored_frame(photo, inverted(cam_to_world), K, image_size=size, **maps))
        return Scene(name=name, frames=tuple(frames), source=str(path), metric=True, folder=place)

    def camera_files(self, scene: Scene) -> list[Path]:
        poses = Path(scene.source)
        return [poses, poses.with_name("metadata")]


def read_object(path: Path) -> Bool[np.ndarray, "H W"]:
    """True on the object."""
    return read_map(path) > 0


def _kinds(path: Path) -> dict[str, str] | None:
    """Scene -> kind of a category; None without the file."""
    if not path.is_file():
        return None
    kinds = read_json(path, "an object of scene: kind")
    if not isinstance(kinds, dict):
        raise InputError(f"{path}: expected an object of scene: kind, got a {type(kinds).__name__}")
    return kinds
