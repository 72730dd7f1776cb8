"""From photos of any shape to one image size: which window of a photo is shown, and how.

A window is a rectangle of whole photo pixels, resized to the wanted size, so a `PixelMap` (one scale and
one offset per axis) says exactly where every pixel went, and intrinsics follow it exactly.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from geometry.sampling.preprocess import (
    PixelMap,
    network_cameras,
    show_mask,
    show_photo,
    stacked_masks,
    whole_photo,
)
from geometry.scenes.scene import Frame
from geometry.stored import empty
from geometry.views import Views


def frame_window(
    photo_size: tuple[int, int],
    image_size: tuple[int, int],
    *,
    zoom: float = 1.0,
    stretch: float = 1.0,
    shift: tuple[float, float] = (0.0, 0.0),
) -> PixelMap:
    """The largest window of the given shape that fits the photo, made smaller and moved.

    Args:
        photo_size: (H, W) of the photo.
        image_size: (H, W) wanted.
        zoom: the window's sides are divided by this, >= 1.
        stretch: the window's aspect ratio differs by this factor, so that the image is stretched.
        shift: (x, y) in -1..1, how far the window moves towards the photo's borders.
    """
    (H, W), (h, w) = photo_size, image_size
    aspect = w / h * stretch
    width, height = min(W, H * aspect), min(H, W / aspect)
    width, height = (max(1, min(side, round(s / zoom))) for s, side in ((width, W), (height, H)))
    left, top = (round(room / 2 + room / 2 * s) for room, s in zip((W - width, H - height), shift))
    return whole_photo(photo_size).cropped((height, width), left=left, top=top).resized((h, w))


def show_frames(
    frames: Sequence[Frame],
    windows: Iterable[Sequence[PixelMap]],
    *,
    dtype: torch.dtype = torch.float32,
    store: Path | None = None,
) -> list[Views]:
    """Photos in one or more windows each: a `Views` of batch size one for the first windows, the second, ...

    Every photo is decoded once and not kept. Cameras are there if all frames have them. Masks are those for
    comparing pictures (`Frame.load_mask`).

    Args:
        store: a folder on whose disk the images shall lie; None: in memory.
    """
    windows, masks = list(windows), []
    images = [empty((1, len(frames), 3, *window.network_size), store, dtype) for window in windows[0]]
    for view, (frame, shown) in enumerate(zip(frames, windows, strict=True)):
        photo, keep = frame.load(), frame.load_mask(compared=True)
        for whole, window in zip(images, shown):
            whole[0, view] = torch.from_numpy(show_photo(photo, window)).permute(2, 0, 1).float() / 255
        masks.append([show_mask(keep, window) for window in shown])
    return [
        Views(
            images=whole,
            cameras=network_cameras(frames, maps),
            mask=stacked_masks(hidden, maps[0].network_size),
        )
        for whole, hidden, maps in zip(images, zip(*masks), zip(*windows))
    ]


def show_map(values: np.ndarray, window: PixelMap) -> np.ndarray:
    """A map of the photo (depth, mask; any resolution) in the window, by nearest pixel: nothing is mixed.

    Each image pixel takes the value of the map's pixel that holds its centre.
    """
    (H, W), (h, w) = window.network_size, values.shape
    x, _ = window.to_photo(np.stack((np.arange(W) + 0.5, np.zeros(W)), axis=-1)).T
    _, y = window.to_photo(np.stack((np.zeros(H), np.arange(H) + 0.5), axis=-1)).T
    photo_h, photo_w = window.photo_size
    columns = np.clip(np.floor(x * (w / photo_w)), 0, w - 1).astype(int)
    rows = np.clip(np.floor(y * (h / photo_h)), 0, h - 1).astype(int)
    return values[rows[:, None], columns]
