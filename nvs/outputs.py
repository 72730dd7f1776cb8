"""The folder that `nvs render` leaves: Gaussians, video, frames, depth, cameras, contact sheet."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from geometry.console import counted, say
from geometry.results import file_names
from geometry.scenes import transforms_json
from geometry.threads import in_order
from geometry.views import Cameras
from geometry.visualize import (
    MOST,
    VideoWriter,
    colour_depth,
    contact_sheet,
    depth_limits,
    depth_unit,
    images_per_line,
    spread,
    to_bytes,
    write_depth,
    write_image,
)
from nvs.cameras.files import SCALE
from nvs.captures import write_capture
from nvs.gaussians import Gaussians
from nvs.scene import SplatScene

Samples = dict[int, tuple[UInt8[np.ndarray, "H W 3"], Float[np.ndarray, "H W"]]]  # by number of the frame
Frame = tuple[UInt8[np.ndarray, "H W 3"], Float[np.ndarray, "H W"], Float[np.ndarray, "H W"]]


def render_frames(
    gaussians: Gaussians,
    cameras: Cameras,
    size: tuple[int, int],
    *,
    background: Float[Tensor, " 3"] | None = None,
    backend: str,
) -> Iterator[Frame]:
    """Colour, z-depth and alpha of every camera of one scene, in order (`in_order`)."""

    def frame(f: int) -> Frame:
        view = gaussians.render(cameras[:, f : f + 1], size, background=background, backend=backend)
        return to_bytes(view.rgb[0, 0]), view.depth[0, 0].cpu().numpy(), view.alpha[0, 0].cpu().numpy()

    return in_order(frame, range(cameras.extrinsics.shape[1]), gaussians.means.device)


def write_frames(
    folder: Path,
    frames: Iterable[Frame],
    total: int,
    *,
    fps: int,
    limits: tuple[float, float],
    unit: float,
    keep: Sequence[int] = (),
) -> Samples:
    """Write video.mp4, frames/, depth/ (coloured) and depth16/frames/ of `render_frames`.

    Args:
        limits: depths between which depth is coloured.
        unit: step of the 16-bit depth.
        keep: frames whose colour and depth are returned.
    """
    for sub in ("frames", "depth", "depth16/frames"):
        (folder / sub).mkdir(parents=True)
    kept: Samples = {}

    def write_frame(name: str, rgb: np.ndarray, depth: np.ndarray) -> None:
        write_image(folder / "frames" / name, rgb)
        write_image(folder / "depth" / name, colour_depth(depth, limits=limits))
        write_depth(folder / "depth16/frames" / name, depth, unit)

    # Files are compressed on other threads while the next frame is drawn.
    with VideoWriter(folder / "video.mp4", fps=fps) as video, ThreadPoolExecutor(2) as pool:
        writing: deque[Future[None]] = deque()
        for f, (rgb, depth, alpha) in enumerate(frames):
            depth = np.where(alpha > 0.5, depth, 0)
            video.add(rgb)
            writing.append(pool.submit(write_frame, f"{f:04d}.png", rgb, depth))
            if len(writing) > 4:
                writing.popleft().result()
            if f in keep:
                kept[f] = rgb, depth
            if (f + 1) % 20 == 0 or f + 1 == total:
                say(f"rendered {f + 1} of {total} views")
        for future in writing:
            future.result()
    return kept


def write_outputs(
    folder: Path,
    scene: SplatScene,
    path: Cameras,
    size: tuple[int, int],
    *,
    fps: int,
    note: str | None = None,
    keep: int = 0,
) -> Samples:
    """Write one scene, but for its scene.json and report; returns some of the novel views.

    All files are in the scene's world, which scene.json states.

    Depth is written twice: depth/ shows it in colours, and depth16/ holds it as 16-bit PNG in steps that
    frames.json and transforms.json name (``depth_unit_scale_factor``, as nerfstudio has it; 0 is unknown).
    PNG, since every program reads it and it takes a third of the npz of the same floats.

    Args:
        path: cameras of the novel views, for images of ``size``.
        note: written across the contact sheet, in red.
        keep: novel views to be returned, evenly chosen.
    """
    stems = file_names(list(scene.names))
    for sub in ("images", "depth16/images"):
        (folder / sub).mkdir(parents=True)
    scene.save(folder / "gaussians.ply")

    total = path.extrinsics.shape[1]
    depths = scene.depth[0].float().cpu().numpy()
    limits, unit = depth_limits(depths), depth_unit(depths)  # of all frames, so that colours do not flicker
    frames = render_frames(scene.gaussians, path, size, background=scene.background, backend=scene.backend)
    shown = spread(total, images_per_line(size[1] / size[0]))
    kept = {*shown, *spread(total, keep)}
    samples = write_frames(folder, frames, total, fps=fps, limits=limits, unit=unit, keep=sorted(kept))

    for stem, image, depth in zip(stems, scene.views.images[0], depths):
        write_image(folder / "images" / f"{stem}.png", to_bytes(image))
        write_depth(folder / "depth16/images" / f"{stem}.png", depth, unit)
    scale = 1.0 if scene.scale is None else scene.scale.factor
    facts: dict[str, Any] = {"unit": unit, "scale": scale, "ply_file_path": "gaussians.ply"}
    write_cameras(folder / "transforms.json", "images", stems, scene.cameras, scene.image_size, **facts)
    write_cameras(folder / "frames.json", "frames", frame_stems(total), path, size, **facts)
    photos = transforms_json.read_scene(folder / "transforms.json").frames
    write_capture(folder / "COLMAP", "colmap", photos, scene.gaussians, copy=True)
    some = spread(len(stems), MOST)
    write_image(
        folder / "contact_sheet.png",
        contact_sheet(
            {
                f"input photos{_share(len(some), len(stems))}": [_shaded(scene, i) for i in some],
                "their depth, each in colours of its own range": [colour_depth(depths[i]) for i in some],
                f"novel views{_share(len(shown), total)}": [samples[f][0] for f in shown],
                "their depth": [colour_depth(samples[f][1]) for f in shown],
            },
            title=note,
        ),
    )
    count = scene.gaussians.means.shape[1]
    views = counted(total, "view")
    say(f"wrote {count:,} Gaussians; {views} of {size[0]} x {size[1]} (H x W), {total / fps:.1f} s of video")
    return samples


def _shaded(scene: SplatScene, view: int) -> np.ndarray:
    """A photo, dark where its mask hides it."""
    mask, image = scene.views.mask, to_bytes(scene.views.images[0, view])
    return image if mask is None else np.where(mask[0, view, :, :, None].cpu().numpy(), image, image // 4)


def _share(shown: int, total: int) -> str:
    return f": {shown} of {total}" if shown < total else f": all {total}" if total > 1 else ""


def frame_stems(count: int) -> list[str]:
    """Names of a video's frames, without their ending."""
    return [f"{f:04d}" for f in range(count)]


def write_cameras(
    file: Path,
    kind: str,
    stems: Sequence[str],
    cameras: Cameras,
    size: tuple[int, int],
    *,
    unit: float,
    scale: float,
    **more: object,
) -> None:
    """A transforms.json of pictures ``kind/*.png`` and their depth16/.

    Args:
        unit: step of that depth.
        scale: how much larger the cameras' world is than the given one.
        more: further keys of the file.
    """
    transforms_json.write_scene(
        file,
        [f"{kind}/{stem}.png" for stem in stems],
        *cameras.arrays(),
        [size] * len(stems),
        per_frame=[{"depth_file_path": f"depth16/{kind}/{stem}.png"} for stem in stems],
        extra={**more, "depth_unit_scale_factor": unit, SCALE: scale},
    )
