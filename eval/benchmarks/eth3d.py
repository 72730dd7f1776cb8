"""ETH3D's high-resolution multi-view training scenes, as DA3's benchmark reads them, in metres.

``<scene>/images/dslr_images/*.JPG``; ``<scene>/dslr_calibration_jpg/{cameras,images}.txt`` (COLMAP; NAME
carries ``dslr_images/``); ``<scene>/ground_truth_depth/dslr_images/<NAME>``: raw little-endian float32,
H x W, no header, infinite = unknown, along z, in the geometry of the distorted photo;
``<scene>/masks_for_images/dslr_images/<stem>.png``: 1 = ignore; ``<scene>/combined_mesh.ply``.

As released, distortion is ignored (the lens is taken for a pinhole with fx, fy, cx, cy) and some shots that
were stored turned are left out; photos without a depth file are whole.

Source: DA3's released reader. Not yet tested on a real scene.
"""

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float

from eval.benchmarks.surfaces import read_mesh
from geometry.datasets.sources import DataSet, stored_frame
from geometry.errors import InputError
from geometry.formats.colmap import read_model
from geometry.formats.images import read_map
from geometry.metrics.surface import Cloud
from geometry.scenes.scene import Scene

SCENES = (
    "courtyard", "electro", "kicker", "pipes", "relief", "delivery_area", "facade", "office", "playground",
    "relief_2", "terrains",
)  # fmt: skip
# Numbers of shots that the released reader leaves out: first and last of each range.
_TURNED = {
    "delivery_area": [(711, 714)],
    "electro": [(9289, 9293), (9298, 9298)],
    "playground": [(587, 592)],
    "relief": [(427, 438)],
    "relief_2": [(458, 468)],
}


@dataclass(eq=False, kw_only=True)
class Eth3d(DataSet):
    """The benchmark's scenes; without a depth file all of a photo counts."""

    holds = "ETH3D scenes with dslr_calibration_jpg/images.txt"

    @classmethod
    def find(cls, root: Path) -> dict[str, Path]:
        found = {
            p.parents[1].name: p.parents[1] for p in sorted(root.glob("*/dslr_calibration_jpg/images.*"))
        }
        return {name: found[name] for name in SCENES if name in found}

    def _read(self, name: str, place: Path) -> Scene:
        model = read_model(place / "dslr_calibration_jpg")
        frames = []
        for image in model.images.values():
            photo, stem = place / "images" / image.name, Path(image.name).stem
            number = re.search(r"(\d+)$", stem)
            left_out = _TURNED.get(name, [])
            if number and any(first <= int(number[1]) <= last for first, last in left_out):
                continue
            lens = model.cameras[image.camera_id].lens()
            depth = place / "ground_truth_depth" / image.name
            mask = place / "masks_for_images" / Path(image.name).with_suffix(".png")
            load = partial(read_depth, depth, mask, lens.image_size)
            known = depth.is_file() or mask.is_file()
            frames.append(
                stored_frame(
                    photo,
                    image.extrinsics,
                    lens.intrinsics,
                    image_size=lens.image_size,
                    name=Path(image.name).name,
                    depth=load if known else None,
                )
            )
        return Scene(name=name, frames=tuple(frames), source=str(place), metric=True, folder=place)

    def surface(self, name: str) -> Cloud:
        return read_mesh(self._places[name] / "combined_mesh.ply")


def read_depth(path: Path, mask: Path, image_size: tuple[int, int]) -> Float[np.ndarray, "H W"]:
    """Metres, 0 where unknown or masked; a photo without a depth file counts where its mask lets it: 1."""
    H, W = image_size
    if path.is_file():
        depth = np.fromfile(path, "<f4")
        if depth.size != H * W:
            raise InputError(f"{path}: expected {H} x {W} float32 values, got {depth.size}")
        depth = np.where(np.isfinite(depth), depth, 0).reshape(H, W)
    else:
        depth = np.ones((H, W), np.float32)
    return np.where(read_map(mask) == 1, 0, depth) if mask.is_file() else depth
