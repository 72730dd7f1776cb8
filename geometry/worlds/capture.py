"""A sample capture: JPEG photos of a procedural world, as a person would walk and film it."""

from pathlib import Path

import torch
from PIL import Image

from geometry.atomic import atomic_folder
from geometry.errors import InputError
from geometry.scenes import transforms_json
from geometry.worlds.cameras import sample_cameras
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
    names = [f"images/frame_{v + 1:05d}.jpg" for v in range(views)]
    with atomic_folder(out) as folder:
        (folder / "images").mkdir()
        for name, photo in zip(names, photos):
            pixels = (photo.permute(1, 2, 0) * 255).round().byte().numpy()
            Image.fromarray(pixels).save(folder / name, quality=92, subsampling=0)
        if posed:
            transforms_json.write_scene(
                folder / "transforms.json",
                names,
                cameras.extrinsics[0].double().numpy(),
                cameras.intrinsics[0].double().numpy(),
                [image_size] * views,
            )
