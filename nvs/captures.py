"""Photos, cameras and points in the folders that other tools train on: COLMAP's and nerfstudio's."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from geometry.formats import colmap
from geometry.formats.ply import write_points
from geometry.results import file_names
from geometry.scenes import transforms_json
from geometry.scenes.scene import Frame
from geometry.visualize import write_image
from nvs.gaussians import Gaussians, sh_to_rgb

_POINTS = 100_000  # tools read COLMAP's point by point


def write_capture(
    folder: Path, to: str, frames: Sequence[Frame], gaussians: Gaussians, *, copy: bool = False
) -> int:
    """Write images/ with cameras and points, which are the centres of opaque Gaussians; returns how many.

    Args:
        to: one of `nvs.options.CAPTURES`.
        frames: posed photos in the Gaussians' world.
        copy: the photos are upright, undistorted PNG, to be taken as they are.
    """
    names = [f"{stem}.png" for stem in file_names([frame.name for frame in frames])]
    extrinsics = np.stack([frame.extrinsics for frame in frames])
    intrinsics = np.stack([frame.intrinsics for frame in frames])
    sizes = [frame.image_size for frame in frames]
    points, colours = opaque_points(gaussians, _POINTS)
    (folder / "images").mkdir(parents=True)
    for name, frame in zip(names, frames):
        if copy and isinstance(frame.image, Path):
            shutil.copyfile(frame.image, folder / "images" / name)
        else:
            write_image(folder / "images" / name, frame.load())
    if to == "colmap":
        seen_by = nearest_view(points, extrinsics, intrinsics, sizes)
        seen = seen_by >= 0
        part = {"points": points[seen], "colours": colours[seen], "seen_by": seen_by[seen]}
        model = colmap.model_from_cameras(names, extrinsics, intrinsics, sizes, **part)
        colmap.write_model(folder / "sparse" / "0", model)
    else:
        write_points(folder / "sparse_pc.ply", points, colours)
        transforms_json.write_scene(
            folder / "transforms.json",
            [f"images/{name}" for name in names],
            extrinsics,
            intrinsics,
            sizes,
            extra={"ply_file_path": "sparse_pc.ply"},
        )
    return len(points)


def opaque_points(gaussians: Gaussians, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Centres [N, 3] of at most so many opaque Gaussians of one scene, and their colours in bytes."""
    index = (gaussians.opacities[0] >= 0.5).nonzero()[:, 0]
    index = index[torch.linspace(0, len(index) - 1, min(len(index), most)).long()]
    g = gaussians[:, index].to("cpu")
    colours = (sh_to_rgb(g.sh[0, :, 0]).clamp(0, 1) * 255).round().byte()
    return g.means[0].double().numpy(), colours.numpy()


def nearest_view(
    points: np.ndarray, extrinsics: np.ndarray, intrinsics: np.ndarray, sizes: Sequence[tuple[int, int]]
) -> np.ndarray:
    """For each point [N, 3] the nearest camera in whose image it lies, -1 where there is none."""
    nearest, view = np.full(len(points), np.inf), np.full(len(points), -1)
    for v, (E, K, (H, W)) in enumerate(zip(extrinsics, intrinsics, sizes)):
        x, y, z = (points @ E[:3, :3].T + E[:3, 3]).T
        ahead = np.where(z > 1e-9, z, np.nan)
        u, w = K[0, 0] * x / ahead + K[0, 2], K[1, 1] * y / ahead + K[1, 2]
        better = (u >= 0) & (u < W) & (w >= 0) & (w < H) & (z < nearest)
        nearest[better], view[better] = z[better], v
    return view
