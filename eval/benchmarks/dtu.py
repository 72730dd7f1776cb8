"""DTU as DA3's benchmark reads it: the evaluation scans in MVSNet's form, in millimetres.

``Rectified/<scan>/rect_NNN_*.png`` (NNN from 1; camera NNN - 1), ``Cameras/%08d_cam.txt``,
``depth_raw/Depths/<scan>/depth_visual_%04d.png`` (above 10: the object), ``Points/stl/stlNNN_total.ply``,
``SampleSet/mvs_data/ObsMask/{ObsMaskN_10.mat, PlaneN.mat}``. The 64-view form, whose poses alone count:
``<scan>/image/%08d.png``, ``Cameras/%08d_cam.txt``.

cam.txt: "extrinsic", four lines world-to-camera (OpenCV), an empty line, "intrinsic", three lines of K. K
belongs to one size, which many copies changed: `read_camera` finds the photo's by the principal point.

Source: DA3's released readers, MVSNet's format. Not yet tested on real files.
"""

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import scipy.io
from jaxtyping import Float

from eval.benchmarks.surfaces import read_points
from geometry.datasets.sources import DataSet, rigid, stored_frame
from geometry.errors import InputError, reading
from geometry.formats.images import read_header, read_map
from geometry.formats.text import read_text
from geometry.metrics.dtu import DtuTruth
from geometry.metrics.surface import Cloud
from geometry.scenes.scene import Scene

SCANS = (1, 4, 9, 10, 11, 12, 13, 15, 23, 24, 29, 32, 33, 34, 48, 49, 62, 75, 77, 110, 114, 118)
OBJECT = 10  # of depth_visual, above which a pixel shows the object


@dataclass(eq=False, kw_only=True)
class Dtu(DataSet):
    """The 22 evaluation scans of 49 views, background masked."""

    holds = "DTU's Rectified/<scan> and Cameras/*_cam.txt"

    @classmethod
    def find(cls, root: Path) -> dict[str, Path]:
        places = {f"scan{n}": root / "Rectified" / f"scan{n}" for n in SCANS}
        return {name: place for name, place in places.items() if place.is_dir()}

    def _read(self, name: str, place: Path) -> Scene:
        frames = []
        for photo in sorted(place.glob("rect_*.png")):
            found = re.match(r"rect_(\d+)_", photo.name)
            if found is None:
                continue
            index = int(found[1]) - 1
            size = read_header(photo).stored_size
            E, K = read_camera(self.base / "Cameras" / f"{index:08d}_cam.txt", size)
            visual = self.base / "depth_raw/Depths" / name / f"depth_visual_{index:04d}.png"
            frames.append(stored_frame(photo, E, K, depth=partial(_object, visual)))
        return Scene(name=name, frames=tuple(frames), source=str(place), folder=place)

    def surface(self, name: str) -> Cloud:
        number = int(name.removeprefix("scan"))
        return read_points(self.base / f"Points/stl/stl{number:03d}_total.ply")

    def truth(self, name: str) -> DtuTruth:
        """What `geometry.metrics.dtu.dtu_metrics` compares with."""
        number, folder = int(name.removeprefix("scan")), self.base / "SampleSet/mvs_data/ObsMask"
        path = folder / f"ObsMask{number}_10.mat"
        with reading(path, "DTU's ObsMask, BB and Res"):
            mask = scipy.io.loadmat(path)
            observed, box, cell = (
                mask["ObsMask"].astype(bool),
                mask["BB"].astype(float),
                float(mask["Res"].item()),
            )
        path = folder / f"Plane{number}.mat"
        with reading(path, "DTU's ground plane P"):
            ground = scipy.io.loadmat(path)["P"].astype(float).ravel()
        return DtuTruth(points=self.surface(name), observed=observed, box=box, cell=cell, ground=ground)


@dataclass(eq=False, kw_only=True)
class Dtu64(DataSet):
    """The 13 scans of 64 views, of which only poses are scored."""

    holds = "DTU's <scan>/image and Cameras/*_cam.txt"

    @classmethod
    def find(cls, root: Path) -> dict[str, Path]:
        return {p.parent.name: p for p in sorted(root.glob("scan*/image"))}

    def _read(self, name: str, place: Path) -> Scene:
        frames = []
        for photo in sorted(place.glob("*.png")):
            size = read_header(photo).stored_size
            camera = self.base / "Cameras" / f"{int(photo.stem):08d}_cam.txt"
            frames.append(stored_frame(photo, *read_camera(camera, size)))
        return Scene(name=name, frames=tuple(frames), source=str(place), folder=place)


def read_camera(
    path: Path, image_size: tuple[int, int]
) -> tuple[Float[np.ndarray, "4 4"], Float[np.ndarray, "3 3"]]:
    """World-to-camera, and intrinsics of a photo of (H, W).

    The file's first pixel centre is at (0, 0). A K whose principal point is in the middle of an
    image smaller or larger by a power of two is taken for that image's.
    """
    with reading(path, "a camera of MVSNet's form: extrinsic [4, 4], intrinsic [3, 3]"):
        numbers = [line.split() for line in read_text(path).splitlines() if line.strip()]
        E, K = np.array(numbers[1:5], float), np.array(numbers[6:9], float)
        if (
            numbers[0] != ["extrinsic"]
            or numbers[5] != ["intrinsic"]
            or E.shape != (4, 4)
            or K.shape != (3, 3)
        ):
            raise ValueError("other lines")
    H, W = image_size
    scale = W / 2 / K[0, 2]
    factor = 1.0 if 0.75 < scale < 1.33 else 2.0 ** round(np.log2(scale))
    if not 0.75 < scale / factor < 1.33:
        raise InputError(f"{path}: expected a principal point near the middle of {W} x {H}, got {K[:2, 2]}")
    K[:2] *= factor
    K[:2, 2] += 0.5
    return rigid(E[:3, :3], E[:3, 3], str(path)), K


def _object(path: Path) -> Float[np.ndarray, "H W"]:
    """1 on the object, 0 elsewhere: DTU's photos have a mask, and depth of no use here."""
    return (read_map(path) > OBJECT).astype(np.float32)
