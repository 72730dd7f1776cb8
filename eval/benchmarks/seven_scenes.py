"""7-Scenes as DA3's benchmark reads it, in metres.

``<scene>/seq-01/frame-XXXXXX.{color,depth}.png`` and ``.pose.txt`` (stairs: seq-02), 640 x 480; poses are
camera-to-world, OpenCV; depth in millimetres, 65535 (and 0) = unknown; ``meshes/<scene>.ply``. As released, K
is (585, 585, 320, 240) with the first pixel's centre at 0 for every photo, though that is the depth camera's.

Source: DA3's released reader. Not yet tested on a real scene.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from eval.benchmarks.surfaces import read_mesh
from geometry.datasets.sources import DataSet, inverted, rigid, stored_frame
from geometry.errors import reading
from geometry.formats.depth_files import read_png_depth
from geometry.metrics.surface import Cloud
from geometry.scenes.scene import Scene

FOCAL, UNKNOWN = 585.0, 65535


@dataclass(eq=False, kw_only=True)
class SevenScenes(DataSet):
    """Every ``every``-th frame of each scene's sequence (the paper's 11; the released code takes all)."""

    holds = "7-Scenes with <scene>/seq-*/frame-*.color.png"
    every: int = 1

    @classmethod
    def find(cls, root: Path) -> dict[str, Path]:
        folders = [p for p in sorted(root.iterdir()) if p.is_dir()]
        places = {p.name: p / ("seq-02" if p.name == "stairs" else "seq-01") for p in folders}
        return {name: place for name, place in places.items() if place.is_dir()}

    def _read(self, name: str, place: Path) -> Scene:
        frames = []
        for photo in sorted(place.glob("frame-*.color.png"))[:: self.every]:
            stem = photo.name.removesuffix(".color.png")
            path = place / f"{stem}.pose.txt"
            with reading(path, "a camera-to-world matrix [4, 4] as text"):
                pose = np.loadtxt(path).reshape(4, 4)
            K = np.array([[FOCAL, 0, 320.5], [0, FOCAL, 240.5], [0, 0, 1]])
            depth = partial(read_png_depth, place / f"{stem}.depth.png", beyond=UNKNOWN)
            extrinsics = inverted(rigid(nearest_rotation(pose[:3, :3]), pose[:3, 3], str(path)))
            frames.append(stored_frame(photo, extrinsics, K, depth=depth))
        return Scene(name=name, frames=tuple(frames), source=str(place), metric=True, folder=place)

    def surface(self, name: str) -> Cloud:
        return read_mesh(self.base / "meshes" / f"{name}.ply")


def nearest_rotation(matrix: np.ndarray) -> np.ndarray:
    """The rotation nearest a matrix that rounding in text made none."""
    U, _, Vh = np.linalg.svd(matrix)
    return U @ np.diag([1, 1, np.sign(np.linalg.det(U @ Vh))]) @ Vh
