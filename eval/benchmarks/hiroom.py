"""HiRoom of DA3's benchmark: rendered rooms, in metres.

``data/<a>/<b>/<c>/{image/*, depth/<stem>.png, pose/<stem>.npy, aliasing_mask/<stem>.png, cam_K.npy}``,
``selected_scene_list_val.txt`` (lines ``<a>/<b>/<c>``), ``fused_pcd/<a>-<b>-<c>.ply``. Poses are
world-to-camera, OpenCV; depth is 16 bits over 0..100 m, 0 = unknown, and unknown where the mask is not 0.
Photos without a pose do not count.

Source: DA3's released reader. Not yet tested on a real scene.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float

from eval.benchmarks.surfaces import read_points
from geometry.datasets.sources import DataSet, read_names, rigid, stored_frame
from geometry.errors import reading
from geometry.formats.depth_files import read_png_depth
from geometry.formats.images import read_map
from geometry.metrics.surface import Cloud
from geometry.scenes.photo_files import visible_files
from geometry.scenes.scene import Scene

SCENES = "selected_scene_list_val.txt"


@dataclass(eq=False, kw_only=True)
class HiRoom(DataSet):
    """Scenes of the list, or all that are there without it."""

    holds = "HiRoom scenes data/<a>/<b>/<c>/cam_K.npy"

    @classmethod
    def find(cls, root: Path) -> dict[str, Path]:
        listed, data = root / SCENES, root / "data"
        if listed.is_file():
            return {name: data / name for name in read_names(listed)}
        return {p.parent.relative_to(data).as_posix(): p.parent for p in sorted(data.glob("*/*/*/cam_K.npy"))}

    def _read(self, name: str, place: Path) -> Scene:
        K = read_array(place / "cam_K.npy")
        frames = []
        for photo in visible_files(place / "image"):
            pose = place / "pose" / f"{photo.stem}.npy"
            if not pose.is_file():
                continue
            E = read_array(pose)
            mask = place / "aliasing_mask" / f"{photo.stem}.png"
            depth = partial(read_depth, place / "depth" / f"{photo.stem}.png", mask)
            frames.append(stored_frame(photo, rigid(E[:3, :3], E[:3, 3], str(pose)), K, depth=depth))
        return Scene(name=name, frames=tuple(frames), source=str(place), metric=True, folder=place)

    def surface(self, name: str) -> Cloud:
        return read_points(self.base / "fused_pcd" / f"{name.replace('/', '-')}.ply")


def read_array(path: Path) -> Float[np.ndarray, "..."]:
    """A .npy file of numbers as float64."""
    with reading(path, "an array as .npy"):
        return np.asarray(np.load(path, allow_pickle=False), np.float64)


def read_depth(path: Path, mask: Path) -> Float[np.ndarray, "H W"]:
    """Metres, 0 where unknown or masked."""
    depth = read_png_depth(path, unit=100 / 65535)
    return np.where(read_map(mask) > 0, 0, depth) if mask.is_file() else depth
