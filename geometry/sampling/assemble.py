"""Chosen frames of a scene as one training sample: images, cameras, depth, all at one size."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float

from geometry.errors import InputError
from geometry.sampling.augment import GeometricAugmentation, draw_geometric, turned
from geometry.sampling.framing import frame_window, show_map, show_photo
from geometry.sampling.preprocess import PixelMap
from geometry.sampling.virtual_cameras import mirrored
from geometry.scenes.scene import Frame, Scene
from geometry.views import Cameras, Example, Truth, Views

_PLAIN = GeometricAugmentation()
LABELS = ("sky", "objects")


def assemble(
    scene: Scene,
    indices: Sequence[int],
    image_size: tuple[int, int],
    *,
    rng: np.random.Generator,
    augmentation: GeometricAugmentation = _PLAIN,
    sparse_depth: bool = True,
    labels: Sequence[str] = (),
    without_sky: bool = False,
) -> Example:
    """One sample of batch size 1; cameras are given in its views, too.

    The world is that of the first view's camera: coordinates of some sets (UTM, kilometres) would lose
    millimetres in float32. Depth is z, in the scene's units, 0 where not valid.

    Args:
        indices: frames, in the order wanted; each must have a camera.
        image_size: (H, W) of every image.
        sparse_depth: where a frame has no depth map, use the sparse points that it observed.
        labels: of `LABELS`, which masks the sample must carry.
        without_sky: the scene has no sky anywhere (a room), so an unlabelled frame's mask is empty.

    Raises:
        InputError: a file is damaged, or a frame lacks a camera or a wanted label; it is named.
    """
    for i in indices:
        if scene.frames[i].extrinsics is None or scene.frames[i].intrinsics is None:
            raise InputError(f"{scene.source}, frame {scene.frames[i].name}: expected a camera, found none")
    draw = draw_geometric(augmentation, len(indices), rng)
    frames = [turned(scene.frames[i], draw.quarter_turns) for i in indices]
    windows = [
        frame_window(
            frame.image_size,
            image_size,
            zoom=draw.zoom,
            stretch=draw.stretch,
            shift=shift,
        )
        for frame, shift in zip(frames, draw.shifts)
    ]

    def stacked(arrays: Iterable[np.ndarray]) -> torch.Tensor:
        return torch.from_numpy(np.stack(list(arrays)))[None]

    shown = list(zip(indices, frames, windows))
    extrinsics = np.stack([f.extrinsics for f in frames])
    cameras = Cameras(
        extrinsics=stacked(extrinsics @ np.linalg.inv(extrinsics[0])),
        intrinsics=stacked(window.network_intrinsics(f.intrinsics) for _, f, window in shown),
    )
    pixels = stacked(show_photo(frame.load(), window) for _, frame, window in shown)
    depth = stacked(measured_depth(scene, i, window, frame=f, sparse=sparse_depth) for i, f, window in shown)
    masks = {
        label: stacked(_label(scene, frame, label, window, without_sky) for _, frame, window in shown)
        for label in labels
    }
    truth = Truth(cameras=cameras, depth=depth, valid=depth > 0, metric=torch.tensor([scene.metric]), **masks)
    images = (pixels.permute(0, 1, 4, 2, 3).float() / 255.0).contiguous()
    example = Example(views=Views(images=images, cameras=cameras), truth=truth)
    return (mirrored(example) if draw.flip else example).to(torch.float32)


def sparse_depth_map(
    points: Float[np.ndarray, "N 3"],
    extrinsics: Float[np.ndarray, "4 4"],
    intrinsics: Float[np.ndarray, "3 3"],
    image_size: tuple[int, int],
) -> Float[np.ndarray, "H W"]:
    """z-depth at the pixels that hold the points' projections, 0 elsewhere; a pixel's nearest point wins."""
    H, W = image_size
    local = points @ extrinsics[:3, :3].T + extrinsics[:3, 3]
    local = local[local[:, 2] > 0]
    pixels = local @ intrinsics.T
    columns, rows = np.floor(pixels[:, :2] / pixels[:, 2:]).T
    inside = (columns >= 0) & (columns < W) & (rows >= 0) & (rows < H)
    depth = np.full((H, W), np.inf)
    np.minimum.at(depth, (rows[inside].astype(int), columns[inside].astype(int)), local[inside, 2])
    return np.where(np.isfinite(depth), depth, 0).astype(np.float32)


def measured_depth(
    scene: Scene, i: int, window: PixelMap, *, frame: Frame | None = None, sparse: bool = True
) -> Float[np.ndarray, "H W"]:
    """Depth map of a frame, or its sparse points, in a window; 0 where nothing was measured.

    Args:
        frame: the scene's i-th, perhaps turned.
    """
    frame = frame or scene.frames[i]
    seen = scene.visibility[i] if sparse and scene.visibility is not None else ()
    depth = frame.load_depth()
    if depth is not None:
        out = show_map(depth, window).astype(np.float32)
    elif len(seen) and frame.intrinsics is not None:
        K = window.network_intrinsics(frame.intrinsics)
        out = sparse_depth_map(scene.points[seen], frame.extrinsics, K, window.network_size)
    else:
        return np.zeros(window.network_size, np.float32)
    mask = frame.load_mask()
    return out if mask is None else np.where(show_map(mask, window), out, 0).astype(np.float32)


def _label(
    scene: Scene, frame: Frame, label: str, window: PixelMap, without_sky: bool
) -> Bool[np.ndarray, "H W"]:
    values = frame.load_sky() if label == "sky" else frame.load_objects()
    if values is not None:
        return show_map(values, window)
    if label == "sky" and without_sky:
        return np.zeros(window.network_size, bool)
    raise InputError(f"{scene.source}, frame {frame.name}: expected a mask of {label}, this set has none")
