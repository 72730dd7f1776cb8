"""The folder that `nvs render` leaves: Gaussians, video, frames, depth, cameras, contact sheet."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from geometry.console import say
from geometry.results import file_names
from geometry.scenes import transforms_json
from geometry.views import Cameras
from geometry.visualize import VideoWriter, colour_depth, contact_sheet, depth_limits, to_bytes, write_image
from nvs.gaussians import Gaussians
from nvs.rasterizer import rasterize
from nvs.scene import SplatScene

SHEET_COLUMNS = 6


def render_frames(
    gaussians: Gaussians,
    cameras: Cameras,
    size: tuple[int, int],
    *,
    background: Float[Tensor, " 3"] | None = None,
    backend: str,
) -> Iterator[tuple[UInt8[np.ndarray, "H W 3"], Float[np.ndarray, "H W"], Float[np.ndarray, "H W"]]]:
    """Colour, z-depth and alpha of every camera of one scene, one at a time."""
    for f in range(cameras.extrinsics.shape[1]):
        camera = cameras[:, f : f + 1]
        view = rasterize(gaussians, camera, size, background=background, backend=backend)
        yield to_bytes(view.rgb[0, 0]), view.depth[0, 0].cpu().numpy(), view.alpha[0, 0].cpu().numpy()


def write_outputs(
    folder: Path,
    scene: SplatScene,
    path: Cameras,
    size: tuple[int, int],
    *,
    fps: int,
    about: dict[str, object],
    note: str | None = None,
) -> None:
    """Write one scene. All files are in its world, which scene.json states.

    Args:
        path: cameras of the novel views, for images of ``size``.
        note: written across the contact sheet.
    """
    stems = file_names(list(scene.names))
    for sub in ("frames", "depth", "images"):
        (folder / sub).mkdir()
    scene.save(folder / "gaussians.ply")

    total = path.extrinsics.shape[1]
    shown = {round(i * (total - 1) / (SHEET_COLUMNS - 1)) for i in range(SHEET_COLUMNS)}
    samples: list[tuple[np.ndarray, np.ndarray]] = []
    depths = scene.depth[0].float().cpu().numpy()
    depth_range = depth_limits(depths)  # one for all frames, so that colours do not flicker
    with VideoWriter(folder / "video.mp4", fps=fps) as video:
        frames = render_frames(
            scene.gaussians, path, size, background=scene.background, backend=scene.backend
        )
        for f, (rgb, depth, alpha) in enumerate(frames):
            coloured = colour_depth(np.where(alpha > 0.5, depth, 0), limits=depth_range)
            video.add(rgb)
            write_image(folder / "frames" / f"{f:04d}.png", rgb)
            write_image(folder / "depth" / f"{f:04d}.png", coloured)
            if f in shown:
                samples.append((rgb, coloured))
            if (f + 1) % 20 == 0 or f + 1 == total:
                say(f"rendered {f + 1} of {total} views")

    inputs = [to_bytes(image) for image in scene.views.images[0]]
    for stem, image in zip(stems, inputs):
        write_image(folder / "images" / f"{stem}.png", image)
    _write_cameras(folder, stems, scene, path, size)
    some = [round(i * (len(inputs) - 1) / (SHEET_COLUMNS - 1)) for i in range(SHEET_COLUMNS)]
    some = sorted(set(some))
    write_image(
        folder / "contact_sheet.png",
        contact_sheet(
            {
                "inputs": [inputs[i] for i in some],
                "their depth": [colour_depth(depths[i], limits=depth_range) for i in some],
                "novel views": [rgb for rgb, _ in samples],
                "their depth ": [coloured for _, coloured in samples],
            },
            title=note,
        ),
    )
    (folder / "scene.json").write_text(json.dumps(about, indent=2) + "\n")


def _write_cameras(
    folder: Path, stems: list[str], scene: SplatScene, path: Cameras, size: tuple[int, int]
) -> None:
    """transforms.json for images/, frames.json for frames/."""
    sets = (
        ("transforms.json", [f"images/{s}.png" for s in stems], scene.cameras, scene.image_size),
        ("frames.json", [f"frames/{f:04d}.png" for f in range(path.extrinsics.shape[1])], path, size),
    )
    for name, files, cameras, image_size in sets:
        transforms_json.write_scene(
            folder / name,
            files,
            cameras.extrinsics[0].double().cpu().numpy(),
            cameras.intrinsics[0].double().cpu().numpy(),
            [image_size] * len(files),
            extra={"ply_file_path": "gaussians.ply"},
        )
