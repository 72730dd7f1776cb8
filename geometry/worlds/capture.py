"""Procedural worlds on disk: a sample capture, as a person would walk and film it, and worlds to train on."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from geometry.atomic import atomic_folder
from geometry.errors import InputError
from geometry.scenes import transforms_json
from geometry.views import Cameras
from geometry.worlds.cameras import sample_cameras
from geometry.worlds.dataset import ProceduralDataset
from geometry.worlds.generate import procedural_world
from geometry.worlds.photometry import photograph
from geometry.worlds.rendering import render


def write_capture(
    out: Path,
    *,
    seed: int = 7,
    views: int = 24,
    image_size: tuple[int, int] = (540, 960),
    kind: str = "room",
    path: str = "orbit",
    posed: bool = True,
) -> None:
    """Write ``images/frame_*.jpg`` and, if ``posed``, their exact cameras as transforms.json.

    Args:
        out: a new or empty folder.
        seed: world and path follow from it.
        image_size: (H, W).
        kind: one of `geometry.worlds.KINDS`.
        path: how the camera moves, a name of `geometry.worlds.paths.PATHS`.

    Raises:
        InputError: numbers out of range, or a folder with something in it.
    """
    if seed < 0:
        raise InputError(f"seed: expected a number from 0 on, got {seed}")
    if views < 1:
        raise InputError(f"views: expected at least 1, got {views}")
    if min(image_size) < 16:
        raise InputError(f"size: expected at least 16 pixels on a side, got {image_size[0]} {image_size[1]}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: expected a new or empty folder, got one with something in it")
    world = procedural_world(seed, kind, texture_size=512)
    generator = torch.Generator().manual_seed(seed)
    cameras = sample_cameras(world, views, image_size, generator, path, zoom=False)
    photos = photograph(render(world, cameras, image_size).radiance[0], generator, strength=0.5)
    with atomic_folder(out) as folder:
        names = _write_photos(folder, photos)
        if posed:
            _write_cameras(folder, names, cameras, image_size)


def write_world(
    root: Path, index: int, *, seed: int = 0, photos: int = 24, image_size: tuple[int, int] = (504, 672)
) -> bool:
    """Write a world of `ProceduralDataset` as ``root/<index>``: photos, depth and a transforms.json.

    Depth is 16-bit, its unit in the transforms.json; where it is 0 is sky.

    Returns:
        False if it was there.
    """
    out = root / f"{index:06d}"
    if out.is_dir():
        return False
    sample = ProceduralDataset(seed).sample(index, n_views=photos, image_size=image_size)
    depth, valid = sample.truth.depth[0].numpy(), sample.truth.valid[0].numpy()
    unit = float(depth[valid].max(initial=1e-6)) / 65535
    with atomic_folder(out) as folder:
        names = _write_photos(folder, sample.views.images[0])
        maps = [f"depth/{Path(name).stem}.png" for name in names]
        (folder / "depth").mkdir()
        for path, z, there in zip(maps, depth, valid):
            steps = np.where(there, np.clip(np.rint(z / unit), 1, 65535), 0).astype(np.uint16)
            Image.fromarray(steps).save(folder / path)
        entries = [{"depth_file_path": path} for path in maps]
        more = {"per_frame": entries, "extra": {"depth_unit_scale_factor": unit}}
        _write_cameras(folder, names, sample.truth.cameras, image_size, **more)
    return True


def _write_photos(folder: Path, photos: Float[Tensor, "V 3 H W"]) -> list[str]:
    names = [f"images/frame_{v + 1:05d}.jpg" for v in range(len(photos))]
    (folder / "images").mkdir()
    for name, photo in zip(names, photos):
        pixels = (photo.permute(1, 2, 0) * 255).round().byte().numpy()
        Image.fromarray(pixels).save(folder / name, quality=92, subsampling=0)
    return names


def _write_cameras(
    folder: Path, names: list[str], cameras: Cameras, image_size: tuple[int, int], **more: Any
) -> None:
    transforms_json.write_scene(
        folder / "transforms.json",
        names,
        *cameras.arrays(),
        [image_size] * len(names),
        **more,
    )
